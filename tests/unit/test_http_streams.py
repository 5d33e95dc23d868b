"""/v1/streams, /v1/events and the live views, against an engine of steps."""

from __future__ import annotations

import json
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack

import httpx
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from plantain.operators.health import HealthEvent
from plantain.pipeline.commands import Note
from plantain.pipeline.config import check
from tests.gateways import StepGateway
from tests.serving import client, eventually, served

CONFIG = check(
    {
        "streams": [],
        "model": {"name": "fake", "canvas": {"width": 128, "height": 96}},
        "serve": {"max_viewers": 2},
    },
    may_be_idle=True,
)
STREET = {"url": "synthetic://street?seed=1", "prompts": ["depth"]}


@pytest.fixture
def gateway() -> StepGateway:
    return StepGateway(CONFIG)


@pytest.fixture
def base(gateway) -> Iterator[str]:
    with served(CONFIG, gateway) as base:
        yield base


@pytest.fixture
def http(base) -> Iterator[httpx.Client]:
    with client(base) as http:
        yield http


def test_a_stream_is_added_changed_paused_and_removed(http) -> None:
    added = http.post("/v1/streams", json={"id": "north", **STREET, "fps": 5})
    assert added.status_code == 201
    assert added.headers["Location"] == "/v1/streams/north"
    assert added.json() | {"latency_ms": 0} == http.get("/v1/streams/north").json() | {"latency_ms": 0}
    assert (added.json()["prompts"], added.json()["asked_fps"], added.json()["paused"]) == (
        ["depth"],
        5,
        False,
    )
    changed = http.patch("/v1/streams/north", json={"prompts": ["normals", "instances:car"], "fps": None})
    assert changed.json()["prompts"] == ["normals", "instances:car"]
    assert changed.json()["asked_fps"] is None
    assert http.patch("/v1/streams/north", json={"paused": True}).json()["phase"] == "paused"
    assert http.patch("/v1/streams/north", json={"paused": False}).json()["paused"] is False
    assert http.delete("/v1/streams/north").json()["id"] == "north"
    assert http.get("/v1/streams/north").status_code == 404
    assert http.delete("/v1/streams/north").status_code == 200, "asked again it says that it was"
    assert http.delete("/v1/streams/south").status_code == 404
    assert http.patch("/v1/streams/north", json={"fps": 1}).status_code == 404


def test_a_removal_that_takes_long_says_so_and_may_be_asked_again(http, gateway) -> None:
    http.post("/v1/streams", json={"id": "north", **STREET})
    gateway.removing.add("north")
    for _ in range(2):
        asked = http.delete("/v1/streams/north")
        assert (asked.status_code, asked.json()["phase"]) == (202, "removing")
    gateway.removing.clear()
    assert http.delete("/v1/streams/north").status_code == 200


def test_a_name_is_taken_once(http) -> None:
    http.post("/v1/streams", json={"id": "north", **STREET})
    again = http.post("/v1/streams", json={"id": "north", **STREET})
    assert again.status_code == 409
    assert "north" in again.json()["detail"]


def test_the_same_request_under_the_same_key_adds_nothing_twice(http) -> None:
    head = {"Idempotency-Key": "abc"}
    body = {"id": "north", **STREET}
    assert http.post("/v1/streams", json=body, headers=head).status_code == 201
    assert http.post("/v1/streams", json=body, headers=head).status_code == 200
    assert len(http.get("/v1/streams").json()["items"]) == 1
    assert http.post("/v1/streams", json=body | {"fps": 2}, headers=head).status_code == 409


def test_a_long_list_comes_in_pages(http) -> None:
    names = [f"cam{k:02d}" for k in range(7)]
    for name in reversed(names):
        http.post("/v1/streams", json={"id": name, **STREET})
    found, after = [], ""
    while after is not None:
        page = http.get("/v1/streams", params={"limit": 3, "after": after}).json()
        found += [item["id"] for item in page["items"]]
        after = page["next"]
    assert found == names


@pytest.mark.parametrize(
    "body",
    [
        {"id": "1a", **STREET}, {"id": "a/b", **STREET}, {"id": "a", "url": "", "prompts": ["depth"]},
        {"id": "a", "url": STREET["url"], "prompts": []}, {"id": "a", "url": STREET["url"], "prompts": ["dept"]},
        {"id": "a", **STREET, "fps": 0}, {"id": "a", **STREET, "every": 0}, {"id": "a", **STREET, "extra": 1}, [],
        {"id": "a", **STREET, "options": {"ring": 3}},
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_stream_is_named(http, body: object) -> None:
    response = http.post("/v1/streams", json=body)
    assert response.status_code == 422
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["detail"]


def test_the_newest_frame_can_be_asked(http, gateway) -> None:
    http.post("/v1/streams", json={"id": "north", **STREET})
    answer = http.post("/v1/streams/north/query", json={"tasks": ["instances:car", "depth"]}).json()
    (frame,) = answer["frames"]
    assert frame["stream_id"] == "north"
    assert [each["task"] for each in frame["answers"]] == ["instances", "depth"]
    drawn = http.post(
        "/v1/streams/north/query", json={"tasks": ["instances:car"]}, headers={"Accept": "image/jpeg"}
    )
    assert drawn.content[:2] == b"\xff\xd8"
    assert http.post("/v1/streams/south/query", json={"tasks": ["depth"]}).status_code == 404


def lines_of(response: httpx.Response) -> Iterator[tuple[str, dict]]:
    """Server-sent events: name and data."""
    name = ""
    for line in response.iter_lines():
        if line.startswith("event: "):
            name = line[7:]
        elif line.startswith("data: "):
            yield name, json.loads(line[6:])


def test_a_watch_tells_when_the_answer_is_not_empty_any_more(http, gateway) -> None:
    http.post("/v1/streams", json={"id": "north", **STREET})
    gateway.pictures["north"] = -1
    query = {"tasks": ["instances:car"], "watch": True, "every_s": 0.1}
    with http.stream("POST", "/v1/streams/north/query", json=query) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        events = lines_of(response)
        threading.Timer(0.5, gateway.pictures.update, [{"north": 255}]).start()
        name, frame = next(events)
        assert name == "match"
        assert frame["answers"][0]["num_objects"] > 0
        gateway.pictures["north"] = -1
        assert next(events)[0] == "clear"
    asked = len(gateway.asked)
    time.sleep(0.5)
    assert len(gateway.asked) <= asked + 1, "a watch that nobody follows is over"


def test_a_watch_for_one_match_ends_with_it(http, gateway) -> None:
    http.post("/v1/streams", json={"id": "north", **STREET})
    gateway.pictures["north"] = 255
    query = {"tasks": ["instances:car"], "watch": True, "once": True}
    with http.stream("POST", "/v1/streams/north/query", json=query) as response:
        assert [name for name, _ in lines_of(response)] == ["match"]


def test_a_watch_goes_on_when_the_engine_is_back(http, gateway) -> None:
    http.post("/v1/streams", json={"id": "north", **STREET})
    gateway.pictures["north"] = -1
    query = {"tasks": ["instances:car"], "watch": True, "every_s": 0.1}
    with http.stream("POST", "/v1/streams/north/query", json=query) as response:
        gateway.is_down = True
        time.sleep(0.3)
        gateway.pictures["north"] = 255
        gateway.is_down = False
        assert next(lines_of(response))[0] == "match"


def test_a_watch_of_what_is_not_there_is_refused_at_once(http) -> None:
    assert http.post("/v1/streams/north/query", json={"tasks": ["depth"], "watch": True}).status_code == 404


def test_events_are_listed_in_pages_and_followed(http, gateway) -> None:
    gateway.events += [
        Note(k, HealthEvent(f"cam{k % 2}", 0, "lost", f"number {k}", k * 10**9)) for k in range(1, 8)
    ]
    page = http.get("/v1/events", params={"limit": 3}).json()
    assert [event["id"] for event in page["items"]] == [1, 2, 3]
    assert page["items"][0]["at"].startswith("1970-01-01T00:00:01")
    rest = http.get("/v1/events", params={"after": page["next"], "stream": "cam1"}).json()
    assert [event["id"] for event in rest["items"]] == [5, 7]
    assert rest["next"] is None
    head = {"Accept": "text/event-stream", "Last-Event-ID": "6"}
    with http.stream("GET", "/v1/events", headers=head) as response:
        events = lines_of(response)
        assert next(events)[1]["id"] == 7
        gateway.events.append(Note(8, HealthEvent("cam0", 0, "live", "back", 8)))
        assert next(events)[1]["detail"] == "back"


def test_live_pictures_come_as_mjpeg(http) -> None:
    http.post("/v1/streams", json={"id": "north", **STREET})
    with http.stream("GET", "/v1/streams/north/live", params={"prompt": "depth"}) as response:
        assert "multipart/x-mixed-replace; boundary=plantain-frame" in response.headers["content-type"]
        told = b""
        for chunk in response.iter_bytes():
            told += chunk
            if told.count(b"--plantain-frame") >= 3:
                break
        assert b"\xff\xd8" in told
    assert http.get("/v1/streams/south/live").status_code == 404


def picture_of(message: bytes) -> tuple[dict, bytes]:
    """Head and JPEG of a message of the wall."""
    (length,) = struct.unpack(">I", message[:4])
    return json.loads(message[4 : 4 + length]), message[4 + length :]


def test_the_wall_sends_pictures_of_all_streams_over_one_line(base, http) -> None:
    for name in ("north", "south"):
        http.post("/v1/streams", json={"id": name, **STREET})
    with connect(base.replace("http", "ws") + "/v1/live", max_size=None) as line:
        line.send(json.dumps({"watch": [{"stream_id": "north"}, {"stream_id": "south", "prompt": "depth"}]}))
        heads = []
        for _ in range(6):
            head, jpeg = picture_of(line.recv(10))
            assert jpeg[:2] == b"\xff\xd8"
            heads.append(head)
            line.send(json.dumps({"seen": [head["number"]]}))
        assert {(head["stream_id"], head["prompt"]) for head in heads} == {("north", ""), ("south", "depth")}


def test_a_page_that_does_not_keep_up_gets_no_late_pictures(base, http) -> None:
    http.post("/v1/streams", json={"id": "north", **STREET})
    with connect(base.replace("http", "ws") + "/v1/live", max_size=None) as line:
        line.send(json.dumps({"watch": [{"stream_id": "north"}]}))
        heads = [picture_of(line.recv(10))[0] for _ in range(2)]
        with pytest.raises(TimeoutError):
            line.recv(0.7)
        line.send(json.dumps({"seen": [head["number"] for head in heads]}))
        fresh = picture_of(line.recv(10))[0]
        assert fresh["number"] - heads[1]["number"] > 0.5e9, (
            "the picture is of now, not of when the line was full"
        )


def test_a_hidden_page_costs_nothing(base, http, gateway, monkeypatch) -> None:
    calls = []
    real = gateway.shots

    async def shots(watch):
        calls.append(watch.looks)
        return await real(watch)

    monkeypatch.setattr(gateway, "shots", shots)
    http.post("/v1/streams", json={"id": "north", **STREET})
    with connect(base.replace("http", "ws") + "/v1/live", max_size=None) as line:
        line.send(json.dumps({"watch": [{"stream_id": "north"}]}))
        line.recv(10)
        line.send(json.dumps({"watch": []}))
        time.sleep(0.3)
        before = len(calls)
        time.sleep(0.5)
        assert len(calls) == before


@pytest.mark.parametrize(
    "text", ["x", "[]", '{"watch": [{}]}', '{"watch": [{"stream_id": "a", "fps": 0}]}', '{"a": 1}']
)
def test_what_a_page_may_not_say_ends_the_line(base, text: str) -> None:
    with connect(base.replace("http", "ws") + "/v1/live") as line:
        line.send(text)
        with pytest.raises(ConnectionClosed):
            line.recv(10)


def test_viewers_are_limited(base, http) -> None:
    http.post("/v1/streams", json={"id": "north", **STREET})
    address = base.replace("http", "ws") + "/v1/live"
    with connect(address), connect(address):
        assert http.get("/v1/streams/north/live").status_code == 503
        assert http.get("/v1/streams").status_code == 200

    def is_open() -> bool:
        with http.stream("GET", "/v1/streams/north/live") as response:
            return response.status_code == 200

    eventually(is_open, "given back")


def test_the_service_ends_while_views_are_open(gateway) -> None:
    with ExitStack() as page, ExitStack() as service:
        base = service.enter_context(served(CONFIG, gateway))
        http = page.enter_context(client(base))
        http.post("/v1/streams", json={"id": "north", **STREET})
        line = page.enter_context(connect(base.replace("http", "ws") + "/v1/live", max_size=None))
        line.send(json.dumps({"watch": [{"stream_id": "north"}]}))
        watch = page.enter_context(http.stream("GET", "/v1/events", headers={"Accept": "text/event-stream"}))
        begun = time.monotonic()
        service.close()
        assert time.monotonic() - begun < 30
        del watch


def test_models_say_which_one_answers(http) -> None:
    items = {item["name"]: item for item in http.get("/v1/models").json()["items"]}
    assert items["fake"]["is_serving"]
    assert not items["embedded"]["is_serving"]
    assert "depth" in items["embedded"]["tasks"]


def test_the_interface_describes_itself(http) -> None:
    document = http.get("/openapi.json").json()
    assert document["openapi"].startswith("3.")
    for path in (
        "/v1/predict",
        "/v1/streams",
        "/v1/streams/{stream_id}",
        "/v1/events",
        "/v1/models",
        "/healthz",
    ):
        assert path in document["paths"]
    body = document["paths"]["/v1/predict"]["post"]["requestBody"]["content"]
    assert set(body) == {"multipart/form-data", "application/json"}
    assert (
        "application/problem+json" in document["paths"]["/v1/predict"]["post"]["responses"]["422"]["content"]
    )


@pytest.mark.parametrize("path", ["/nothing", "/v1", "/v1/streams/a/b"])
def test_what_is_not_there_is_a_problem(http, path: str) -> None:
    response = http.get(path)
    assert response.status_code == 404
    assert response.headers["content-type"] == "application/problem+json"
    assert http.put("/v1/streams").status_code == 405
