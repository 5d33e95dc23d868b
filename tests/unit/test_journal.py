"""What a run says of itself: one line for each end, and one a minute for all streams, with its figures as fields."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import pytest
from structlog.testing import capture_logs

from plantain.operators.health import HealthEvent
from plantain.pipeline.engine.stream import Phase
from plantain.pipeline.journal import BEAT_S, Journal, tell_health
from tests.numbers import OrderedSink, Plan, graph_of, starts_of
from tests.simulation import World


def world_of(plans: dict[str, Plan]) -> World:
    return World(graph_of(plans, OrderedSink(plans)), starts_of(plans))


def told(world: World, journal: Journal) -> list[Mapping[str, Any]]:
    with capture_logs() as lines:
        journal.update(world.engine)
    return lines


def test_a_stream_that_ends_has_one_line_with_its_figures(tmp_path) -> None:
    world = world_of({"a": Plan(7, infer_fails=frozenset({2})), "b": Plan(3, breaks_at=1)})
    journal = Journal(str(tmp_path))
    assert told(world, journal) == []
    world.run()
    world.engine.streams["a"].num_damaged = 4
    lines = sorted(told(world, journal), key=lambda line: line["stream"])
    assert lines == [
        {"event": "done", "log_level": "info", "stream": "a", "answered": 6, "failed": 1, "damaged_packets": 4,
         "source": "numbers://a"},
        {
            "event": "failed", "log_level": "error", "stream": "b", "answered": 1,
            "error": "OSError: the tape is torn",
        },
    ]  # fmt: skip
    assert told(world, journal) == [], "once"


def test_what_was_not_read_of_a_file_is_a_warning_with_the_remedy(tmp_path) -> None:
    world = world_of({"a": Plan(3)})
    world.run()
    world.engine.streams["a"].unread_bytes = 700
    warning, end = told(world, Journal(str(tmp_path)))
    assert (warning["event"], warning["log_level"], warning["unread_bytes"]) == ("unread", "warning", 700)
    assert "ffmpeg -f concat" in warning["remedy"]
    assert (end["event"], end["unread_bytes"]) == ("done", 700)


def test_a_stream_that_ends_again_is_told_again(tmp_path) -> None:
    world = world_of({"a": Plan(3)})
    world.run()
    journal = Journal(str(tmp_path))
    stream = world.engine.streams["a"]
    assert len(told(world, journal)) == 1
    stream.phase = Phase.WAITING
    assert told(world, journal) == []
    stream.phase = Phase.DONE
    assert len(told(world, journal)) == 1


def test_there_is_one_line_a_minute_whatever_the_number_of_streams(tmp_path) -> None:
    plans = {f"cam{number}": Plan(20, is_live=True) for number in range(30)}
    world, now = world_of(plans), 0.0
    journal = Journal(str(tmp_path), lambda: now)
    journal.update(world.engine)
    while world.engine.frames_in_flight == 0:
        world.step()
    world.engine.streams["cam0"].health = "refused"
    with capture_logs() as lines:
        for now in map(float, range(1, 5 * 60)):  # noqa: B007 (the journal's clock)
            for stream in world.engine.streams.values():
                stream.account.results += 1
                stream.account.drop("overtaken")
                stream.account.drop("not sampled", 9)
            journal.update(world.engine)
    beats = [line for line in lines if line["event"] == "heartbeat"]
    assert len(beats) == len(lines) == 4
    for beat in beats:
        assert beat["log_level"] == "info"
        assert (beat["answered_per_s"], beat["lost"], beat["failed"]) == (30.0, 30 * BEAT_S, 0)
        assert sum(beat["streams"].values()) == 30
        assert beat["streams"]["refused"] == 1
        assert beat["disk_free_gb"] > 0
        assert all(isinstance(beat[name], int | float) for name in ("in_flight", "lost", "answered_per_s"))


def test_frames_of_a_stream_that_has_left_count_in_its_minute(tmp_path) -> None:
    """So it is with each recording of a watched folder."""
    now = 0.0
    world = world_of({f"clip{number}": Plan(1) for number in range(3)})
    journal = Journal(f"file://{tmp_path}", lambda: now)
    journal.update(world.engine)
    streams = world.engine.streams
    with capture_logs() as lines:
        for stream in streams.values():
            stream.account.results += 20
        journal.update(world.engine)
        streams["clip0"].account.results += 20
        del streams["clip0"]
        del streams["clip1"]
        for now in (10.0, BEAT_S, 2 * BEAT_S):  # noqa: B007 (the journal's clock)
            journal.update(world.engine)
    first, second = (line for line in lines if line["event"] == "heartbeat")
    assert first["answered_per_s"] == round(80 / BEAT_S, 2)
    assert second["answered_per_s"] == 0
    assert first["disk_free_gb"] > 0, "file:// is a disk of this machine"


@pytest.mark.parametrize("out", ["s3://bucket/out", "/no/such/folder"])
def test_a_disk_that_is_not_ours_or_not_there_costs_nothing(out: str) -> None:
    world, now = world_of({"a": Plan(3)}), 0.0
    journal = Journal(out, lambda: now)
    journal.update(world.engine)
    now = BEAT_S
    (beat,) = told(world, journal)
    assert beat["disk_free_gb"] is None
    assert beat["lag_s"] is None


@pytest.mark.parametrize(
    ("state", "level"), [("live", "info"), ("added", "info"), ("refused", "warning"), ("failed", "error")]
)
def test_the_level_says_whether_somebody_should_look(state, level) -> None:
    world = world_of({"gate": Plan(3, is_live=True)})
    with capture_logs() as lines:
        tell_health(HealthEvent("gate", 0, state, "what it is", 0), world.engine.streams["gate"], {}, 0.0)
    assert [(line["event"], line["log_level"], line["what"]) for line in lines] == [
        (state, level, "what it is")
    ]


def test_a_thousand_cameras_under_lasting_overload_are_one_line_a_minute_for_each_way(tmp_path) -> None:
    world, stepped_s = world_of({f"cam{number}": Plan(3, is_live=True) for number in range(20)}), {}
    with capture_logs() as lines:
        for second in range(180):
            for number, stream in enumerate(world.engine.streams.values()):
                stream.rungs = {"": (second + number) % 2}
                state = "slowed" if stream.rungs[""] else "recovered"
                tell_health(
                    HealthEvent(stream.stream_id, 0, state, "it is", 0), stream, stepped_s, float(second)
                )
            tell_health(HealthEvent("cam0", 0, "lost", "it is", 0), None, stepped_s, float(second))
    said = Counter(line["event"] for line in lines)
    assert said == {"slowed": 3, "recovered": 3, "lost": 180}
    now = 0.0
    journal = Journal(str(tmp_path), lambda: now)
    journal.update(world.engine)
    now = BEAT_S
    (beat,) = told(world, journal)
    assert beat["slowed"] == 10
