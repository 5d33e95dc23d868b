"""Waiting for what workers have done, in a process that gets signals meanwhile."""

from __future__ import annotations

import signal
import threading
import time

import pytest

from plantain.deploy.ray.executor import RayExecutor
from plantain.pipeline.executor import ThreadExecutor

WAIT_S = 0.1


@pytest.mark.parametrize("make", [ThreadExecutor, RayExecutor])
def test_a_signal_does_not_make_a_wait_endless(make) -> None:
    executor = make()
    main = threading.get_ident()
    handled: list[int] = []

    def handle(number: int, frame: object) -> None:
        handled.append(number)
        time.sleep(2 * WAIT_S)  # the wait is over when it could go on

    before = signal.signal(signal.SIGUSR1, handle)
    strike = threading.Timer(WAIT_S / 2, signal.pthread_kill, (main, signal.SIGUSR1))
    rescue = threading.Timer(10.0, executor.wake)
    try:
        strike.start()
        rescue.start()
        while not handled:
            assert executor.wait(WAIT_S) == []
        assert rescue.is_alive(), "the wait had no end"
    finally:
        rescue.cancel()
        strike.join()
        rescue.join()
        signal.signal(signal.SIGUSR1, before)
