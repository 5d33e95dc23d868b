"""Gaps as rows that are stored, sent, reported and taken up again."""

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
from plantain.operators.sinks import gaps
from plantain.operators.sinks.base import Segment
from plantain.operators.sinks.kafka.messages import json_schema, messages_of
from plantain.operators.sinks.parquet.reading import read_frames, read_results
from plantain.operators.sinks.parquet.sink import ParquetSink
from plantain.operators.sinks.rows import Rows
from plantain.pipeline.commands import Status
from plantain.pipeline.config import check
from plantain.pipeline.engine import segments
from tests.field.cameras import STATES
from tests.field.runs import running
from tests.field.written import BEGUN, S, away
from tests.results import CARS, result
from tests.serving import eventually


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
