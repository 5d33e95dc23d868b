"""`plantain run` as a process that can be hurt: killed, stopped, given another time of day."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
END_S = 300.0


class Victim:
    """A job that is run until it is done.

    Args:
        folder: For its settings, and the file that sets its clock.
        settings: Of the run.
        arguments: Of the command, besides.
        program: The module that stands for the command.
    """

    def __init__(
        self, folder: Path, settings: dict[str, Any], *arguments: str, program: str = "tests.chaos.clocked"
    ) -> None:
        self._program = program
        self._config = folder / "run.yaml"
        self._config.write_text(yaml.safe_dump(settings))
        self._clock = folder / "clock"
        self._arguments = arguments
        self._process: subprocess.Popen[bytes] | None = None
        self._files: tuple[Any, Any] = (None, None)
        self.report: dict[str, Any] = {}
        self.errors = ""

    def start(self) -> None:
        """Starts the process, in a group of its own, at the right time of day."""
        self.set_clock(0)
        environment = {**os.environ, "PLANTAIN_CLOCK": str(self._clock)}
        self._files = (tempfile.TemporaryFile(), tempfile.TemporaryFile())  # noqa: SIM115 (closed at the end)
        self._process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                self._program,
                "run",
                "--config",
                str(self._config),
                "--json",
                *self._arguments,
            ],
            cwd=ROOT,
            env=environment,
            stdout=self._files[0],
            stderr=self._files[1],
            start_new_session=True,
        )

    @property
    def _running(self) -> subprocess.Popen[bytes]:
        """Of the last start."""
        assert self._process is not None
        return self._process

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._running.pid

    def runs(self, end_s: float = float("inf")) -> bool:
        """Whether it runs, and a moment of the monotonic clock has not come."""
        return self._process is not None and self._process.poll() is None and time.monotonic() < end_s

    def kill(self) -> None:
        """SIGKILL for the whole group, if it has not come to its end before."""
        if self.runs():
            os.killpg(self._running.pid, signal.SIGKILL)

    def stop(self, seconds: float) -> None:
        """SIGSTOP, and SIGCONT after a while."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._running.pid, signal.SIGSTOP)
            time.sleep(seconds)
            os.killpg(self._running.pid, signal.SIGCONT)

    def set_clock(self, seconds: float) -> None:
        """Lets its time of day be so much ahead of the machine's; its monotonic clock does not jump."""
        aside = self._clock.with_suffix(".new")
        aside.write_text(f"{seconds:+.0f}\n")
        aside.replace(self._clock)

    def interrupt(self) -> None:
        """SIGINT: it drains."""
        self._running.send_signal(signal.SIGINT)

    @property
    def is_started(self) -> bool:
        """Whether there is a process, running or not, whose end was not looked at."""
        return self._process is not None

    def end(self) -> int:
        """Waits for its end, and reads what it has said.

        Returns:
            Its exit code.
        """
        try:
            code = self._running.wait(END_S)
        except subprocess.TimeoutExpired:
            self._running.send_signal(signal.SIGABRT)
            raise
        texts = []
        for file in self._files:
            file.seek(0)
            texts.append(file.read().decode(errors="replace"))
            file.close()
        self._process = None
        out, self.errors = texts
        self.report = json.loads(out) if out.strip() else {}
        return code
