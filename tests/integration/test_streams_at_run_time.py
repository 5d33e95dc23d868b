"""Streams that are added, slowed down and taken away by the thousand, and prompts that are asked now and then."""

from __future__ import annotations

import gc
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import psutil
import pytest
import ray

from plantain.deploy.job import run_job
from plantain.deploy.ray.cluster import start_ray
from plantain.deploy.ray.executor import RayExecutor
from plantain.operators.errors import PlantainError, UsageError
from plantain.operators.prompts import Prompt
from plantain.operators.segments import Position
from plantain.operators.sources import open_source
from plantain.operators.streams import StreamSpec, View
from plantain.pipeline.commands import Add, Ask, Listen, Remove, Status, Streams, Swap
from plantain.pipeline.config import PipelineConfig, StreamConfig, check
from plantain.pipeline.control import Control
from plantain.pipeline.executor import Executor, ThreadExecutor
from plantain.pipeline.runner import Outcome
from tests.assets.clips import make

PATIENCE_S = 90.0

pytestmark = pytest.mark.timeout(600)


@contextmanager
def running(config: PipelineConfig, executor: Executor | None = None) -> Iterator[Control]:
    """A run in another thread."""
    control = Control(config)
    outcomes: list[Outcome] = []
    thread = threading.Thread(
        target=lambda: outcomes.append(run_job(config, control=control, executor=executor))
    )
    thread.start()
    try:
        control.do(Streams())
        yield control
    finally:
        control.stop()
        thread.join(PATIENCE_S)
    assert outcomes


def config_of(out: Path, **settings: object) -> PipelineConfig:
    data = {
        "streams": [],
        "prompts": ["depth"],
        "model": {"name": "tests.plugins:PickyModel"},
        "output": {"out": str(out), "segment_frames": 50, "rasters": False},
        "read": {"workers": 2},
        **settings,
    }
    return check(data, may_be_idle=True)


def cam(name: str, fps: float = 25) -> StreamConfig:
    return StreamConfig(url=f"cam://{fps}", id=name, source="tests.plugins:Cam")


def until(look: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not look():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def held() -> dict[str, int]:
    """What this process holds."""
    gc.collect()
    return {"threads": threading.active_count(), "descriptors": psutil.Process().num_fds()}


def rss_bytes(pid: int) -> int:
    return int(psutil.Process(pid).memory_info().rss)


def num_threads(pids: list[int]) -> int:
    return sum(psutil.Process(pid).num_threads() for pid in pids)


def cycle(control: Control, number: int) -> Counter[str]:
    """One stream comes, gives something or nothing, and goes; where its frames went."""
    name = f"guest{number}"
    control.do(Add(cam(name, fps=100)))
    if number % 10 == 0:
        until(lambda: control.do(Status(name)).results, "a result")
    gone = control.do(Remove(name, drain=number % 3 != 0))
    assert gone.in_flight == 0
    assert gone.decoded == gone.results + sum(
        sum(each.values()) for each in (gone.lost, gone.skipped, gone.failed)
    )
    return Counter(decoded=gone.decoded, results=gone.results)


def test_a_thousand_streams_that_come_and_go_leave_nothing_behind(tmp_path):
    with running(
        config_of(tmp_path, output={"out": str(tmp_path), "sinks": ["parquet"], "rasters": False})
    ) as control:
        control.do(Add(cam("resident", fps=100)))
        total: Counter[str] = Counter()
        for number in range(200):
            total += cycle(control, number)
        before, before_bytes = held(), rss_bytes(os.getpid())
        for number in range(200, 1000):
            total += cycle(control, number)
        until(
            lambda: all(now <= before[name] for name, now in held().items()), "what is held"
        )  # a file is open now and then
        after_bytes = rss_bytes(os.getpid())
        assert after_bytes - before_bytes < 24 << 20
        assert [status.stream_id for status in control.do(Streams())] == ["resident"]
        resident = control.do(Status("resident"))
        assert (resident.reconnects, resident.failed) == (0, {})
    assert total["results"] > 0


@pytest.mark.ray
def test_streams_that_come_and_go_leave_actors_and_their_memory_where_they_were(tmp_path):
    start_ray(None)
    executor = RayExecutor()
    stages = ("read", "infer", "analyse", "write")

    def actors() -> list[int]:
        return [pid for stage in stages for pid in executor.actor_pids(stage)]

    try:
        with running(config_of(tmp_path), executor) as control:
            for number in range(30):
                cycle(control, number)
            pids = actors()
            before = sum(map(rss_bytes, pids))
            threads = num_threads(pids)
            for number in range(30, 130):
                cycle(control, number)
            assert actors() == pids
            assert sum(map(rss_bytes, pids)) - before < 32 << 20
            # Ray's own threads come and go.
            assert abs(num_threads(pids) - threads) < 12
    finally:
        ray.shutdown()


def test_under_overload_streams_give_up_what_the_ladder_says_and_get_it_back(tmp_path):
    config = config_of(
        tmp_path,
        prompts=["depth", "normals"],
        model={"name": "tests.plugins:HeavyModel", "options": {"cost_ms": 25}},
        overload={"ladder": ["frames", "size", "tasks"], "max_age_s": 0.6, "window_s": 0.5, "recover_s": 1.5},
    )
    with running(config) as control:
        control.do(Add(cam("gate", fps=10)))
        for number in range(5):
            control.do(Add(cam(f"crowd{number}", fps=10)))
        until(lambda: control.do(Status("gate")).rung >= 2, "two steps down")
        until(lambda: control.do(Status("gate")).lost.get("overload"), "frames that were given up")
        for number in range(5):
            control.do(Remove(f"crowd{number}"))
        until(lambda: control.do(Status("gate")).rung == 0, "everything back")
        status = control.do(Status("gate"))
        assert status.decoded == status.results + status.in_flight + sum(status.lost.values()) + sum(
            status.skipped.values()
        )
        assert {"slowed", "recovered"} <= {note.event.state for note in control.do(Listen())}
        at_ease = status.results
        until(lambda: control.do(Status("gate")).results > at_ease + 5, "results at ease")
    query = f"SELECT DISTINCT rung FROM '{tmp_path}/frames/stream=gate/*.parquet' ORDER BY rung"
    assert [rung for (rung,) in duckdb.sql(query).fetchall()][:3] == [0, 1, 2]


def asked_of(out: Path) -> dict[str, list[int]]:
    rows = duckdb.sql(
        f"SELECT prompt, list(frame_index ORDER BY frame_index) FROM '{out}/frames/*/*.parquet' GROUP BY prompt"
    ).fetchall()
    return dict(rows)


def film(clip: Path, out: Path, **settings: object) -> PipelineConfig:
    prompts = [{"prompt": "depth", "fps": 5}, "normals@every3", "instances:bar"]
    stream = {"url": str(clip), "prompts": prompts[:2], "every": 2, **settings}
    return check(
        {
            "streams": [stream],
            "model": {"name": "tests.plugins:PickyModel"},
            "output": {"out": str(out), "segment_frames": 10},
            "read": {"chunk_frames": 4, "max_frames_in_flight": 8},
            "batch": {"max_items": 4},
            "executor": "inline",
        }
    )


def test_prompts_with_a_cadence_are_asked_of_the_frames_that_are_due_and_of_no_other(tmp_path):
    clip = make(tmp_path / "clip.mp4", 60, size=(64, 48), rate=25)
    whole = run_job(film(clip, tmp_path / "whole"))
    # Every second frame of 25 a second is looked at: the first one in each fifth of a second is 0, 6, 10, 16, ...
    expected = {"depth": sorted([*range(0, 60, 10), *range(6, 60, 10)]), "normals": list(range(0, 60, 6))}
    assert asked_of(tmp_path / "whole") == expected
    (stream,) = whole.streams
    both = {*expected["depth"], *expected["normals"]}
    assert (stream.account.decoded, stream.account.results) == (30, len(both))
    assert stream.account.skipped == {"not due": 30 - len(both)}
    depth = stream.account.prompts["depth"]
    assert (depth.decoded, depth.results, depth.skipped) == (30, 12, {"not due": 18})

    for cut in (1, 3, 5):  # a run that is stopped in between and taken up again
        out = tmp_path / f"cut{cut}"
        stopped = run_job(film(clip, out), on_progress=None, executor=Stopping(cut))
        assert stopped.exit_code == 130
        again = run_job(film(clip, out))
        assert asked_of(out) == expected
        assert again.streams[0].account == stream.account


class Stopping(ThreadExecutor):
    """Ends its run by itself, as Ctrl-C would, after so many calls of the model."""

    def __init__(self, calls: int) -> None:
        super().__init__()
        self._left = calls

    def submit(self, call):
        super().submit(call)
        if call.stage == "infer":
            self._left -= 1
            if self._left == 0:
                os.kill(os.getpid(), signal.SIGINT)


def test_the_model_gets_other_weights_between_two_batches_and_every_row_says_which(tmp_path):
    from safetensors import safe_open
    from safetensors.torch import save_file

    from plantain.operators.models.plantain.model import WEIGHTS

    other = tmp_path / "other.safetensors"
    with safe_open(str(WEIGHTS), "pt") as kept:
        tensors = {name: kept.get_tensor(name) for name in kept.keys()}  # noqa: SIM118 - it is no mapping
        metadata = kept.metadata()
    name = next(name for name, tensor in tensors.items() if tensor.is_floating_point() and tensor.numel() > 8)
    tensors[name] = tensors[name] * 1.01
    save_file(tensors, str(other), metadata)
    model = {"name": "embedded", "canvas": {"width": 64, "height": 64}, "cpus": 1}
    with running(config_of(tmp_path / "out", model=model)) as control:
        control.do(Add(cam("gate", fps=5)))
        until(lambda: control.do(Status("gate")).results >= 3, "results")
        with pytest.raises(
            PlantainError, match="the model stays as it is: the embedded model has no weights"
        ):
            control.do(Swap({"weights": str(tmp_path / "nothing")}))
        control.do(Swap({"weights": str(other)}))
        swapped_at = control.do(Status("gate")).results
        until(lambda: control.do(Status("gate")).results >= swapped_at + 5, "results of the other weights")
        status = control.do(Remove("gate"))
    assert status.failed == {}
    rows = duckdb.sql(
        f"SELECT model_fingerprint, count(*), min(frame_index), max(frame_index) "
        f"FROM '{tmp_path}/out/frames/*/*.parquet' GROUP BY 1 ORDER BY 3"
    ).fetchall()
    (_, before, _, last), (_, after, first, _) = rows
    assert before + after == status.results
    assert last < first


def test_two_jobs_do_not_write_into_one_folder(tmp_path):
    with running(config_of(tmp_path)), pytest.raises(UsageError, match="another job"):
        run_job(config_of(tmp_path))


def test_queries_that_never_end_leave_streams_half_of_every_batch(tmp_path):
    model = {"name": "tests.plugins:PickyModel", "options": {"cost_ms": 40}}
    with running(config_of(tmp_path, model=model, batch={"max_items": 4, "max_wait_ms": 10})) as control:
        control.do(Add(cam("gate", fps=20)))
        clip = make(tmp_path / "clip.mp4", 8, size=(64, 48), rate=25)
        source = open_source(StreamSpec("mine", str(clip)), View((48, 64)), Position())
        frames = source.read(8)
        source.close()
        stop = threading.Event()
        answered = Counter[str]()

        def press() -> None:
            while not stop.is_set():
                control.do(Ask(frames, [Prompt.parse("depth")]), PATIENCE_S)
                answered["queries"] += 1

        pressing = [threading.Thread(target=press) for _ in range(4)]
        for thread in pressing:
            thread.start()
        try:
            until(lambda: answered["queries"] >= 4, "queries")
            before, begin = control.do(Status("gate")).results, time.monotonic()
            until(lambda: control.do(Status("gate")).results >= before + 60, "the stream goes on")
            assert time.monotonic() - begin < PATIENCE_S
        finally:
            stop.set()
            for thread in pressing:
                thread.join(PATIENCE_S)
