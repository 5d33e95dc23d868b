"""A process that runs inputs and dies of SIGKILL in the middle of them: `python -m tests.field.killed OUT INPUT...`."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from plantain.operators.segments import Durable
from plantain.pipeline.checkpoint import Checkpoints
from tests.field.runs import run

ROOT = Path(__file__).parents[2]


class Dying(Checkpoints):
    """Checkpoints after which the process is gone, once some segment of each input is durable."""

    num_inputs = 0

    def save(self, durables: Sequence[Durable]) -> None:
        """Stores, and perhaps dies."""
        super().save(durables)
        if len([name for name in self.streams() if self.load(name) is not None]) == self.num_inputs:
            os.kill(os.getpid(), signal.SIGKILL)


def run_killed(inputs: Sequence[Path], out: Path) -> None:
    """Runs inputs in a process of their own until it is killed.

    Raises:
        AssertionError: If it ended otherwise.
    """
    command = [sys.executable, "-m", "tests.field.killed", str(out), *map(str, inputs)]
    paths = os.pathsep.join([str(ROOT / "src"), str(ROOT)])
    environment = {**os.environ, "PYTHONPATH": paths}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, timeout=300, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()[-2000:]


def main() -> None:
    """What the process does."""
    from plantain.deploy import job

    out, *inputs = sys.argv[1:]
    Dying.num_inputs = len(inputs)
    job.Checkpoints = Dying  # type: ignore[misc]
    run(inputs, Path(out))


if __name__ == "__main__":
    main()
