"""Models over HTTP: what is sent, what comes back, what it costs, and which options can be."""

from __future__ import annotations

import base64
import time
from typing import Any

import numpy as np
import pytest

from plantain.operators.answers import kind_of, png
from plantain.operators.answers.depth.value import DepthMap
from plantain.operators.answers.text.value import Text
from plantain.operators.errors import ModelUnavailableError, UsageError
from plantain.operators.models import load_model, spec_of
from plantain.operators.models.base import Answering
from plantain.operators.models.drawn import Drawn
from plantain.operators.models.fake import FakeModel
from plantain.operators.models.hosted.desk import Desk
from plantain.operators.models.presence import Likelihood, Presence
from plantain.operators.prompts import Prompt
from plantain.operators.types import Failure
from tests.hosted_asking import (
    DEPTH,
    DRAWN,
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
from tests.hosted_servers import KEY, KEY_ENV, Asked, Reply, chat, gemini, serving


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY_ENV, KEY)


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


@pytest.mark.parametrize("name", ["images-api", "gemini-image"])
@pytest.mark.parametrize("shift", [0, 6])
def test_a_drawing_beside_its_frame_is_off_the_palette(name: str, shift: int) -> None:
    """Generators are known to shift what they draw by some pixels."""
    shown = frame(3, source_hw=(180, 320), model_hw=(180, 320))

    def say(asked: Asked) -> Reply:
        packed = asked.fields["image"] if name == "images-api" else None
        if packed is None:
            packed = base64.b64decode(asked.json["contents"][0]["parts"][0]["inlineData"]["data"])
        drawn = png.read(base64.b64decode(PAINTING.drawing(DEPTH.instruction(), packed)))
        moved = base64.b64encode(png.write(np.roll(drawn, shift, axis=1))).decode()
        if name == "images-api":
            return Reply({"data": [{"b64_json": moved}]})
        return gemini({"inlineData": {"mimeType": "image/png", "data": moved}}, **USAGE)

    with serving(say) as server:
        model = load_model(name, options_of(name, server.url))
        (answer,) = model.answer([shown], [0], [DEPTH])
        model.close()
    assert isinstance(answer.value, DepthMap)
    assert (answer.value.off_palette == 1.0) == (shift > 0)


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


@pytest.mark.parametrize("name", NAMES)
def test_requests_go_out_as_often_as_the_option_allows(name: str) -> None:
    """Two together, then one in two seconds; on a clock that goes on when somebody sleeps."""
    now_s, sent_s = 1000.0, []

    def sleep(seconds: float) -> None:
        nonlocal now_s
        now_s += seconds

    def say(asked: Asked) -> Reply:
        sent_s.append(now_s - 1000.0)
        return good(name)(asked)

    with serving(say) as server:
        model: Any = load_model(name, options_of(name, server.url, requests_per_minute=30, at_once=2))
        model._desk = Desk(name, model.options, lambda: now_s, sleep)
        for _ in range(5):  # one after the other: the times are exact
            (answer,) = model.answer([frame()], [0], [prompt_for(name)])
            assert not isinstance(answer.value, Failure), answer.value
        model.close()
    assert sent_s == pytest.approx([0, 0, 2, 4, 6])


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
        model.close()
