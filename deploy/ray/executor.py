"""Workers as Ray actors: a thin shell around a worker, with payloads by reference."""

from __future__ import annotations

import contextlib
import os
import queue
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import replace
from functools import partial
from typing import Any

import ray
from ray.exceptions import GetTimeoutError, ObjectLostError, RayActorError, RayError

from plantain.deploy import logs
from plantain.deploy.ray.cluster import start_ray
from plantain.operators.errors import ModelUnavailableError, PlantainError, WorkerDiedError
from plantain.operators.redaction import first_line
from plantain.pipeline.calls import Call, Cause, Completion, Reply
from plantain.pipeline.executor import here, take_all
from plantain.pipeline.graph import Graph, Stage
from plantain.pipeline.sweeper import Sweeper
from plantain.pipeline.worker import Worker, worker_of

# Loading weights and JIT compilation on a busy machine; measured 4 to 25 s on two cores.
START_TIMEOUT_S = 300.0
# How long the closing of all operators may take, seconds.
CLOSE_S = 30.0

# Streams that a call's title names.
NAMED = 3

# What Ray says of actors that died with their machine.
NODE_DIED = "its node has died"

Handle = tuple[Any, int]
"""A payload: the reference to the list that a call returned, and the payload's place in it."""


class WorkerActor:
    """The actor: unpacks references, calls its worker, returns the reply and the payloads apart.

    The reply is small and goes to the driver; the payloads are *returned*, so that the driver owns them and they
    outlive this process.
    """

    def __init__(self, stage: Stage) -> None:
        logs.configure()
        # Ray says 1 for an actor without reserved CPUs; torch and numba read it when they are first imported, below.
        threads = str(max(1, round(stage.cpus)))
        os.environ["OMP_NUM_THREADS"] = os.environ["NUMBA_NUM_THREADS"] = threads
        self._stage = stage
        self._worker: Worker | None = None
        self._sweeper = Sweeper()

    def __repr__(self) -> str:
        return f"plantain {self._stage.name}"

    def pid(self) -> int:
        """This process, for whoever wants to watch or kill it."""
        return os.getpid()

    def make(self) -> PlantainError | None:
        """Makes the operator; gives the reason if that is impossible here, which Ray would wrap in its own words."""
        try:
            self._begin()
        except PlantainError as error:
            return error
        return None

    def _begin(self) -> Worker:
        self._worker = worker_of(self._stage)
        self._sweeper.start()
        return self._worker

    @ray.method(num_returns=2)
    def run(
        self, call: Call, places: Sequence[Sequence[tuple[int, int]]], *lists: list[Any]
    ) -> tuple[Reply, list[Any]]:
        """Does a call; payload p of item k is `lists[i][j]`, where (i, j) is `places[k][p]`."""
        worker = self._worker or self._begin()  # made anew after a death; what fails now is a death, too
        return worker.run(call, [[lists[which][index] for which, index in parts] for parts in places])

    def close(self) -> None:
        """Closes the operator."""
        self._sweeper.close()
        if self._worker is not None:
            self._worker.close()


class RayExecutor:
    """Runs workers on a Ray cluster.

    A worker that dies is reported once for each of its calls and made anew by `restart`; Ray itself retries nothing
    (`max_restarts=0`), since what must be repeated is the engine's to know.

    Args:
        address: Of a running cluster; None starts a local Ray, which ends with the run.
        name: Prefix of the actors' names on the dashboard.
    """

    def __init__(self, address: str | None = None, name: str = "plantain") -> None:
        self._address = address
        self._name = name
        self._owns_ray = False
        self._stages: dict[str, Stage] = {}
        self._actors: dict[tuple[str, int], Any] = {}
        self._starts: dict[tuple[str, int], int] = {}
        self._payloads: dict[int, Any] = {}
        self._done: queue.Queue[Completion | None] = queue.Queue()
        self._doing: Mapping[str, str] = {}

    def start(self, graph: Graph) -> None:
        """Connects, makes the actors, and waits until each has its operator.

        Raises:
            PlantainError: What an operator raised when it was made.
            ModelUnavailableError: If the cluster cannot place an actor in time.
        """
        if not ray.is_initialized():
            start_ray(self._address)
            self._owns_ray = True
        for stage in graph.stages:
            self._stages[stage.name] = stage
            for index in range(stage.at_first):
                self._make(stage.name, index)
        making = [actor.make.remote() for actor in self._actors.values()]
        try:
            for error in ray.get(making, timeout=START_TIMEOUT_S):
                if error is not None:
                    raise error
        except RayActorError as error:
            raise WorkerDiedError(f"a worker could not be started: {first_line(error)}") from error
        except GetTimeoutError as error:
            needs = ", ".join(f"{s.name}: {s.workers} x {s.cpus:g} CPU {s.gpus:g} GPU" for s in graph.stages)
            raise ModelUnavailableError(f"the cluster has no room for the workers ({needs})") from error

    def submit(self, call: Call) -> None:
        """Sends a call to its actor; references travel, pixels do not."""
        lists: list[Any] = []
        known: dict[Any, int] = {}
        places: list[list[tuple[int, int]]] = []
        for parts in call.handles:
            places.append([])
            for reference, index in parts:
                which = known.get(reference)
                if which is None:
                    which = known[reference] = len(lists)
                    lists.append(reference)
                places[-1].append((which, index))
        bare = replace(call, handles=())
        actor = self._actors[call.stage, call.worker]
        reply, payloads = actor.run.options(name=self._title(call)).remote(bare, places, *lists)
        self._payloads[call.ticket] = payloads
        reply.future().add_done_callback(partial(self._note, call.ticket))

    def _title(self, call: Call) -> str:
        """What the call is about, on the dashboard's list of tasks and as the process's name while it is done."""
        headers = (header.stream_id for header in call.headers)
        names = [call.stream_id, *(each.stream_id for each in call.wanted), *headers]
        told = [f"{name} ({self._doing[name]})" for name in dict.fromkeys(names) if name in self._doing]
        more = f" and {len(told) - NAMED} more" if len(told) > NAMED else ""
        return f"{call.stage} {', '.join(told[:NAMED])}{more}".strip()

    def entitle(self, streams: Mapping[str, str]) -> None:
        """Further calls are called after their streams and how those are doing."""
        self._doing = streams

    def _note(self, ticket: int, reply: Future[Reply]) -> None:
        """Puts what has been done where `wait` finds it; in a thread of Ray's."""
        error = reply.exception()
        if error is None:
            self._done.put(Completion(ticket, reply.result()))
        elif isinstance(error, ObjectLostError):
            self._done.put(Completion(ticket, None, error=first_line(error), cause=Cause.PAYLOAD))
        elif isinstance(error, RayActorError):
            cause = Cause.MACHINE if NODE_DIED in str(error) else Cause.WORKER
            said = f"its process died ({first_line(error)})"
            self._done.put(Completion(ticket, None, error=said, cause=cause))
        else:
            self._done.put(Completion(ticket, None, error=first_line(error)))

    def wait(self, timeout_s: float) -> list[Completion]:
        """What has been done; waits for the first."""
        return [self._with_payloads(done) for done in take_all(self._done, timeout_s)]

    def wake(self) -> None:
        """Ends a `wait` in another thread."""
        self._done.put(None)

    def put(self, payloads: Sequence[Any]) -> list[Handle]:
        """Puts payloads into the object store, together."""
        reference = ray.put(list(payloads))
        return [(reference, place) for place in range(len(payloads))]

    def fetch(self, handles: Sequence[Handle]) -> Future[list[Any]]:
        """Fetches payloads from the object store, in threads of Ray's; WorkerDiedError if what held them is gone."""
        if not handles:
            return here([])
        fetched: Future[list[Any]] = Future()
        futures = {reference: reference.future() for reference, _ in handles}
        missing = set(futures)
        lock = threading.Lock()

        def arrived(reference: Any, done: Future[list[Any]]) -> None:
            with lock:
                missing.discard(reference)
                if fetched.done() or (missing and done.exception() is None):
                    return
                error = done.exception()
                if error is not None:
                    fetched.set_exception(WorkerDiedError(f"an answer was lost: {first_line(error)}"))
                else:
                    fetched.set_result([futures[each].result()[place] for each, place in handles])

        for reference, future in futures.items():
            future.add_done_callback(partial(arrived, reference))
        return fetched

    def restart(self, stage: str, worker: int) -> None:
        """Makes a dead actor anew."""
        with contextlib.suppress(RayError):
            ray.kill(self._actors[stage, worker])
        self._make(stage, worker)

    def add(self, stage: str, worker: int) -> None:
        """Makes a further actor; it makes its operator with its first call."""
        self._make(stage, worker)

    def remove(self, stage: str, worker: int) -> None:
        """Lets an actor close its operator; it ends with its last reference."""
        with contextlib.suppress(RayError):
            self._actors.pop((stage, worker)).close.remote()

    def close(self, timeout_s: float | None = None) -> None:
        """Closes the operators and removes the actors; ends Ray if it was started here."""
        patience_s = CLOSE_S if timeout_s is None else min(timeout_s, CLOSE_S)
        if ray.is_initialized():
            closing = [actor.close.remote() for actor in self._actors.values()]
            with contextlib.suppress(RayError):
                ray.wait(closing, num_returns=len(closing), timeout=patience_s) if closing else None
            for actor in self._actors.values():
                ray.kill(actor)
            if self._owns_ray:
                ray.shutdown()
        self._actors.clear()
        self._payloads.clear()

    def actor_pids(self, stage: str) -> list[int]:
        """Process ids of a stage's actors, for tests that kill them and for reports of what they cost."""
        actors = [actor for (name, _), actor in self._actors.items() if name == stage]
        return list(ray.get([actor.pid.remote() for actor in actors]))

    def _make(self, stage_name: str, index: int) -> None:
        stage = self._stages[stage_name]
        count = self._starts[stage_name, index] = self._starts.get((stage_name, index), -1) + 1
        name = f"{self._name}-{stage_name}-{index}" + (f"-again{count}" if count else "")
        self._actors[stage_name, index] = (
            ray.remote(WorkerActor)
            .options(
                name=f"{name}-{ray.get_runtime_context().get_job_id()}",
                num_cpus=0,  # the engine bounds the work; reserving cores would keep small machines from starting
                num_gpus=stage.gpus,
                scheduling_strategy="SPREAD",  # without cores to go by, Ray would draw a node for each by lot
                max_restarts=0,
                max_task_retries=0,
            )
            .remote(stage)
        )

    def _with_payloads(self, done: Completion) -> Completion:
        payloads = self._payloads.pop(done.ticket)
        if done.reply is None:
            return done
        count = len(done.reply.headers) + len(done.reply.pictures)
        return replace(done, handles=[(payloads, place) for place in range(count)])
