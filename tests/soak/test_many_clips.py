"""A run over many clips takes the memory of one over few: what a clip needs is given back when it is stored.

Both runs are processes of their own; the kernel says how much each had at most.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest

from tests.bench.material import make_clip

ROOT = Path(__file__).parents[2]
IS_LONG = "PLANTAIN_SOAK_MINUTES" in os.environ
MANY = 1000 if IS_LONG else 80
# Of the peak over twenty. Peaks of one and the same run differ by a tenth, so that a short one shows only large leaks.
MOST = 1.1 if IS_LONG else 1.25
SIZES = ((320, 180), (640, 360)) if IS_LONG else ((320, 180),)

pytestmark = [
    pytest.mark.soak,
    pytest.mark.timeout(3600),
    pytest.mark.skipif(sys.platform != "linux", reason="another malloc, and another unit of peaks"),
]


def peak_mb(root: Path, count: int, size_wh: tuple[int, int]) -> float:
    """What a run over clips of one picture, with their annotated videos, had in memory at most, MB."""
    folder = root / f"clips{count}"
    folder.mkdir(parents=True)
    width, height = size_wh
    clip = make_clip(root / f"one{count}.mp4", 1, (height, width), b_frames=0, bit_rate=500_000)
    for number in range(count):
        shutil.copy(clip, folder / f"{number}.mp4")
    out = root / f"out{count}"
    command = [
        sys.executable,
        "-m",
        "plantain.deploy.cli",
        "run",
        str(folder),
        "--out",
        str(out),
        "--overlay",
    ]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    quiet = [(os.POSIX_SPAWN_OPEN, number, os.devnull, os.O_WRONLY, 0) for number in (1, 2)]
    process = os.posix_spawn(
        sys.executable,
        [*command, "--task", "instances:car", "--model", "fake"],
        environment,
        file_actions=quiet,
    )
    _, status, usage = os.wait4(process, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert len(list((out / "overlay").glob("*.mp4"))) == count
    return usage.ru_maxrss / 1024


@pytest.mark.parametrize("size_wh", SIZES, ids=lambda size_wh: "x".join(map(str, size_wh)))
def test_many_clips_take_the_memory_of_few(tmp_path: Path, size_wh: tuple[int, int]) -> None:
    few, many = (peak_mb(tmp_path, count, size_wh) for count in (20, MANY))
    sys.stdout.write(f"20 clips {few:.0f} MB, {MANY} clips {many:.0f} MB, {many / few:.2f}\n")
    assert many <= MOST * few
