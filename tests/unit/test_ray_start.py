"""A Ray of our own on a machine that is too busy for it, for a while or for good."""

from __future__ import annotations

import getpass
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import ray
import structlog
from ray.exceptions import AuthenticationError, RpcError

from plantain.deploy.ray import cluster, doors, haproxy
from plantain.deploy.standard import user
from plantain.operators.errors import PlantainError, UsageError

LATE = "The current node timed out during startup. This could happen because some of the raylet failed to startup"


@pytest.fixture
def starts(monkeypatch: pytest.MonkeyPatch) -> list[Exception | None]:
    """What becomes of each attempt."""
    fates: list[Exception | None] = []

    def init(**settings: Any) -> None:
        assert settings["address"] == "local"
        if (error := fates.pop(0)) is not None:
            raise error

    monkeypatch.setattr(ray, "init", init)
    monkeypatch.setattr(ray, "shutdown", lambda: None)
    return fates


def test_one_that_does_not_come_up_in_time_is_begun_again(starts: list[Exception | None]) -> None:
    starts += [Exception(LATE), Exception(LATE), None]
    cluster.start_ray(None)
    assert starts == []


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs /proc")
def test_what_an_attempt_in_vain_leaves_is_ended_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[subprocess.Popen[bytes]] = []

    def sleeper(name: str) -> None:
        made.append(subprocess.Popen(["sleep", "60"] if not name else ["sh", "-c", "sleep 60; :", name]))

    def init(**settings: Any) -> None:
        del settings
        if len(made) == 4:
            return
        sleeper("/x/ray/core/raylet")
        sleeper("")
        raise Exception(LATE)

    monkeypatch.setattr(ray, "init", init)
    monkeypatch.setattr(ray, "shutdown", lambda: None)
    try:
        cluster.start_ray(None)
        for process in made[::2]:
            assert process.wait(10) == -signal.SIGKILL
        assert [process.poll() for process in made[1::2]] == [None, None]
    finally:
        for process in made:
            process.kill()
            process.wait()


def test_where_it_never_comes_up_that_is_one_sentence(starts: list[Exception | None]) -> None:
    starts += [Exception(LATE)] * cluster.STARTS
    with pytest.raises(PlantainError, match=r"^Ray did not start in 3 attempts of 30 s: .* too busy$"):
        cluster.start_ray(None)


def test_what_else_is_wrong_is_said_and_not_tried_again(starts: list[Exception | None]) -> None:
    starts += [ValueError("no such setting\nand much more")]
    with pytest.raises(UsageError, match=r"^Ray does not start: no such setting$"):
        cluster.start_ray(None)


@pytest.mark.parametrize(
    "place", ["127.0.0.1:{}", "ray://127.0.0.1:{}", "ray://[::1]:{}", "no-such.invalid:{}"]
)
def test_where_nobody_answers_that_is_said_at_once(place: str) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = place.format(free.getsockname()[1])
    with pytest.raises(UsageError, match=rf"^no Ray cluster answers at {re.escape(address)} "):
        cluster.start_ray(address)


@pytest.mark.parametrize(
    "address", ["", "gpu1", "ray://gpu1", "http://gpu1:6379/x", "gpu1:port", "gpu1:123456"]
)
def test_what_is_no_address_is_said(address: str) -> None:
    with pytest.raises(UsageError, match="is no address of a Ray cluster"):
        cluster.start_ray(address)


def no_temporary() -> str:
    raise FileNotFoundError("no usable temporary directory")


@pytest.mark.parametrize(("free_mb", "is_elsewhere"), [(64, True), (511, True), (512, False), (8000, False)])
def test_objects_for_which_shared_memory_has_no_room_are_on_disk_and_that_is_said(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, free_mb: int, is_elsewhere: bool
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=free_mb << 20))
    with structlog.testing.capture_logs() as said:
        assert cluster._store() == (str(tmp_path) if is_elsewhere else None)
    assert [f"/dev/shm has {free_mb} MB free of the 512 MB" in line["what"] for line in said] == (
        [True] if is_elsewhere else []
    )


def test_a_home_that_cannot_be_written_to_needs_no_token(
    monkeypatch: pytest.MonkeyPatch, starts: list[Exception | None], tmp_path: Path
) -> None:
    starts += [None, None]
    loader = SimpleNamespace(has_token=lambda **_: "RAY_AUTH_TOKEN" in os.environ, reset_cache=lambda: None)
    monkeypatch.setattr(doors, "AuthenticationTokenLoader", SimpleNamespace(instance=lambda: loader))
    monkeypatch.setenv("RAY_AUTH_TOKEN", "as it was, or gone, afterwards")
    del os.environ["RAY_AUTH_TOKEN"]
    monkeypatch.setenv("HOME", str(tmp_path))
    starts += [None]
    cluster.start_ray(None)
    assert "RAY_AUTH_TOKEN" not in os.environ, "Ray puts one into the home"
    access = os.access
    monkeypatch.setattr(os, "access", lambda place, how: place != tmp_path and access(place, how))
    cluster.start_ray(None)
    made = os.environ["RAY_AUTH_TOKEN"]
    assert len(made) == 64
    cluster.start_ray(None)
    assert os.environ["RAY_AUTH_TOKEN"] == made, "whoever has one keeps it"


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            AuthenticationError("InvalidAuthToken"),
            "asks for a token that is not ours: write that of its machines",
        ),
        (
            RpcError("Timed out while waiting"),
            "does not answer as a Ray cluster does .Timed out while waiting",
        ),
    ],
)
@pytest.mark.parametrize("address", ["127.0.0.1:{}", "localhost:{}", "auto"])
def test_a_cluster_that_does_not_let_us_in_is_one_sentence_at_once(
    monkeypatch: pytest.MonkeyPatch, address: str, error: Exception, said: str
) -> None:
    def refuse(**_: object) -> None:
        raise error

    monkeypatch.setattr(doors, "GcsClient", refuse)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{port}")
        with pytest.raises(UsageError, match=rf":{port} {said}"):
            cluster.start_ray(address.format(port))


def test_a_ray_that_has_its_doors_elsewhere_is_started_all_the_same(
    monkeypatch: pytest.MonkeyPatch, starts: list[Exception | None]
) -> None:
    monkeypatch.setattr(doors, "CAN_ASK", False)
    for name in ("AuthenticationTokenLoader", "GcsClient", "build_address", "canonicalize_bootstrap_address"):
        monkeypatch.delattr(doors, name)
    starts += [None]
    cluster.start_ray(None)
    doors.ask("127.0.0.1", 6379)
    doors.ask_known()


def test_rays_files_are_where_its_sockets_have_room(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 100)
    deep.mkdir()
    monkeypatch.delenv("RAY_TMPDIR", raising=False)
    monkeypatch.setattr(tempfile, "tempdir", str(deep))
    assert cluster.short_folder() == "/tmp"
    monkeypatch.setattr(tempfile, "tempdir", "/dev/shm")
    assert cluster.short_folder() == "/dev/shm"
    monkeypatch.setattr(tempfile, "gettempdir", no_temporary)
    access = os.access
    monkeypatch.setattr(
        os, "access", lambda place, how: place not in ("/tmp", "/var/tmp") and access(place, how)
    )
    assert cluster.short_folder() == "/dev/shm"
    with haproxy.settings() as made:
        assert made["RAY_SERVE_HAPROXY_SOCKET_PATH"].startswith("/dev/shm/plantain-")
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(UsageError, match="set TMPDIR, or use --executor threads"):
        cluster.short_folder()


def test_a_user_id_that_nobody_knows_has_a_name_and_a_home_of_its_own(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    for name in ("HOME", "LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", lambda uid: {}[f"uid not found: {uid}"])
    assert user() == f"uid{os.getuid()}" == getpass.getuser()
    home = Path.home()
    assert home.parent == tmp_path
    assert home.stat().st_mode & 0o777 == 0o700
    monkeypatch.delenv("HOME")
    monkeypatch.setattr(os, "getuid", lambda: 4711)  # somebody else made that folder
    home.rename(tmp_path / "plantain-4711")
    user()
    assert "HOME" not in os.environ
