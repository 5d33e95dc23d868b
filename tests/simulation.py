"""A world for the engine without threads: workers complete, die and answer late, in an order from a seed."""

from __future__ import annotations

import contextlib
import random
from collections import deque
from dataclasses import dataclass, field, replace

from plantain.operators.errors import ModelBusyError, UsageError
from plantain.operators.prompts import Prompt
from plantain.operators.segments import Durable
from plantain.operators.streams import Sampling, Start
from plantain.pipeline.calls import MARK, Call, Completion
from plantain.pipeline.engine.engine import Engine
from plantain.pipeline.engine.queries import Answer
from plantain.pipeline.engine.stream import ENDED, Phase, Stream
from plantain.pipeline.graph import Graph, Kind
from plantain.pipeline.worker import worker_of
from tests.numbers import DEPTH, Plan, WorkerKilled, frame, parts_of, starts_of

NORMALS = Prompt.parse("normals")


@dataclass
class World:
    """An engine, its workers and a clock.

    Attributes:
        graph: What is run.
        starts: The streams.
        seed: Of everything that happens by chance.
        deaths: How many workers may be killed by chance.
        checkpoints: What the runner would have stored.
        calls: Every call that was made, in order.
        asked: Queries that wait for an answer.
        answered: What queries came to.
        gone: Streams that were removed, as they were last.
    """

    graph: Graph
    starts: list[Start]
    seed: int = 0
    deaths: int = 0
    checkpoints: dict[str, Durable] = field(default_factory=dict)
    calls: list[Call] = field(default_factory=list)
    asked: set[str] = field(default_factory=set)
    answered: dict[str, Answer] = field(default_factory=dict)
    gone: list[Stream] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.engine = Engine(self.graph, self.starts, wall_ns=lambda: 0)
        self.now = 0.0
        self.num_deaths = 0
        self.num_steps = 0
        self._stages = {stage.name: stage for stage in self.graph.stages}
        self.workers = {
            (stage.name, index): worker_of(stage, sleep=lambda _: None)
            for stage in self.graph.stages
            for index in range(stage.workers)
        }
        self.inboxes: dict[tuple[str, int], deque[Call]] = {key: deque() for key in self.workers}
        self.dead: set[tuple[str, int]] = set()
        self.answers: list[Completion] = []
        self.unsaved: deque[Durable] = deque()

    def run(self, max_steps: int = 20_000) -> None:
        """Steps until every stream has ended."""
        while not self.engine.is_done:
            self.step()
            assert self.num_steps < max_steps, "the engine stands still"

    def step(self) -> None:
        """One thing happens, and the engine reacts; then the books must be right."""
        self.num_steps += 1
        for stage, index in self.engine.restarts():
            self.workers[stage, index] = worker_of(self._stages[stage], sleep=lambda _: None)
            self.dead.discard((stage, index))
        for call in self.engine.dispatch(self.now):
            self.calls.append(call)
            if (call.stage, call.worker) in self.dead:
                self.answers.append(Completion(call.ticket, None, error="it is dead"))
            else:
                self.inboxes[call.stage, call.worker].append(call)
        self.take_out()
        self.check()
        busy = [key for key, inbox in self.inboxes.items() if inbox]
        choice = self.random.random()
        if busy and self.deaths > self.num_deaths and choice < 0.1:
            self.kill(self.random.choice(busy), done_first=self.random.random() < 0.5)
        elif self.answers and (choice < 0.5 or not busy):
            self.deliver(self.random.randrange(len(self.answers)) if self.random.random() < 0.3 else 0)
        elif busy:
            self.work(self.random.choice(busy))
        elif self.unsaved:
            self.engine.flow.saved(self.unsaved.popleft())
        else:
            deadline = self.engine.deadline()
            rests = any(stream.phase is Phase.PAUSED for stream in self.engine.streams.values())
            assert deadline is not None or self.engine.is_done or rests, (
                "nothing is out, and nothing ever will be"
            )
            self.now = max(self.now, deadline or 0.0)
        self.now += self.random.random() * 0.01
        self.check()

    def work(self, key: tuple[str, int]) -> None:
        """A worker does its oldest call."""
        call = self.inboxes[key][0]
        try:
            reply, payloads = self.workers[key].run(call, call.handles)
        except WorkerKilled:
            self.kill(key)
            return
        self.inboxes[key].popleft()
        self.answers.append(Completion(call.ticket, reply, payloads))

    def kill(self, key: tuple[str, int], *, done_first: bool = False) -> None:
        """A worker dies with all its calls; with `done_first` it had just done one, and could not say so."""
        self.num_deaths += 1
        if done_first:
            call = self.inboxes[key][0]
            with contextlib.suppress(WorkerKilled):
                self.workers[key].run(call, call.handles)
        dead = [Completion(call.ticket, None, error="its process died") for call in self.inboxes[key]]
        if self.random.random() < 0.3:
            self.random.shuffle(dead)
        self.dead.add(key)
        self.inboxes[key].clear()
        self.answers.extend(dead)

    def deliver(self, which: int = 0) -> None:
        """The engine hears of a call."""
        self.engine.complete(self.answers.pop(which), self.now)
        self.take_out()

    def take_out(self) -> None:
        """What the runner does behind each turn."""
        while self.engine.flow.durables:
            durable = self.engine.flow.durables.popleft()
            self.checkpoints[durable.stream_id] = durable
            self.unsaved.append(durable)
        while self.unsaved and self.random.random() < 0.7:
            self.engine.flow.saved(self.unsaved.popleft())
        while self.engine.queries.answers:
            answer = self.engine.queries.answers.popleft()
            assert answer.query_id in self.asked, "answered twice, or after it was cancelled"
            self.asked.remove(answer.query_id)
            self.answered[answer.query_id] = answer
        while self.engine.lives.departed:
            self.gone.append(self.engine.lives.departed.popleft())

    def operate(self, plans: dict[str, Plan]) -> None:
        """Somebody does something to the streams, or asks something; what is impossible is refused."""
        engine, draw = self.engine, self.random
        stream_id = draw.choice(list(plans))
        query_id = f"{MARK}{self.num_steps}"
        with contextlib.suppress(UsageError, ModelBusyError):
            match draw.randrange(9):
                case 0:
                    engine.lives.pause(stream_id)
                case 1 | 2:
                    engine.lives.resume(stream_id)
                case 3:
                    engine.lives.remove(stream_id, drain=draw.random() < 0.7)
                case 4:
                    (start,) = starts_of({stream_id: plans[stream_id]}, self.checkpoints)
                    engine.lives.add(start)
                case 5:
                    start = engine.lives.find(stream_id).start
                    both = (DEPTH, NORMALS)
                    prompts = tuple(draw.sample(both, draw.randint(1, 2)))
                    every = draw.choice((start.spec.sampling, Sampling(every=draw.randint(1, 3))))
                    engine.lives.change(
                        replace(start, prompts=prompts, spec=replace(start.spec, sampling=every))
                    )
                case 6:
                    frames = [
                        part
                        for index in range(draw.randint(1, 4))
                        for part in parts_of(frame(query_id, index), tuple(engine.pools))
                    ]
                    engine.queries.ask(query_id, [each.header for each in frames], frames, self.now)
                    self.asked.add(query_id)
                case 7:
                    engine.ask_stream(query_id, stream_id, (DEPTH,), self.now)
                    self.asked.add(query_id)
                case _:
                    if self.asked:
                        cancelled = draw.choice(sorted(self.asked))
                        self.asked.remove(cancelled)
                        engine.queries.cancel(cancelled)

    def check(self) -> None:
        """What must be true at every moment."""
        engine = self.engine
        reads = 0
        for stream in engine.streams.values():
            check_books(stream)
            reads += stream.num_asked
        limit = self.graph.max_frames_in_flight
        assert engine.frames_in_flight + reads <= limit, "too many frames in flight"
        for (stage, _), inbox in self.inboxes.items():
            with_items = sum(call.verb in ("run", "fail") for call in inbox)
            if self._stages[stage].kind is not Kind.SOURCE:
                assert with_items <= self._stages[stage].calls_in_flight


def check_books(stream: Stream) -> None:
    """A stream's frames, and those of each of its prompts, are all somewhere."""
    account = stream.account
    assert account.in_flight == stream.num_items, f"{stream.stream_id}: {account}, {stream.num_items} items"
    counts = (stream.num_reads, stream.num_calls, stream.num_asked, stream.num_tells)
    assert min(counts) >= 0, counts
    for book in (account, *account.prompts.values()):
        parts = (*book.failed.values(), *book.lost.values(), *book.skipped.values())
        assert min(book.decoded, book.results, book.in_flight, *parts) >= 0, book
        assert book.in_flight <= stream.num_items + stream.num_sides, book
    if stream.phase in ENDED:
        assert stream.num_items == stream.num_sides == 0
