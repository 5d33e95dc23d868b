"""A command and all processes that it starts, watched from outside."""

import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass

import psutil


@dataclass(frozen=True)
class Usage:
    """What a process tree used.

    Attributes:
        stdout: What the command printed.
        cpu_s: User and system time of every process, as last seen.
        peak_bytes: Largest sum of proportional set sizes (shared pages counted once).
        by_name: Peak of each kind of process, bytes.
    """

    stdout: str
    cpu_s: float
    peak_bytes: int
    by_name: dict[str, int]


def watch(arguments: list[str], every_s: float = 0.25, *, memory: bool = False) -> Usage:
    """Runs `python -m ARGUMENTS` to its end.

    Raises:
        RuntimeError: If it fails, with what it said.
    """
    cpu_s: dict[int, float] = {}
    peak_bytes = 0
    by_name: dict[str, int] = {}
    with tempfile.TemporaryFile("w+") as printed, tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen([sys.executable, "-m", *arguments], stdout=printed, stderr=said)
        root = psutil.Process(process.pid)
        while process.poll() is None:
            total = 0
            kinds: dict[str, int] = {}
            try:
                tree = [root, *root.children(recursive=True)]
            except psutil.NoSuchProcess:
                tree = []
            for one in tree:
                try:
                    times = one.cpu_times()
                    cpu_s[one.pid] = times.user + times.system
                    if memory:
                        size = one.memory_full_info().pss
                        total += size
                        kinds[one.name()] = kinds.get(one.name(), 0) + size
                except (psutil.NoSuchProcess, psutil.AccessDenied):
                    continue
            if total > peak_bytes:
                peak_bytes, by_name = total, kinds
            time.sleep(every_s)
        printed.seek(0)
        said.seek(0)
        if process.returncode != 0:
            raise RuntimeError(f"{' '.join(arguments)} failed:\n{said.read()[-2000:]}")
        return Usage(printed.read(), sum(cpu_s.values()), peak_bytes, by_name)
