from __future__ import annotations

import json
import socket
import stat
import threading
import time

import pytest
from typer.testing import CliRunner

from plantain.deploy.cli.app import app
from plantain.deploy.control_socket import control_socket, request, socket_of
from plantain.deploy.job import run_job
from plantain.operators.errors import UsageError
from plantain.pipeline.config import check
from plantain.pipeline.control import Control
from tests.assets.clips import make

SECRET = "hunter2"


@pytest.fixture
def job(tmp_path):
    """A running job with one camera; gives its socket."""
    clip = make(tmp_path / "clip.mp4", 40)
    config = check(
        {
            "streams": [
                {"url": str(clip), "id": "gate", "options": {"realtime": "yes", "loop": "yes"}},
                {"url": f"rtsp://admin:{SECRET}@127.0.0.1:9/x", "id": "yard"},
            ],
            "prompts": ["depth"],
            "model": {"name": "fake", "canvas": {"width": 64, "height": 48}},
            "output": {"out": str(tmp_path / "out")},
        }
    )
    control, path = Control(config), socket_of(str(tmp_path / "out"))
    thread = threading.Thread(target=lambda: run_job(config, control=control, socket=path))
    thread.start()
    control.streams()
    yield path
    control.stop()
    thread.join(60)
    assert not thread.is_alive()
    assert not path.exists(), "the socket goes with the job"


def plantain(*arguments: str):
    return CliRunner().invoke(app, ["streams", *arguments], catch_exceptions=True)


def told(*arguments: str) -> list[dict]:
    """What a command says to machines; the job's log may be in front of it, as they share this process."""
    return json.loads(plantain(*arguments, "--json").stdout.splitlines()[-1])


def test_streams_are_managed_from_the_command_line(job):
    out = str(job.parent.parent)
    clip = str(job.parent.parent.parent / "clip.mp4")
    listed = plantain("list", "--out", out)
    assert listed.exit_code == 0
    assert "gate" in listed.stdout
    (status,) = told(
        *("add", clip, "--id", "door", "--task", "normals", "--fps", "5", "--control", str(job)),
        *("--option", "realtime=yes", "--option", "loop=yes"),
    )
    assert (status["stream_id"], status["prompts"]) == ("door", ["normals"])
    deadline = time.monotonic() + 60
    while told("list", "--out", out)[2]["results"] == 0:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert told("pause", "door", "--out", out)[0]["phase"] == "paused"
    plantain("change", "door", "--task", "depth", "--out", out)
    (resumed,) = told("resume", "door", "--out", out)
    assert resumed["prompts"] == ["depth"]
    (gone,) = told("remove", "door", "--out", out)
    assert gone["decoded"] == gone["results"] + sum(gone["dropped"].values()) + sum(gone["failed"].values())
    names = [each["stream_id"] for each in told("list", "--out", out)]
    assert names == ["gate", "yard"]


def test_only_the_owner_may_speak_to_it_and_nothing_secret_comes_out(job):
    assert stat.S_IMODE(job.stat().st_mode) == 0o600
    told = request(job, {"do": "list"})
    assert SECRET not in json.dumps(told)
    assert told[1]["url"] == "rtsp://127.0.0.1:9/x"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b"nonsense", "one line of JSON"),
        (b'["list"]', "an object"),
        (b'{"do": "destroy"}', "a command is one of: list; add"),
        (b'{"do": "pause"}', "a command is one of"),
        (b'{"do": "pause", "stream_id": "nobody"}', "there is no stream 'nobody'"),
        (b'{"do": "add", "stream": {"url": "x", "colour": "red"}}', "colour: unknown setting"),
        (b'{"do": "change", "stream_id": "gate", "changes": {"fps": -1}}', "fps"),
        (b'{"do": "change", "stream_id": "gate", "changes": {"url": "y"}}', "remove it and add another"),
    ],
)
def test_what_makes_no_sense_is_refused_and_the_connection_stays(job, line, said):
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(job))
        lines = connection.makefile("rb")
        connection.sendall(line + b"\n")
        assert said in json.loads(lines.readline())["error"]
        connection.sendall(b'{"do": "list"}\n')
        assert len(json.loads(lines.readline())["streams"]) == 2


def test_where_no_job_answers_is_said(tmp_path):
    with pytest.raises(UsageError, match="no job answers at"):
        request(tmp_path / "nothing.sock", {"do": "list"})
    with pytest.raises(UsageError, match="no local folder"):
        socket_of("s3://bucket/results")


def test_a_socket_that_a_killed_job_left_is_taken_over_and_a_live_one_is_not(tmp_path):
    config = check({"streams": [], "prompts": ["depth"]}, may_be_idle=True)
    deep = tmp_path / ("deep" * 30) / "control.sock"
    deep.parent.mkdir()
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(tmp_path / "left.sock"))
    taken = tmp_path / "left.sock"
    with (
        control_socket(Control(config), taken),
        pytest.raises(UsageError, match="another job is controlled"),
        control_socket(Control(config), taken),
    ):
        pass
    with control_socket(Control(config), deep), pytest.raises(UsageError, match="a command is one of"):
        request(deep, {"do": "nonsense"})


def test_a_place_where_no_socket_can_be_made_is_named(tmp_path) -> None:
    (tmp_path / "file").write_text("no folder")
    made = check({"streams": [], "prompts": ["depth"]}, may_be_idle=True)
    with (
        pytest.raises(UsageError, match="no socket can be made at"),
        control_socket(Control(made), tmp_path / "file" / "control.sock"),
    ):
        pass
