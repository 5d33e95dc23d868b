"""Where workers live: this thread, a pool of threads, or (in `deploy`) Ray actors."""

from __future__ import annotations

import contextlib
import gc
import os
import queue
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import fields, is_dataclass
from typing import Any, Protocol, TypeVar

import numpy as np

from plantain.operators.errors import PlantainError
from plantain.pipeline.calls import Call, Completion
from plantain.pipeline.graph import Graph, Stage
from plantain.pipeline.sweeper import Sweeper
from plantain.pipeline.worker import Worker, worker_of

A = TypeVar("A")
B = TypeVar("B")

# How long a thread may keep the GIL that another one wants, seconds.
TURN_S = 0.0005
# Rarer passes over all objects: each stops every thread, and hardly anything here is in a circle. With a thousand
# cameras they took a seventh of the time. What is an hour old when it becomes garbage would then wait for a day: it is
# the sweeper's.
COLLECTIONS = (20_000, 20, 20)


class Executor(Protocol):
    """Runs calls. Calls to one worker are done in the order in which they were submitted."""

    def start(self, graph: Graph) -> None:
        """Makes the workers of every stage.

        Raises:
            PlantainError: If an operator cannot be made here.
        """
        ...

    def submit(self, call: Call) -> None:
        """Gives a call to its worker."""
        ...

    def wait(self, timeout_s: float) -> list[Completion]:
        """What has been done since the last look; waits up to `timeout_s` for something, or for `wake`."""
        ...

    def wake(self) -> None:
        """Ends a `wait` in another thread."""
        ...

    def put(self, payloads: Sequence[Any]) -> list[Any]:
        """Takes payloads from outside the graph; gives a handle for each."""
        ...

    def fetch(self, handles: Sequence[Any]) -> Future[list[Any]]:
        """The payloads behind handles, when they are here; WorkerDiedError if they are gone. Nobody waits meanwhile."""
        ...

    def restart(self, stage: str, worker: int) -> None:
        """Makes a worker anew after it died."""
        ...

    def add(self, stage: str, worker: int) -> None:
        """Begins to make a further worker; if that fails, its first call is answered as by a dead one."""
        ...

    def remove(self, stage: str, worker: int) -> None:
        """Lets go of a worker that has nothing to do."""
        ...

    def entitle(self, streams: Mapping[str, str]) -> None:
        """Says how streams are doing, for those who look at the workers from outside.

        Args:
            streams: A few words for each stream, by name.
        """
        ...

    def close(self, timeout_s: float | None = None) -> None:
        """Closes the workers and gives back all that they hold.

        Args:
            timeout_s: Those that take longer are left to the end of the process; None for no limit.
        """
        ...


class _InThisProcess:
    """An executor whose handles are the payloads themselves."""

    def put(self, payloads: Sequence[Any]) -> list[Any]:
        """The payloads themselves."""
        return list(payloads)

    def fetch(self, handles: Sequence[Any]) -> Future[list[Any]]:
        """The payloads themselves."""
        return here(list(handles))

    def entitle(self, streams: Mapping[str, str]) -> None:
        """Nothing: its workers live in this process and have no names of their own."""


class InlineExecutor(_InThisProcess):
    """Does each call at once, in the caller's thread: a breakpoint in an operator stops where one expects.

    Payloads are made read-only, as they are under Ray, so that an operator which changes its input fails here.
    """

    def __init__(self) -> None:
        self._graph = Graph(())
        self._error = ""
        self._workers: dict[tuple[str, int], Worker] = {}
        self._done: deque[Completion] = deque()
        self._woken = threading.Event()

    def start(self, graph: Graph) -> None:
        """Makes the workers."""
        self._graph = graph
        for stage in graph.stages:
            for index in range(stage.at_first):
                self._workers[stage.name, index] = worker_of(stage)

    def submit(self, call: Call) -> None:
        """Does the call."""
        worker = self._workers.get((call.stage, call.worker))
        if worker is None:
            self._done.append(Completion(call.ticket, None, error=self._error))
            return
        reply, payloads = worker.run(call, call.handles)
        for payload in payloads:
            freeze(payload)
        self._done.append(Completion(call.ticket, reply, payloads))

    def wait(self, timeout_s: float) -> list[Completion]:
        """Everything submitted since the last look; if that is nothing, nothing can come before the time is over."""
        if not self._done:
            self._woken.wait(timeout_s)
        self._woken.clear()
        done = list(self._done)
        self._done.clear()
        return done

    def wake(self) -> None:
        """Ends a `wait` in another thread."""
        self._woken.set()

    def restart(self, stage: str, worker: int) -> None:
        """Workers in this thread cannot die alone."""
        raise AssertionError(f"worker {worker} of {stage} cannot have died")

    def add(self, stage: str, worker: int) -> None:
        """Makes it at once."""
        try:
            self._workers[stage, worker] = worker_of(self._graph.stage(stage))
        except PlantainError as error:
            self._error = str(error)

    def remove(self, stage: str, worker: int) -> None:
        """Closes it."""
        if (gone := self._workers.pop((stage, worker), None)) is not None:
            gone.close()

    def close(self, timeout_s: float | None = None) -> None:
        """Closes the workers; nothing of theirs is under way."""
        del timeout_s
        for worker in self._workers.values():
            worker.close()
        self._workers.clear()


class ThreadExecutor(_InThisProcess):
    """A thread for each worker. FFmpeg, torch and numba give up the GIL, so they do run side by side.

    Who wants the GIL back waits for whoever has it, by default up to 5 ms at each of hundreds of operators: while an
    executor is open it is 0.5 ms in the whole process, which gives the model beside four cameras 5 % more frames.
    Meanwhile garbage is collected more seldom, too.

    A thread dies of what is no Exception (an operator that calls `sys.exit`, a panic in Rust); this is then a dead
    worker like any other.

    Args:
        niceness: How far its threads stand back behind the others of this process, 0 to 19, where a thread can have a
            priority of its own (Linux).
    """

    def __init__(self, niceness: int = 0) -> None:
        self._niceness = niceness
        self._graph = Graph(())
        self._inboxes: dict[tuple[str, int], queue.SimpleQueue[Call | None]] = {}
        self._threads: dict[tuple[str, int], threading.Thread] = {}
        self._done: queue.Queue[Completion | None] = queue.Queue()
        self._ready: queue.SimpleQueue[BaseException | None] = queue.SimpleQueue()
        self._turn_s = 0.0
        self._collections = gc.get_threshold()
        self._sweeper = Sweeper()

    def start(self, graph: Graph) -> None:
        """Starts the threads and waits until each has made its operator."""
        self._graph = graph
        self._turn_s, self._collections = sys.getswitchinterval(), gc.get_threshold()
        sys.setswitchinterval(TURN_S)
        gc.set_threshold(*COLLECTIONS)
        for stage in graph.stages:
            for index in range(stage.at_first):
                self._start_thread(stage, index)
        errors = [self._ready.get() for _ in self._threads]
        for error in errors:
            if error is not None:
                self.close()
                raise error
        self._sweeper.start()

    def _start_thread(self, stage: Stage, index: int) -> None:
        inbox: queue.SimpleQueue[Call | None] = queue.SimpleQueue()
        name = f"plantain-{stage.name}-{index}"
        thread = threading.Thread(target=self._work, args=(stage, inbox), name=name, daemon=True)
        self._inboxes[stage.name, index] = inbox
        self._threads[stage.name, index] = thread
        thread.start()

    def submit(self, call: Call) -> None:
        """Puts the call into its worker's inbox."""
        self._inboxes[call.stage, call.worker].put(call)

    def wait(self, timeout_s: float) -> list[Completion]:
        """What the threads have done; returns as soon as there is something."""
        return take_all(self._done, timeout_s)

    def wake(self) -> None:
        """Ends a `wait` in another thread."""
        self._done.put(None)

    def restart(self, stage: str, worker: int) -> None:
        """Lets what is left of a dead worker end, and starts another thread."""
        self.remove(stage, worker)
        self._start_thread(self._graph.stage(stage), worker)

    def add(self, stage: str, worker: int) -> None:
        """Starts a further thread."""
        self._start_thread(self._graph.stage(stage), worker)

    def remove(self, stage: str, worker: int) -> None:
        """Lets a thread end, and waits for it."""
        self._inboxes.pop((stage, worker)).put(None)
        self._threads.pop((stage, worker)).join()

    def close(self, timeout_s: float | None = None) -> None:
        """Lets each worker finish its calls, and joins the threads; where time is short, only what it is at."""
        self._sweeper.close()
        deadline_s = None if timeout_s is None else time.monotonic() + timeout_s
        for inbox in self._inboxes.values():
            if deadline_s is not None:
                with contextlib.suppress(queue.Empty):
                    while True:
                        inbox.get_nowait()
            inbox.put(None)
        for thread in self._threads.values():
            thread.join(None if deadline_s is None else max(0.0, deadline_s - time.monotonic()))
        self._inboxes.clear()
        self._threads.clear()
        if self._turn_s:
            sys.setswitchinterval(self._turn_s)
            gc.set_threshold(*self._collections)
            self._turn_s = 0.0

    def _work(self, stage: Stage, inbox: queue.SimpleQueue[Call | None]) -> None:
        if self._niceness and sys.platform == "linux":
            this = threading.get_native_id()
            os.setpriority(os.PRIO_PROCESS, this, os.getpriority(os.PRIO_PROCESS, this) + self._niceness)
        try:
            worker = worker_of(stage)
        except BaseException as error:  # noqa: BLE001 - it is raised again in the thread that called start
            self._ready.put(error)
            self._answer_dead(inbox.get(), inbox, f"it could not be made ({type(error).__name__}: {error})")
            return
        self._ready.put(None)
        while (call := inbox.get()) is not None:
            try:
                reply, payloads = worker.run(call, call.handles)
            except BaseException as error:  # noqa: BLE001 - it ends this worker, and the engine must know
                self._answer_dead(call, inbox, f"its thread died ({type(error).__name__}: {error})")
                break
            self._done.put(Completion(call.ticket, reply, payloads))
            del call, reply, payloads  # nothing may be kept alive while waiting for the next call
        worker.close()

    def _answer_dead(self, call: Call | None, inbox: queue.SimpleQueue[Call | None], error: str) -> None:
        """Says of the call that killed a worker, and of all behind it, that they will not be done."""
        while call is not None:
            self._done.put(Completion(call.ticket, None, error=error))
            call = inbox.get()


def take_all(done: queue.Queue[Completion | None], timeout_s: float) -> list[Completion]:
    """Everything in a queue, after waiting for the first entry; a None in it only ends the waiting.

    No SimpleQueue: of CPython 3.11's, `get` forgets its timeout, and waits for ever, when a signal comes in the main
    thread and is dealt with after the timeout has passed. Any will do: a child that ends, a terminal that is resized.
    """
    taken: list[Completion | None] = []
    try:
        taken.append(done.get(timeout=timeout_s))
        while True:
            taken.append(done.get_nowait())
    except queue.Empty:
        return [completion for completion in taken if completion is not None]


def here(value: A) -> Future[A]:
    """A future of what is known already."""
    future: Future[A] = Future()
    future.set_result(value)
    return future


def then(source: Future[A], make: Callable[[A], B]) -> Future[B]:
    """A future of what `make` gives for what another one will have; fails as that one does."""
    future: Future[B] = Future()

    def go_on(done: Future[A]) -> None:
        error = done.exception()
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(make(done.result()))

    source.add_done_callback(go_on)
    return future


def freeze(value: Any) -> None:
    """Makes every array inside frozen dataclasses and tuples read-only."""
    if isinstance(value, np.ndarray):
        value.flags.writeable = False
    elif isinstance(value, tuple):
        for part in value:
            freeze(part)
    elif is_dataclass(value):
        for part in fields(value):
            freeze(getattr(value, part.name))
