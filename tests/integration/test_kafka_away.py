"""Runs with Parquet and Kafka while Kafka is away: nobody waits, nothing is lost, and each message comes once."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import structlog

from plantain.deploy.job import run_job
from plantain.operators.sinks import gaps
from plantain.operators.sinks.parquet.reading import read_frames
from plantain.operators.sinks.store import Store
from plantain.pipeline.checkpoint import Checkpoints
from plantain.pipeline.commands import Status
from plantain.pipeline.config import PipelineConfig, check
from plantain.pipeline.control import Control
from plantain.pipeline.engine import segments
from plantain.pipeline.runner import Outcome
from tests.assets import clips
from tests.field.cameras import STATES
from tests.kafka_broker import Broker
from tests.kafka_client import ids, records
from tests.ports import free_ports
from tests.stored import rows_in

ROOT = Path(__file__).parents[2]
PATIENCE_S = 120.0
NUM_FRAMES = 60

pytestmark = [
    pytest.mark.kafka,
    pytest.mark.usefixtures("no_socket_is_left"),
    pytest.mark.filterwarnings("ignore:Exception ignored in. <s"),  # sockets that kafka-python 3.0.12 forgets
]


def settings_of(folder: Path, bootstrap: str, prefix: str, **stream: Any) -> dict[str, Any]:
    clip = clips.make(folder / "clip.mp4", NUM_FRAMES, size=(96, 64))
    kafka = {
        "bootstrap": bootstrap,
        "topic_prefix": prefix,
        "transactional": True,
        "bootstrap_timeout_ms": 1500,
    }
    return {
        "streams": [{"id": "file", "url": str(clip), **stream}],
        "prompts": ["depth"],
        "model": {"name": "tests.plugins:PickyModel"},
        "output": {
            "out": str(folder / "out"),
            "sinks": ["parquet", "kafka"],
            "segment_frames": 8,
            "segment_s": 0.5,
            "kafka": kafka,
        },
        "stop_timeout_s": 4,
    }


def nowhere() -> str:
    return f"127.0.0.1:{free_ports(1)[0]}"


def wait_for(is_so: Callable[[], Any]) -> None:
    limit_s = time.monotonic() + PATIENCE_S
    while not is_so():
        assert time.monotonic() < limit_s
        time.sleep(0.05)


def is_complete(folder: Path) -> bool:
    durable = Checkpoints(Store(str(folder / "out"))).load("file")
    return durable is not None and durable.is_complete


@contextmanager
def running(config: PipelineConfig, control: Control | None = None) -> Iterator[list[Outcome]]:
    outcomes: list[Outcome] = []
    thread = threading.Thread(target=lambda: outcomes.append(run_job(config, control=control)), name="run")
    thread.start()
    try:
        yield outcomes
    finally:
        thread.join(PATIENCE_S)
        assert not thread.is_alive()


def frames_in(folder: Path) -> list[int]:
    return [row["frame_index"] for row in rows_in(folder / "out")["frames"]]


def test_parquet_and_its_checkpoints_go_on_and_kafka_gets_everything_once_when_it_is_back(
    broker: Broker, prefix: str, tmp_path: Path
) -> None:
    if not broker.is_ours:
        pytest.skip("the broker that was named is not ours to kill")
    config = check(settings_of(tmp_path, broker.bootstrap, prefix))
    broker.kill()
    start = contextlib.ExitStack()
    start.callback(broker.start)
    with start, running(config) as outcomes:
        wait_for(lambda: is_complete(tmp_path))
        assert frames_in(tmp_path) == list(range(NUM_FRAMES))
        assert outcomes == [], "the run goes on until Kafka has it all"
        start.close()
    assert [outcome.exit_code for outcome in outcomes] == [0]
    assert ids(records(broker.bootstrap, prefix), "file") == [
        f"file/0/{index}/depth/picky-1" for index in range(NUM_FRAMES)
    ]
    assert not list((tmp_path / "out").glob(".plantain/spool/*/*.arrow"))


def test_killed_while_kafka_is_away_the_next_start_sends_what_was_left_each_once(
    broker: Broker, prefix: str, tmp_path: Path
) -> None:
    """The first process is killed in the midst of writing; the second finds everything in Parquet, or makes it."""
    settings = settings_of(tmp_path, nowhere(), prefix)
    settings["model"]["options"] = {"cost_ms": 20}
    file = tmp_path / "run.json"
    file.write_text(json.dumps(settings))
    command = [sys.executable, "-m", "plantain.deploy.cli", "run", "--config", str(file)]
    process = subprocess.Popen(command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT / "src")})
    wait_for(lambda: len(list((tmp_path / "out").glob(".plantain/spool/*/*.arrow"))) >= 2)
    process.send_signal(signal.SIGKILL)
    process.wait()
    settings["output"]["kafka"]["bootstrap"] = broker.bootstrap
    with running(check(settings)) as outcomes:
        pass
    assert [outcome.exit_code for outcome in outcomes] == [0]
    assert frames_in(tmp_path) == list(range(NUM_FRAMES))
    assert ids(records(broker.bootstrap, prefix), "file") == [
        f"file/0/{index}/depth/picky-1" for index in range(NUM_FRAMES)
    ]


def test_told_to_stop_while_kafka_is_away_it_says_what_it_left_and_the_next_start_sends_it(
    broker: Broker, prefix: str, tmp_path: Path
) -> None:
    settings = settings_of(
        tmp_path, nowhere(), prefix, id="file", options={"realtime": "yes", "loop": "yes"}, max_frames=100_000
    )
    settings["output"]["kafka"]["transactional"] = False
    config = check(settings)
    control = Control(config, is_lasting=False)
    with structlog.testing.capture_logs() as logs, running(config, control) as outcomes:
        wait_for(lambda: len(list((tmp_path / "out").glob(".plantain/spool/*/*.arrow"))) >= 2)
        assert control.do(Status("file")).behind.startswith("kafka: ")
        control.stop()
    (outcome,) = outcomes
    assert [backlog.sink for backlog in outcome.left] == ["kafka"]
    (left,) = [entry for entry in logs if entry["event"] == "left"]
    assert left["messages"] > 0
    assert "the next start" in left["what"]
    stored = frames_in(tmp_path)
    settings["output"]["kafka"]["bootstrap"] = broker.bootstrap
    again = Control(check(settings), is_lasting=False)
    with running(check(settings), again):
        wait_for(lambda: not list((tmp_path / "out").glob(".plantain/spool/*/*.arrow")))
        again.stop()
    found = dict.fromkeys(ids(records(broker.bootstrap, prefix), "file"))
    sent = [int(each.split("/")[2]) for each in found if each.split("/")[1] == "0"]
    assert sent == sorted(stored)


def test_a_camera_that_is_away_while_kafka_is_has_each_of_its_gaps_once_in_both(
    broker: Broker, prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Gaps go into transactions as frames do: while the broker is away, after it is back, and over a restart."""
    if not broker.is_ours:
        pytest.skip("the broker that was named is not ours to kill")
    monkeypatch.setattr(segments, "GAP_S", 0.5)
    monkeypatch.setattr(gaps, "LEAST_NS", 200_000_000)
    STATES.clear()
    settings = settings_of(
        tmp_path, broker.bootstrap, prefix, url="gate", source="tests.field.cameras:Camera"
    )
    settings["output"]["segment_s"], settings["output"]["segment_frames"] = 2.0, 512
    config = check(settings | {"model": {"name": "fake", "canvas": {"width": 64, "height": 36}}})

    def rows() -> list[tuple[int, int, str, str | None]]:
        """What is stored, in the order of time."""
        if not (tmp_path / "out" / "frames").exists():
            return []
        stored = read_frames(tmp_path / "out", ["captured_at", "epoch", "frame_index", "status", "reason"])
        found = zip(*(stored[name].tolist() for name in stored), strict=True)
        return [(epoch, index, status, reason) for _, epoch, index, status, reason in sorted(found)]

    def count(reason: str) -> int:
        return sum(row[2] == "gap" and str(row[3]).startswith(reason) for row in rows())

    broker.kill()
    start = contextlib.ExitStack()
    start.callback(broker.start)
    with start:
        for state in (
            "refused",
            "silent",
        ):  # in the first run the broker stays away, in the second it comes back
            control = Control(config, is_lasting=False)
            with running(config, control):
                wait_for(lambda: rows() and rows()[-1][2] == "ok")
                STATES["gate"] = state
                wait_for(lambda state=state: count(state) >= 2)
                if state == "silent":
                    start.close()
                STATES["gate"] = "live"
                wait_for(lambda: rows()[-1][2] == "ok")
                if state == "silent":
                    wait_for(lambda: not list((tmp_path / "out").glob(".plantain/spool/*/*.arrow")))
                control.stop()
    STATES.clear()
    assert count("stopped") == 1
    told = records(broker.bootstrap, prefix)
    assert len({*ids(told, "file")}) == len(told)
    values = [json.loads(record.value()) for record in told]
    assert [(v["epoch"], v["frame_index"], v["status"], v["reason"]) for v in values] == rows()
