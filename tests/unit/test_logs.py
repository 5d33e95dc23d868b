"""What processes write about themselves: JSON off a terminal, text on one, secrets nowhere."""

from __future__ import annotations

import io
import json
import logging
import sys
from collections.abc import Iterator

import pytest
import structlog

from plantain.deploy import logs

URL = "rtsp://viewer:hunter2@192.0.2.1/live?token=hunter2"


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    before = list(logging.getLogger().handlers)
    yield
    logging.getLogger().handlers[:] = before
    structlog.reset_defaults()


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    captured = capsys.readouterr()
    assert not captured.out
    return [json.loads(line) for line in captured.err.splitlines()]


def test_off_a_terminal_every_event_is_one_json_object(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure()
    structlog.get_logger().warning("lost", stream="crossing", epoch=3, what="two\nlines", pause_s=0.5)
    (line,) = lines(capsys)
    assert str(line.pop("timestamp")).endswith("Z")
    assert line == {
        "level": "warning", "event": "lost", "stream": "crossing", "epoch": 3, "what": "two\nlines", "pause_s": 0.5,
    }  # fmt: skip


def test_warnings_of_libraries_are_lines_like_the_others_and_their_chatter_is_not(
    capsys: pytest.CaptureFixture[str],
) -> None:
    logs.configure()
    logs.configure()
    logging.getLogger("kafka.conn").info("connected")
    logging.getLogger("kafka.conn").warning("cannot reach %s", URL)
    (line,) = lines(capsys)
    assert (line["logger"], line["level"]) == ("kafka.conn", "warning")
    assert line["event"] == "cannot reach rtsp://192.0.2.1/live?***"


def test_no_secret_gets_out_wherever_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure()
    log = structlog.get_logger()
    log.error(URL, url=URL, nested={"password": "hunter2", "urls": [URL, {"token": "hunter2"}]}, at=(URL,))
    log.error("refused", error=ValueError(URL), authorization="Bearer hunter2", sasl_password="hunter2")
    try:
        raise OSError(URL)
    except OSError:
        log.exception("broke")
    captured = capsys.readouterr().err
    assert "hunter2" not in captured
    assert captured.count("***") >= 9
    assert "Traceback" in json.loads(captured.splitlines()[2])["exception"]


def test_on_a_terminal_people_read_it(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    logs.configure()
    structlog.get_logger().info("live", stream="crossing", url=URL)
    assert "crossing" in terminal.getvalue()
    assert not terminal.getvalue().startswith("{")
    assert "hunter2" not in terminal.getvalue()
