"""Who gets in, how much they may bring, and which addresses they may name."""

from __future__ import annotations

import asyncio
import base64
import hmac
import json
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import yaml
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from deploy import security
from deploy.schemas import StreamIn
from deploy.security import HEADERS, Slots, check_exposure, is_loopback
from deploy.security_urls import check_stream
from operators.errors import UsageError
from operators.sources.base import StreamSpec
from pipeline.config import PipelineConfig, ServeConfig, check, plain
from tests.gateways import StepGateway
from tests.serving import client, jpeg, served

TOKEN = "correct horse battery staple"


def config(**serve: object) -> PipelineConfig:
    model = {"name": "fake", "canvas": {"width": 64, "height": 48}}
    return check({"streams": [], "model": model, "serve": serve}, may_be_idle=True)


@pytest.fixture(scope="module")
def locked() -> Iterator[str]:
    """A service with a token."""
    made = config(token=TOKEN, max_body_bytes=50_000)
    with served(made, StepGateway(made)) as base:
        yield base


@pytest.fixture(scope="module")
def http(locked) -> Iterator[httpx.Client]:
    with client(locked) as http:
        yield http


@pytest.fixture(scope="module")
def guarded() -> Iterator[httpx.Client]:
    """A service whose requests may name some cameras."""
    made = config(
        schemes=["synthetic", "rtsp"], hosts=["*.example.org", "10.1.0.0/16", "127.0.0.1"], max_prompts=3,
        max_text=40,
    )  # fmt: skip
    with served(made, StepGateway(made)) as base, client(base) as http:
        yield http


# -- who gets in -------------------------------------------------------------------------------------------


def test_it_listens_on_loopback_unless_told_otherwise() -> None:
    assert is_loopback(ServeConfig().host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "cameras.example.org"])
def test_it_refuses_to_start_elsewhere_without_a_token(host: str) -> None:
    with pytest.raises(UsageError, match=r"serve\.token"):
        check_exposure(ServeConfig(host=host))
    assert check_exposure(ServeConfig(host=host, token=TOKEN)) == TOKEN


def test_a_token_that_can_be_guessed_is_refused() -> None:
    with pytest.raises(UsageError, match="16"):
        check_exposure(ServeConfig(token="secret"))


def test_the_token_may_be_in_a_file(tmp_path) -> None:
    (tmp_path / "token").write_text(TOKEN + "\n")
    assert check_exposure(ServeConfig(host="0.0.0.0", token_file=str(tmp_path / "token"))) == TOKEN
    with pytest.raises(UsageError, match="token_file"):
        check_exposure(ServeConfig(token_file=str(tmp_path / "none")))


def test_a_token_is_in_no_dump_and_no_repr() -> None:
    made = config(token=TOKEN)
    assert TOKEN not in repr(made)
    assert TOKEN not in made.model_dump_json()


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/predict"), ("GET", "/v1/streams"), ("POST", "/v1/streams"), ("PATCH", "/v1/streams/a"),
        ("DELETE", "/v1/streams/a"), ("POST", "/v1/streams/a/query"), ("GET", "/v1/streams/a/live"),
        ("GET", "/v1/events"), ("GET", "/v1/models"), ("GET", "/metrics"), ("GET", "/nothing"),
    ],
)  # fmt: skip
def test_nothing_is_answered_without_the_token(http, method: str, path: str) -> None:
    for authorization in (None, "Bearer wrong", f"Basic {TOKEN}", f"Bearer {TOKEN}x", "Bearer"):
        headers = {} if authorization is None else {"Authorization": authorization}
        response = http.request(method, path, headers=headers)
        assert response.status_code == 401
        assert response.headers["WWW-Authenticate"].startswith("Bearer")
        assert response.headers["content-type"] == "application/problem+json"


def test_the_token_opens(http) -> None:
    assert http.get("/v1/models", headers={"Authorization": f"Bearer {TOKEN}"}).status_code == 200


@pytest.mark.parametrize("path", ["/", "/docs", "/openapi.json", "/healthz", "/readyz"])
def test_the_login_and_the_health_need_no_token(http, path: str) -> None:
    assert http.get(path).status_code == 200


def test_a_page_logs_in_for_a_cookie_that_does_not_hold_the_token(locked) -> None:
    with client(locked) as http:
        assert http.post("/v1/session", json={"token": "wrong"}).status_code == 401
        assert http.get("/v1/models").status_code == 401
        response = http.post("/v1/session", json={"token": TOKEN})
        cookie = response.headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "samesite=strict" in cookie.lower()
        assert TOKEN not in cookie
        assert http.get("/v1/models").status_code == 200
        http.delete("/v1/session")
        assert http.get("/v1/models").status_code == 401


def test_tokens_are_compared_in_constant_time(http, monkeypatch) -> None:
    compared = []
    real = hmac.compare_digest

    def compare(given: bytes, wanted: bytes) -> bool:
        compared.append((given, wanted))
        return real(given, wanted)

    monkeypatch.setattr(security.hmac, "compare_digest", compare)
    http.get("/v1/models", headers={"Authorization": "Bearer guess"})
    monkeypatch.undo()
    assert compared == [(b"guess", TOKEN.encode())]


def test_a_websocket_needs_the_token_too(locked) -> None:
    address = locked.replace("http", "ws") + "/v1/live"
    with pytest.raises((InvalidStatus, ConnectionClosed)), connect(address) as line:
        line.recv(5)
    with connect(address, additional_headers={"Authorization": f"Bearer {TOKEN}"}) as line:
        line.send(json.dumps({"watch": []}))
        with pytest.raises(TimeoutError):
            line.recv(0.2)


def test_a_name_that_is_not_ours_is_not_answered(guarded) -> None:
    for host in ("evil.example.com", "127.0.0.1.example.com", "", "[::1", "192.168.1.5:8000"):
        assert guarded.get("/v1/models", headers={"Host": host}).status_code in (400, 421)
    for host in ("localhost", "localhost:99", "127.0.0.1:8000", "[::1]:8000"):
        assert guarded.get("/v1/models", headers={"Host": host}).status_code == 200


def test_a_name_may_be_added() -> None:
    made = config(names=["cameras.example.org"])
    with served(made, StepGateway(made)) as base, client(base) as http:
        assert http.get("/v1/models", headers={"Host": "cameras.example.org"}).status_code == 200


def test_pages_of_other_sites_cannot_act(guarded, locked) -> None:
    evil = {"Origin": "https://evil.example.com"}
    assert guarded.post("/v1/streams", json={}, headers=evil).status_code == 403
    assert guarded.delete("/v1/streams/a", headers={"Origin": "null"}).status_code == 403
    own = {"Origin": str(guarded.base_url).rstrip("/")}
    assert guarded.post("/v1/streams", json={}, headers=own).status_code == 422
    assert "access-control-allow-origin" not in guarded.get("/v1/models", headers=evil).headers
    address = locked.replace("http", "ws") + "/v1/live"
    headers = {"Authorization": f"Bearer {TOKEN}"}
    with (
        pytest.raises((InvalidStatus, ConnectionClosed)),
        connect(address, origin="https://evil.example.com", additional_headers=headers) as line,
    ):
        line.recv(5)


@pytest.mark.parametrize("path", ["/", "/docs", "/web/app.js", "/v1/models", "/nothing", "/healthz"])
def test_every_answer_has_the_security_headers(guarded, path: str) -> None:
    response = guarded.get(path)
    for name, value in HEADERS.items():
        assert response.headers[name] == value
    assert "unsafe" not in response.headers["Content-Security-Policy"]
    assert "server" not in response.headers or "uvicorn" in response.headers["server"]


def test_pages_and_scripts_name_no_other_site(guarded) -> None:
    scripts = ("app", "api", "wall", "ask", "key", "docs")
    for path in ("/", "/docs", "/web/style.css", *(f"/web/{name}.js" for name in scripts)):
        text = guarded.get(path).text
        assert "//cdn" not in text
        assert "http://" not in text.replace("http://www.w3.org", "")
        assert "https://" not in text
        assert "<script>" not in text
        assert "onclick=" not in text
        assert 'style="' not in text
        assert "innerHTML" not in text


@pytest.mark.parametrize(
    "path", ["/web/../app.py", "/web/%2e%2e/app.py", "/web/..%2fapp.py", "/web//etc/passwd", "/web/app.py", "/web/"]
)  # fmt: skip
def test_only_the_pages_own_files_are_given(guarded, path: str) -> None:
    assert guarded.get(path).status_code == 404


# -- how much ----------------------------------------------------------------------------------------------

HEAD = {"Authorization": f"Bearer {TOKEN}"}


def test_a_body_that_says_it_is_too_large_is_not_read(http) -> None:
    response = http.post("/v1/predict", content=b"x" * 50_001, headers=HEAD)
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
        "/v1/predict", content=chunks(), headers={**HEAD, "Content-Type": "application/json"}
    )
    assert response.status_code == 413
    assert response.headers["content-type"] == "application/problem+json"


def test_a_form_that_does_not_say_its_length_is_cut_off(http) -> None:
    head = b'--b\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n'
    kind = {"Content-Type": "multipart/form-data; boundary=b"}
    response = http.post("/v1/predict", content=iter([head, *[b"x" * 9000] * 9]), headers=HEAD | kind)
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


# -- which addresses ---------------------------------------------------------------------------------------


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


def test_yaml_makes_no_objects(tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text("streams: !!python/object/apply:os.system ['touch owned']\n")
    with pytest.raises(UsageError):
        plain(path)
    assert yaml.safe_load("a: 1") == {"a": 1}


def test_no_part_of_the_service_unpickles_or_evals() -> None:
    root = Path(security.__file__).parent
    for path in [*root.glob("*.py"), *root.glob("endpoints/*.py")]:
        text = path.read_text(encoding="utf-8")
        for word in ("pickle.load", "eval(", "exec(", "yaml.load(", "trust_remote_code", "allow_pickle=True"):
            assert word not in text, f"{path.name}: {word}"


def test_the_spec_of_a_request_never_names_a_source_of_its_own(guarded) -> None:
    body = {"id": "a", "url": "synthetic://street", "prompts": ["depth"], "source": "os:system"}
    assert guarded.post("/v1/streams", json=body).status_code == 422
    assert StreamSpec("a", "synthetic://street").source == ""
