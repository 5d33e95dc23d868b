"""Backends that work together: who is asked what, what it costs, and that one's trouble is no other's."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations
from typing import Any

import numpy as np
import pytest

from plantain.operators.answers import codec_for, kind_of
from plantain.operators.answers.masks.value import Masks
from plantain.operators.errors import ModelError, UsageError
from plantain.operators.models import load_model, spec_of
from plantain.operators.models.base import Answer, Answering, ModelSpec, Pixels
from plantain.operators.models.fake import FakeModel
from plantain.operators.models.presence import read
from plantain.operators.models.together.inner import Asked, Inner
from plantain.operators.models.together.memory import MAX_KEPT, Memory
from plantain.operators.models.together.voting import elected, recoloured
from plantain.operators.prompts import Prompt, Task
from plantain.operators.types import Failure, Frame
from tests import scripted_models as scripted
from tests.hosted_frames import frame
from tests.scripted_models import CALLS, CLOSED, FORGOTTEN, Noted, Paid, Speaking, Telling, named

DEPTH, NORMALS, CARS, BUS, CLASSES = (
    Prompt.parse(text) for text in ("depth", "normals", "instances:car", "refer:the bus", "semantic:car,road")
)
QUESTION = Prompt.parse("refer:which car stands in the way?")


@pytest.fixture(autouse=True)
def _begin() -> None:
    scripted.clear()


def ask(name: str, options: dict[str, Any], *prompts: Prompt, frames: int = 1) -> list[Answer]:
    model = load_model(name, options)
    image_of = [k for k in range(frames) for _ in prompts]
    try:
        return model.answer([frame(k) for k in range(frames)], image_of, list(prompts) * frames)
    finally:
        model.close()


def equal(ours: Answer, expected: Answer, prompt: Prompt) -> None:
    kind = kind_of(prompt)
    assert not isinstance(ours.value, Failure), ours.value
    assert kind.summary(ours.value) == kind.summary(expected.value)
    np.testing.assert_array_equal(kind.array(ours.value), kind.array(expected.value))


def test_each_prompt_is_answered_by_its_backend_in_one_call_with_the_frames_it_needs() -> None:
    options = {
        "routes": {"depth": named(Noted, called="deep"), "refer:*bus*": named(Noted, called="finder")},
        "rest": named(Noted, called="rest"),
    }
    model = load_model("router", options)
    frames = [frame(k) for k in range(3)]
    image_of, prompts = [0, 0, 1, 2, 2], [DEPTH, CARS, BUS, DEPTH, QUESTION]
    answers = model.answer(frames, image_of, prompts)
    asked = {
        "deep": [([0, 2], ["depth", "depth"])],
        "finder": [([1], ["refer:the bus"])],
        "rest": [([0, 2], ["instances:car", str(QUESTION)])],
    }
    assert dict(CALLS) == asked
    assert [answer.model for answer in answers] == ["deep", "rest", "finder", "deep", "rest"]
    assert [answer.fingerprint for answer in answers][:2] == ["deep-1", "rest-1"]
    alone = FakeModel().answer(frames, image_of, prompts)
    for answer, expected, prompt in zip(answers, alone, prompts, strict=True):
        equal(answer, expected, prompt)
    model.close()
    assert sorted(CLOSED) == ["deep", "finder", "rest"]


def test_the_first_route_that_fits_counts_and_nobody_is_a_failure_of_its_own() -> None:
    routes = {"refer:*bus*": named(Noted, called="buses"), "refer": named(Noted, called="all")}
    bus, other, depth = ask("router", {"routes": routes}, BUS, QUESTION, DEPTH)
    assert (bus.model, other.model) == ("buses", "all")
    assert depth.value == Failure(
        "infer", "nobody answers 'depth': give the router a route for depth, or a rest", retryable=False
    )


def test_a_backend_that_several_routes_name_is_loaded_once_and_asked_once() -> None:
    both = named(Noted, called="tips")
    ask("router", {"routes": {"depth": both, "normals": dict(both)}}, DEPTH, NORMALS, frames=2)
    assert CALLS["tips"] == [([0, 1], ["depth", "normals"] * 2)]
    assert CLOSED == ["tips"]


def test_what_breaks_in_one_backend_fails_its_prompts_of_the_bad_frame_alone() -> None:
    options = {
        "routes": {
            "depth": named(Noted, called="weak", breaks_on=[2]),
            "instances": named(Paid, called="dear", usd=1),
        }
    }
    answers = ask("router", options, DEPTH, CARS, frames=4)
    failed = [k for k, answer in enumerate(answers) if isinstance(answer.value, Failure)]
    assert failed == [4]
    assert answers[4].value == Failure("infer", "MemoryError: out of memory", retryable=False)
    assert len(CALLS["dear"]) == 1, "what is paid for is asked once, whatever happens beside it"
    assert len(CALLS["weak"]) == 5
    assert ("weak", "clip") in FORGOTTEN


class Following(Noted):
    """Keeps which frames of a stream it has taken, and which of them twice."""

    spec = ModelSpec(tasks=(Task.DEPTH,), model_hw=(64, 96), keeps_streams=True)

    def __init__(self, breaks_on: Sequence[int]) -> None:
        super().__init__("following")
        self._breaking = {*breaks_on}
        self.taken: list[int] = []
        self.twice: list[int] = []

    def answer(
        self, frames: Sequence[Frame], image_of: Sequence[int], prompts: Sequence[Prompt]
    ) -> list[Answer]:
        for number in [each.header.frame_index for each in frames]:
            self.twice += [number] if number in self.taken else []
            self.taken.append(number)
            if number in self._breaking:
                raise MemoryError("out of memory")
        return super().answer(frames, image_of, prompts)

    def forget(self, stream_id: str) -> None:
        self.taken.clear()


def test_what_keeps_streams_takes_no_frame_twice_when_it_is_asked_again() -> None:
    inner = Inner(following := Following([2]))
    asked = Asked([frame(k) for k in range(4)], [0, 1, 2, 3], [DEPTH] * 4, range(4))
    failed = [k for k, answer in inner.ask(asked).items() if isinstance(answer.value, Failure)]
    assert failed == [2]
    assert (following.taken, following.twice) == ([3], [])


def test_a_paid_backend_that_breaks_is_not_asked_again() -> None:
    options = {"rest": named(Paid, called="dear", breaks_on=[1])}
    answers = ask("router", options, DEPTH, frames=4)
    assert all(isinstance(answer.value, Failure) for answer in answers)
    assert len(CALLS["dear"]) == 1


@pytest.mark.parametrize(
    ("sentry", "how"),
    [
        (named(Speaking, says=["A", "B", "yes", "No."], called="sentry", usd=0.01), None),
        (named(Telling, says=["0.9", "0.4", "0.5", "0"], called="sentry", usd=0.01), None),
    ],
)
def test_the_dear_model_is_asked_where_something_is_there(sentry: dict[str, object], how: str | None) -> None:
    options = {"model": named(Paid, called="dear", usd=0.1), "presence": sentry, "how": how}
    answers = ask("gate", options, CARS, DEPTH, frames=4)
    assert CALLS["dear"] == [
        ([0, 1, 2, 3], ["instances:car", "depth", "depth", "instances:car", "depth", "depth"])
    ]
    assert [round(answer.cost_usd, 3) for answer in answers] == [0.11, 0.1, 0.01, 0.1, 0.11, 0.1, 0.01, 0.1]
    assert [answer.model for answer in answers[:3]] == ["dear", "dear", "sentry"]
    absent = answers[2].value
    assert isinstance(absent, Masks)
    assert absent.names == ()
    assert kind_of(CARS).size_hw(absent) == (frame().info.fit.height, frame().info.fit.width)


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("A", 1), (" (A)", 1), ("Answer: A", 1), ("**Answer:** B", 0), ("The answer is B.", 0), ("b) no", 0),
        ("A: yes", 1), ("'A'", 1), ("Yes, there is", 1), ("no\n", 0), ("perhaps", None), ("Both", None),
        ("Answer", None), ("", None), ("None of them", None),
    ],
)  # fmt: skip
def test_a_letter_is_read_as_models_write_it(said: str, meant: float | None) -> None:
    if meant is None:
        with pytest.raises(ModelError, match="asked for A or B, and answers neither"):
            read(said, "sentry")
    else:
        assert read(said, "sentry") == meant


def test_what_a_cheap_model_finds_opens_the_gate() -> None:
    """Noise has bright pieces, a black picture has none."""
    options = {"model": named(Noted, called="dear"), "presence": named(Noted, called="cheap")}
    model = load_model("gate", options)
    black = frame(1)
    black = type(black)(black.header, black.info, np.zeros_like(black.image))
    seen, unseen = model.answer([frame(0), black], [0, 1], [CARS, CARS])
    assert CALLS["dear"] == [([0], ["instances:car"])]
    assert (seen.model, unseen.model) == ("dear", "cheap")
    assert kind_of(CARS).is_empty(unseen.value)


def test_a_detect_prompt_that_is_shut_out_is_answered_without_boxes() -> None:
    options = {"model": "fake", "presence": named(Speaking, says="B")}
    (answer,) = ask("gate", options, Prompt.parse("detect:car,bus"))
    assert kind_of(Prompt.parse("detect:car")).is_empty(answer.value)
    assert '"car or bus"' in CALLS["speaking"][0][1][0]


@pytest.mark.parametrize(("says", "sentence"), [("FAIL", "it is asleep"), ("perhaps", "asked for A or B")])
def test_a_sentry_that_fails_fails_the_prompt_and_spends_nothing(says: str, sentence: str) -> None:
    options = {"model": named(Paid, called="dear", usd=1), "presence": named(Speaking, says=says, usd=0.01)}
    cars, depth = ask("gate", options, CARS, DEPTH)
    assert isinstance(cars.value, Failure)
    assert sentence in cars.value.error
    assert cars.cost_usd == 0.01
    assert not isinstance(depth.value, Failure)
    assert CALLS["dear"] == [([0], ["depth"])]


def test_the_same_thing_of_a_frame_is_asked_once_and_for_a_while_not_again() -> None:
    options = {
        "model": named(Noted, called="dear"),
        "presence": named(Speaking, says="A", called="sentry", usd=0.01),
        "every_s": 1.0,
    }
    model = load_model("gate", options)
    car = Prompt.parse("refer:car")
    costs = []
    for number in (0, 10, 24, 25, 26):  # 25 frames a second
        answers = model.answer([frame(number)], [0, 0], [CARS, car])
        costs.append(sum(answer.cost_usd for answer in answers))
    assert costs == [0.01, 0, 0, 0.01, 0]
    assert [numbers for numbers, _ in CALLS["sentry"]] == [[0], [25]]
    model.answer([frame(27, stream="other")], [0], [CARS])
    model.answer([frame(27, stream="?q"), frame(28, stream="?q")], [0, 1], [CARS, CARS])
    assert [numbers for numbers, _ in CALLS["sentry"]] == [[0], [25], [27], [27, 28]]
    assert isinstance(model, type(load_model("gate", options)))
    model.forget("clip")  # type: ignore[attr-defined]
    model.answer([frame(29)], [0], [CARS])
    assert CALLS["sentry"][-1][0] == [29]


def test_what_is_remembered_does_not_grow() -> None:
    memory: Memory[int] = Memory(1.0)
    for number in range(MAX_KEPT + 10):
        memory.put(frame(0, stream=f"s{number}"), "car", number)
    assert memory.get(frame(0, stream="s5"), "car") is None
    assert memory.get(frame(1, stream=f"s{MAX_KEPT}"), "car") == MAX_KEPT


def test_a_question_is_asked_as_what_was_described_and_answered_under_its_own_words() -> None:
    options = {
        "model": named(Noted, called="finder", usd=0.1),
        "rewriter": named(Speaking, says='"The white van on the left."\n', called="writer", usd=0.01),
    }
    question, bus = ask("rewriting", options, QUESTION, BUS)
    assert CALLS["finder"] == [([0], ["refer:The white van on the left", "refer:the bus"])]
    assert "which car stands in the way?" in CALLS["writer"][0][1][0]
    assert isinstance(question.value, Masks)
    assert question.value.names == ("which car stands in the way?",)
    assert (question.model, round(question.cost_usd, 3), bus.cost_usd) == ("finder", 0.11, 0.1)


def test_what_is_not_there_is_an_empty_answer_and_a_failure_stays_one() -> None:
    options = {"model": named(Noted, called="finder"), "rewriter": named(Speaking, says=["None.", "FAIL"])}
    absent, failed = ask("rewriting", options, QUESTION, frames=2)
    assert kind_of(QUESTION).is_empty(absent.value)
    assert failed.value == Failure("infer", "it is asleep", retryable=True)
    assert "finder" not in CALLS
    everything = {**options, "rewriter": named(Speaking, says="a tram"), "what": "all"}
    ask("rewriting", everything, BUS)
    assert CALLS["finder"] == [([0], ["refer:a tram"])]


class Blind:
    """Draws well, but takes one colour for another: whatever should be this blue comes out as background."""

    name, fingerprint = "blind", "1"

    def __init__(self) -> None:
        self.calls: list[int] = []

    def render(self, images: Pixels, image_of: Any, prompts: Any) -> Pixels:
        Blind.last = [str(prompt) for prompt in prompts]
        drawn = FakeModel().render(images, image_of, prompts)
        bad = CLASSES.palette[0]
        drawn[(drawn == np.array(bad, np.uint8)).all(axis=-1)] = 0
        return drawn

    def close(self) -> None:
        pass

    last: list[str]


def test_most_drawings_decide() -> None:
    single = {"name": f"{__name__}:Blind"}
    (once,) = ask("router", {"rest": single}, CLASSES)
    (voted,) = ask("voting", {"model": single, "votes": 5}, CLASSES)
    (truth,) = FakeModel().answer([frame()], [0], [CLASSES])
    assert isinstance(once.value, Masks)
    assert isinstance(voted.value, Masks)
    assert once.value.names == ("road",), "one drawing misses the class whose colour it cannot draw"
    equal(voted, truth, CLASSES)
    assert voted.value.scores.min() < 1.0
    assert len(set(Blind.last)) == 5, "five palettes, in one call"


def test_a_tie_is_the_earlier_class_and_failed_drawings_have_no_vote() -> None:
    def labels(number: int) -> Answer:
        return Answer(
            Masks(np.full((2, 2), 1, np.uint16), (CLASSES.classes[number],), np.ones(1, np.float32), 0.1),
            cost_usd=1.0,
        )

    broken = Answer(Failure("infer", "no", retryable=False), cost_usd=1.0)
    tie = elected([labels(1), labels(0), broken], CLASSES)
    assert isinstance(tie.value, Masks)
    assert tie.value.names == ("car",)
    assert tie.value.scores.tolist() == [0.5]
    assert tie.cost_usd == 3.0
    assert elected([broken, broken], CLASSES).value == broken.value
    nobody = Answer(Masks(np.zeros((2, 2), np.uint16), (), np.zeros(0, np.float32), 0.0))
    most = elected([nobody, nobody, labels(0)], CLASSES)
    assert kind_of(CLASSES).is_empty(most.value)


@pytest.mark.parametrize(
    "prompt", [CLASSES, BUS, Prompt.parse("semantic:" + ",".join(f"c{k}" for k in range(40)))]
)
def test_ballots_can_be_drawn_and_differ(prompt: Prompt) -> None:
    ballots = recoloured(prompt, 5)
    assert ballots[0] == prompt
    assert len({ballot.palette for ballot in ballots}) == 5
    assert all(Prompt.parse(str(ballot)) == ballot for ballot in ballots)
    assert all(ballot.background not in ballot.palette for ballot in ballots)
    assert codec_for(ballots[1]) is codec_for(prompt)


def wrapped(kind: str, inner: object) -> dict[str, Any]:
    options: dict[str, dict[str, Any]] = {
        "router": {"routes": {"normals": "fake"}, "rest": inner},
        "gate": {"model": inner, "presence": named(Speaking, says="A", usd=0.01), "how": "ask"},
        "rewriting": {"model": inner, "rewriter": named(Speaking, says="the van", usd=0.01)},
        "voting": {"model": inner, "votes": 3},
    }
    return {"name": kind, "options": options[kind]}


@pytest.mark.parametrize("order", list(permutations(["router", "gate", "rewriting", "voting"])), ids="-".join)
def test_they_nest_in_any_order(order: tuple[str, ...]) -> None:
    written: object = named(Noted, called="inside", usd=0.1)
    for kind in order:
        written = wrapped(kind, written)
    assert isinstance(written, dict)
    model = load_model(written["name"], written["options"])
    assert isinstance(model, Answering)
    prompts = [CLASSES, CARS, DEPTH, QUESTION, NORMALS]
    answers = model.answer([frame(0), frame(1)], [0, 0, 1, 1, 1], prompts)
    plain = [CLASSES, CARS, DEPTH, Prompt.parse("refer:the van"), NORMALS]
    expected = FakeModel().answer([frame(0), frame(1)], [0, 0, 1, 1, 1], plain)
    for answer, truth, prompt in zip(answers, expected, prompts, strict=True):
        array = kind_of(prompt).array
        assert not isinstance(answer.value, Failure), answer.value
        np.testing.assert_array_equal(array(answer.value), array(truth.value))
    assert [answer.model for answer in answers] == ["inside"] * 4 + ["fake"]
    assert isinstance(answers[3].value, Masks)
    assert set(answers[3].value.names) <= {QUESTION.classes[0]}
    assert round(sum(answer.cost_usd for answer in answers[:3]), 3) == round(0.3 + 0.11 + 0.1, 3)
    model.close()
    assert "inside" in CLOSED


def test_a_combination_can_do_what_its_models_can() -> None:
    options = {"routes": {"depth": "embedded"}, "rest": "fake-video"}
    spec = spec_of("router", options)
    assert spec.keeps_streams
    assert spec.warms_up
    assert spec.needs == ("torch", "safetensors")
    assert spec.handful == 0
    assert Task.ASK in spec.tasks
    hosted = {"base_url": "http://127.0.0.1:1/v1", "model": "qwen"}
    gate = spec_of("gate", {"model": "embedded", "presence": {"name": "chat", "options": hosted}})
    assert (gate.is_paid, gate.is_hosted, gate.warms_up) == (True, True, False)
    assert gate.model_hw == (576, 1024)
    alone = spec_of("voting", {"model": "embedded"})
    assert alone.handful == spec_of("embedded").handful


def test_what_is_kept_about_a_stream_is_forgotten_inside() -> None:
    model = load_model(
        "rewriting", wrapped("rewriting", wrapped("gate", named(Noted, called="deep")))["options"]
    )
    model.forget("cam")  # type: ignore[attr-defined]
    assert FORGOTTEN == [("deep", "cam")]


def test_a_fingerprint_is_of_all_inside() -> None:
    def of(name: str, options: dict[str, Any]) -> str:
        model = load_model(name, options)
        model.close()
        return model.fingerprint

    first = of("router", {"rest": named(Noted, called="a")})
    assert first == of("router", {"rest": named(Noted, called="a", usd=9)})
    assert first != of("router", {"rest": named(Noted, called="b")})
    assert first != of("router", {"routes": {"depth": named(Noted, called="a")}})
    gate = {"model": "fake", "presence": named(Speaking)}
    assert of("gate", gate) != of("gate", {**gate, "threshold": 0.9})


def test_where_one_cannot_be_loaded_the_others_are_closed() -> None:
    options = {"routes": {"depth": named(Noted, called="first")}, "rest": named(Noted, colour=1)}
    with pytest.raises(UsageError, match="has no option colour"):
        load_model("router", options)
    assert CLOSED == ["first"]


@pytest.mark.parametrize(
    ("name", "options", "sentence"),
    [
        ("router", {}, "a router needs routes"),
        ("router", {"routes": {"colour": "fake"}}, "routes: 'colour' is no task: use semantic, instances"),
        ("router", {"routes": {"depth": 7}}, "routes.depth must name a backend"),
        ("router", {"routes": {"depth": {"nam": "fake"}}}, "routes.depth must name a backend"),
        ("router", {"routes": ["depth"]}, "routes must be a mapping"),
        ("router", {"rest": "fak"}, "model 'fak' is unknown"),
        ("gate", {"model": "fake"}, "missing 1 required keyword-only argument: 'presence'"),
        ("gate", {"model": "fake", "presence": "fake", "how": "guess"}, "how is 'guess': write ask or find"),
        (
            "gate",
            {"model": "fake", "presence": "fake", "threshold": 2},
            "threshold is '2': it must be a number from 0 to 1",
        ),
        ("gate", {"model": "fake", "presence": {"name": "gemini"}}, "give max_usd_per_hour"),
        ("rewriting", {"model": "fake", "rewriter": "fake", "what": "some"}, "write questions or all"),
        ("voting", {"model": "fake", "votes": 1}, "votes is '1': it must be a number from 2 to 15"),
    ],
)
def test_a_mistake_is_found_before_anything_is_loaded(
    name: str, options: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(UsageError) as mistake:
        spec_of(name, options)
    assert sentence in str(mistake.value)
