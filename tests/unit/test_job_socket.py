from __future__ import annotations

import json
import socket
import stat
import threading
import time

import pytest
from typer.testing import CliRunner

from plantain.deploy.cli.app import app
from plantain.deploy.job import run_job
from plantain.deploy.job_socket import listening, socket_of, tell
from plantain.operators.errors import UsageError
from plantain.pipeline.commands import Add, Change, EngineDownError, Figures, Pause, Remove, Streams
from plantain.pipeline.config import StreamConfig, check
from plantain.pipeline.control import Control
from tests.assets.clips import make

SECRET = "hunter2"


@pytest.fixture
def job(tmp_path, no_log):
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
    control.do(Streams())
    yield path
    control.stop()
    thread.join(60)
    assert not thread.is_alive()
    assert not path.exists(), "the socket goes with the job"


def plantain(*arguments: str):
    return CliRunner().invoke(app, ["streams", *arguments], catch_exceptions=True)


def told(*arguments: str) -> list[dict]:
    """What a command says to machines."""
    return json.loads(plantain(*arguments, "--json").stdout)


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
    while told("pause", "door", "--out", out)[0]["phase"] != "paused":  # it says how it stands, and drains
        assert time.monotonic() < deadline + 60
    plantain("change", "door", "--task", "depth", "--out", out)
    (resumed,) = told("resume", "door", "--out", out)
    assert resumed["prompts"] == ["depth"]
    (gone,) = told("remove", "door", "--out", out)
    assert gone["decoded"] == gone["results"] + sum(
        sum(gone[what].values()) for what in ("lost", "skipped", "failed")
    )
    names = [each["stream_id"] for each in told("list", "--out", out)]
    assert names == ["gate", "yard"]


def test_only_the_owner_may_speak_to_it_and_nothing_secret_comes_out(job):
    assert stat.S_IMODE(job.stat().st_mode) == 0o600
    told = tell(job, Streams())
    assert SECRET not in repr(told)
    assert told[1].url == "rtsp://127.0.0.1:9/x"


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (Pause("nobody"), "there is no stream 'nobody'"),
        (Remove("nobody"), "there is no stream 'nobody'"),
        (Change("gate", {"fps": -1}), "fps"),
        (Change("gate", {"colour": "red"}), "colour: unknown setting"),
        (Change("gate", {"url": "y"}), "remove it and add another"),
        (Add(StreamConfig(url="x", id="gate")), "there is a stream 'gate' already"),
        (Figures(), "only a service"),
    ],
)
def test_what_makes_no_sense_is_refused(job, command, said):
    with pytest.raises(UsageError, match=said):
        tell(job, command)
    assert len(tell(job, Streams())) == 2


def test_what_is_no_command_is_refused_before_it_is_sent(job):
    added = plantain("add", "x", "--id", "7", "--control", str(job))
    assert "must start with a letter" in str(added.exception)


def test_where_no_job_answers_is_said(tmp_path):
    with pytest.raises(UsageError, match="no job answers at"):
        tell(tmp_path / "nothing.sock", Streams())
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
        listening(Control(config), taken),
        pytest.raises(UsageError, match="another job is controlled"),
        listening(Control(config), taken),
    ):
        pass
    ended = Control(config)
    ended.detach()
    with listening(ended, deep), pytest.raises(EngineDownError, match="the run has ended"):
        tell(deep, Streams())


def test_a_place_where_no_socket_can_be_made_is_named(tmp_path) -> None:
    (tmp_path / "file").write_text("no folder")
    made = check({"streams": [], "prompts": ["depth"]}, may_be_idle=True)
    with (
        pytest.raises(UsageError, match="no socket can be made at"),
        listening(Control(made), tmp_path / "file" / "control.sock"),
    ):
        pass
