"""Cameras that requests name: which hosts are allowed, whatever their names and answers turn into."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from plantain.deploy import standard
from plantain.operators.errors import SourceError
from plantain.operators.segments import Position
from plantain.operators.sources.live.guard import AddressRefusedError, Relay, judged_addresses
from plantain.operators.sources.live.source import LiveSource
from plantain.operators.streams import StreamSpec, View
from tests.watching import Watch, follow


def resolver(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> None:
    """Every name leads to these addresses."""

    def getaddrinfo(host: str, port: int, **_: object) -> list[object]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)


@pytest.mark.parametrize(
    ("address", "allowed"),
    [
        ("93.184.216.34", ["*.example.org"]),
        ("10.1.2.3", ["10.0.0.0/8"]),
        ("10.1.2.3", ["*.example.org", "10.1.2.3"]),
        ("127.0.0.1", ["cam.example.org", "127.0.0.0/8"]),
    ],
)
def test_a_host_that_is_named_is_connected_to(monkeypatch, address: str, allowed: list[str]) -> None:
    resolver(monkeypatch, address)
    assert judged_addresses("Cam.example.org", 554, allowed) == [address]


@pytest.mark.parametrize(
    "address",
    [
        "10.1.2.3", "192.168.1.1", "172.16.0.1", "127.0.0.1", "169.254.169.254", "0.0.0.0", "224.0.0.1", "100.64.0.1",
        "::1", "fe80::1", "fd00::1", "::ffff:10.0.0.1", "2002:0a00:0001::1",
    ],
)  # fmt: skip
def test_a_name_that_leads_to_a_special_address_is_refused(monkeypatch, address: str) -> None:
    resolver(monkeypatch, address)
    with pytest.raises(AddressRefusedError, match="private"):
        judged_addresses("cam.example.org", 554, ["*.example.org"])


def test_a_name_that_leads_to_a_public_and_a_private_address_is_refused(monkeypatch) -> None:
    resolver(monkeypatch, "93.184.216.34", "10.0.0.1")
    with pytest.raises(AddressRefusedError):
        judged_addresses("cam.example.org", 554, ["*.example.org"])


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.1", "0x7f000001", "2130706433", "017700000001", "::1", "8.8.8.8", "0"]
)
def test_an_address_must_be_named_itself(host: str) -> None:
    with pytest.raises(AddressRefusedError, match="not among"):
        judged_addresses(host, 554, ["*", "10.0.0.0/8"])


def test_a_name_that_is_not_allowed_is_not_even_resolved(monkeypatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: pytest.fail("it was resolved"))
    with pytest.raises(AddressRefusedError):
        judged_addresses("cam.example.com", 554, ["*.example.org"])


@contextmanager
def camera(*answers: bytes) -> Iterator[int]:
    """A server that gives each request the next answer, in pieces; its port."""
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                client, _ = server.accept()
            except OSError:
                return
            with client:
                for answer in answers:
                    if not client.recv(65536):
                        break
                    for k in range(0, len(answer), 7):
                        client.sendall(answer[k : k + 7])
                client.recv(65536)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield int(server.getsockname()[1])
    finally:
        server.shutdown(socket.SHUT_RDWR)
        server.close()
        thread.join()


@pytest.mark.parametrize("descriptors", [0, 1100])
def test_a_relay_passes_on_what_is_no_redirection(descriptors: int) -> None:
    if standard.descriptors() < descriptors + 200:
        pytest.skip("so many descriptors are not allowed here")
    with ExitStack() as held, camera(b"RTSP/1.0 200 OK\r\nCSeq: 1\r\n\r\n") as port:
        for _ in range(descriptors):
            held.enter_context(Path(os.devnull).open())
        relay = Relay(f"rtsp://me:secret@127.0.0.1:{port}/a?b=c", ["127.0.0.1"], 5)
        assert relay.url.startswith("rtsp://me:secret@127.0.0.1:")
        assert relay.url.endswith("/a?b=c")
        here = int(relay.url.split(":")[3].split("/")[0])
        with socket.create_connection(("127.0.0.1", here), 5) as client:
            client.sendall(b"OPTIONS * RTSP/1.0\r\n\r\n")
            told = b""
            while not told.endswith(b"\r\n\r\n"):
                told += client.recv(100)
        relay.close()
    assert told == b"RTSP/1.0 200 OK\r\nCSeq: 1\r\n\r\n"


def test_a_camera_that_redirects_is_refused_and_the_other_address_is_never_called() -> None:
    secret = socket.create_server(("127.0.0.1", 0))
    secret.settimeout(0.2)
    elsewhere = f"rtsp://127.0.0.1:{secret.getsockname()[1]}/inner"
    ok = b"RTSP/1.0 200 OK\r\nCSeq: 1\r\nPublic: DESCRIBE, SETUP, PLAY\r\n\r\n"
    gone = f"RTSP/1.0 302 Moved\r\nCSeq: 2\r\nLocation: {elsewhere}\r\n\r\n".encode()
    with secret, camera(ok, gone) as port:
        options = {"hosts": "127.0.0.1", "timeout_s": "2"}
        source = LiveSource(
            StreamSpec("cam", f"rtsp://127.0.0.1:{port}/a", options=options), View((48, 64)), Position()
        )
        watch = Watch(source)
        with pytest.raises(SourceError, match="redirects to another address"):
            follow([watch], lambda: False, "refused")
        source.close()
        with pytest.raises(TimeoutError):
            secret.accept()


def test_without_hosts_the_same_camera_would_have_sent_us_elsewhere() -> None:
    secret = socket.create_server(("127.0.0.1", 0))
    secret.settimeout(30)
    elsewhere = f"rtsp://127.0.0.1:{secret.getsockname()[1]}/inner"
    ok = b"RTSP/1.0 200 OK\r\nCSeq: 1\r\nPublic: DESCRIBE, SETUP, PLAY\r\n\r\n"
    gone = f"RTSP/1.0 302 Moved\r\nCSeq: 2\r\nLocation: {elsewhere}\r\n\r\n".encode()
    with secret, camera(ok, gone) as port:
        spec = StreamSpec("cam", f"rtsp://127.0.0.1:{port}/a", options={"timeout_s": "2"})
        source = LiveSource(spec, View((48, 64)), Position())
        called, _ = secret.accept()
        called.close()
        source.close()
