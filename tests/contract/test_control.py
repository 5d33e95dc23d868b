"""Streams that come and go while others run, and questions in between, wherever workers live."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image as Pillow

from plantain.deploy.job import run_job
from plantain.deploy.ray.executor import RayExecutor
from plantain.operators.answers.depth.value import DepthMap
from plantain.operators.answers.masks.value import Masks
from plantain.operators.errors import PlantainError, SourceError, UsageError
from plantain.operators.prompts import Prompt
from plantain.operators.render.looks import Look, Picture
from plantain.operators.segments import Position
from plantain.operators.sources import open_source
from plantain.operators.streams import StreamSpec, View
from plantain.operators.types import Frame
from plantain.pipeline.commands import (
    Add,
    Ask,
    AskStream,
    Change,
    Note,
    Pause,
    Remove,
    Resume,
    Status,
    Streams,
    Watch,
)
from plantain.pipeline.config import StreamConfig, check
from plantain.pipeline.control import Control, UnknownStreamError
from plantain.pipeline.executor import Executor
from plantain.pipeline.runner import Outcome
from plantain.pipeline.status import StreamStatus
from tests.assets.clips import make
from tests.stored import rows_in

FRAMES = 40
DEPTH, BANDS = Prompt.parse("depth"), Prompt.parse("semantic:dark,bright")
PATIENCE_S = 60.0

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> Path:
    return make(tmp_path_factory.mktemp("clip") / "clip.mp4", FRAMES, size=(64, 48), rate=25)


def camera(clip: Path, name: str, **settings: object) -> StreamConfig:
    return StreamConfig(url=str(clip), id=name, options={"realtime": "yes", "loop": "yes"}, **settings)


class Running:
    """A run in another thread, and what became of it."""

    def __init__(self, executor: Executor, out: Path, **settings: object) -> None:
        data = {
            "streams": [],
            "prompts": ["depth"],
            "model": {"name": "tests.plugins:PickyModel"},
            "read": {"workers": 1, "chunk_frames": 4, "max_frames_in_flight": 64},
            "batch": {"max_items": 8, "max_wait_ms": 20},
            "output": {"out": str(out), "segment_frames": 10},
            **settings,
        }
        config = check(data, may_be_idle=True)
        self.control = Control(config)
        self.notes: list[Note] = []
        self.outcome: Outcome | None = None
        self._thread = threading.Thread(target=self._run, args=(config, executor))

    def _run(self, config, executor) -> None:
        self.outcome = run_job(config, control=self.control, executor=executor)

    def __enter__(self) -> Control:
        self._thread.start()
        self.control.do(Streams())
        return self.control

    def __exit__(self, *error: object) -> None:
        self.notes = self.control.notes.after(0)
        self.control.stop()
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive()


def until(look: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not look():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def results(control: Control, name: str, count: int) -> StreamStatus:
    until(lambda: control.do(Status(name)).results >= count, f"{count} results of {name}")
    return control.do(Status(name))


def frames_of(clip: Path, count: int) -> list[Frame]:
    source = open_source(StreamSpec("mine", str(clip)), View((48, 64)), Position())
    try:
        return source.read(count)
    finally:
        source.close()


def assert_books_are_right(status: StreamStatus) -> None:
    lost = sum(map(sum, (each.values() for each in (status.lost, status.skipped, status.failed))))
    assert status.decoded == status.results + lost + status.in_flight


def test_streams_come_pause_change_and_go_and_the_others_never_feel_it(executor, clip, tmp_path):
    running = Running(executor, tmp_path)
    with running as control:
        assert control.do(Streams()) == []
        assert control.do(Add(camera(clip, "steady"))).status.phase in ("waiting", "reading")
        control.do(Add(camera(clip, "guest")))
        with pytest.raises(UsageError, match="there is a stream 'guest' already"):
            control.do(Add(camera(clip, "guest")))
        results(control, "guest", 5)

        paused = control.do(Pause("guest"))
        assert (paused.phase, paused.in_flight) == ("paused", 0)
        steady = control.do(Status("steady")).results
        results(control, "steady", steady + 10)
        assert control.do(Status("guest")).decoded == paused.decoded, "a paused camera is not even read"

        control.do(Resume("guest"))
        assert control.do(Change("guest", {"prompts": ["normals"]})).prompts == ("normals",)
        results(control, "guest", paused.results + 15)

        gone = control.do(Remove("guest"))
        assert (gone.phase, gone.in_flight) == ("interrupted", 0)
        assert_books_are_right(gone)
        with pytest.raises(UnknownStreamError):
            control.do(Status("guest"))
        assert [status.stream_id for status in control.do(Streams())] == ["steady"]
        assert_books_are_right(control.do(Status("steady")))

        again = control.do(Add(camera(clip, "guest"))).status
        assert again.results == 0
        results(control, "guest", 3)
    assert running.outcome.num_removed == 1
    assert (running.outcome.removed.decoded, running.outcome.removed.results) == (gone.decoded, gone.results)
    rows = [row for row in rows_in(tmp_path)["frames"] if row["stream_id"] == "guest"]
    epochs = {
        row["epoch"]: {other["prompt"] for other in rows if other["epoch"] == row["epoch"]} for row in rows
    }
    assert epochs[0] == {"depth"}
    assert epochs[1] in ({"normals"}, {"depth", "normals"})
    assert set(epochs) == {0, 1, 2}, "each time it is taken up a new epoch begins"
    said = [note.event.state for note in running.notes if note.event.stream_id == "guest"]
    for state in ("added", "live", "paused", "resumed", "reconfigured", "removed"):
        assert state in said
    assert not [
        note for note in running.notes if note.event.stream_id == "steady" and note.event.state == "lost"
    ]


def test_a_file_goes_on_where_it_was_paused_and_has_every_row_once(executor_here, tmp_path):
    frames = 5 * FRAMES  # enough for a busy machine to see it at work
    film = make(tmp_path / "film.mp4", frames, size=(64, 48))
    with Running(
        executor_here,
        tmp_path / "out",
        model={"name": "tests.plugins:PickyModel", "options": {"cost_ms": 40}},
    ) as control:
        control.do(Add(StreamConfig(url=str(film), id="film")))
        results(control, "film", 4)
        control.do(Pause("film"))
        control.do(Resume("film"))
        until(lambda: control.do(Status("film")).phase == "done", "its end")
        assert control.do(Status("film")).results == frames
        with pytest.raises(UsageError, match="has ended"):
            control.do(Pause("film"))
    rows = [row["frame_index"] for row in rows_in(tmp_path / "out")["frames"]]
    assert rows == list(range(frames))


def test_the_only_stream_is_gone_as_soon_as_it_is_done_with(executor_here, tmp_path):
    """Also where it is let go in the engine's own turn, after which there is nothing left to wake it."""
    camera = StreamConfig(url="cam://100", id="only", source="tests.plugins:Cam")
    took_s = []
    with Running(executor_here, tmp_path) as control:
        for _ in range(7):
            control.do(Add(camera))
            began_s = time.monotonic()
            control.do(Remove("only", drain=False))
            took_s.append(time.monotonic() - began_s)
    assert sorted(took_s)[3] < 1.0, took_s


def test_frames_from_anywhere_are_answered_with_no_stream_at_all(executor_here, clip, tmp_path):
    with Running(executor_here, tmp_path) as control:
        frames = frames_of(clip, 5)
        answers = control.do(Ask(frames, [DEPTH, BANDS]), PATIENCE_S)
    assert [answer.header.frame_index for answer in answers] == [0, 1, 2, 3, 4]
    assert {answer.header.stream_id for answer in answers} == {"mine"}
    for answer in answers:
        depth, bands = (prediction.value for prediction in answer.predictions)
        assert isinstance(depth, DepthMap)
        assert isinstance(bands, Masks)
    assert not list(tmp_path.glob("frames/*/*")), "answers go to whoever asked, and nowhere else"


def test_the_newest_frame_of_a_stream_is_asked_and_still_is_one_of_the_stream(executor_here, clip, tmp_path):
    with Running(executor_here, tmp_path) as control:
        control.do(Add(camera(clip, "cam")))
        before = results(control, "cam", 5)
        (answer,) = control.do(AskStream("cam", [BANDS]))
        assert answer.header.stream_id == "cam"
        assert answer.header.frame_index >= before.results - 1
        assert [str(prediction.prompt) for prediction in answer.predictions] == [str(BANDS)]
        with pytest.raises(UnknownStreamError):
            control.do(AskStream("nobody", [BANDS]))
        control.do(Pause("cam"))
        with pytest.raises(SourceError, match="is paused: its newest frame is"):
            control.do(AskStream("cam", [BANDS]))
        status = control.do(Remove("cam"))
    rows = rows_in(tmp_path)["frames"]
    assert {row["prompt"] for row in rows} == {"depth"}
    assert len(rows) == status.results


def test_pictures_are_drawn_while_somebody_looks(executor_here, clip, tmp_path):
    want, nothing = Look("cam", "depth", 10, 320), Look("cam", "normals")
    shots: list[Picture] = []
    with Running(executor_here, tmp_path) as control:
        control.do(Add(camera(clip, "cam")))
        results(control, "cam", 1)
        assert control.do(Watch([nothing], wait_s=0.5)) == [], "what is not asked is not seen"
        while len(shots) < 3:
            seen = {want: shots[-1].number} if shots else {}
            shots += control.do(Watch([want, nothing], seen))
        stream = control._views
        until(lambda: not stream, "nobody looks")
        drawn = stream._number
        results(control, "cam", control.do(Status("cam")).results + 10)
        assert stream._number == drawn, "nobody looks, nothing is drawn"
        control.do(Change("cam", {"prompts": ["normals"]}))
        assert [shot.look for shot in control.do(Watch([nothing]))] == [nothing], "as soon as it is asked"
    assert {shot.look for shot in shots} == {want}
    assert Pillow.open(BytesIO(shots[0].jpeg)).size == (320, 240)
    assert shots[0].latency_ms is not None


def test_whoever_waits_when_the_run_ends_is_told(executor, clip, tmp_path):
    slow = {"name": "tests.plugins:PickyModel", "options": {"cost_ms": 300}}
    with Running(executor, tmp_path, model=slow) as control:
        asked = [control.submit(Ask(frames_of(clip, 4), [DEPTH])) for _ in range(4)]
    for each in asked:
        assert_settled(each)
    with pytest.raises(PlantainError, match="the run has ended"):
        control.do(Streams())
    with pytest.raises(PlantainError, match="the run has ended"):
        control.do(Ask(frames_of(clip, 1), [DEPTH]), PATIENCE_S)


def test_a_run_ends_however_fast_questions_come(executor_here, clip, tmp_path):
    frames, is_over, said = frames_of(clip, 1), threading.Event(), set()
    slow = {"name": "tests.plugins:PickyModel", "options": {"cost_ms": 20}}

    def ask() -> None:
        while not is_over.is_set():
            error = control.submit(Ask(frames, [DEPTH])).exception(PATIENCE_S)
            if error is not None:
                said.add(str(error))
                time.sleep(0.01)

    running = Running(executor_here, tmp_path, model=slow)
    threads = [threading.Thread(target=ask) for _ in range(8)]
    try:
        with running as control:
            for thread in threads:
                thread.start()
            control.do(Add(camera(clip, "cam")))
            results(control, "cam", 3)
    finally:
        is_over.set()
        for thread in threads:
            thread.join()
    assert said <= {"the run is ending", "the run has ended"}


def assert_settled(future: Future) -> None:
    """A future may fail, but only in a way that says why, and in time."""
    error = future.exception(PATIENCE_S)
    assert error is None or (isinstance(error, PlantainError) and str(error))


@pytest.mark.ray
@pytest.mark.usefixtures("local_ray")
@pytest.mark.parametrize("stage", ["read", "infer", "analyse", "write"])
def test_a_worker_that_dies_meanwhile_leaves_no_question_open_and_the_books_right(stage, clip, tmp_path):
    executor = RayExecutor()
    slow = {"name": "tests.plugins:PickyModel", "options": {"cost_ms": 50}}
    with Running(executor, tmp_path, model=slow) as control:
        control.do(Add(camera(clip, "cam", fps=5)))
        results(control, "cam", 3)
        asked = [control.submit(Ask(frames_of(clip, 2), [DEPTH])) for _ in range(3)]
        asked.append(control.submit(AskStream("cam", [BANDS])))
        for pid in executor.actor_pids(stage)[:1] if stage != "read" else executor.actor_pids(stage):
            os.kill(pid, signal.SIGKILL)
        for each in asked:
            assert_settled(each)
        if stage != "read":
            assert all(each.exception() is None for each in asked[:3])
        results(control, "cam", control.do(Status("cam")).results + 3)
        assert_books_are_right(control.do(Status("cam")))
        gone = control.do(Remove("cam"))
        assert_books_are_right(gone)
    stored = len(rows_in(tmp_path)["frames"])
    # A writer that dies may have committed a segment, and not said so.
    assert stored >= gone.results if stage == "write" else stored == gone.results
