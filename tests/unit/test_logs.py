"""What processes write about themselves: JSON off a terminal, text on one, secrets nowhere."""

from __future__ import annotations

import io
import json
import logging
import sys
import warnings
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
    logging.captureWarnings(False)
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
    assert line["event"] == "library"
    assert line["what"] == "cannot reach rtsp://192.0.2.1/live?***"


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


def record(said: str, *args: object, name: str = "kafka.conn") -> logging.LogRecord:
    return logging.LogRecord(name, logging.WARNING, __file__, 1, said, args, None)


@pytest.mark.parametrize(
    ("name", "level"),
    [
        ("kafka.net.manager", "warning"),
        ("kafka", "warning"),
        ("kafkaesque", "error"),
        ("uvicorn.error", "error"),
    ],
)
def test_an_error_of_a_client_that_tries_again_is_a_warning(capsys, name: str, level: str) -> None:
    logs.configure()
    logging.getLogger(name).error("connection to node %s failed", 1)
    (line,) = lines(capsys)
    assert (line["level"], line["logger"], line["what"]) == (level, name, "connection to node 1 failed")


def test_a_library_that_says_the_same_five_times_a_second_has_a_line_a_minute_with_their_number() -> None:
    times_s = iter(number / 5 for number in range(600))  # two minutes
    bounded = logs.Bounded(lambda: next(times_s))
    passed = []
    for number in range(600):
        each = record("connection %d to broker-%s:9092 at 0x%x failed", number, number % 3, number)
        if bounded.filter(each):
            passed.append(each.getMessage())
    assert passed == [
        "connection 0 to broker-0:9092 at 0x0 failed",
        "connection 300 to broker-0:9092 at 0x12c failed (299 more lines like it were left out)",
    ]


def test_a_library_that_always_says_something_else_is_bounded_too_and_others_are_not_touched() -> None:
    bounded = logs.Bounded(lambda: 0.0)
    words = ["".join(chr(97 + number // 26**k % 26) for k in range(3)) for number in range(5000)]
    passed = [word for number, word in enumerate(words) if bounded.filter(record(word))]
    assert len(passed) == logs.MAX_LINES
    assert bounded.filter(record("abc", name="transformers.modeling"))
    assert len(bounded._kinds) <= logs.MAX_KINDS


def test_warnings_of_python_are_lines_too(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure()
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(False)
        logging.captureWarnings(True)
        warnings.warn("this will change", FutureWarning, stacklevel=1)
    (line,) = lines(capsys)
    assert (line["event"], line["logger"]) == ("library", "py.warnings")
    assert "this will change" in str(line["what"])
