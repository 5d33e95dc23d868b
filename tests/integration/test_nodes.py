"""Several machines: Ray's own cluster of nodes on this one, each with its object store; and one that is lost."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import ray
from ray.cluster_utils import Cluster

from plantain.deploy.job import run_job
from plantain.deploy.ray.executor import RayExecutor
from plantain.pipeline.calls import Call
from plantain.pipeline.config import PipelineConfig, check
from plantain.pipeline.engine.stream import Phase
from plantain.pipeline.executor import InlineExecutor
from tests.assets import clips
from tests.stored import Row, rows_in

pytestmark = [pytest.mark.ray, pytest.mark.timeout(290)]

FRAMES = 48
STREAMS = ("anna", "bert")
# Larger than what Ray passes along in its messages, so that frames do lie in the stores of their nodes.
CANVAS = {"width": 256, "height": 192}


class Nodes:
    """A head, where the driver is, and further nodes, which can be lost.

    Args:
        count: Of the further ones.
    """

    def __init__(self, count: int) -> None:
        common = {"object_store_memory": 128 << 20, "include_dashboard": False}
        self._cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, **common})
        self._others = [
            self._cluster.add_node(num_cpus=1, object_store_memory=128 << 20) for _ in range(count)
        ]
        ray.init(
            address=self._cluster.address, namespace="plantain-nodes", log_to_driver=False,
            logging_level="ERROR", configure_logging=False,
        )  # fmt: skip

    @property
    def others(self) -> dict[str, Any]:
        """The nodes that can be lost, by their Ray id."""
        return {node.node_id: node for node in self._others}

    def lose(self, node_id: str) -> None:
        """Kills all processes of a node, with what lies in its store."""
        node = self.others[node_id]
        self._others.remove(node)
        self._cluster.remove_node(node, allow_graceful=False)

    def close(self) -> None:
        """Ends all."""
        ray.shutdown()
        self._cluster.shutdown()


@pytest.fixture
def nodes() -> Iterator[Callable[[int], Nodes]]:
    """Makes a cluster with so many further nodes."""
    made: list[Nodes] = []

    def make(count: int) -> Nodes:
        made.append(Nodes(count))
        return made[-1]

    yield make
    for cluster in made:
        cluster.close()


class WatchedExecutor(RayExecutor):
    """Knows on which nodes its workers are, and calls back after some calls of a stage.

    Args:
        stage: Whose calls are counted.
        after_calls: How many.
        then: Is given the nodes of the stage's workers.
    """

    def __init__(
        self, stage: str = "", after_calls: int = 0, then: Callable[[list[str]], None] | None = None
    ) -> None:
        super().__init__()
        self._stage, self._left, self._then = stage, after_calls, then

    def nodes_of(self, stage: str) -> list[str]:
        """The node of each worker of a stage."""
        actors = [actor for (name, _), actor in self._actors.items() if name == stage]
        where = lambda _: ray.get_runtime_context().get_node_id()  # noqa: E731 - it travels to the actor
        return list(ray.get([actor.__ray_call__.remote(where) for actor in actors]))

    def submit(self, call: Call) -> None:
        super().submit(call)
        if call.stage == self._stage and call.verb in ("run", "read") and self._left:
            self._left -= 1
            if not self._left and self._then is not None:
                self._then(self.nodes_of(self._stage))


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return clips.make(tmp_path_factory.mktemp("clips") / "clip.mp4", FRAMES, size=(256, 192))


def config_of(clip: Path, folder: Path) -> PipelineConfig:
    return check(
        {
            "streams": [{"id": name, "url": str(clip)} for name in STREAMS],
            "prompts": ["depth", "instances:bar"],
            "model": {"name": "tests.plugins:PickyModel", "canvas": CANVAS, "replicas": 2},
            "read": {"workers": 2, "chunk_frames": 4, "max_frames_in_flight": 48},
            "batch": {"max_items": 4, "max_wait_ms": 5},
            "output": {"out": str(folder), "segment_frames": 12},
        }
    )


@pytest.fixture(scope="module")
def expected(clip: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Row]]:
    """The rows of one process."""
    folder = tmp_path_factory.mktemp("one") / "out"
    run_job(config_of(clip, folder), executor=InlineExecutor())
    return rows_in(folder)


def assert_same(rows: dict[str, list[Row]], expected: dict[str, list[Row]]) -> None:
    """Every row is there once, and equal in every column."""
    assert {name: len(table) for name, table in rows.items()} == {
        name: len(table) for name, table in expected.items()
    }
    for name, table in rows.items():
        for row, other in zip(table, expected[name], strict=True):
            assert {key: value for key, value in row.items() if value != other[key]} == {}


def test_three_nodes_give_the_rows_of_one(
    nodes: Callable[[int], Nodes], clip: Path, tmp_path: Path, expected: dict[str, list[Row]]
) -> None:
    nodes(2)
    seen: set[str] = set()
    executor = WatchedExecutor(
        "infer", 3, lambda _: seen.update(*map(executor.nodes_of, ("read", "infer", "analyse", "write")))
    )
    outcome = run_job(config_of(clip, tmp_path / "out"), executor=executor)
    assert [stream.phase for stream in outcome.streams] == [Phase.DONE] * len(STREAMS)
    assert_same(rows_in(tmp_path / "out"), expected)
    assert len(seen) > 1, "all workers were on one node"


@pytest.mark.parametrize("stage", ["read", "infer"])
def test_a_node_that_is_lost_with_its_workers_and_frames_loses_no_result(
    stage: str, nodes: Callable[[int], Nodes], clip: Path, tmp_path: Path, expected: dict[str, list[Row]]
) -> None:
    cluster = nodes(2)
    lost: list[str] = []

    def lose(where: list[str]) -> None:
        """The machine of a worker of the stage; where Ray has put them beside the driver, of another worker."""
        everybody = where + [
            node for name in ("read", "infer", "analyse", "write") for node in executor.nodes_of(name)
        ]
        victim = next(node for node in everybody if node in cluster.others)
        cluster.lose(victim)
        lost.append(victim)

    executor = WatchedExecutor(stage, 5, lose)
    outcome = run_job(config_of(clip, tmp_path / "out"), executor=executor)
    assert lost
    assert [stream.error for stream in outcome.streams] == [""] * len(STREAMS)
    assert [stream.phase for stream in outcome.streams] == [Phase.DONE] * len(STREAMS)
    assert_same(rows_in(tmp_path / "out"), expected)
    for stream in outcome.streams:
        assert stream.account.results == FRAMES
