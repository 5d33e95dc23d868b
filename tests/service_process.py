"""`plantain serve` as a process, which is started, watched and ended."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

START_S = 200.0


@contextmanager
def serving(
    *arguments: str | Path, is_killed: bool = False, end: signal.Signals = signal.SIGINT
) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """The command, until it is ready; its address and its process, which must end cleanly unless the test kills it."""
    command = [sys.executable, "-m", "plantain.deploy.cli", "serve", *map(str, arguments)]
    environment = {**os.environ, "RAY_DEDUP_LOGS": "0"}
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        start_new_session=True,
    )
    lines: list[str] = []
    assert process.stdout is not None
    assert process.stderr is not None
    readers = [
        threading.Thread(target=lambda pipe=pipe: lines.extend(iter(pipe.readline, "")))
        for pipe in (process.stdout, process.stderr)
    ]
    for reader in readers:
        reader.start()
    children: list[psutil.Process] = []
    try:
        deadline_s = time.monotonic() + START_S
        while not (ready := re.search(r"ready on (http://\S+)", "".join(lines))):
            assert process.poll() is None, "".join(lines)
            assert time.monotonic() < deadline_s, "".join(lines)
            time.sleep(0.05)
        yield ready[1], process
        if is_killed:
            return
        children = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(end)
        assert process.wait(120) == 0, "".join(lines)
        assert "SIGTERM received" not in "".join(lines), "Ray took the signal for itself"
        _, left = psutil.wait_procs(children, 60)
        assert not left, f"processes are left behind: {left}"
    finally:
        if process.poll() is None:
            children = psutil.Process(process.pid).children(recursive=True)
            process.kill()
            process.wait()
        for child in children:
            if child.is_running():
                child.kill()
        for reader in readers:
            reader.join(30)
        process.stdout.close()
        process.stderr.close()


def refused(*arguments: str | Path) -> str:
    """What the command says when it does not start."""
    command = [sys.executable, "-m", "plantain.deploy.cli", "serve", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 2, done.stderr
    return done.stderr
