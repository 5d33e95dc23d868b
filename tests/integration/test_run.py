"""The command as a process: signals, and whole runs on each executor."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.assets.clips import make
from tests.stored import assert_whole, rows_in

ROOT = Path(__file__).parents[2]
FRAMES = 60


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> Path:
    return make(tmp_path_factory.mktemp("clips") / "clip.mp4", FRAMES, size=(64, 48))


class Plantain:
    """`plantain run` of a clip with a model that takes its time."""

    def __init__(self, clip: Path, folder: Path, *, cost_ms: float = 150, sign: str = "") -> None:
        self.out = folder / "out"
        self._config = folder / "config.yaml"
        self._config.write_text(
            f"streams: [{{url: {clip}}}]\nprompts: [depth, 'instances:bar']\n"
            f"model: {{name: 'tests.plugins:PickyModel', options: {{cost_ms: {cost_ms}, sign: '{sign}'}}}}\n"
            f"read: {{chunk_frames: 4, max_frames_in_flight: 8}}\nbatch: {{max_items: 4, max_wait_ms: 5}}\n"
            f"output: {{out: {self.out}, segment_frames: 5}}\n"
        )

    def start(self, executor: str = "threads") -> subprocess.Popen[str]:
        command = [
            sys.executable,
            "-m",
            "plantain.deploy.cli",
            "run",
            "--config",
            str(self._config),
            "--json",
        ]
        return subprocess.Popen(
            [*command, "--executor", executor],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def wait_for_results(self, process: subprocess.Popen[str]) -> None:
        """Until the first segment is there."""
        while not list(self.out.glob("frames/*/*.parquet")):
            assert process.poll() is None, process.communicate()
            time.sleep(0.05)


@pytest.fixture
def plantain(clip, tmp_path) -> Iterator[Plantain]:
    yield Plantain(clip, tmp_path)
    left = [
        process
        for process in psutil.process_iter(["cmdline"])
        if str(tmp_path) in str(process.info["cmdline"])
    ]
    for process in left:
        process.kill()
    assert not left, "processes are left behind"


def assert_drained_and_completed_by_the_next_run(plantain: Plantain, process: subprocess.Popen[str]) -> None:
    stdout, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    (stream,) = json.loads(stdout)["streams"]
    assert stream["status"] == "interrupted"
    assert 0 < stream["results"] < FRAMES
    assert stream["decoded"] == stream["results"], "everything that was decoded is stored"
    (line,) = [line for line in map(json.loads, errors.splitlines()) if line["event"] == "interrupted"]
    assert (line["stream"], line["answered"]) == ("clip", stream["results"])
    assert line["remedy"] == "run the same command again to go on"
    stored = rows_in(plantain.out)
    assert len(stored["frames"]) == 2 * stream["results"]
    again = plantain.start()
    stdout, errors = again.communicate(timeout=60)
    assert again.returncode == 0, errors
    stored = rows_in(plantain.out)
    assert_whole(stored, 5, {"clip": FRAMES})
    assert len(stored["frames"]) == 2 * FRAMES


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_drains_and_the_next_run_goes_on(plantain, number):
    process = plantain.start()
    plantain.wait_for_results(process)
    process.send_signal(number)
    assert_drained_and_completed_by_the_next_run(plantain, process)


def test_a_second_sigint_ends_the_process_at_once(clip, tmp_path):
    is_drawing = tmp_path / "drawing"
    process = Plantain(clip, tmp_path, cost_ms=30_000, sign=str(is_drawing)).start()
    while not is_drawing.exists():  # the first batch, which takes longer than anyone wants to wait
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    time.sleep(0.5)
    assert process.poll() is None, "the first one drains"
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    assert time.monotonic() - began < 10.0
    assert process.returncode == -signal.SIGINT


def test_sigint_while_it_starts_leaves_with_130(clip, tmp_path):
    plantain = Plantain(
        clip, tmp_path, cost_ms=1000
    )  # not done before the signal, however busy the machine is
    process = plantain.start()
    while not (plantain.out / ".plantain" / "run.json").exists():
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "Traceback" not in errors


def test_sigint_counts_before_a_run_drains_by_itself_however_the_shell_started_it():
    """Seen as a run that was interrupted while it started, from a script's background job, and went on to its end."""
    code = (
        "import os, signal, time, plantain.deploy.cli.app\n"
        "plantain.deploy.cli.app.app = lambda: (os.kill(os.getpid(), signal.SIGINT), time.sleep(5))\n"
        "plantain.deploy.cli.app.main()"
    )
    started = subprocess.run(
        [sys.executable, "-c", code],
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert started.returncode == -signal.SIGINT, started.stderr


@pytest.mark.ray
def test_ctrl_c_on_ray_drains_although_every_process_of_the_terminal_gets_it(plantain):
    process = plantain.start("ray")
    plantain.wait_for_results(process)
    os.killpg(process.pid, signal.SIGINT)
    assert_drained_and_completed_by_the_next_run(plantain, process)


@pytest.mark.ray
def test_sigterm_on_ray_drains_although_ray_wants_it_for_itself(plantain):
    process = plantain.start("ray")
    plantain.wait_for_results(process)
    process.send_signal(signal.SIGTERM)
    assert_drained_and_completed_by_the_next_run(plantain, process)


@pytest.fixture
def small_disk(tmp_path) -> Iterator[Path]:
    """A disk of 200 kB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", str(disk)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("a disk can only be mounted by root")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_disk_that_fills_up_is_said_so_and_with_more_room_the_run_goes_on(clip, tmp_path, small_disk):
    plantain = Plantain(clip, small_disk, cost_ms=0)
    filler = small_disk / "filler"
    filler.write_bytes(bytes(100 << 10))
    process = plantain.start()
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1, errors
    lines = map(json.loads, errors.splitlines())
    (line,) = [line for line in lines if line["event"] == "failed"]
    assert line["stream"] == "clip"
    assert (
        f"no space is left for results in {plantain.out}: free some and run the same command again"
        in line["error"]
    )
    assert_whole(rows_in(plantain.out), 5, {"clip": FRAMES})
    filler.unlink()
    subprocess.run(["mount", "-o", "remount,size=20m", str(small_disk)], check=True)
    process = plantain.start()
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert len(rows_in(plantain.out)["frames"]) == 2 * FRAMES
