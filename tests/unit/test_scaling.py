"""Copies of the model that come when frames wait and go when they are idle: the decision, the engine, real workers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import ray
import structlog
from hypothesis import given
from hypothesis import strategies as st

from plantain.deploy.ray.cluster import start_ray
from plantain.deploy.ray.executor import RayExecutor
from plantain.operators.errors import UsageError
from plantain.pipeline import runner
from plantain.pipeline.config import PipelineConfig, check
from plantain.pipeline.engine import scaling
from plantain.pipeline.engine.engine import Engine
from plantain.pipeline.engine.scaling import DOWN_AFTER_S, RETRY_S, SETTLE_S, UP_AFTER_S, UP_AGE_S, Scaler
from plantain.pipeline.engine.stream import Phase
from plantain.pipeline.executor import Executor, InlineExecutor, ThreadExecutor
from plantain.pipeline.runner import Outcome, run
from plantain.pipeline.video import build_graph, starts_of
from tests.assets import clips
from tests.numbers import OrderedSink, Plan, graph_of
from tests.numbers import starts_of as simulated
from tests.scarce import OnlyOnce
from tests.simulation import World
from tests.stored import rows_in

moments = st.lists(
    st.tuples(st.floats(0.0, 5.0), st.floats(0.0, 3.0), st.booleans()), min_size=1, max_size=200
)


@given(moments=moments, least=st.integers(1, 3), more=st.integers(0, 4))
def test_the_bounds_hold_and_changes_are_rare(
    moments: list[tuple[float, float, bool]], least: int, more: int
) -> None:
    scaler, now, copies, changed_s = Scaler(least, least + more), 0.0, least, -SETTLE_S
    for pause_s, age_s, is_idle in moments:
        now += pause_s
        wanted = scaler.step(now, copies, int(is_idle), age_s)
        assert least <= wanted <= least + more
        assert abs(wanted - copies) <= 1
        if wanted != copies:
            assert now - changed_s >= SETTLE_S
            copies, changed_s = wanted, now


@given(most=st.integers(1, 6), step_s=st.floats(0.05, 2.0))
def test_frames_that_wait_bring_all_copies_and_idleness_takes_them_away(most: int, step_s: float) -> None:
    scaler, now, copies = Scaler(1, most), 0.0, 1
    while copies < most:
        copies = scaler.step(now, copies, 0, UP_AGE_S + 0.1)
        now += step_s
        assert now < most * (UP_AFTER_S + SETTLE_S + 4 * step_s)
    begun_s = now
    while copies > 1:
        copies = scaler.step(now, copies, 1, 0.0)
        now += step_s
        assert now - begun_s < most * (DOWN_AFTER_S + SETTLE_S + 4 * step_s)


@given(period_s=st.floats(0.1, UP_AFTER_S - 0.1))
def test_a_short_wait_now_and_then_changes_nothing(period_s: float) -> None:
    scaler, now = Scaler(1, 4), 0.0
    for turn in range(200):
        now += period_s / 2
        assert scaler.step(now, 1, 0, UP_AGE_S * 2 if turn % 2 else 0.0) == 1


def test_a_copy_that_could_not_be_made_is_not_tried_again_at_once() -> None:
    scaler = Scaler(1, 2)
    scaler.step(0.0, 1, 0, 2.0)
    assert scaler.step(UP_AFTER_S, 1, 0, 2.0) == 2
    scaler.failed(UP_AFTER_S + 1)
    times = [now for now in range(200) if now > UP_AFTER_S + 1 and scaler.step(now, 1, 0, 2.0) == 2]
    assert times[0] >= UP_AFTER_S + 1 + RETRY_S


@given(seed=st.integers(0, 10_000), deaths=st.integers(0, 3))
def test_the_engine_answers_every_frame_while_copies_come_and_go(seed: int, deaths: int) -> None:
    plans = {"a": Plan(25, infer_fails=frozenset({2})), "b": Plan(14)}
    sink = OrderedSink()
    graph = graph_of(plans, sink, models=3)
    stages = tuple(replace(stage, least=1) if stage.name == "infer" else stage for stage in graph.stages)
    world = World(replace(graph, stages=stages), simulated(plans), seed, deaths)
    world.engine.pool().scaler = Eager(1, 3, seed)
    world.run()
    for name, plan in plans.items():
        assert sink.frames_of(name) == plan.expected()


class Eager(Scaler):
    """Changes its mind at every look."""

    def __init__(self, least: int, most: int, seed: int) -> None:
        super().__init__(least, most)
        self._turn = seed

    def step(self, now: float, copies: int, idle: int, age_s: float) -> int:
        self._turn = (self._turn * 1103515245 + 12345) % (1 << 31)
        return max(self.least, min(self.most, copies + self._turn // 65536 % 3 - 1))


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Decisions in tenths of seconds."""
    for name, value in (("UP_AGE_S", 0.05), ("UP_AFTER_S", 0.1), ("DOWN_AFTER_S", 0.4), ("SETTLE_S", 0.1)):
        monkeypatch.setattr(scaling, name, value)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return clips.make(tmp_path_factory.mktemp("clips") / "clip.mp4", 60, size=(64, 48))


def config_of(
    clip: Path, folder: Path, replicas: object, model: str = "fake", **stream: object
) -> PipelineConfig:
    return check(
        {
            "streams": [{"id": "a", "url": str(clip), **stream}],
            "prompts": ["depth"],
            "model": {
                "name": model,
                "options": {"cost_ms": 40},
                "replicas": replicas,
                "canvas": {"width": 64, "height": 48},
            },
            "batch": {"max_items": 2, "max_wait_ms": 5},
            "output": {"out": str(folder / "out")},
        }
    )


def watch(
    config: PipelineConfig, executor: Executor, monkeypatch: pytest.MonkeyPatch
) -> tuple[Outcome, list[int]]:
    """Runs, and tells how many copies there were at each look."""
    monkeypatch.setattr(runner, "PROGRESS_EVERY_S", 0.02)
    copies: list[int] = []

    def look(engine: Engine) -> None:
        copies.append(engine.loads(0.0)["infer"].workers)

    outcome = run(build_graph(config), executor, starts_of(config, None), on_progress=look)
    return outcome, copies


@pytest.fixture(params=["threads", "inline", pytest.param("ray", marks=pytest.mark.ray)])
def make_executor(request: pytest.FixtureRequest) -> Iterator[Callable[[], Executor]]:
    if request.param != "ray":
        yield ThreadExecutor if request.param == "threads" else InlineExecutor
        return
    start_ray(None)
    yield RayExecutor
    ray.shutdown()


@pytest.mark.usefixtures("quick")
@pytest.mark.timeout(200)
def test_real_workers_come_with_the_load_and_the_rows_are_those_of_one(
    make_executor: Callable[[], Executor], clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(
        build_graph(config := config_of(clip, tmp_path / "one", 1)), InlineExecutor(), starts_of(config, None)
    )
    many = config_of(clip, tmp_path, {"min": 1, "max": 3})
    outcome, copies = watch(many, make_executor(), monkeypatch)
    assert outcome.streams[0].phase is Phase.DONE
    assert copies[0] == 1
    assert max(copies) > 1
    ours, theirs = (rows_in(folder / "out")["frames"] for folder in (tmp_path, tmp_path / "one"))
    assert len(ours) == len(theirs) == 60
    for row, other in zip(ours, theirs, strict=True):
        assert {name for name, value in row.items() if value != other[name]} == set()


@pytest.mark.usefixtures("quick")
def test_idle_copies_go_again(clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = config_of(clip, tmp_path, {"min": 1, "max": 2}, options={"realtime": "yes"}, max_frames=50)
    graph = build_graph(config)
    stages = tuple(
        replace(stage, least=1, workers=2) if stage.name == "infer" else stage for stage in graph.stages
    )
    copies: list[int] = []
    monkeypatch.setattr(runner, "PROGRESS_EVERY_S", 0.02)
    monkeypatch.setattr(Scaler, "step", busy_at_first(Scaler.step))
    outcome = run(
        replace(graph, stages=stages),
        ThreadExecutor(),
        starts_of(config, None),
        on_progress=lambda engine: copies.append(engine.loads(0.0)["infer"].workers),
    )
    assert outcome.exit_code == 0
    assert max(copies) == 2
    assert copies[-1] == 1


def busy_at_first(plain: Callable[..., int]) -> Callable[..., int]:
    """As if frames had to wait for the first half second."""
    begun: list[float] = []

    def step(self: Scaler, now: float, copies: int, idle: int, age_s: float) -> int:
        begun.append(now)
        is_busy = now - begun[0] < 0.5
        return plain(self, now, copies, 0 if is_busy else max(1, idle), 10.0 if is_busy else 0.0)

    return step


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("make", [ThreadExecutor, InlineExecutor])
def test_a_copy_for_which_there_is_no_room_costs_nothing_but_a_line_in_the_log(
    make: Callable[[], Executor], clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    OnlyOnce.made = 0
    config = config_of(clip, tmp_path, {"min": 1, "max": 3}, model="tests.scarce:OnlyOnce")
    with structlog.testing.capture_logs() as lines:
        outcome, copies = watch(config, make(), monkeypatch)
    assert outcome.exit_code == 0
    assert outcome.streams[0].account.results == 60
    assert set(copies) == {1}
    (failed,) = (line for line in lines if line["event"] == "copy failed")
    assert "no memory for another copy" in failed["error"]


@pytest.mark.parametrize(
    ("replicas", "words"),
    [(0, "at least 1"), ({"min": 3, "max": 2}, "must not be below"), ({"min": 0}, "greater")],
)
def test_numbers_that_cannot_be_are_named(replicas: object, words: str, clip: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=words):
        config_of(clip, tmp_path, replicas)


def test_a_number_is_short_for_as_many_always(clip: Path, tmp_path: Path) -> None:
    (stage,) = (stage for stage in build_graph(config_of(clip, tmp_path, 2)).stages if stage.name == "infer")
    assert (stage.at_first, stage.workers) == (2, 2)
