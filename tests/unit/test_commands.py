"""Commands on a slow engine: callers that give up, drains that take long, and reads meanwhile."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest

from plantain.deploy.job import run_job
from plantain.deploy.service.definitions import NAME, DefinitionStore
from plantain.operators.errors import PlantainError, SinkError, UsageError
from plantain.operators.prompts import Prompt
from plantain.operators.render.looks import Look
from plantain.operators.segments import Position
from plantain.operators.streams import StreamSpec, View
from plantain.pipeline import commands, saver
from plantain.pipeline.calls import Call
from plantain.pipeline.commands import (
    Add,
    Ask,
    Change,
    Command,
    ConflictError,
    EngineDownError,
    Listen,
    Pause,
    Remove,
    Resume,
    Status,
    Streams,
    Watch,
)
from plantain.pipeline.config import PipelineConfig, StreamConfig, check
from plantain.pipeline.control import Control, UnknownStreamError
from plantain.pipeline.definitions import Definitions
from plantain.pipeline.engine.engine import Engine
from plantain.pipeline.executor import ThreadExecutor
from tests.assets.clips import make
from tests.plugins import Cam
from tests.serving import eventually
from tests.stored import rows_in

PATIENCE_S = 60.0


def camera(name: str, **settings: object) -> StreamConfig:
    return StreamConfig(
        url="cam://50", id=name, **{"source": "tests.plugins:Cam", "prompts": ("depth",), **settings}
    )


def config_of(out: Path, streams: tuple[StreamConfig, ...] = (), **settings: object) -> PipelineConfig:
    data = {
        "streams": [],
        "prompts": ["depth"],
        "model": {"name": "tests.plugins:PickyModel"},
        "batch": {"max_items": 4, "max_wait_ms": 5},
        "output": {"out": str(out), "segment_frames": 10, "rasters": False},
        **settings,
    }
    return check(data, may_be_idle=True).model_copy(update={"streams": streams})


@contextmanager
def standing_still(control: Control) -> Iterator[None]:
    """The engine's loop does nothing meanwhile."""
    stands, goes = threading.Event(), threading.Event()
    control.show(lambda _: (stands.set(), goes.wait(PATIENCE_S)))
    assert stands.wait(PATIENCE_S)
    yield
    goes.set()


class Gated(ThreadExecutor):
    """An executor whose streams do not drain until it lets them."""

    def __init__(self) -> None:
        super().__init__()
        self.drains = threading.Event()
        self.drains.set()
        self._held: list[Call] = []

    def submit(self, call: Call) -> None:
        if call.verb == "finish":
            self._held.append(call)
        else:
            super().submit(call)

    def wait(self, timeout_s: float):
        while self._held and self.drains.is_set():
            super().submit(self._held.pop(0))
        return super().wait(min(timeout_s, 0.05))


@contextmanager
def running(
    config: PipelineConfig,
    executor: ThreadExecutor | None = None,
    keep: Callable[[Definitions], None] | None = None,
    control: Control | None = None,
) -> Iterator[Control]:
    control = control or Control(config, keep=keep)
    thread = threading.Thread(target=lambda: run_job(config, control=control, executor=executor))
    thread.start()
    try:
        eventually(lambda: control.is_ready, "ready")
        yield control
    finally:
        if isinstance(executor, Gated):
            executor.drains.set()
        control.stop()
        thread.join(PATIENCE_S)
        assert not thread.is_alive()


def watched(control: Control, name: str) -> None:
    eventually(lambda: control.do(Status(name)).results > 2, "results")


CHANGES: list[tuple[str, Command[object]]] = [
    ("add", Add(camera("guest"))),
    ("change", Change("gate", {"prompts": ["normals"]})),
    ("pause", Pause("gate", wait_s=0.0)),
    ("remove", Remove("gate", wait_s=0.0)),
    ("remove at once", Remove("gate", drain=False, wait_s=0.0)),
]


@pytest.mark.parametrize("how", ["deadline", "cancelled"])
@pytest.mark.parametrize(("name", "command"), CHANGES, ids=[name for name, _ in CHANGES])
def test_a_command_whose_caller_has_given_up_is_not_carried_out(tmp_path, name, command, how) -> None:
    with running(config_of(tmp_path, (camera("gate"),))) as control:
        watched(control, "gate")
        before = control.definitions.copy()
        with standing_still(control):
            if how == "cancelled":
                assert control.submit(command, 60.0).cancel()
            else:
                future = control.submit(command, 0.1)
                time.sleep(0.3)
        if how == "deadline":
            with pytest.raises(EngineDownError, match="not done"):
                future.result(PATIENCE_S)
        (status,) = control.do(Streams())
        assert (status.stream_id, status.phase, status.prompts) == ("gate", "reading", ("depth",))
        assert control.definitions == before
        said = {note.event.state for note in control.do(Listen(wait_s=0.0))}
        assert not said & {"added", "paused", "removed", "reconfigured"}


def test_whoever_waits_no_longer_is_told_so_and_takes_the_command_back(tmp_path) -> None:
    with running(config_of(tmp_path)) as control:
        with standing_still(control), pytest.raises(EngineDownError, match="not answered within"):
            control.do(Add(camera("gate")), 0.2)
        assert control.do(Streams()) == []


def test_a_question_whose_caller_has_given_up_is_not_asked(tmp_path) -> None:
    with running(config_of(tmp_path)) as control:
        with standing_still(control):
            futures = [control.submit(Ask(["no frame"], [Prompt.parse("depth")])) for _ in range(3)]
            assert all(future.cancel() for future in futures)
        control.do(Streams())


def test_a_stream_is_never_there_without_being_listed_however_late_its_caller_leaves(tmp_path) -> None:
    keeping, kept = threading.Event(), []

    def keep(definitions: Definitions) -> None:
        assert keeping.wait(PATIENCE_S)
        kept.append(definitions)

    with running(config_of(tmp_path), keep=keep) as control:
        with pytest.raises(EngineDownError):
            control.do(Add(camera("late"), key="k one"), 0.5)
        assert [status.stream_id for status in control.do(Streams())] == ["late"], "it was carried out"
        keeping.set()
        again = control.do(Add(camera("late"), key="k one"))
        assert (again.is_new, again.status.stream_id) == (False, "late"), "and is remembered"
        with pytest.raises(ConflictError):
            control.do(Add(camera("late")))
        with pytest.raises(ConflictError):
            control.do(Add(camera("other"), key="k two"))
    assert {"late"} == {*kept[-1].streams}


@pytest.mark.parametrize("change", [Pause, Remove])
def test_a_drain_that_takes_long_is_answered_kept_and_may_be_asked_again(tmp_path, change) -> None:
    executor, kept = Gated(), []
    with running(config_of(tmp_path, (camera("gate"),)), executor, kept.append) as control:
        watched(control, "gate")
        executor.drains.clear()
        wanted = {Pause: "finishing", Remove: "removing"}[change]
        eventually(lambda: control.do(change("gate", wait_s=0.2)).phase == wanted, "on its way")
        for _ in range(3):
            begun = time.monotonic()
            status = control.do(change("gate", wait_s=0.2))
            assert time.monotonic() - begun < 5.0
            assert status.phase == wanted
        (listed,) = control.do(Streams())
        assert listed.phase == status.phase, "what is on its way is listed as what it is"
        assert ("gate" in kept[0].streams) == (change is Pause), "kept when it was said, not when it is done"
        assert ("gate" in kept[0].paused) == (change is Pause)
        executor.drains.set()
        status = control.do(change("gate"))
        assert (status.phase, status.in_flight) == ({Pause: "paused", Remove: "interrupted"}[change], 0)
        again = control.do(change("gate"))
        assert (again.phase, again.results) == (status.phase, status.results)
        said = [note.event.state for note in control.do(Listen(wait_s=0.0))]
        assert said.count("paused" if change is Pause else "removed") == 1, "said once, done once"


def test_reads_do_not_wait_behind_any_number_of_changes_that_drain(tmp_path) -> None:
    executor = Gated()
    names = [f"cam{number}" for number in range(24)]
    config = config_of(tmp_path, tuple(camera(name, fps=5) for name in names))
    with running(config, executor) as control:
        watched(control, names[-1])
        executor.drains.clear()
        drains = [control.submit((Pause, Remove)[number % 2](name)) for number, name in enumerate(names[:-1])]
        for _ in range(5):
            begun = time.monotonic()
            control.do(Streams())
            control.do(Status(names[0]))
            control.do(Change(names[-1], {"fps": 4.0}))
            assert time.monotonic() - begun < 5.0
        assert not any(drain.done() for drain in drains)
        executor.drains.set()
        assert {drain.result(PATIENCE_S).phase for drain in drains} == {"paused", "interrupted"}


def test_a_stream_that_is_gone_is_remembered_until_another_takes_its_name(tmp_path) -> None:
    with running(config_of(tmp_path, (camera("gate"),))) as control:
        watched(control, "gate")
        gone = control.do(Remove("gate"))
        again = control.do(Remove("gate"))
        assert (again.stream_id, again.phase, again.results) == ("gate", "interrupted", gone.results)
        for command in (Status("gate"), Pause("gate"), Resume("gate"), Change("gate", {"fps": 1.0})):
            with pytest.raises(UnknownStreamError):
                control.do(command)
        control.do(Add(camera("gate", fps=1.0), paused=True))
        assert control.do(Remove("gate")).asked_fps == 1.0
        with pytest.raises(UnknownStreamError):
            control.do(Remove("never"))


def test_a_run_that_begins_before_a_removal_is_drained_does_not_have_the_stream(tmp_path) -> None:
    executor = Gated()
    config = config_of(tmp_path, (camera("gate"), camera("yard")))
    control = Control(config)
    with running_until_it_breaks(config, executor, control):
        watched(control, "gate")
        executor.drains.clear()
        assert control.do(Remove("gate", wait_s=0.0)).phase == "removing"
        control.do(Pause("yard", wait_s=0.0))
    executor.drains.set()
    with pytest.raises(EngineDownError, match="the run has ended"):
        control.do(Streams())
    wanted = tuple(control.definitions.streams.values())
    with running(config.model_copy(update={"streams": wanted}), control=control):
        (status,) = control.do(Streams())
        assert (status.stream_id, status.phase) == ("yard", "paused")
        assert control.do(Remove("gate")).stream_id == "gate", "whoever asks again hears that it is gone"


@contextmanager
def running_until_it_breaks(config: PipelineConfig, executor: Gated, control: Control) -> Iterator[None]:
    errors: list[BaseException] = []

    def run() -> None:
        try:
            run_job(config, control=control, executor=executor)
        except OSError as error:
            errors.append(error)

    def fail(engine: Engine) -> None:
        raise OSError("gone")

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        control.show(fail)
        thread.join(PATIENCE_S)
        assert errors


def test_a_change_that_cannot_be_kept_is_told_so_and_the_next_one_keeps_both(tmp_path) -> None:
    kept: list[Definitions] = []

    def keep(definitions: Definitions) -> None:
        if "b" not in definitions.streams:
            raise SinkError("the disk is full")
        kept.append(definitions)

    with running(config_of(tmp_path), keep=keep) as control:
        with pytest.raises(SinkError, match="disk is full"):
            control.do(Add(camera("a"), paused=True))
        control.do(Add(camera("b"), paused=True))
        assert {*kept[-1].streams} == {"a", "b"}


def test_streams_that_are_added_at_once_under_one_name_are_one(tmp_path) -> None:
    with running(config_of(tmp_path)) as control:
        futures = [control.submit(Add(camera("one"), paused=True)) for _ in range(8)]
        refused = [future.exception(PATIENCE_S) for future in futures]
        assert sum(error is None for error in refused) == 1
        assert all(isinstance(error, ConflictError) for error in refused if error is not None)


def test_a_view_of_a_stream_that_comes_again_shows_the_new_one(tmp_path) -> None:
    want = Look("gate")
    with running(config_of(tmp_path, (camera("gate"),))) as control:
        (shot,) = control.do(Watch([want]))
        control.do(Remove("gate"))
        control.do(Add(camera("gate")))
        (again,) = control.do(Watch([want], {want: shot.number}))
        assert again.number > shot.number
        assert control.do(Status("gate")).results, "it is not one of the stream that is gone"


def test_a_camera_of_a_users_own_source_that_comes_again_is_read_again_in_a_new_epoch(tmp_path) -> None:
    config, epochs = config_of(tmp_path, (camera("gate"),)), []
    for _ in range(2):  # over a restart
        with running(config) as control:
            for _ in range(3):  # and while it runs
                watched(control, "gate")
                told = [note.event for note in control.do(Listen())]
                epochs += [event.epoch for event in told if getattr(event, "state", "") == "live"][-1:]
                control.do(Remove("gate"))
                control.do(Add(camera("gate")))
            watched(control, "gate")
    assert epochs == sorted(set(epochs))
    assert len(epochs) == 6


class Forgetful(Cam):
    """A live source that does not hear where its epochs go on."""

    def __init__(self, spec: StreamSpec, view: View, position: Position) -> None:
        super().__init__(replace(spec, options={**spec.options, "epoch": "0"}), view, position)


def test_a_source_that_begins_in_an_epoch_that_is_over_is_told_so(tmp_path) -> None:
    stream = camera("gate", source="tests.unit.test_commands:Forgetful")
    with running(config_of(tmp_path, (stream,))) as control:
        watched(control, "gate")
        control.do(Remove("gate"))
        control.do(Add(stream))
        wanted = "must begin at its option epoch (1)"
        eventually(lambda: wanted in control.do(Status("gate")).error, "told so")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"prompts": ["depth", "depth"]}, "asked twice"),
        ({"prompts": [{"prompt": "depth", "model": "nobody"}]}, "asked of 'nobody'"),
        ({"cadences": {"normals": {"fps": 1}}}, "normals is not asked"),
        ({"asked_of": {"depth": "nobody"}}, "asked of 'nobody'"),
        ({"prompts": ["dept"]}, "dept"),
    ],
    ids=str,
)
def test_a_stream_that_does_not_fit_the_rest_is_neither_added_nor_changed(tmp_path, changes, said) -> None:
    with running(config_of(tmp_path, (camera("gate"),))) as control:
        with pytest.raises(UsageError, match=said):
            control.do(Change("gate", changes))
        with pytest.raises(UsageError, match=said):
            control.do(Add(camera("yard").changed(changes)))
        (status,) = control.do(Streams())
        assert (status.stream_id, status.prompts) == ("gate", ("depth",))


def test_every_command_is_answered_or_refused_and_none_is_unknown(tmp_path) -> None:
    said: dict[type, Command[object]] = {
        type(command): command
        for command in (
            *(command for _, command in CHANGES), Resume("gate"), Streams(), Status("gate"), Listen(wait_s=0.0),
            Watch([], wait_s=0.0), Ask([], []), commands.AskStream("nobody", [Prompt.parse("depth")]),
            commands.Swap({"nonsense": 1}), commands.Ready(), commands.Figures(),
        )
    }  # fmt: skip
    assert {*said} == {*get_args(commands.AnyCommand)}
    with running(config_of(tmp_path, (camera("gate"),))) as control:
        for command in said.values():
            error = control.submit(command).exception(PATIENCE_S)
            assert error is None or (isinstance(error, PlantainError) and str(error)), command


# -- what is wanted, over restarts -------------------------------------------------------------------------------

RICH = {
    "url": "rtsp://me:secret@10.0.0.1/x",
    "id": "rich",
    "source": "tests.plugins:Cam",
    "prompts": ["depth", "instances:car"],
    "cadences": {"depth": {"fps": 1.0}},
    "asked_of": {"depth": "strong"},
    "fps": 5.0,
    "every": 3,
    "max_frames": 70,
    "hfov_deg": 71.5,
    "watch": True,
    "options": {"ring": "3"},
}


def kept(config: PipelineConfig, change: Callable[[Definitions], None]) -> Definitions:
    """What a service that begins again wants."""
    store = DefinitionStore(config)
    definitions = store.load()
    change(definitions)
    store.save(definitions)
    return DefinitionStore(config).load()


def test_every_setting_of_an_added_stream_lasts(tmp_path) -> None:
    assert {*RICH} == {*StreamConfig.model_fields}, "this test knows every setting that there is"
    rich = StreamConfig.model_validate(RICH)
    config = config_of(tmp_path)
    again = kept(config, lambda wanted: wanted.add(rich, paused=False, key=None))
    assert again.streams == {"rich": rich}


@pytest.mark.parametrize(
    "changes",
    [
        {"prompts": ["depth@1fps", "normals"]},
        {"prompts": ["depth"], "cadences": {"depth": {"every": 4}}},
        {"cadences": {"depth": {"fps": 2.0}}},
        {"fps": 2.0},
        {"every": 2, "max_frames": 9},
        {"options": {"ring": "9"}},
    ],
    ids=str,
)
def test_every_setting_that_was_changed_lasts_and_no_other_is_touched(tmp_path, changes) -> None:
    config = config_of(tmp_path, (StreamConfig.model_validate(RICH), camera("plain")))
    changed = {name: stream.changed(changes) for name, stream in Definitions.of(config).streams.items()}
    assert kept(config, lambda wanted: wanted.streams.update(changed)).streams == changed


def test_the_configurations_cadences_hold_for_the_streams_of_a_service(tmp_path) -> None:
    """And for those that a request changed otherwise, and after a restart."""
    config = config_of(tmp_path, (camera("own"), camera("common", prompts=())), prompts=["depth@1fps"])
    again = kept(
        config, lambda wanted: wanted.streams.update(common=wanted.streams["common"].changed({"fps": 7.0}))
    )
    with running(
        config.model_copy(update={"streams": tuple(again.streams.values())}),
        control=Control(config, definitions=again),
    ) as control:
        eventually(
            lambda: control.do(Status("common")).skipped.get("not due", 0) >= 8, "frames that were not due"
        )
        common, own = control.do(Status("common")), control.do(Status("own"))
        assert (common.results < 5, common.asked_fps) == (True, 7.0)
        assert "not due" not in own.skipped


def test_a_stream_of_the_configuration_that_was_removed_and_came_back_lasts(tmp_path) -> None:
    config = config_of(tmp_path, (camera("gate"),))

    def change(wanted: Definitions) -> None:
        wanted.remove("gate")
        wanted.add(camera("gate", fps=2.0), paused=False, key=None)

    assert kept(config, change).streams == {"gate": camera("gate", fps=2.0)}
    assert kept(config, lambda wanted: wanted.remove("gate")).streams == {}


def test_definitions_of_an_earlier_version_are_read(tmp_path) -> None:
    plain = {
        "fps": 2.0, "every": 1, "max_frames": None, "options": {}, "source": "", "url": "rtsp://a/b", "id": "old",
        "prompts": ["depth"],
    }  # fmt: skip
    document = {
        "added": {"old": plain},
        "changed": {"gate": {"prompts": ["normals"]}},
        "removed": ["yard"],
        "paused": ["old"],
        "keys": {"old": "k digest"},
    }
    file = tmp_path / NAME
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps(document))
    wanted = DefinitionStore(config_of(tmp_path, (camera("gate"), camera("yard")))).load()
    assert wanted.streams["old"].fps == 2.0
    assert [str(prompt) for prompt in wanted.streams["gate"].prompts] == ["normals"]
    assert ({*wanted.streams}, wanted.paused) == ({"old", "gate"}, {"old"})
    with pytest.raises(UsageError):
        wanted.knows("old", "k other")


@pytest.mark.parametrize("is_live", [False, True], ids=["file", "camera"])
def test_a_stream_that_is_taken_away_and_comes_back_at_once_goes_on_where_it_was(
    tmp_path, monkeypatch, is_live
) -> None:
    """However long its last checkpoint takes to be stored."""
    monkeypatch.setattr(saver, "REST", 1e6)
    clip = make(tmp_path / "clip.mp4", 200, size=(64, 48))
    options = {"realtime": "yes", "loop": "yes"} if is_live else {}
    stream = StreamConfig(url=str(clip), id="film", options=options)
    slow = {"name": "tests.plugins:PickyModel", "options": {"cost_ms": 10}}
    config = config_of(tmp_path / "out", model=slow)
    with running(config) as control:
        for _ in range(4):
            control.do(Add(stream))
            eventually(lambda: control.do(Status("film")).decoded > 12, "frames")
            control.do(Remove("film"))
        if not is_live:
            control.do(Add(stream))
            eventually(lambda: control.do(Status("film")).phase == "done", "its end")
    rows = [(row["epoch"], row["frame_index"]) for row in rows_in(tmp_path / "out")["frames"]]
    assert len(rows) == len({*rows}), "nothing twice"
    if is_live:
        assert {epoch for epoch, _ in rows} == {0, 1, 2, 3}
    else:
        assert rows == [(0, index) for index in range(200)]
