"""Models over HTTP: what is sent, what comes back, and one true sentence for whatever else comes."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from structlog.testing import capture_logs

from plantain.operators.answers import kind_of
from plantain.operators.answers.text.value import Text
from plantain.operators.errors import ModelUnavailableError, UsageError
from plantain.operators.models import load_model, spec_of
from plantain.operators.models.base import Answering
from plantain.operators.models.drawn import Drawn
from plantain.operators.models.fake import FakeModel
from plantain.operators.models.presence import Likelihood, Presence
from plantain.operators.prompts import Prompt
from plantain.operators.types import Failure
from tests.hosted_frames import frame
from tests.hosted_servers import (
    KEY,
    KEY_ENV,
    Asked,
    Painting,
    Reply,
    Server,
    chat,
    gemini,
    gemini_error,
    gemini_picture,
    images_edit,
    serving,
)

DRAWN = [
    Prompt.parse(text)
    for text in (
        "semantic:car,road",
        "instances:car",
        "depth",
        "normals",
        "refer:a car",
    )
]
DEPTH, CARS = DRAWN[2], DRAWN[1]
QUESTION = Prompt.parse("ask:how many cars are waiting?")
PAINTING = Painting(DRAWN)
USAGE = {
    "promptTokenCount": 600,
    "candidatesTokenCount": 1130,
    "thoughtsTokenCount": 20,
    "candidatesTokensDetails": [{"modality": "IMAGE", "tokenCount": 1120}],
}


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY_ENV, KEY)


def options_of(name: str, url: str, **more: Any) -> dict[str, Any]:
    own: dict[str, dict[str, Any]] = {
        "images-api": {"base_url": f"{url}/v1"},
        "chat": {"base_url": f"{url}/v1", "model": "qwen"},
        "gemini": {"base_url": url, "max_usd_per_hour": 5.0},
        "gemini-image": {"base_url": url, "max_usd_per_hour": 5.0},
    }
    return {"key_env": KEY_ENV, "timeout_s": 5.0, **own[name], **more}


def ask(name: str, url: str, *prompts: Prompt, frames: int = 1, **more: Any) -> list[Any]:
    """Answers of a fresh backend to all prompts about each frame."""
    model = load_model(name, options_of(name, url, **more))
    try:
        shown = [frame(k) for k in range(frames)]
        image_of = [k for k in range(frames) for _ in prompts]
        return model.answer(shown, image_of, list(prompts) * frames)
    finally:
        model.close()


def said(answers: list[Any]) -> list[str]:
    return [answer.value.error if isinstance(answer.value, Failure) else "ok" for answer in answers]


def good(name: str) -> Callable[[Asked], Reply]:
    return {
        "images-api": lambda asked: images_edit(PAINTING, asked),
        "chat": lambda asked: chat("three cars"),
        "gemini": lambda asked: gemini({"text": "three cars"}, promptTokenCount=600, candidatesTokenCount=4),
        "gemini-image": lambda asked: gemini_picture(PAINTING, asked, **USAGE),
    }[name]


def prompt_for(name: str) -> Prompt:
    return DEPTH if name in ("images-api", "gemini-image") else QUESTION


NAMES = ["images-api", "chat", "gemini", "gemini-image"]


@pytest.mark.parametrize("name", ["images-api", "gemini-image"])
def test_what_is_drawn_elsewhere_means_what_it_would_here(name: str) -> None:
    """The fake model draws behind the server, so its own answers are the truth."""
    with serving(good(name)) as server:
        answers = ask(name, server.url, *DRAWN, frames=2)
    frames = [frame(k) for k in range(2)]
    image_of = [k for k in range(2) for _ in DRAWN]
    truth = Drawn(FakeModel()).answer(frames, image_of, DRAWN * 2)
    for prompt, answer, expected in zip(DRAWN * 2, answers, truth, strict=True):
        kind = kind_of(prompt)
        assert not isinstance(answer.value, Failure), answer.value
        assert kind.size_hw(answer.value) == kind.size_hw(expected.value)
        if (
            name == "images-api" or prompt.codec != "instances"
        ):  # bars of another shape: other connected pieces
            np.testing.assert_array_equal(kind.array(answer.value), kind.array(expected.value))
        assert answer.model_ms > 0


def test_a_generator_is_asked_as_vllm_omni_wants_it() -> None:
    with serving(good("images-api")) as server:
        ask("images-api", server.url, DEPTH, model="klein", steps=4, guidance_scale=1.0, seed=7)
    (asked,) = server.asked
    fields = asked.fields
    picture = fields.pop("image")
    assert picture.startswith(b"\x89PNG")
    assert {name: value.decode() for name, value in fields.items()} == {
        "prompt": "Generate a metric depth map of the input image.",
        "model": "klein",
        "size": "96x64",
        "n": "1",
        "response_format": "b64_json",
        "output_format": "png",
        "num_inference_steps": "4",
        "guidance_scale": "1.0",
        "seed": "7",
    }
    assert asked.path == "/v1/images/edits"
    assert asked.headers["authorization"] == f"Bearer {KEY}"


def test_gemini_is_asked_in_a_shape_that_it_draws() -> None:
    with serving(good("gemini-image")) as server:
        (answer,) = ask("gemini-image", server.url, DEPTH)
    (asked,) = server.asked
    assert asked.path == "/v1/models/gemini-3.1-flash-image:generateContent"
    assert asked.headers["x-goog-api-key"] == KEY
    config = asked.json["generationConfig"]
    assert config["imageConfig"] == {"aspectRatio": "16:9", "imageSize": "1K"}  # of 80 x 40, the nearest
    assert config["responseModalities"] == ["IMAGE"]
    assert answer.cost_usd == pytest.approx(0.067 + 600 * 0.5e-6 + 30 * 3e-6)


def test_words_come_back_with_what_they_cost() -> None:
    with serving(good("gemini")) as server:
        (answer,) = ask("gemini", server.url, QUESTION)
    assert answer.value == Text("three cars")
    assert answer.cost_usd == pytest.approx(600 * 0.30e-6 + 4 * 2.50e-6)
    parts = server.asked[0].json["contents"][0]["parts"]
    assert parts[1]["text"] == "how many cars are waiting?"
    assert parts[0]["inlineData"]["mimeType"] == "image/png"
    with serving(good("chat")) as server:
        (answer,) = ask("chat", server.url, QUESTION, usd_per_answer=0.002)
    assert (answer.value, answer.cost_usd) == (Text("three cars"), 0.002)
    body = server.asked[0].json
    assert (body["model"], body["temperature"], body["max_tokens"]) == ("qwen", 0.0, 256)
    assert body["messages"][0]["content"][0]["image_url"]["url"].startswith("data:image/png;base64,iVBOR")


@pytest.mark.parametrize(
    ("reply", "surely"),
    [
        (chat("A", tops={"A": -0.1, "B": -2.4, "C": -5.0}), 0.909),
        (chat("B", tops={" a": -2.4, "B": -0.1}), 0.091),
        (chat("A."), 1.0),
        (chat("B"), 0.0),
    ],
)
def test_presence_is_the_share_of_the_letter_a(reply: Reply, surely: float) -> None:
    with serving(lambda asked: reply) as server:
        model = load_model("chat", options_of("chat", server.url))
        assert isinstance(model, Presence)
        (answer,) = model.presence([frame()], [0], ["red car"])
        model.close()
    assert isinstance(answer.value, Likelihood)
    assert answer.value.of_presence == pytest.approx(surely, abs=1e-3)
    body = server.asked[0].json
    assert (body["max_tokens"], body["logprobs"], body["top_logprobs"]) == (1, True, 5)


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

    square = PAINTING.drawing(DEPTH.instruction(), Painted.png((64, 64)))
    with serving(say) as server:
        (answer,) = ask(name, server.url, DEPTH, usd_per_answer=0.04)
    expected = {
        "images-api": "drew 48 x 32 pixels, not the 96 x 64 of the canvas",
        "gemini-image": "drew 64 x 64 pixels, another shape than the 96 x 54 it was shown",
    }
    assert expected[name] in said([answer])[0]
    assert answer.cost_usd == 0.04
    assert len(server.asked) == 1


class Painted:
    """Files."""

    @staticmethod
    def png(size_hw: tuple[int, int]) -> bytes:
        from plantain.operators.answers import png

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


@pytest.mark.parametrize("name", NAMES)
def test_answers_come_in_order_and_never_more_requests_than_allowed(name: str) -> None:
    """The first requests take longest."""
    count = iter(range(100))

    def say(asked: Asked) -> Reply:
        number = next(count)
        time.sleep(0.15 if number < 3 else 0.02)
        if name in ("images-api", "gemini-image"):
            return good(name)(asked)
        words = (
            asked.json["contents"][0]["parts"][1]
            if name == "gemini"
            else asked.json["messages"][0]["content"][1]
        )
        return gemini({"text": words["text"]}) if name == "gemini" else chat(words["text"])

    prompts = [Prompt.parse(f"ask:number {k}") for k in range(9)]
    with serving(say) as server:
        if name in ("images-api", "gemini-image"):
            answers = ask(name, server.url, *DRAWN, frames=2, at_once=3)
            kinds = [type(answer.value) for answer in answers]
            assert kinds == [kind_of(prompt).value for prompt in DRAWN * 2]
        else:
            answers = ask(name, server.url, *prompts, at_once=3)
            assert [answer.value for answer in answers] == [Text(prompt.text) for prompt in prompts]
    assert server.most_at_once == 3


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
        assert time.monotonic() - begin < 2
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


def test_a_fingerprint_is_of_what_decides_the_answer() -> None:
    def of(name: str = "chat", url: str = "http://127.0.0.1:1", **more: Any) -> str:
        model = load_model(name, options_of(name, url, **more))
        model.close()
        return model.fingerprint

    assert (
        of()
        == of(at_once=2, key_env="", timeout_s=9.0, max_usd_per_hour=1.0, usd_per_answer=0.1)
        != of(seed=4)
    )
    assert of() != of(model="other")
    assert of() != of(url="http://127.0.0.1:2")
    assert of(url="http://me:secret@127.0.0.1:1") == of()
    assert of("gemini") != of("gemini", model="gemini-3.8-flash")


@pytest.mark.parametrize("name", NAMES)
def test_what_it_cannot_do_costs_no_request(name: str) -> None:
    wrong = QUESTION if prompt_for(name) == DEPTH else DEPTH
    with serving(good(name)) as server:
        answers = ask(name, server.url, wrong, prompt_for(name))
    assert [each == "ok" for each in said(answers)] == [False, True]
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    ("name", "more", "sentence"),
    [
        (
            "chat",
            {"key_env": "sk-my own key"},
            "key_env must be the name of an environment variable, in capitals",
        ),
        ("chat", {"base_url": "10.0.0.7:8000"}, "write an address such as"),
        ("chat", {"base_url": "http://h/v1?key=abc"}, "write it without a query; a key belongs into key_env"),
        ("chat", {"at_once": 0}, "at_once is 0: it must be a whole number from 1 to 256"),
        ("chat", {"timeout_s": "soon"}, "timeout_s is 'soon': it must be a number above 0"),
        ("chat", {"max_usd_per_hour": 3}, "bounds nothing without a price: give usd_per_answer"),
        ("chat", {"max_usd_per_hour": 0.1, "usd_per_answer": 0.2}, "a single answer may cost 0.2 USD"),
        ("chat", {"colour": 1}, "does not take these options"),
        ("gemini", {"model": "gemini-9"}, "the price of 'gemini-9' is not known here"),
        ("gemini", {"max_usd_per_hour": None}, "give max_usd_per_hour"),
        ("gemini", {"model": "gemini-2.5-flash"}, "ends on 01 December 2026: name gemini-3.5-flash-lite"),
        (
            "gemini-image",
            {"image_size": "8K"},
            "the price of 8K from 'gemini-3.1-flash-image' is not known here",
        ),
        ("gemini-image", {"max_usd_per_hour": 0.05}, "a single answer may cost"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_runs(
    name: str, more: dict[str, Any], sentence: str
) -> None:
    options = options_of(name, "http://127.0.0.1:1", **more)
    with pytest.raises(UsageError) as beforehand:
        spec_of(name, options)
    with pytest.raises(UsageError):
        load_model(name, options)
    assert sentence in str(beforehand.value)
    assert "my own key" not in str(beforehand.value)


def test_a_price_of_ones_own_makes_up_for_an_unknown_one() -> None:
    with serving(good("gemini")) as server:
        (answer,) = ask("gemini", server.url, QUESTION, model="gemini-9", usd_per_answer=0.01)
    assert answer.cost_usd == 0.01


@pytest.mark.parametrize(
    ("value", "sentence"), [(None, "needs a key: set the environment"), ("a b", "holds no key")]
)
def test_a_key_that_is_not_there_is_said(
    monkeypatch: pytest.MonkeyPatch, value: str | None, sentence: str
) -> None:
    if value is None:
        monkeypatch.delenv(KEY_ENV)
    else:
        monkeypatch.setenv(KEY_ENV, value)
    with pytest.raises(ModelUnavailableError, match=sentence):
        load_model("chat", options_of("chat", "http://127.0.0.1:1"))


def test_each_is_one_that_answers() -> None:
    for name in NAMES:
        model = load_model(name, options_of(name, "http://127.0.0.1:1"))
        assert isinstance(model, Answering)
        assert model.name == name
        assert not isinstance(model, Server)
        model.close()
