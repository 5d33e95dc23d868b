"""Compiles and keeps loops over pixels before the tests begin: each of their processes would do it for itself.

python -m tests.compiling
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from plantain.deploy.lab.demo import run_demo

if __name__ == "__main__":
    with TemporaryDirectory() as folder:
        for model in ("embedded", "fake"):
            run_demo(Path(folder) / model, model=model, executor="threads", num_frames=1, size_hw=(64, 96))
