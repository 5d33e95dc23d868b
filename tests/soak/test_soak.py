"""Eight cameras for a while, or for days, while cameras and broker are killed: the books are right at each minute, and
memory, threads, descriptors and disk stay where they are.

One line a minute and a summary at the end tell how it went. Days last minutes here, so that retention has work to do.
"""

from __future__ import annotations

import json
import os
import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import av
import numpy as np
import psutil
import pytest
from pyarrow import fs

from plantain.operators.scenes import Scene
from plantain.operators.sinks.parquet.parts import parts_in
from plantain.operators.sinks.parquet.reading import read_frames
from tests.bench.material import repeat
from tests.books import assert_balanced, assert_closed, totals_of
from tests.chaos.victim import Victim
from tests.kafka_broker import Broker, skipped_without_broker
from tests.kafka_client import Follower
from tests.ports import free_port
from tests.rtsp_server import RtspServer, why_missing

pytestmark = [pytest.mark.soak, pytest.mark.rtsp, pytest.mark.kafka]

MINUTES = float(os.environ.get("PLANTAIN_SOAK_MINUTES", "2"))
SEED = int(os.environ.get("PLANTAIN_SOAK_SEED", "17"))
IS_LONG = MINUTES >= 20
CAMERAS = tuple(f"cam{number}" for number in range(8))
FPS = 2
PROMPT = "instances:car"
# In the short form the model draws small pictures on one core, since other tests run at the same time.
SMALL = {} if IS_LONG else {"canvas": {"width": 128, "height": 96}, "cpus": 1}
# Seconds of the street that each camera shows over and over.
STREET_S = 10 if IS_LONG else 2
# A fault comes every so many seconds, some of them to the broker; what is away comes back after so many at most.
FAULT_EVERY_S, AWAY_S = 12.0, 25.0
BROKER_SHARE = 0.15 if IS_LONG else 0.25
WARM_UP = 0.4  # of the time
LOOK_EVERY_S = 1.0
PATIENCE_S = 600.0
# So long is a day, and so many minutes are rows and dense maps kept.
DAY_S = min(600.0, max(30.0, MINUTES * 60 / 8))
KEEP_MIN = max(2, round(DAY_S / 30))
# Of the least that is held in each minute, as far as it is sure. In the first hours memory still grows by what is kept
# up to a bound (5,000 notes are 5 MB), and in the first ten minutes by what torch and FFmpeg keep for later, so that a
# few minutes only show leaks of whole pictures, which are far steeper.
MAX_SLOPE_MB_PER_H = 0.2 if MINUTES >= 360 else 30.0 if IS_LONG else 1200.0


@dataclass
class Faults:
    """Takes cameras and broker away and brings them back, by a plan that the seed makes.

    Attributes:
        counts: What happened, by what it was.
    """

    cameras: dict[str, RtspServer]
    broker: Broker
    chance: random.Random
    counts: Counter[str] = field(default_factory=Counter)
    _next_s: float = 0.0
    _away: dict[str, tuple[float, Callable[[], None]]] = field(default_factory=dict)

    def turn(self, now_s: float) -> None:
        """Does what is due."""
        for name, (until_s, bring_back) in list(self._away.items()):
            if now_s >= until_s:
                del self._away[name]
                bring_back()
        if now_s < self._next_s:
            return
        self._next_s = now_s + self.chance.expovariate(1 / FAULT_EVERY_S)
        is_broker = self.broker.is_ours and self.chance.random() < BROKER_SHARE
        name = "" if is_broker else self.chance.choice(CAMERAS)
        if name in self._away:
            return
        server = self.cameras[name] if name else self.broker
        what = self.chance.choice(("killed", "killed", "frozen"))
        self.counts[f"{'camera' if name else 'broker'} {what}"] += 1
        if what == "killed":
            server.kill()
            back = server.start if isinstance(server, RtspServer) else server.launch
        else:
            server.freeze()
            back = server.thaw
        self._away[name] = now_s + self.chance.uniform(0, AWAY_S), back

    def heal(self) -> None:
        """Brings everything back."""
        for _, bring_back in self._away.values():
            bring_back()
        if "" in self._away:
            self.broker.wait()
        self._away.clear()


class Answers:
    """What has come out of the run: counted once, in order, in Parquet and in Kafka."""

    def __init__(self, out: Path, follower: Follower) -> None:
        self.stored: Counter[str] = Counter()
        self.sent: Counter[str] = Counter()
        self._out = out
        self._follower = follower
        self._stored_to: dict[str, tuple[int, int]] = {}
        self._sent_to: dict[str, tuple[int, int]] = {}

    def look(self) -> None:
        """Counts what is new; what is there must be there once. It is looked at before retention takes it."""
        rows = read_frames(self._out, ["stream_id", "epoch", "frame_index", "status"])
        found = sorted(
            (stream_id, (int(epoch), int(index)))
            for stream_id, epoch, index, status in zip(*rows.values(), strict=True)
            if status != "gap"
        )
        assert len({*found}) == len(found), "a row is there twice"
        for stream_id, at in found:
            if at > self._stored_to.get(stream_id, (-1, -1)):
                self._stored_to[stream_id] = at
                self.stored[stream_id] += 1
        arrivals = self._follower.arrivals[:]
        del self._follower.arrivals[: len(arrivals)]
        for arrival in arrivals:
            at = arrival.epoch, arrival.frame_index
            before = self._sent_to.get(arrival.stream_id, (-1, -1))
            assert at > before, f"{arrival.stream_id}: {at} after {before}"
            self._sent_to[arrival.stream_id] = at
            self.sent[arrival.stream_id] += 1


@dataclass
class Soak:
    """A run, and what it depends on."""

    job: Victim
    faults: Faults
    answers: Answers
    out: Path
    memory: Path
    metrics: str

    def look(self) -> dict[str, float]:
        """What the process holds now, seen from outside and inside: MB, and numbers."""
        process = psutil.Process(self.job.pid)
        lines = Path(f"/proc/{self.job.pid}/smaps_rollup").read_text().splitlines()[1:]
        sizes = {line.split(":")[0]: int(line.split()[1]) / 1e3 for line in lines}
        inside: dict[str, float] = json.loads(self.memory.read_text())
        return {
            "pss_mb": sizes["Pss"] * 1.024,
            "anon_mb": sizes["Anonymous"] * 1.024,
            **inside,
            "threads": process.num_threads(),
            "descriptors": process.num_fds(),
        }

    def disk(self) -> dict[str, float]:
        """Files of the output folder by what they are; what is too old must be gone."""
        # `rglob` does not like folders that go meanwhile.
        paths = [Path(folder) / name for folder, _, names in os.walk(self.out) for name in names]
        parts = parts_in(fs.LocalFileSystem(), str(self.out))
        oldest_s = max((time.time() - part.written_ns / 1e9 for part in parts), default=0.0)
        # A day that is being written is not touched; it is looked at four times a day, and a busy machine is late.
        assert oldest_s < 60 * KEEP_MIN + 1.5 * DAY_S + 120, f"{oldest_s:.0f} s old"
        return {
            "files": sum(".plantain" not in path.parts for path in paths),
            "notes": sum(".plantain" in path.parts and "spool" not in path.parts for path in paths),
            "spooled": sum("spool" in path.parts for path in paths),
            "folders": max(
                Counter(path.parent.name for path in self.out.glob("*/stream=*")).values(), default=0
            ),
            "disk_mb": sum(path.stat().st_size for path in paths if path.exists()) / 1e6,
        }

    def books(self, before: dict[str, float]) -> dict[str, float]:
        """Answers of each camera, which all are stored within a minute; every frame is somewhere.

        Args:
            before: What this said a minute ago.
        """
        self.answers.look()
        stored, sent = dict(self.answers.stored), dict(self.answers.sent)
        deadline_s = time.monotonic() + PATIENCE_S
        while True:
            totals = totals_of(self.metrics)
            assert_balanced(totals)
            answered = {name: totals[name].get("plantain_frames_answered_total", 0.0) for name in CAMERAS}
            # An answer is stored a moment before it is counted, and a busy engine publishes its figures late.
            if all(answered[name] >= max(stored.get(name, 0), sent.get(name, 0)) for name in CAMERAS):
                break
            assert time.monotonic() < deadline_s, (
                f"more is there than was counted: {stored}, {sent}, {answered}"
            )
            time.sleep(LOOK_EVERY_S)
        for name, count in before.items():
            assert stored.get(name, 0) >= count, f"{name}: {count:g} were answered a minute ago, {stored}"
        return answered


@pytest.fixture
def soak(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Soak]:
    if reason := why_missing():
        if os.environ.get("REQUIRE_RTSP") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    memory = tmp_path / "memory.json"
    monkeypatch.setenv("PLANTAIN_SOAK_DAY_S", str(DAY_S))
    monkeypatch.setenv("PLANTAIN_SOAK_MEMORY", str(memory))
    clip = repeat(
        street(tmp_path / "loop.mp4"), tmp_path / "clip.mp4", 3600 // STREET_S
    )  # an hour; then cameras begin anew
    prefix, port, out = f"soak{os.getpid()}", free_port(), tmp_path / "out"
    with ExitStack() as stack:
        with skipped_without_broker():
            broker = Broker.find()
        stack.callback(broker.close)
        kept = {"retention.bytes": str(64 << 20), "segment.bytes": str(16 << 20)}
        broker.make_topic(f"{prefix}.predictions", **kept)
        cameras = {name: stack.enter_context(RtspServer(clip)) for name in CAMERAS}
        keep = f"{KEEP_MIN}m"
        settings: dict[str, Any] = {
            "streams": [
                {"id": name, "url": server.url(), "fps": FPS, "options": {"timeout_s": "4"}}
                for name, server in cameras.items()
            ],
            "prompts": [PROMPT],
            "model": {"name": "embedded", **SMALL},
            "analytics": ["presence"],
            "stop_timeout_s": 120,  # a busy machine would leave some of it to the next start
            "output": {
                "out": str(out),
                "sinks": ["parquet", "kafka"],
                "segment_s": 5,
                "keep": {"rows": keep, "rasters": keep},
                "kafka": {"bootstrap": broker.bootstrap, "topic_prefix": prefix, "transactional": True},
            },
        }
        job = Victim(tmp_path, settings, "--metrics", str(port), program="tests.soak.within")
        stack.callback(job.kill)
        follower = Follower(broker.bootstrap, prefix, late_ms=100)
        stack.callback(follower.close)
        faults = Faults(cameras, broker, random.Random(SEED))
        stack.callback(faults.heal)
        yield Soak(job, faults, Answers(out, follower), out, memory, f"http://127.0.0.1:{port}/metrics")


def street(path: Path) -> Path:
    """Some seconds of a street on which cars drive, 320 x 180 at 25 fps."""
    scene = Scene(SEED, size_hw=(180, 320))
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"bf": "0", "g": "25"})
        stream.width, stream.height, stream.pix_fmt = 320, 180, "yuv420p"
        for number in range(25 * STREET_S):
            picture = scene.render(number / 25).image
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    return path


@pytest.mark.timeout(900 + 90 * MINUTES)
def test_books_are_right_and_memory_threads_files_and_disk_stay_where_they_are(soak: Soak) -> None:
    begin(soak)
    began_s, looks, disks, answered = time.monotonic(), [], [], dict.fromkeys(CAMERAS, 0.0)
    minute = 0
    while (now_s := time.monotonic() - began_s) < MINUTES * 60:
        assert soak.job.runs(), soak.job.end()
        soak.faults.turn(now_s)
        looks.append({"minute": now_s / 60, **soak.look()})
        if now_s >= 60 * (minute + 1):
            minute += 1
            answered = soak.books(answered)
            disks.append(soak.disk())
            tell(**looks[-1], **disks[-1], answered=sum(answered.values()), **soak.faults.counts)
        time.sleep(LOOK_EVERY_S)
    end(soak)
    steady = [look for look in looks if look["minute"] >= WARM_UP * MINUTES]
    slopes = {
        name: slope_of(steady, name) for name in ("pss_mb", "anon_mb", "malloc_mb", "arrow_mb", "blocks")
    }
    lost = {
        stream["stream_id"]: {**stream["lost"], **stream["failed"]} for stream in soak.job.report["streams"]
    }
    tell(
        soak_minutes=MINUTES,
        slopes_per_h={name: [round(value, 2) for value in slope] for name, slope in slopes.items()},
        pss_mb=[round(one, 1) for one in (steady[0]["pss_mb"], steady[-1]["pss_mb"])],
        results=sum(stream["results"] for stream in soak.job.report["streams"]),
        lost=lost,
        **soak.faults.counts,
    )
    slope, error = slopes["anon_mb"]
    assert slope - error < MAX_SLOPE_MB_PER_H
    for name in ("threads", "descriptors"):
        assert_level([look[name] for look in steady], name, np.median)
    # Two or three looks at the disk say nothing.
    for name in ("files", "notes") if IS_LONG else ():
        assert_level(
            [disk[name] for disk in disks], name, np.max
        )  # they grow for a day, and go when it is over
    # A table has one for each stream that had a part of its own, which comes and goes with load, and one for all.
    assert max((disk["folders"] for disk in disks), default=0) <= len(CAMERAS) + 1


def begin(soak: Soak) -> None:
    """Starts the run; each camera has had an answer, and something is stored, when this returns."""
    soak.job.start()
    wait_for(soak, lambda: soak.memory.exists() and len(list(soak.out.glob("frames/*/*.parquet"))) >= 2)
    wait_for(
        soak,
        lambda: all(
            totals_of(soak.metrics).get(name, {}).get("plantain_frames_answered_total") for name in CAMERAS
        ),
    )


def end(soak: Soak) -> None:
    """Brings everything back and ends the run, whose books must then agree with what is stored and sent."""
    soak.faults.heal()
    wait_for(soak, lambda: not list(soak.out.glob(".plantain/spool/*/*.arrow")))
    soak.job.interrupt()
    assert soak.job.end() == 130, soak.job.errors
    results = {stream["stream_id"]: stream["results"] for stream in soak.job.report["streams"]}
    for stream in soak.job.report["streams"]:
        assert_closed(stream)
        assert not stream["failed"], stream
    # A run that is told to end leaves to the next start what a broker has no time for.
    is_left = any(soak.out.glob(".plantain/spool/*/*.arrow"))
    deadline_s = time.monotonic() + (0 if is_left else PATIENCE_S)
    while soak.answers.sent != results and time.monotonic() < deadline_s:
        soak.answers.look()
        time.sleep(1)
    soak.answers.look()
    assert soak.answers.stored == results
    assert soak.answers.sent == results or (is_left and soak.answers.sent <= Counter(results))


def wait_for(soak: Soak, is_so: Callable[[], Any]) -> None:
    deadline_s = time.monotonic() + PATIENCE_S
    while not is_so():
        assert soak.job.runs(), soak.job.end()
        assert time.monotonic() < deadline_s
        if soak.out.joinpath("frames").exists():
            soak.answers.look()
        time.sleep(LOOK_EVERY_S)


def tell(**figures: Any) -> None:
    """One line."""
    figures = {
        name: round(value, 2) if isinstance(value, float) else value for name, value in figures.items()
    }
    sys.stdout.write(json.dumps(figures) + "\n")
    sys.stdout.flush()


def slope_of(looks: list[dict[str, float]], name: str) -> tuple[float, float]:
    """Of a line through the least of each minute, per hour, and twice its standard error.

    What a batch takes comes and goes within seconds; what stays is in the least.
    """
    least: dict[int, float] = {}
    for look in looks:
        minute = int(look["minute"])
        least[minute] = min(look[name], least.get(minute, look[name]))
    hours, values = np.array([*least]) / 60, np.array([*least.values()])
    if len(hours) < 3:
        return float(values[-1] - values[0]) * 60, 0.0
    slope, offset = np.polyfit(hours, values, 1)
    spread = np.std(values - slope * hours - offset, ddof=2) / np.sqrt(len(hours)) / np.std(hours)
    return float(slope), float(2 * spread)


def assert_level(counts: list[float], name: str, level: Callable[[list[float]], Any]) -> None:
    """What leaks goes on growing; a writer, a reader or tidying may just be at work."""
    half = len(counts) // 2
    assert level(counts[half:]) <= 1.2 * level(counts[:half]) + 2, f"{name}: {counts}"
