"""Which addresses, files and options a request may name."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from plantain.deploy.service.schemas import StreamIn
from plantain.deploy.service.security_urls import check_stream
from plantain.operators.streams import StreamSpec
from plantain.pipeline.config import ServeConfig
from tests.doors import config
from tests.gateways import StepGateway
from tests.serving import client, served


def add(http: httpx.Client, url: str, **options: object) -> httpx.Response:
    body = {"id": "a", "url": url, "prompts": ["depth"], **options}
    response = http.post("/v1/streams", json=body)
    http.delete("/v1/streams/a")
    return response


@pytest.mark.parametrize(
    "url",
    [
        "/etc/passwd", "file:///etc/passwd", "file:/etc/passwd", "recording.mp4", "http://10.1.0.1/video",
        "https://cam.example.org/a.m3u8", "concat:/etc/passwd|/etc/hosts", "udp://0.0.0.0:5000", "tcp://10.1.0.1:1",
        "/dev/video0", "rtsps://cam.example.org/a", "data:video/mp4;base64,AAAA", "pipe:0", "ftp://cam.example.org/",
        "subfile,,start,0,end,9,,:/etc/passwd", "rtsp:/etc/passwd", "synthetic:/etc/passwd", "RTSP:cam.example.org",
    ],
)  # fmt: skip
def test_what_opens_files_or_other_protocols_is_refused(guarded, url: str) -> None:
    assert add(guarded, url).status_code in (403, 422)


@pytest.mark.parametrize(
    "url",
    [
        "rtsp://127.0.0.2/a", "rtsp://169.254.169.254/latest", "rtsp://192.168.1.1/a",
        "rtsp://8.8.8.8/a", "rtsp://[::1]/a", "rtsp://0x7f000002/a", "rtsp://2130706434/", "rtsp://10.2.0.1/a",
        "rtsp://x@10.2.0.1/a", "rtsp://127.0.0.1@10.2.0.1/a", "rtsp://[::ffff:10.2.0.1]/",
    ],
)  # fmt: skip
def test_hosts_that_are_not_allowed_are_refused(guarded, url: str) -> None:
    assert add(guarded, url).status_code == 403


@pytest.mark.parametrize(
    "url", ["rtsp:///a", "rtsp://:80/a", "rtsp://10.1.0.1:99999/a", "rtsp://10.1.0.1/a b", "rtsp://10.1.0.1\\@10.2.0.1/",
            "rtsp://10.1.0.1/\n", "rtsp://[/a"]
)  # fmt: skip
def test_what_is_no_address_is_refused(guarded, url: str) -> None:
    assert add(guarded, url).status_code in (403, 422)


def test_a_camera_that_is_allowed_is_guarded_when_it_is_opened(guarded) -> None:
    body = {"id": "a", "url": "rtsp://me:secret@10.1.2.3/a", "prompts": ["depth"], "options": {"ring": "4"}}
    response = guarded.post("/v1/streams", json=body)
    assert response.status_code == 201
    assert "secret" not in response.text
    assert "secret" not in guarded.get("/v1/streams").text
    guarded.delete("/v1/streams/a")
    stream = StreamIn(id="a", url=body["url"], prompts=["depth"], options={"ring": "4"})
    options = asyncio.run(check_stream(stream, ServeConfig(schemes=("rtsp",), hosts=("10.1.0.0/16",))))
    assert options == {"ring": "4", "hosts": "10.1.0.0/16"}


@pytest.mark.parametrize(
    "options",
    [
        {"realtime": "yes"}, {"hosts": ""}, {"epoch": "3"}, {"loop": "yes"}, {"ring": "65"}, {"ring": "-1"},
        {"policy": "all"}, {"timeout_s": "nan"}, {"protocol_whitelist": "file"},
    ],
)  # fmt: skip
def test_options_that_open_files_or_reach_further_are_refused(guarded, options: dict[str, str]) -> None:
    assert add(guarded, "rtsp://10.1.2.3/a", options=options).status_code == 422


@pytest.mark.parametrize(
    "url",
    [
        "synthetic://street?width=100000", "synthetic://street?frames=999999999", "synthetic://street?assets=/etc",
        "synthetic://street?seed=-1", "synthetic://other", "synthetic://street/x", "synthetic://street?fps=0",
        "synthetic://street?width=1e3", "synthetic://street?seed=\u0663",
    ],
)  # fmt: skip
def test_a_rendered_street_is_bounded(guarded, url: str) -> None:
    assert add(guarded, url).status_code == 422
    assert add(guarded, "synthetic://street?seed=3&frames=100").status_code == 201


def test_by_default_a_request_may_add_no_camera() -> None:
    made = config()
    with served(made, StepGateway(made)) as base, client(base) as http:
        assert add(http, "rtsp://cam.example.org/a").status_code == 403


def test_the_spec_of_a_request_never_names_a_source_of_its_own(guarded) -> None:
    body = {"id": "a", "url": "synthetic://street", "prompts": ["depth"], "source": "os:system"}
    assert guarded.post("/v1/streams", json=body).status_code == 422
    assert StreamSpec("a", "synthetic://street").source == ""
