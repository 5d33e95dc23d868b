"""Models over HTTP in trouble: one true sentence each, nothing paid twice, nothing asked too early, no key shown."""

from __future__ import annotations

import logging
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import numpy as np
import pytest
from structlog.testing import capture_logs

from plantain.operators.answers import png
from plantain.operators.errors import UsageError
from plantain.operators.models import load_model
from plantain.operators.models.hosted.api import retry_after_s
from plantain.operators.types import Failure
from tests.hosted_asking import (
    DEPTH,
    NAMES,
    PAINTING,
    QUESTION,
    USAGE,
    ask,
    good,
    options_of,
    prompt_for,
    said,
)
from tests.hosted_frames import frame
from tests.hosted_servers import (
    KEY,
    KEY_ENV,
    Asked,
    Reply,
    chat,
    gemini,
    gemini_error,
    gemini_picture,
    images_edit,
    serving,
)


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY_ENV, KEY)


PAGE = Reply(b"<!doctype html><title>Sign in</title>", 200, {"Content-Type": "text/html; charset=utf-8"})
WRONG: list[tuple[Reply, str]] = [
    (PAGE, "answers with a page and no JSON: check base_url, and what stands in between"),
    (Reply(b"<html>502 Bad Gateway</html>", 400, {"Content-Type": "text/html"}), "refuses the request (400)"),
    (Reply(b'{"data": [{"b64'), "broke off its answer after 15 bytes"),
    (Reply(b'{"data": []}', cut=400), "broke off its answer ("),
    (Reply(b"", hangs_up=True), "broke off its answer ("),
    (Reply(b"ok"), "answers with 2 bytes that are no JSON: check base_url"),
    (Reply([1, 2]), " answers "),
    (Reply({}), " "),
    (Reply(b"", 302, {"Location": "https://elsewhere/"}), "sends elsewhere (302)"),
    (
        Reply({"error": {"message": f"Incorrect API key provided: {KEY}."}}, 401),
        f"refuses the key in {KEY_ENV} (401)",
    ),
    (Reply({"detail": "no such model"}, 404), "has no such model or address (404): check model and base_url"),
    (
        Reply({"detail": [{"loc": ["size"], "msg": "must be a multiple of 16"}]}, 422),
        "must be a multiple of 16",
    ),
]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("reply", "sentence"), WRONG, ids=[sentence[:40] for _, sentence in WRONG])
def test_what_is_no_answer_is_one_sentence_and_asked_once(name: str, reply: Reply, sentence: str) -> None:
    with serving(lambda asked: reply) as server:
        (answer,) = ask(name, server.url, prompt_for(name))
    assert isinstance(answer.value, Failure)
    assert sentence in answer.value.error
    assert "\n" not in answer.value.error
    assert "Traceback" not in answer.value.error
    assert KEY not in answer.value.error
    assert not answer.value.retryable
    assert len(server.asked) == 1


@pytest.mark.parametrize("drip_s", [0.0, 0.02])
def test_a_late_answer_is_given_up_in_time_and_counts_as_paid(drip_s: float) -> None:
    """Also one of which a byte comes now and then."""
    body = b'{"choices": []}' + b" " * 200
    late = Reply(body, drip_s=drip_s) if drip_s else Reply(body, delay_s=1.5)
    with serving(lambda asked: late) as server:
        begin = time.monotonic()
        (answer,) = ask("chat", server.url, QUESTION, timeout_s=0.4, usd_per_answer=0.01)
        assert time.monotonic() - begin < 1.3
    assert "had not answered after 0.4 s (timeout_s)" in said([answer])[0]
    assert answer.cost_usd == 0.01
    assert len(server.asked) == 1


@pytest.mark.parametrize("name", ["images-api", "gemini-image"])
def test_a_drawing_of_another_size_is_refused_and_paid(name: str) -> None:
    def say(asked: Asked) -> Reply:
        if name == "images-api":
            return images_edit(PAINTING, asked, scale=0.5)
        reply = gemini_picture(PAINTING, asked, **USAGE)
        reply.body["candidates"][0]["content"]["parts"][1]["inlineData"]["data"] = square
        return reply

    square = PAINTING.drawing(DEPTH.instruction(), painted((64, 64)))
    with serving(say) as server:
        (answer,) = ask(name, server.url, DEPTH, usd_per_answer=0.04)
    expected = {
        "images-api": "drew 48 x 32 pixels, not the 96 x 64 of the canvas",
        "gemini-image": "drew 64 x 64 pixels, another shape than the 96 x 54 it was shown",
    }
    assert expected[name] in said([answer])[0]
    assert answer.cost_usd == 0.04
    assert len(server.asked) == 1


def painted(size_hw: tuple[int, int]) -> bytes:
    """A file of one colour."""
    return png.write(np.full((*size_hw, 3), 90, np.uint8))


REFUSED: list[tuple[str, Reply, str]] = [
    ("gemini", Reply({"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}}), "PROHIBITED_CONTENT"),
    ("gemini-image", gemini(finish="IMAGE_SAFETY", promptTokenCount=600), "IMAGE_SAFETY"),
    (
        "gemini-image",
        gemini({"text": "I cannot."}, promptTokenCount=600),
        "answers in words, and draws nothing",
    ),
    ("chat", chat("", finish="content_filter"), "refuses to answer (content_filter)"),
    ("images-api", Reply({"error": {"message": "flagged"}}, 400), "refuses the request (400): flagged"),
]


@pytest.mark.parametrize(("name", "refusal", "sentence"), REFUSED)
def test_a_refusal_is_its_own_prompts_and_never_asked_again(name: str, refusal: Reply, sentence: str) -> None:
    numbers = iter(range(100))

    def say(asked: Asked) -> Reply:
        return refusal if next(numbers) == 2 else good(name)(asked)

    with serving(say) as server:
        answers = ask(name, server.url, prompt_for(name), frames=5, at_once=1)
    told = said(answers)
    assert [k for k, each in enumerate(told) if each != "ok"] == [2]
    assert sentence in told[2]
    assert len(server.asked) == 5
    if refusal.status == 200 and name.startswith("gemini") and "usageMetadata" in refusal.body:
        assert 0 < answers[2].cost_usd < answers[1].cost_usd, "what was sent is charged"


@pytest.mark.parametrize(
    "busy",
    [
        Reply({"error": "slow down"}, 429, {"Retry-After": "0.6"}),
        gemini_error(429, "RESOURCE_EXHAUSTED", "quota", retryDelay="0.6s"),
        Reply(b"<html>busy</html>", 503, {"Content-Type": "text/html", "Retry-After": "0.6"}),
    ],
)
def test_nothing_is_asked_before_the_server_said(busy: Reply) -> None:
    """One is turned away: all others of the batch wait, too."""
    count = iter(range(100))
    with serving(lambda asked: busy if next(count) == 1 else chat("yes")) as server:
        answers = ask("chat", server.url, QUESTION, frames=4, at_once=1, usd_per_answer=0.01)
    assert said(answers) == ["ok"] * 4
    assert [answer.cost_usd for answer in answers] == [0.01] * 4
    begins = [asked.begin_s for asked in server.asked]
    assert len(begins) == 5
    assert begins[2] - begins[1] >= 0.6


@pytest.mark.parametrize(
    ("form", "waits_s"),
    [
        ("%a, %d %b %Y %H:%M:%S GMT", 90),
        ("%A, %d-%b-%y %H:%M:%S GMT", 90),
        ("%a %b %d %H:%M:%S %Y", 90),
        ("%a, %d %b %Y %H:%M:%S +0000", 90),
        ("%a, %d %b %Y %H:%M:%S GMT", -90),
    ],
)
def test_a_date_to_come_back_at_is_understood_in_each_of_its_forms(form: str, waits_s: float) -> None:
    header = (datetime.now(UTC) + timedelta(seconds=waits_s)).strftime(form)
    assert retry_after_s(header) == pytest.approx(max(0, waits_s), abs=5)


def test_a_date_that_is_none_is_no_word() -> None:
    assert retry_after_s("next week") is None
    assert retry_after_s("next week", {"error": {"details": [{"retryDelay": "3s"}]}}) == 3


def test_a_server_that_says_a_date_is_waited_for() -> None:
    count = iter(range(100))

    def speak(asked: Asked) -> Reply:
        if next(count):
            return chat("yes")
        return Reply(
            b"", 429, {"Retry-After": format_datetime(datetime.now(UTC) + timedelta(seconds=3), usegmt=True)}
        )

    with serving(speak) as server:
        assert said(ask("chat", server.url, QUESTION)) == ["ok"]
    first, second = (asked.begin_s for asked in server.asked)
    assert second - first >= 2, "a date has no parts of a second"


def test_a_busy_server_without_a_word_is_asked_again_ever_more_slowly() -> None:
    count = iter(range(100))
    with serving(lambda asked: Reply(b"", 503) if next(count) < 2 else chat("yes")) as server:
        assert said(ask("chat", server.url, QUESTION)) == ["ok"]
    first, second, third = (asked.begin_s for asked in server.asked)
    assert second - first >= 0.2
    assert third - second >= 0.4


def test_a_server_that_wants_an_hour_is_not_waited_for() -> None:
    busy = Reply({"error": {"message": "daily quota"}}, 429, {"Retry-After": "3600"})
    with serving(lambda asked: busy) as server:
        begin = time.monotonic()
        answers = ask("chat", server.url, QUESTION, frames=4, at_once=1, usd_per_answer=0.01)
        assert time.monotonic() - begin < 30
    assert "is busy (429): daily quota" in said(answers)[0]
    assert "the server asked to wait; 60 min are left" in said(answers)[1]
    assert all(answer.value.retryable for answer in answers)
    assert {answer.cost_usd for answer in answers} == {0.0}
    assert len(server.asked) == 1, "the others are not even tried"


def test_a_server_that_is_not_there_costs_nothing() -> None:
    with serving(lambda asked: Reply()) as server:
        url = server.url
    (answer,) = ask("chat", url, QUESTION, patience_s=0.3, usd_per_answer=0.01)
    assert "cannot be reached" in said([answer])[0]
    assert answer.cost_usd == 0.0


def test_a_spent_budget_refuses_the_rest_and_says_when_there_is_more() -> None:
    with serving(lambda asked: chat("yes")) as server:
        answers = ask(
            "chat", server.url, QUESTION, frames=5, at_once=1, usd_per_answer=0.4, max_usd_per_hour=1.0
        )
    told = said(answers)
    assert told[:2] == ["ok", "ok"]
    assert set(told[2:]) == {"the budget of 1 USD an hour is spent; more in 60 min"}
    assert len(server.asked) == 2
    assert all(answer.value.retryable for answer in answers[2:])


def test_a_ledger_keeps_the_budget_beyond_the_worker(tmp_path: Path) -> None:
    money = {"usd_per_answer": 0.4, "max_usd_per_hour": 1.0, "ledger": str(tmp_path / "spent.txt")}
    with serving(lambda asked: chat("yes")) as server:
        told = [said(ask("chat", server.url, QUESTION, **money))[0] for _ in range(3)]
        assert len(server.asked) == 2
    assert told[:2] == ["ok", "ok"]
    assert "the budget of 1 USD an hour is spent" in told[2]
    with pytest.raises(UsageError, match="ledger cannot be written"):
        load_model("chat", options_of("chat", server.url, ledger=str(tmp_path)))


def test_no_key_is_in_what_can_be_seen(
    caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    busy = Reply({"error": {"message": f"{KEY} has used its quota"}}, 429, {"Retry-After": "0.01"})
    denied = Reply({"error": {"message": f"Incorrect API key provided: {KEY}"}}, 401)
    replies = iter([busy, denied] * 4)
    with capture_logs() as logs, serving(lambda asked: next(replies)) as server:
        for name in NAMES:
            model = load_model(name, options_of(name, server.url))
            (answer,) = model.answer([frame()], [0], [prompt_for(name)])
            model.close()
            seen = f"{answer} {model.fingerprint} {model!r} {vars(model)['options']!r}"
            assert "(401)" in seen
            assert KEY not in seen
    seen = f"{logs} {caplog.text} {capsys.readouterr()}"
    assert "retry" in seen
    assert KEY not in seen
