"""Three brokers that come and go: leaders that are killed or frozen, all away for a while or at the start, no topic."""

from __future__ import annotations

import contextlib
import os
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from plantain.deploy.job import run_job
from plantain.operators.retry import retry
from plantain.operators.sinks.base import Segment
from plantain.operators.sinks.kafka.sink import KafkaSink
from plantain.operators.sinks.store import Store
from plantain.pipeline.checkpoint import Checkpoints
from plantain.pipeline.config import PipelineConfig, check
from tests.assets import clips
from tests.kafka_broker import Broker, Cluster, skipped_without_broker
from tests.kafka_client import ids, records
from tests.results import result, written

# How long all brokers are away: 60 for the long form.
AWAY_S = float(os.environ.get("PLANTAIN_KAFKA_AWAY_S", "6"))

pytestmark = [
    pytest.mark.kafka,
    pytest.mark.usefixtures("no_socket_is_left"),
    pytest.mark.timeout(600 + 4 * AWAY_S),
    pytest.mark.filterwarnings("ignore:Exception ignored in. <s"),  # sockets that kafka-python 3.0.12 forgets
]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    if os.environ.get("PLANTAIN_KAFKA"):
        pytest.skip("the broker that was named is not ours to kill")
    with skipped_without_broker():
        made = Cluster.make(creates=False)
    yield made
    made.close()


@pytest.fixture
def prefix(cluster: Cluster) -> str:
    name = f"t{uuid.uuid4().hex[:10]}"
    for kind in ("predictions", "health"):
        cluster.make_topic(f"{name}.{kind}")
    return name


def identities(frames: range) -> list[str]:
    return [f"clip/0/{index}/{prompt}/0123" for index in frames for prompt in ("instances:car", "depth")]


def killed(cluster: Cluster, node: Broker) -> Callable[[], None]:
    node.kill()
    return node.start


def frozen(cluster: Cluster, node: Broker) -> Callable[[], None]:
    node.freeze()
    return node.thaw


@pytest.mark.parametrize("transactional", [False, True], ids=["at_least_once", "exactly_once"])
@pytest.mark.parametrize("fault", [killed, frozen])
def test_another_broker_leads_and_nothing_is_lost(
    cluster: Cluster,
    prefix: str,
    tmp_path: Path,
    fault: Callable[[Cluster, Broker], Callable[[], None]],
    transactional: bool,
) -> None:
    sink = KafkaSink(
        str(tmp_path),
        "run",
        cluster.bootstrap,
        topic_prefix=prefix,
        transactional=transactional,
        timeout_s=20,
        bootstrap_timeout_ms=10_000,
    )
    with contextlib.closing(sink):
        sink.begin("clip", is_resumed=False)
        heal: Callable[[], None] = lambda: None  # noqa: E731
        for index in range(12):
            segment = Segment("clip", 0, index)
            for half in (0, 3):
                frames = range(6 * index + half, 6 * index + half + 3)
                retry(lambda: sink.write(segment, written(*(result(number) for number in frames))), "test")  # noqa: B023
                if (index, half) == (4, 0):  # in the midst of a segment
                    heal = fault(cluster, cluster.leader_of(f"{prefix}.predictions"))
            retry(lambda: sink.commit(segment), "test")  # noqa: B023
            if index == 8:
                heal()
    cluster.wait_until_whole(f"{prefix}.predictions")
    found = ids(records(cluster.bootstrap, prefix))
    assert list(dict.fromkeys(found)) == identities(range(72))
    assert len(found) == len(set(found)) or not transactional


def cameras(folder: Path, cluster: Cluster, prefix: str) -> PipelineConfig:
    """A camera for about so long as the brokers are away, and some more."""
    clip = clips.make(folder / "clip.mp4", 100, size=(96, 64))
    stream = {
        "id": "cam",
        "url": str(clip),
        "max_frames": 25 * (12 + round(AWAY_S)),
        "options": {"realtime": "yes", "loop": "yes", "ring": "25"},
    }
    return config_of(
        stream, folder, cluster, prefix, transactional=False, timeout_s=20, max_unacknowledged=40
    )


def files(folder: Path, cluster: Cluster, prefix: str) -> PipelineConfig:
    clip = clips.make(folder / "clip.mp4", 250, size=(96, 64))
    return config_of(
        {"id": "file", "url": str(clip)}, folder, cluster, prefix, transactional=True, timeout_s=20
    )


def config_of(
    stream: dict[str, Any], folder: Path, cluster: Cluster, prefix: str, **kafka: Any
) -> PipelineConfig:
    kafka |= {"bootstrap": cluster.bootstrap, "topic_prefix": prefix, "bootstrap_timeout_ms": 5000}
    return check(
        {
            "streams": [stream],
            "prompts": ["depth"],
            "model": {"name": "tests.plugins:PickyModel", "options": {"cost_ms": 20}},
            "output": {"out": str(folder / "out"), "sinks": ["kafka"], "segment_frames": 16, "kafka": kafka},
        }
    )


def durable_frames(folder: Path, stream_id: str) -> int:
    """How many frames a checkpoint knows of."""
    durable = Checkpoints(Store(str(folder / "out"))).load(stream_id)
    return durable.position.delivered if durable else 0


def away(cluster: Cluster, seconds: float) -> None:
    """All brokers are killed, and come back after a while."""
    for node in cluster.nodes.values():
        node.kill()
    time.sleep(seconds)
    for node in cluster.nodes.values():
        node.launch()
    for node in cluster.nodes.values():
        node.wait()


@pytest.mark.parametrize("source", [files, cameras])
def test_all_brokers_are_away_for_a_while(
    cluster: Cluster, prefix: str, tmp_path: Path, source: Callable[[Path, Cluster, str], PipelineConfig]
) -> None:
    config = source(tmp_path, cluster, prefix)
    stream_id = str(config.streams[0].id)
    struck = threading.Event()

    def strike() -> None:
        deadline_s = time.monotonic() + 120
        while durable_frames(tmp_path, stream_id) < 32 and time.monotonic() < deadline_s:
            time.sleep(0.05)
        if durable_frames(tmp_path, stream_id) >= 32:
            struck.set()
        away(cluster, AWAY_S)

    thread = threading.Thread(target=strike, name="strike")
    thread.start()
    try:
        outcome = run_job(config)
    finally:
        thread.join()
    assert struck.is_set()
    assert outcome.exit_code == 0, outcome.streams[0].error
    account = outcome.streams[0].account
    assert account.decoded == account.results + (
        account.lost.total() + account.skipped.total() + account.failed.total()
    )
    found = ids(records(cluster.bootstrap, prefix), stream_id)
    assert len(set(found)) == account.results
    first = [int(identity.split("/")[2]) for identity in dict.fromkeys(found)]
    assert first == sorted(first)
    if source is files:
        assert first == list(range(250))
        assert len(found) == len(set(found))


def test_brokers_that_are_not_there_yet_are_waited_for(cluster: Cluster, prefix: str, tmp_path: Path) -> None:
    config = files(tmp_path, cluster, prefix)
    for node in cluster.nodes.values():
        node.kill()
    thread = threading.Thread(target=away, args=(cluster, 6.0), name="start")
    thread.start()
    try:
        outcome = run_job(config)
    finally:
        thread.join()
    assert outcome.exit_code == 0, outcome.streams[0].error
    assert [int(each.split("/")[2]) for each in ids(records(cluster.bootstrap, prefix), "file")] == list(
        range(250)
    )


def test_a_topic_that_is_missing_is_waited_for(cluster: Cluster, tmp_path: Path) -> None:
    prefix = f"t{uuid.uuid4().hex[:10]}"
    config = files(tmp_path, cluster, prefix)

    def make() -> None:
        time.sleep(4.0)
        cluster.make_topic(f"{prefix}.predictions")

    thread = threading.Thread(target=make, name="make")
    thread.start()
    try:
        outcome = run_job(config)
    finally:
        thread.join()
    assert outcome.exit_code == 0, outcome.streams[0].error
    assert len(ids(records(cluster.bootstrap, prefix), "file")) == 250
