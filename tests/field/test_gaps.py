"""No car and no camera are different: rows say when a camera was away, each time once, also over restarts."""

from __future__ import annotations

import json
import re
import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import jsonschema
import pytest

from plantain.deploy.report.absences import absences_of, duration_of
from plantain.deploy.report.page import write_report
from plantain.operators.health import HealthEvent, HealthState
from plantain.operators.segments import Barrier, Durable, Position
from plantain.operators.sinks import gaps
from plantain.operators.sinks.base import Segment
from plantain.operators.sinks.kafka.messages import json_schema, messages_of
from plantain.operators.sinks.memory import MemorySink
from plantain.operators.sinks.parquet.reading import read_frames, read_results
from plantain.operators.sinks.parquet.sink import ParquetSink
from plantain.operators.sinks.rows import Rows, table_of
from plantain.operators.streams import Start, StreamSpec
from plantain.operators.types import CapturedBy, Result
from plantain.operators.write import Write
from plantain.pipeline.commands import Status
from plantain.pipeline.config import check
from plantain.pipeline.engine import segments
from tests.field.cameras import STATES
from tests.field.runs import running
from tests.results import CARS, DEPTH, result
from tests.serving import eventually

S = 1_000_000_000
BEGUN = 1_700_000_000 * S
SPEC = StreamSpec("gate", "rtsp://camera/1")


class Clock:
    """The clock on the wall, which a test sets; seconds since it began."""

    def __init__(self) -> None:
        self.at_s = 0.0

    def __call__(self) -> int:
        return BEGUN + round(self.at_s * S)


class Camera:
    """One camera's writing, with what it stored.

    Args:
        durable: Where it goes on; a camera that was never read if left out.
        write: The worker; a new one if left out.
        clock: The clock on the wall.
        skew_s: What the camera's own clock is ahead of it.
        by: Whose clock says when a picture was taken.
    """

    def __init__(
        self,
        durable: Durable | None = None,
        *,
        write: Write | None = None,
        clock: Clock | None = None,
        skew_s: float = 0.0,
        by: CapturedBy = "arrival",
    ) -> None:
        self.sink, self.clock, self.skew_s, self.by = MemorySink(), clock or Clock(), skew_s, by
        self.write = write or Write([self.sink], "run", wall_ns=self.clock)
        fresh = Start.fresh(SPEC, (CARS,), is_live=True)
        self.write.open(fresh if durable is None else replace(fresh, durable=durable))
        self.num_cuts = 0

    def frame(self, at_s: float, index: int, epoch: int = 0, *, answered_s: float | None = None) -> None:
        self.clock.at_s = at_s
        made = result(index, stream_id="gate", epoch=epoch)
        at_ns = self.clock() + round(self.skew_s * S)
        self.clock.at_s = at_s if answered_s is None else answered_s
        info = replace(made.info, captured_ns=at_ns, captured_by=self.by)
        list(self.write([replace(made, info=info)]))

    def tell(self, state: HealthState, at_s: float, epoch: int = 0) -> None:
        self.clock.at_s = at_s
        self.write.tell(HealthEvent("gate", epoch, state, f"stream 'gate': {state}", self.clock()))

    def cut(self, at_s: float, epoch: int = 0) -> Durable:
        self.clock.at_s = at_s
        self.num_cuts += 1
        promise = Durable("gate", epoch, Position(0))
        (durable,) = self.write.cut([Barrier(self.num_cuts, promise)])
        assert isinstance(durable, Durable)
        return durable

    def rows(self, prompt: str = str(CARS)) -> list[tuple[str, float, float | None]]:
        """State or `ok`, since when and until when of each stored row, seconds since the test began."""
        found = []
        for row in self.sink.rows("frames"):
            if row["prompt"] == prompt:
                since, until = (
                    None if moment is None else round(moment.timestamp() - BEGUN / S - self.skew_s, 3)
                    for moment in (row["captured_at"], row["gap_until"])
                )
                state = "ok" if row["status"] == "ok" else row["reason"].partition(":")[0]
                assert since is not None
                assert (row["status"] == "gap") == (until is not None)
                found.append((state, since, until))
        return found


@pytest.mark.parametrize("state", ["silent", "lost", "refused", "unauthorised", "not_found", "no_video"])
@pytest.mark.parametrize("epochs", [(0, 0), (0, 1)])
def test_a_camera_that_was_away_has_a_row_from_when_until_when_and_why(state, epochs) -> None:
    camera = Camera()
    camera.tell("connecting", 0.0)
    camera.frame(0.5, 0)
    camera.tell("live", 0.5)
    camera.frame(1.0, 1)
    camera.tell(state, 4.0)
    camera.tell("live", 9.0, epochs[1])
    camera.frame(9.0, 2, epochs[1])
    camera.cut(9.5, epochs[1])
    assert camera.rows() == [("ok", 0.5, None), ("ok", 1.0, None), (state, 1.0, 9.0), ("ok", 9.0, None)]


def test_the_first_thing_that_was_wrong_is_the_reason_and_remarks_are_none() -> None:
    camera = Camera()
    camera.frame(0.0, 0)
    camera.tell("lost", 1.0)
    for state in ("reconfigured", "refused", "slowed", "silent", "live", "changed"):
        camera.tell(state, 2.0)
    camera.frame(5.0, 1, 1)
    camera.cut(6.0)
    assert camera.rows()[1] == ("lost", 0.0, 5.0)


def test_answers_that_were_on_their_way_when_a_camera_went_end_no_gap() -> None:
    camera = Camera()
    camera.frame(0.0, 0)
    camera.tell("lost", 0.1)
    for index in range(1, 5):
        camera.frame(index / 10, index)
    camera.tell("live", 8.0, 1)
    camera.frame(8.0, 5, 1)
    camera.cut(9.0)
    assert [row for row in camera.rows() if row[2]] == [("lost", 0.4, 8.0)]


@pytest.mark.parametrize("by", ["arrival", "camera"])
@pytest.mark.parametrize("state", ["silent", "lost", "refused"])
def test_answers_that_come_after_a_camera_went_leave_the_reason_as_it_is(state, by) -> None:
    camera = Camera(by=by, skew_s=0.0 if by == "arrival" else 3600.0)
    camera.frame(0.0, 0)
    camera.tell(state, 2.0)
    for index in range(1, 4):
        camera.frame(index / 10, index, answered_s=2.0 + index)
    for at_s in (6.0, 60.0, 120.0):
        camera.cut(at_s)
    camera.tell("live", 130.0)
    camera.frame(130.0, 4)
    camera.cut(131.0)
    told = [row for row in camera.rows() if row[2]]
    assert {row[0] for row in told} == {state}
    assert [told[0][1], told[-1][2]] == [0.3, 130.0]
    assert all(before[2] == after[1] for before, after in pairwise(told))


def test_a_short_silence_is_told_though_answers_from_before_it_come_when_it_is_over() -> None:
    camera = Camera()
    camera.frame(0.0, 0)
    camera.tell("silent", 3.0)
    camera.tell("live", 5.0)
    camera.frame(0.1, 1, answered_s=6.0)
    camera.frame(5.0, 2, answered_s=9.0)
    camera.frame(65.0, 3)
    camera.cut(66.0)
    assert [row for row in camera.rows() if row[2]] == [("silent", 0.1, 5.0)]


def test_what_was_seen_before_a_camera_went_silent_was_no_gap() -> None:
    camera = Camera()
    camera.frame(0.0, 0)
    camera.tell("silent", 70.0)
    camera.frame(60.0, 1, answered_s=75.0)
    camera.tell("live", 80.0)
    camera.frame(80.0, 2)
    camera.cut(81.0)
    assert [row for row in camera.rows() if row[2]] == [("silent", 60.0, 80.0)]


def test_a_camera_that_goes_before_its_first_answer_has_the_time_before_and_the_reason_after() -> None:
    durable = Durable("gate", 1, Position(), seen_ns=BEGUN)
    camera = Camera(durable)
    camera.tell("connecting", 30.0, 1)
    camera.tell("live", 31.0, 1)
    camera.tell("silent", 40.0, 1)
    camera.cut(41.0, 1)
    camera.frame(31.0, 0, 1, answered_s=42.0)
    for at_s in (43.0, 90.0, 150.0):
        camera.cut(at_s, 1)
    assert [row for row in camera.rows() if row[2]] == [
        ("stopped", 0.0, 41.0),
        ("silent", 41.0, 79.0),
        ("silent", 79.0, 139.0),
    ]


def test_a_camera_that_is_back_at_once_and_one_that_is_seldom_looked_at_have_no_gap() -> None:
    camera = Camera()
    camera.tell("connecting", 0.0)
    camera.frame(0.7, 0)
    camera.tell("live", 0.7)
    camera.tell("lost", 0.9)
    camera.frame(1.2, 1, 1)
    for index in range(2, 9):
        camera.frame(60.0 * index, index, 1)
    camera.cut(600.0)
    assert {row[0] for row in camera.rows()} == {"ok"}


def test_a_camera_that_stays_away_says_so_again_and_again_without_a_hole_and_without_overlap() -> None:
    camera = Camera()
    camera.frame(0.0, 0)
    camera.tell("silent", 10.0)
    assert camera.cut(11.0).seen_ns == BEGUN, "it has results in this segment: its time is told later"
    for at_s in (60.0, 120.0):
        assert camera.cut(at_s).seen_ns == BEGUN + round(at_s * S)
    camera.tell("refused", 130.0)
    camera.cut(180.0)
    camera.tell("live", 200.0, 1)
    camera.frame(200.5, 1, 1)
    camera.cut(201.0, 1)
    told = [row for row in camera.rows() if row[2]]
    assert told == [
        ("silent", 0.0, 60.0),
        ("silent", 60.0, 120.0),
        ("silent", 120.0, 180.0),
        ("refused", 180.0, 200.5),
    ]


@pytest.mark.parametrize("skew_s", [-7200.0, 3600.0])
def test_a_camera_whose_clock_is_wrong_has_its_gaps_in_its_own_time(skew_s: float) -> None:
    camera = Camera(skew_s=skew_s, by="camera")
    camera.frame(0.0, 0)
    camera.tell("silent", 10.0)
    camera.cut(12.0)
    camera.cut(60.0)
    camera.tell("live", 70.0)
    camera.frame(70.0, 1)
    camera.cut(71.0)
    assert [row for row in camera.rows() if row[2]] == [("silent", 0.0, 60.0), ("silent", 60.0, 70.0)]


@pytest.mark.parametrize("set_s", [-86_400.0, -5.0])
def test_a_clock_that_was_set_back_leaves_later_gaps_in_the_time_of_their_frames(set_s: float) -> None:
    camera = Camera()
    camera.frame(0.0, 0)
    camera.frame(1.0, 1)
    camera.frame(set_s + 2.0, 2)
    camera.frame(set_s + 3.0, 3)
    for index in (0, 1):
        camera.frame(index, index, answered_s=set_s + 5.0)  # by a slower model
    camera.tell("silent", set_s + 8.0)
    camera.cut(set_s + 9.0)
    camera.cut(set_s + 60.0)
    camera.tell("live", set_s + 70.0)
    camera.frame(set_s + 70.0, 4)
    camera.cut(set_s + 71.0)
    assert [row for row in camera.rows() if row[2]] == [
        ("silent", set_s + 3.0, set_s + 60.0),
        ("silent", set_s + 60.0, set_s + 70.0),
    ]


def test_a_camera_that_never_came_has_been_away_since_it_was_asked() -> None:
    camera = Camera()
    camera.tell("connecting", 2.0)
    camera.tell("refused", 5.0)
    camera.cut(62.0)
    assert camera.rows() == [("connecting", 2.0, 62.0)]
    (row,) = camera.sink.rows("frames")
    assert (row["width"], row["height"], row["model"], row["model_fingerprint"]) == (0, 0, "", "")
    assert table_of("frames", [row]).validate(full=True) is None


@pytest.mark.parametrize(("told", "reason"), [(None, "stopped"), ("paused", "paused"), ("failed", "failed")])
def test_what_was_not_stored_when_it_ended_is_a_gap_when_it_goes_on(told, reason) -> None:
    camera = Camera()
    camera.frame(0.0, 0)
    durable = camera.cut(1.0)
    camera.frame(2.0, 1)
    if told is not None:
        camera.tell(told, 3.0)
        camera.frame(3.1, 2)
        ended = camera.write.finish("gate", replace(durable, is_complete=True))
        assert ended is not None
        durable = ended
    going_on = Durable("gate", 1, Position(), seen_ns=durable.seen_ns)
    again = Camera(going_on, write=None if told is None else camera.write, clock=camera.clock)
    again.tell("connecting", 500.0, 1)
    again.frame(501.0, 0, 1)
    again.cut(502.0, 1)
    sink = camera.sink if told is not None else again.sink
    again.sink = sink
    assert [row for row in again.rows() if row[2]] == [(reason, 3.1 if told else 0.0, 501.0)]


def test_a_gap_that_was_not_committed_is_told_once_all_the_same() -> None:
    camera = Camera()
    camera.frame(0.0, 0)
    durable = camera.cut(1.0)
    camera.tell("lost", 2.0)
    camera.frame(9.0, 1, 1)  # its worker dies before the barrier
    again = Camera(Durable("gate", 1, Position(), seen_ns=durable.seen_ns), clock=camera.clock)
    again.frame(12.0, 2, 1)
    again.cut(13.0, 1)
    assert again.rows() == [("stopped", 0.0, 12.0), ("ok", 12.0, None)]


def test_each_prompt_has_a_row_of_what_is_asked_now() -> None:
    camera = Camera()
    camera.frame(0.0, 0)
    camera.write.change(Start.fresh(SPEC, (DEPTH, CARS), is_live=True))
    camera.tell("silent", 10.0)
    camera.cut(11.0)
    camera.cut(70.0)
    assert camera.rows("depth")[1:] == camera.rows()[1:] == [("silent", 0.0, 70.0)]


def test_files_and_cameras_that_do_not_say_when_have_no_gaps() -> None:
    for is_live in (False, True):
        sink = MemorySink()
        write = Write([sink])
        write.open(Start.fresh(SPEC, (CARS,), is_live=is_live))
        list(write([result(0, stream_id="gate"), result(90, stream_id="gate", epoch=1)]))
        write.cut([Barrier(1, Durable("gate", 1, Position(0)))])
        assert {row["status"] for row in sink.rows("frames")} == {"ok"}


def away(at_s: float = 0.0, until_s: float = 60.0) -> Result:
    """A gap."""
    camera = Camera()
    camera.tell("connecting", at_s)
    camera.tell("lost", at_s)
    camera.cut(until_s)
    (gap,) = camera.sink.results
    return gap


def test_a_gap_is_a_message_of_the_schema_with_an_id_of_its_own() -> None:
    schema = jsonschema.Draft202012Validator(json_schema()["$defs"]["Prediction"])
    ids = set()
    for gap in (away(0.0, 60.0), away(60.0, 90.0)):
        (answer,) = Rows([gap], "run").answers
        (message,) = messages_of(answer, rasters="refer", raster_ref="part", max_bytes=900_000)
        value = json.loads(message.value)
        schema.validate(value)
        assert (value["status"], value["raster_ref"], value["objects"]) == ("gap", None, [])
        assert value["gap_until"] > value["captured_at"]
        ids.add(dict(message.headers)["ce_id"].decode())
    assert ids == {f"gate/0/0/{CARS}/gap@{BEGUN + at * S}" for at in (0, 60)}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two minutes of a camera that was away for one of them in two rows, and of another that was not."""
    sink = ParquetSink(str(tmp_path))
    for name in ("gate", "yard"):
        sink.begin(name, is_resumed=False)
        for part, first_s in enumerate((0, 90)):
            segment = Segment(name, part, 0, is_live=True)
            frames = []
            for index in range(30):
                made = result(index, stream_id=name, epoch=part)
                at_ns = BEGUN + (first_s + index) * S
                frames.append(
                    replace(made, info=replace(made.info, captured_ns=at_ns, captured_by="arrival"))
                )
            missed = [away(29.0, 60.0), away(60.0, 90.0)] if name == "gate" and part else []
            sink.write(segment, Rows([*missed, *frames], "run"))
            sink.commit(segment)
    sink.close()
    return tmp_path


def test_stored_gaps_are_rows_of_frames_and_no_results(folder: Path) -> None:
    stored = read_frames(folder, stream_id="gate")
    assert (stored["status"] == "gap").sum() == 2
    assert len(read_results(folder, "gate", [0])) == 2, "two epochs"
    assert not any(each.is_gap for each in read_results(folder, "gate"))


def test_the_report_shows_the_gap_and_no_line_across_it(folder: Path) -> None:
    page = write_report(folder).read_text()
    articles = dict(zip(("gate", "yard"), page.split("<article>")[1:], strict=True))
    areas = {name: re.findall(r'<g class="away">(.*?)</g>', text) for name, text in articles.items()}
    assert all("<rect" in each for each in areas["gate"])
    assert not any("<rect" in each for each in areas["yard"])
    shade = re.search(r'<rect x="([\d.]+)" width="([\d.]+)"', areas["gate"][0])
    assert shade is not None
    left = float(shade[1])
    right = left + float(shade[2])
    for line in re.findall(r'<polyline class="s0" points="([^"]+)"', articles["gate"]):
        places = [float(point.split(",")[0]) for point in line.split()]
        assert max(places) <= left + 20 or min(places) >= right - 20, "no line goes across"
    assert "61&nbsp;s" in page
    assert "camera away: 1" in articles["gate"]
    assert "stream &#x27;gate&#x27;: connecting" in page or "stream 'gate': connecting" in page


def test_lengths_of_time_are_said_in_words() -> None:
    said = [duration_of(seconds).replace("&nbsp;", " ") for seconds in (5, 300, 36_000, 1_000_000)]
    assert said == ["5 s", "5 min", "10 h", "11.6 days"]
    assert absences_of([]) == []


def test_a_run_stores_the_gap_while_it_lasts_and_goes_on_after_a_restart(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(segments, "GAP_S", 0.3)
    monkeypatch.setattr(gaps, "LEAST_NS", S // 5)
    STATES.clear()
    config = check(
        {
            "streams": [{"id": "gate", "url": "gate", "source": "tests.field.cameras:Camera"}],
            "prompts": ["instances:car"],
            "model": {"name": "fake", "canvas": {"width": 160, "height": 96}},
            "output": {"out": str(tmp_path), "segment_s": 0.3},
            "executor": "inline",
        }
    )

    def gate() -> list[tuple[str, float, float]]:
        if not (tmp_path / "frames").exists():
            return []
        stored = read_frames(tmp_path, ["status", "reason", "captured_at", "gap_until"])
        columns = zip(*(stored[name].tolist() for name in stored), strict=True)
        return sorted(
            (since, until, reason.partition(":")[0])
            for status, reason, since, until in columns
            if status == "gap"
        )

    with running(config) as control:
        eventually(lambda: control.do(Status("gate")).results > 3, "results")
        STATES["gate"] = "refused"
        eventually(lambda: [row[2] for row in gate()].count("refused") >= 2, "told twice while it lasts")
        STATES["gate"] = "live"
        eventually(lambda: control.do(Status("gate")).state == "live", "live")
    time.sleep(0.5)  # nobody reads it
    with running(config):
        eventually(lambda: "stopped" in [row[2] for row in gate()], "the time between")
    told = gate()
    assert all(since < until for since, until, _ in told)
    assert all(before[1] <= after[0] for before, after in pairwise(told)), "once each"
    STATES.clear()
