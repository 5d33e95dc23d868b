"""A real Prometheus: Debian's package `prometheus`, which also has `promtool`."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.parse import quote
from urllib.request import urlopen

from tests import debian
from tests.ports import free_port

_START_S = 60.0


def why_missing() -> str | None:
    """None where Prometheus can be started; the reason where not."""
    tools = ("promtool", "prometheus")
    return debian.why_missing(("prometheus",), lambda: all(shutil.which(tool) for tool in tools))


def promtool(*arguments: str | Path) -> str:
    """What promtool says.

    Raises:
        AssertionError: If it finds a mistake.
    """
    done = subprocess.run(
        ["promtool", *map(str, arguments)], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


class Prometheus:
    """A server that runs.

    Args:
        port: Where it listens, on this machine.
    """

    def __init__(self, port: int) -> None:
        self._url = f"http://127.0.0.1:{port}"

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The series that an expression has now."""
        with urlopen(f"{self._url}/api/v1/query?query={quote(expression)}", timeout=10) as answer:
            return list(json.load(answer)["data"]["result"])

    def rules(self) -> dict[str, str]:
        """Every rule that it evaluates, and its health."""
        with urlopen(f"{self._url}/api/v1/rules", timeout=10) as answer:
            groups = json.load(answer)["data"]["groups"]
        return {rule["name"]: rule["health"] for group in groups for rule in group["rules"]}


@contextmanager
def running(config: Path, folder: Path) -> Iterator[Prometheus]:
    """A Prometheus with a configuration, until the block ends."""
    port = free_port()
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(
            [
                "prometheus",
                f"--config.file={config}",
                f"--storage.tsdb.path={folder / 'tsdb'}",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            stdout=log,
            stderr=log,
        )
        try:
            server, deadline_s = Prometheus(port), time.monotonic() + _START_S
            while True:
                try:
                    server.query("1")
                    break
                except (URLError, ConnectionError) as error:
                    said = (folder / "prometheus.log").read_text(encoding="utf-8", errors="replace")
                    if process.poll() is not None or time.monotonic() > deadline_s:
                        raise AssertionError(f"Prometheus does not answer: {said[-2000:]}") from error
                    time.sleep(0.1)
            yield server
        finally:
            process.kill()
            process.wait()
