"""Stands between the writer and Kafka, so that brokers which are away hold up nobody.

    writer --send----> parts of segments --thread--> delivery --> brokers
             commit: delivered within a moment, or kept on disk (spool.py), from where the thread goes on

What is committed is delivered or on disk; the promise of the sinks hangs on nothing else. The thread delivers what is
on disk first, in order, then what is open. A process that is killed leaves the disk to the next one, which goes on
there: a delivery skips what is committed already (exactly_once.py), or repeats it under the same ids.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass
from functools import partial

import structlog

from plantain.operators.errors import SinkBackpressureError, SinkError
from plantain.operators.redaction import sentence_of
from plantain.operators.segments import Backlog
from plantain.operators.sinks.base import Segment
from plantain.operators.sinks.kafka.deliveries import Delivery
from plantain.operators.sinks.kafka.held import Held
from plantain.operators.sinks.kafka.messages import Message
from plantain.operators.sinks.kafka.spool import BATCH_BYTES, Kept, Spool, SpoolFullError

# A commit waits so long for the brokers, while they answer; then it goes to the disk. They take milliseconds.
PATIENCE_S = 2.0
# Files come back so much later when the spool is full.
FULL_RETRY_S = 5.0
# How long `close` waits for a delivery that is under way.
CLOSE_S = 1.0
# Another writer's spool is looked at so often, while it holds streams of ours.
ELSEWHERE_EVERY_S = 1.0

log = structlog.get_logger()


@dataclass(slots=True, eq=False)
class _Part:
    """A segment in memory.

    Attributes:
        segment: Which.
        held: Its messages.
        place: Behind what the delivery has.
        life: Of the stream in the delivery, when that was given the first of them; None before.
        is_committed: It is whole.
        is_over: It is delivered, or not wanted any more.
        kept: The file that holds it, too; it is delivered from here all the same, where that was begun.
    """

    segment: Segment
    held: Held
    place: int = 0
    life: int | None = None
    is_committed: bool = False
    is_over: bool = False
    kept: Kept | None = None


class Relay:
    """See the module. None of its calls waits for brokers for longer than a moment.

    Args:
        delivery: How messages get to the brokers; called by one thread only.
        spool: Where they wait.
        patience_s: How long a commit waits for brokers that answer, seconds.
    """

    def __init__(self, delivery: Delivery, spool: Spool, patience_s: float = PATIENCE_S) -> None:
        self._delivery = delivery
        self._spool = spool
        self._patience_s = patience_s
        self._changed = threading.Condition()
        self._parts: dict[Segment, _Part] = {}
        self._news: dict[_Part, None] = {}  # with something to deliver, or to commit
        self._anew: set[str] = set()  # streams that the delivery is to begin, and not to resume
        self._lives: dict[str, int] = {}  # streams of which the delivery has nothing but what is wanted
        self._num_lives = 0
        self._unbegun: set[str] = set()  # streams with a life that the delivery has not begun
        self._leaving: set[str] = set()
        # Streams in other writers' spools, and when that was looked at.
        self._elsewhere: dict[str, float] = {}
        self._refused: dict[str, SinkError] = {}
        self._trouble = ""
        self._is_full = False
        self._is_closed = False
        self._num_lost = 0
        self._thread = threading.Thread(target=self._run, name="kafka-relay", daemon=True)
        self._thread.start()

    # -- for the writer ------------------------------------------------------------------------------------

    def begin(self, stream_id: str, *, is_resumed: bool) -> None:
        """Forgets what was not committed; if the stream starts anew, also what waits on disk.

        Raises:
            SinkError: If the disk cannot be used.
        """
        with self._changed:
            self._forget(stream_id)
            if not is_resumed:
                self._spool.drop(stream_id)
                self._anew.add(stream_id)
            self._refused.pop(stream_id, None)
            self._leaving.discard(stream_id)
            if self._spool.is_elsewhere(stream_id):
                self._elsewhere[stream_id] = time.monotonic()
            self._changed.notify_all()

    def send(self, segment: Segment, messages: Sequence[Message]) -> None:
        """Takes messages, which are delivered soon.

        Raises:
            SinkError: If the brokers have refused something of the stream, or the disk is full.
        """
        with self._changed:
            self._raise_refused(segment.stream_id)
            part = self._parts.get(segment)
            if part is None:
                part = self._parts[segment] = _Part(segment, Held(self._spool.folder))
            part.held.add(messages)
            self._news[part] = None
            self._changed.notify_all()

    def commit(self, segments: Sequence[Segment]) -> None:
        """Returns when segments are delivered, or on disk.

        What finds no room on disk is lost to Kafka if it is a camera's, which cannot wait; that is counted, and said.

        Raises:
            SinkBackpressureError: If there is no room for a file's; commit again.
            SinkError: If the brokers refused something of the only stream.
        """
        with self._changed:
            parts = [self._parts[segment] for segment in segments if segment in self._parts]
            for part in parts:
                part.is_committed = True
                self._news[part] = None
            self._changed.notify_all()
            if not self._is_behind:
                self._changed.wait_for(lambda: all(map(self._is_settled, parts)), self._patience_s)
            if len(segments) == 1:
                self._raise_refused(segments[0].stream_id)
            self._keep([part for part in parts if not part.is_over])

    def finish(self, stream_id: str) -> None:
        """The stream has ended: what it holds is given back when everything of it is delivered."""
        with self._changed:
            self._leaving.add(stream_id)
            self._changed.notify_all()

    def forget(self, stream_id: str) -> None:
        """The stream was taken away: what was not committed is let go."""
        with self._changed:
            self._forget(stream_id)
            self._leaving.add(stream_id)
            self._changed.notify_all()

    def backlog(self) -> Backlog:
        """What is committed and not delivered, but for what the brokers refuse."""
        with self._changed:
            waiting = self._spool.files
            if self._refused:
                waiting = tuple(each for each in waiting if self._has_some(each, self._refused.keys()))
            num_open = sum(
                part.held.count for part in self._parts.values() if part.is_committed and part.kept is None
            )
            now_ns = time.time_ns()
            return Backlog(
                "kafka",
                num_open + sum(kept.num_waiting for kept in waiting),
                self._spool.size,
                self._spool.max_bytes,
                max(0.0, (now_ns - min((kept.at_ns for kept in waiting), default=now_ns)) / 1e9),
                self._num_lost,
                self._trouble or next(map(str, self._refused.values()), ""),
            )

    def close(self) -> None:
        """Leaves what waits on disk to the next process; what was not committed is gone."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
        self._thread.join(CLOSE_S)
        if self._thread.is_alive():
            self._delivery.close()  # which ends what it is in the midst of
            self._thread.join(CLOSE_S)
        with self._changed:
            for part in list(self._parts.values()):
                self._let_go(part)
            self._spool.close()

    @property
    def _is_behind(self) -> bool:
        """Whether there is no point in waiting for the brokers."""
        return self._trouble != "" or bool(self._elsewhere) or self._next_file() is not None

    def _is_settled(self, part: _Part) -> bool:
        return part.is_over or part.segment.stream_id in self._refused or self._trouble != ""

    def _raise_refused(self, stream_id: str) -> None:
        if stream_id in self._refused:
            raise self._refused[stream_id]

    def _keep(self, parts: list[_Part]) -> None:
        """Puts segments on disk; those of cameras for which there is no room are lost."""
        if not parts:
            return
        try:
            kept = self._spool.put([(part.segment, part.held) for part in parts])
        except (SpoolFullError, SinkError) as error:
            self._say_full(error)
            for part in parts:
                if part.segment.is_live:
                    self._num_lost += part.held.count
                    self._lives.pop(part.segment.stream_id, None)
                    self._let_go(part)
            if all(part.segment.is_live for part in parts):
                return
            if isinstance(error, SinkError):
                raise
            raise SinkBackpressureError(
                f"the brokers are away, and {error}: wait for them, or raise output.spool.size", FULL_RETRY_S
            ) from None
        self._is_full = False
        for part in parts:
            if part.life is not None:
                part.kept = kept
            else:
                self._let_go(part)

    def _say_full(self, error: Exception) -> None:
        if not self._is_full:
            self._is_full = True
            what = "what more comes of cameras is lost to Kafka alone; files wait for the brokers"
            log.error("spool full", what=what, error=str(error))

    def _let_go(self, part: _Part) -> None:
        part.is_over = True
        self._parts.pop(part.segment, None)
        self._news.pop(part, None)
        part.held.close()

    def _forget(self, stream_id: str) -> None:
        """What was not committed is gone; what is on disk is delivered from there."""
        for part in [part for part in self._parts.values() if part.segment.stream_id == stream_id]:
            self._let_go(part)
        self._lives.pop(stream_id, None)

    # -- the thread ----------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while self._wait():
                self._work()
        except Exception as error:  # noqa: BLE001 - the writer goes on with the disk, and says why
            if not self._is_closed:
                log.error("kafka relay", error=sentence_of(error))
            with self._changed:
                self._trouble = sentence_of(error)
                self._changed.notify_all()
        finally:
            self._delivery.close()

    def _wait(self) -> bool:
        """Returns when there is something to do; False when there will be nothing more."""
        with self._changed:
            while not self._is_closed:
                self._look_elsewhere()
                if self._next_file() is not None or self._ready() or self._gone():
                    return True
                self._changed.wait(ELSEWHERE_EVERY_S if self._elsewhere else None)
            return False

    def _next_file(self) -> Kept | None:
        """The oldest with something that can be delivered."""
        blocked = self._blocked
        return next((each for each in self._spool.files if self._has_some(each, blocked)), None)

    @staticmethod
    def _has_some(kept: Kept, blocked: Set[str]) -> bool:
        """Whether a file holds something of other streams than these."""
        return not blocked or any(segment.stream_id not in blocked for segment in kept.waiting)

    @property
    def _blocked(self) -> Set[str]:
        """Streams of which nothing is delivered: what other writers hold of them goes first."""
        return self._refused.keys() | self._elsewhere.keys()

    def _look_elsewhere(self) -> None:
        """Finds out what other writers have delivered by now."""
        for stream_id, looked_s in list(self._elsewhere.items()):
            if time.monotonic() - looked_s >= ELSEWHERE_EVERY_S:
                if self._spool.is_elsewhere(stream_id):
                    self._elsewhere[stream_id] = time.monotonic()
                else:
                    del self._elsewhere[stream_id]

    def _ready(self) -> list[_Part]:
        """Parts with news."""
        blocked = self._blocked
        return [part for part in self._news if part.segment.stream_id not in blocked]

    def _gone(self) -> list[str]:
        """Streams that have ended, and of which nothing is left."""
        if not self._leaving:
            return []
        open_ = {segment.stream_id for segment in self._parts}
        return [each for each in self._leaving if each not in open_ and not self._spool.has(each)]

    def _work(self) -> None:
        """Delivers everything that there is now: what was begun, then the disk, then what is new."""
        with self._changed:
            kept = self._next_file()
            parts = self._ready()
        stuck: set[str] = set()
        for part in parts:
            if (kept is None or part.kept is not None) and part.segment.stream_id not in stuck:
                self._pass_on(part)
                if part.is_committed and not part.is_over:
                    stuck.add(part.segment.stream_id)
        with self._changed:
            kept = self._next_file()
        if kept is not None:
            self._pass_on_file(kept)
        with self._changed:
            gone = self._gone()
            self._leaving.difference_update(gone)
            for stream_id in gone:
                self._lives.pop(stream_id, None)
        for stream_id in gone:
            self._delivery.finish(stream_id)

    def _pass_on(self, part: _Part) -> None:
        """Delivers what is new of a segment, and commits it if it is whole."""
        segment = part.segment
        while True:
            with self._changed:
                if part.is_over:
                    return
                if part.life not in (
                    None,
                    self._lives.get(segment.stream_id),
                ):  # what the delivery had is forgotten
                    part.life, part.place = None, 0
                messages, place = part.held.after(part.place, BATCH_BYTES)
                if not messages and not part.is_committed:
                    self._news.pop(part, None)
                    return
                part.life = self._begin(segment.stream_id)
            if not self._deliver(segment, part.life, lambda: part.is_over, messages):
                return
            with self._changed:
                part.place = place
                if not messages and not part.is_over:
                    if part.kept is not None:
                        self._spool.done(part.kept, segment)
                    self._let_go(part)
                    self._changed.notify_all()

    def _pass_on_file(self, kept: Kept) -> None:
        """Delivers a file of the spool: all its streams' messages, then their commits."""
        with self._changed:
            blocked = self._blocked
            lives = {
                segment: self._begin(segment.stream_id)
                for segment in kept.waiting
                if segment not in self._parts and segment.stream_id not in blocked
            }
        sent = set(lives)
        try:
            for segment, messages in kept.messages() if lives else ():
                if segment in sent and not self._deliver(
                    segment, lives[segment], partial(kept.is_done, segment), messages
                ):
                    sent.remove(segment)
        except SinkError as error:
            with self._changed:
                self._num_lost += self._spool.set_aside(kept, error)
            return
        for segment in lives:
            if segment in sent and not self._deliver(
                segment, lives[segment], partial(kept.is_done, segment), ()
            ):
                sent.remove(segment)
            with self._changed:
                if segment in sent:
                    self._spool.done(kept, segment)
                elif self._lives.get(segment.stream_id) == lives[segment]:  # the delivery has half of it
                    del self._lives[segment.stream_id]

    def _begin(self, stream_id: str) -> int:
        """The stream's life in the delivery, which has it begin where it has something that is not wanted."""
        if stream_id not in self._lives:
            self._num_lives += 1
            self._lives[stream_id] = self._num_lives
            self._unbegun.add(stream_id)
        return self._lives[stream_id]

    def _deliver(
        self, segment: Segment, life: int | None, is_over: Callable[[], bool], messages: Sequence[Message]
    ) -> bool:
        """Has messages delivered, or without any the segment committed, however long brokers are away.

        Returns:
            Whether it was; not if it is not wanted any more, the brokers refuse it, or this ends.
        """
        stream_id = segment.stream_id
        while True:
            with self._changed:
                if (
                    self._is_closed
                    or is_over()
                    or stream_id in self._refused
                    or self._lives.get(stream_id) != life
                ):
                    return False
                is_new = stream_id in self._unbegun
                is_resumed = stream_id not in self._anew
            try:
                if is_new:
                    self._delivery.begin(stream_id, is_resumed=is_resumed)
                    with self._changed:
                        if self._lives.get(stream_id) != life:
                            continue
                        self._unbegun.discard(stream_id)
                        self._anew.discard(stream_id)
                if messages:
                    self._delivery.send(segment, messages)
                else:
                    self._delivery.commit(segment)
            except SinkBackpressureError as error:
                self._note_trouble(str(error))
                with self._changed:
                    self._changed.wait_for(lambda: self._is_closed or is_over(), error.retry_after_s)
            except SinkError as error:
                with self._changed:
                    if self._is_closed:
                        return False
                    log.error("refused", stream=stream_id, error=str(error))
                    self._refused[stream_id] = error
                    self._lives.pop(stream_id, None)
                    self._changed.notify_all()
            else:
                self._note_trouble("")
                return True

    def _note_trouble(self, what: str) -> None:
        """Says once that the brokers are away, and once that they are back."""
        if bool(what) == bool(self._trouble):
            return
        with self._changed:
            self._trouble = what
            self._changed.notify_all()
        if what:
            log.warning(
                "behind", sink="kafka", what="results wait on disk until the brokers are back", error=what
            )
        else:
            log.info("back", sink="kafka", messages=self._spool.num_waiting)
