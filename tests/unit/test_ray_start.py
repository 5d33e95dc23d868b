"""A Ray of our own on a machine that is too busy for it, for a while or for good."""

from __future__ import annotations

import getpass
import os
import pwd
import re
import signal
import socket
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import pytest
import ray

from plantain.deploy.ray import cluster
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


def test_rays_files_are_where_its_sockets_have_room(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 100)
    deep.mkdir()
    monkeypatch.delenv("RAY_TMPDIR", raising=False)
    monkeypatch.setattr(tempfile, "tempdir", str(deep))
    assert cluster._folder() == "/tmp/ray"
    monkeypatch.setattr(tempfile, "tempdir", "/dev/shm")
    assert cluster._folder() == "/dev/shm/ray"
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(UsageError, match="set TMPDIR, or use --executor threads"):
        cluster._folder()


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
