"""How much clients may bring: bytes, prompts, requests and viewers at a time."""

from __future__ import annotations

import base64
import os
import socket
import threading
from collections.abc import Iterator

import httpx
import pytest

from plantain.deploy.service import security
from plantain.deploy.service.security import Slots
from tests.doors import BEARER, TOKEN, config
from tests.gateways import StepGateway
from tests.serving import client, jpeg, served


@pytest.fixture(scope="module")
def http(locked) -> Iterator[httpx.Client]:
    with client(locked) as http:
        yield http


def test_a_body_that_says_it_is_too_large_is_not_read(http) -> None:
    response = http.post("/v1/predict", content=b"x" * 50_001, headers=BEARER)
    assert response.status_code == 413
    assert response.json()["detail"].startswith("the body is larger than 50000")


def test_a_body_that_does_not_say_its_length_is_cut_off(http) -> None:
    body = b'{"image": "' + base64.b64encode(os.urandom(60_000)) + b'", "tasks": ["depth"]}'
    sent = []

    def chunks() -> Iterator[bytes]:
        for k in range(0, len(body), 5000):
            sent.append(k)
            yield body[k : k + 5000]

    response = http.post(
        "/v1/predict", content=chunks(), headers={**BEARER, "Content-Type": "application/json"}
    )
    assert response.status_code == 413
    assert response.headers["content-type"] == "application/problem+json"


def test_a_form_that_does_not_say_its_length_is_cut_off(http) -> None:
    head = b'--b\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n'
    kind = {"Content-Type": "multipart/form-data; boundary=b"}
    response = http.post("/v1/predict", content=iter([head, *[b"x" * 9000] * 9]), headers=BEARER | kind)
    assert response.status_code == 413


@pytest.mark.parametrize("length", ["-1", "1e3", "99999999999999999999999999", "x"])
def test_a_length_that_is_none_is_refused(locked, length: str) -> None:
    host, port = locked.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), 10) as line:
        line.sendall(
            f"POST /v1/predict HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {TOKEN}\r\n"
            f"Content-Length: {length}\r\n\r\n".encode()
        )
        assert line.recv(4096).split(b" ")[1] in (b"400", b"413")


def test_prompts_and_their_length_are_limited(guarded) -> None:
    def post(*tasks: str) -> httpx.Response:
        files = {"image": ("a.jpg", jpeg())}
        return guarded.post("/v1/predict", files=files, data={"task": list(tasks)})

    assert post("depth", "normals", "instances:car").status_code == 200
    assert "at most 3" in post("depth", "normals", "instances:car", "refer:a").json()["detail"]
    assert "longer than 40" in post("refer:" + "a" * 40).json()["detail"]


def test_requests_at_a_time_are_limited() -> None:
    made = config(max_requests=2)
    gateway = StepGateway(made, delay_s=1.0)
    with served(made, gateway) as base, client(base) as http:
        codes: list[int] = []

        def post() -> None:
            response = http.post("/v1/predict", files={"image": ("a", jpeg())}, data={"task": "depth"})
            codes.append(response.status_code)
            if response.status_code == 503:
                assert int(response.headers["Retry-After"]) >= 1

        threads = [threading.Thread(target=post) for _ in range(6)]
        for thread in threads:
            thread.start()
        assert http.get("/healthz").status_code == 200
        for thread in threads:
            thread.join()
        assert codes.count(200) == 2
        assert codes.count(503) == 4
        assert http.get("/v1/models").status_code == 200, "what was taken is given back"


def test_viewers_are_limited_apart_from_requests() -> None:
    slots = Slots(1, 1)
    first = security.Slot(slots, "requests")
    first.stay()
    second = security.Slot(slots, "requests")
    with pytest.raises(security.HttpError):
        second.stay()
    first.give()
    second.stay()
    second.give()
    assert slots.taken == {"requests": 0, "viewers": 0}
