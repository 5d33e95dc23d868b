"""What a camera is said to be is what it is, in one word everywhere; load is never inferred from silence."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator

import httpx
import pytest

from plantain.operators.sources.live.held_back import HeldBack
from plantain.pipeline.config import check
from plantain.pipeline.engine.overload import Overload, Strain
from tests.field.cameras import STATES
from tests.scripted import ManualClock, ScriptedCamera, ScriptedConnection, Step, live, picture
from tests.serving import client, eventually, served_with_engine

LADDER = Overload(("frames", "size", "tasks"), max_age_s=1.0, window_s=2.0, recover_s=6.0)


# -- the ladder ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("silence_s", [0.7, 3.0, 12.0, 300.0])
@pytest.mark.parametrize("policy", ["drop_oldest", "latest"])
def test_a_burst_after_a_silence_is_lost_as_held_back(silence_s: float, policy: str) -> None:
    clock = ManualClock()
    burst = [picture(number) for number in range(1, 1 + round(min(silence_s, 8.0) * 25))]
    script: list[Step] = [picture(0), lambda: clock.advance(silence_s), *burst]
    camera = ScriptedCamera(ScriptedConnection(script))
    with live(camera, clock, ring="4", policy=policy) as source:
        dropped = source.dropped
        assert dropped.get("overtaken", 0) <= 1, "the first picture, perhaps"
        assert dropped["held back"] >= len(burst) - 5
        source.read(9)


def test_frames_that_come_in_their_time_and_are_not_fetched_are_overtaken() -> None:
    clock = ManualClock()
    script: list[Step] = []
    for number in range(50):
        script += [picture(number), lambda: clock.advance(0.04)]
    with live(ScriptedCamera(ScriptedConnection(script)), clock, ring="4") as source:
        assert source.dropped == {"overtaken": 46}
        source.read(9)


def test_a_slow_clock_a_skip_and_a_jump_are_no_burst() -> None:
    held = HeldBack()
    for _ in range(100_000):  # a camera's clock a thousandth slower than ours, for more than an hour
        held.take(0.04004, 0.04)
    assert not held.is_bursting
    held.take(10.0, 10.0)  # it was frozen, and skips what it had missed
    assert not held.is_bursting
    held.take(10.0, 0.04)
    assert held.is_bursting
    held.take(0.0, 5000.0)
    assert not held.is_bursting, "its times begin anew"


def test_silence_is_neither_overload_nor_calm() -> None:
    strain = Strain(has_results=True)
    strain.step(LADDER, 0, 0.0)
    assert [strain.step(LADDER, 2, now) for now in range(1, 60)] == [2] * 59
    rung = 2
    for now in (60.0, 62.0, 64.0, 66.0):
        strain.num_read = 20
        rung = strain.step(LADDER, rung, now)
    assert rung == 1, "calm with frames is calm"


def test_late_work_is_overload_also_where_nothing_more_is_read() -> None:
    strain = Strain(has_results=True)
    strain.step(LADDER, 0, 0.0)
    strain.result(0.5, 0.5, 1.9)
    assert strain.step(LADDER, 0, 2.0) == 1


# -- one word --------------------------------------------------------------------------------------------


@pytest.fixture
def base(tmp_path) -> Iterator[str]:
    STATES.clear()
    config = check(
        {
            "streams": [
                {"id": name, "url": name, "source": "tests.field.cameras:Camera"} for name in ("gate", "yard")
            ],
            "prompts": ["instances:car"],
            "model": {"name": "fake", "canvas": {"width": 160, "height": 96}},
            "output": {"out": str(tmp_path), "segment_s": 0.5},
            "analytics": [{"name": "presence", "options": {"min_s": 0.0}}],
            "executor": "threads",
        }
    )
    with served_with_engine(config) as base:
        yield base
    STATES.clear()


def figure(http: httpx.Client, name: str, **labels: str) -> float | None:
    for line in http.get("/metrics").text.splitlines():
        if line.startswith(name + "{") and all(f'{key}="{value}"' in line for key, value in labels.items()):
            return float(line.rpartition(" ")[2])
    return None


@pytest.mark.parametrize("state", ["silent", "refused", "unauthorised", "not_found", "no_video", "lost"])
def test_a_camera_that_is_away_is_called_so_everywhere_and_not_asked(base, state: str) -> None:
    with client(base) as http:
        gate = lambda: http.get("/v1/streams/gate").json()  # noqa: E731
        eventually(lambda: gate()["state"] == "live" and gate()["results"] > 3, "live")
        answer = http.post("/v1/streams/gate/query", json={"tasks": ["instances:car"]}).json()
        assert answer["frames"][0]["age_s"] < 2
        eventually(
            lambda: figure(http, "plantain_stream_state", stream="gate", state="live") == 1, "published"
        )
        STATES["gate"] = state
        status = eventually(lambda: (found := gate())["state"] == state and found, state)
        assert (status["health"], status["phase"]) == (state, "reading")
        assert f"is {state}; look at it" in status["why"]
        assert status["since"] is not None
        time.sleep(1.1)
        assert gate()["newest_frame_s"] > 1
        refused = http.post("/v1/streams/gate/query", json={"tasks": ["instances:car"]})
        assert refused.status_code == 422
        assert re.search(rf"'gate' is {state}: its newest frame is \d+ s old", refused.json()["detail"])
        assert figure(http, "plantain_stream_state", stream="gate", state=state) == 1
        assert figure(http, "plantain_stream_state", stream="gate", state="live") == 0
        assert figure(http, "plantain_streams", state=state) == 1
        assert figure(http, "plantain_streams", state="live") == 1
        told = http.get("/v1/events", params={"stream": "gate", "kind": state}).json()["items"]
        assert [each["kind"] for each in told] == [state]
        STATES["gate"] = "live"
        eventually(lambda: gate()["state"] == "live", "live")
        assert gate()["rung"] == 0


def test_a_paused_camera_is_paused_and_connects_again(base) -> None:
    with client(base) as http:
        http.patch("/v1/streams/gate", json={"paused": True})
        assert http.get("/v1/streams/gate").json()["state"] == "paused"
        http.patch("/v1/streams/gate", json={"paused": False})
        states = set()
        eventually(
            lambda: states.add(http.get("/v1/streams/gate").json()["state"]) or "live" in states, "live"
        )
        assert states <= {"paused", "connecting", "live"}


# -- events ----------------------------------------------------------------------------------------------


def test_events_are_listed_by_stream_kind_and_time_in_a_time_zone_and_by_pages(base) -> None:
    with client(base) as http:

        def events(**params: object) -> dict:
            return http.get("/v1/events", params=params).json()

        eventually(lambda: events(kind="appeared")["items"], "an event of an analytic")
        appeared = events(kind="appeared", stream="yard")["items"][0]
        assert (appeared["rule"], appeared["stream_id"], appeared["label"]) == ("presence", "yard", "car")
        STATES["gate"] = "silent"
        eventually(lambda: events(kind="silent")["items"], "silent")
        everything = events(limit=1000)["items"]
        assert [each["id"] for each in everything] == sorted(each["id"] for each in everything)
        both = events(kind=["silent", "connecting"], limit=1000)["items"]
        assert {each["kind"] for each in both} == {"silent", "connecting"}
        found, after = [], 0
        while after is not None:
            page = events(limit=2, after=after, stream="gate")
            found += page["items"]
            after = page["next"]
        assert len(found) == len({(each["id"], each["event_id"]) for each in found})
        assert {each["stream_id"] for each in found} == {"gate"}
        known = events(limit=1000)["items"][-1]["id"]
        newest = events(order="newest", limit=1)["items"][0]["id"]
        assert known <= newest <= events(limit=1000)["items"][-1]["id"]
        silent = events(kind="silent", tz="Asia/Kolkata")["items"][0]
        assert silent["at"].endswith("+05:30")
        assert events(kind="silent", until=silent["at"])["items"] == []
        assert len(events(kind="silent", since=silent["at"])["items"]) == 1
        naive = silent["at"].removesuffix("+05:30")
        assert len(events(kind="silent", since=naive, tz="Asia/Kolkata")["items"]) == 1
        assert events(kind="silent", since=naive, tz="UTC")["items"] == []
        for wrong in (
            {"tz": "Mars/Base"},
            {"tz": "../etc"},
            {"since": "yesterday"},
            {"limit": 0},
            {"order": "x"},
        ):
            assert http.get("/v1/events", params=wrong).status_code == 422


def test_what_happened_is_known_after_a_restart(tmp_path) -> None:
    STATES.clear()
    config = check(
        {
            "streams": [{"id": "gate", "url": "gate", "source": "tests.field.cameras:Camera"}],
            "prompts": ["instances:car"],
            "model": {"name": "fake", "canvas": {"width": 160, "height": 96}},
            "output": {"out": str(tmp_path), "segment_s": 0.5},
            "analytics": [{"name": "presence", "options": {"min_s": 0.0}}],
            "executor": "threads",
        }
    )
    begun = "2020-01-01T00:00:00Z"
    with served_with_engine(config) as base, client(base) as http:
        eventually(lambda: http.get("/v1/events", params={"kind": "appeared"}).json()["items"], "an event")
        STATES["gate"] = "refused"
        eventually(lambda: http.get("/v1/events", params={"kind": "refused"}).json()["items"], "refused")
        before = http.get("/v1/events", params={"limit": 1000}).json()["items"]
    with served_with_engine(config) as base, client(base) as http:
        after = http.get("/v1/events", params={"limit": 1000, "since": begun}).json()["items"]
    known = {(each["stream_id"], each["kind"], each["event_id"], each["detail"]) for each in after}
    lost = [
        each
        for each in before
        if (each["stream_id"], each["kind"], each["event_id"], each["detail"]) not in known
        and each["rule"] == ""
    ]
    assert lost == []
    STATES.clear()
