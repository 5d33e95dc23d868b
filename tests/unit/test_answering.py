"""Models that answer: one prompt's failure is that prompt's alone, and nothing that costs money is done twice."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from plantain.operators.answers import codec_for, kind_of
from plantain.operators.answers.depth.value import DepthMap
from plantain.operators.errors import ModelBusyError, ModelError, UsageError
from plantain.operators.geometry import Letterbox
from plantain.operators.infer import Infer
from plantain.operators.models import load_drawing, load_model, spec_of
from plantain.operators.models.base import Answer, Answering, ModelSpec, Pixels
from plantain.operators.models.drawn import Drawn
from plantain.operators.models.fake import FakeModel
from plantain.operators.plan import request_of
from plantain.operators.prompts import Prompt
from plantain.operators.retry import retry
from plantain.operators.segments import Durable, Position
from plantain.operators.types import Failure, Frame, FrameInfo, Header, Request, Value
from plantain.pipeline.calls import Call, Run
from plantain.pipeline.engine.books import Ledger
from plantain.pipeline.graph import Kind, Stage
from plantain.pipeline.worker import Worker, worker_of

TASKS = [
    Prompt.parse(text) for text in ("semantic:car,road", "instances:car", "depth", "normals", "refer:a car")
]
DEPTH, CARS, NORMALS = TASKS[2], TASKS[1], TASKS[3]


def frame(number: int = 0, model_hw: tuple[int, int] = (64, 96)) -> Frame:
    """Noise in a letterbox."""
    fit = Letterbox.fit((40, 80), model_hw)
    rng = np.random.default_rng(number)
    picture = np.kron(rng.integers(20, 255, (fit.height // 8, fit.width // 8, 3)), np.ones((8, 8, 1)))
    info = FrameInfo(number, Fraction(1, 25), None, "file", fit)
    return Frame(Header("clip", 0, number), info, np.ascontiguousarray(fit.place(picture.astype(np.uint8))))


def request(number: int, *prompts: Prompt) -> Request:
    return request_of(frame(number), prompts or (DEPTH,))


class Painter(FakeModel):
    """Only draws, notes each call, and fails as it is told.

    Args:
        errors: What is raised when this prompt is among those asked, one error a call.
    """

    answer = None  # type: ignore[assignment]  # a drawing model of a user's

    def __init__(self, errors: dict[Prompt, list[Exception]] | None = None) -> None:
        super().__init__()
        self.errors = errors or {}
        self.calls: list[list[str]] = []

    def render(self, images: Pixels, image_of: Sequence[int], prompts: Sequence[Prompt]) -> Pixels:
        self.calls.append([str(prompt) for prompt in prompts])
        for prompt in prompts:
            if self.errors.get(prompt):
                raise self.errors[prompt].pop(0)
        return super().render(images, image_of, prompts)


class Choosy(Painter):
    """Says beforehand what it does not draw."""

    def check(self, prompt: Prompt) -> None:
        if prompt.codec == "depth":
            raise ModelError("no depth today")


class Speaker:
    """Answers what a function says, and counts how often it is asked."""

    name, fingerprint = "speaker", "1"

    def __init__(self, say: Callable[[Frame, Prompt], Value | Failure]) -> None:
        self.say = say
        self.asked: list[int] = []

    def answer(
        self, frames: Sequence[Frame], image_of: Sequence[int], prompts: Sequence[Prompt]
    ) -> list[Answer]:
        self.asked.append(len(prompts))
        return [
            Answer(self.say(frames[k], prompt), cost_usd=0.04)
            for k, prompt in zip(image_of, prompts, strict=True)
        ]

    def close(self) -> None:
        pass


def wall(of: Frame, size_hw: tuple[int, int] | None = None) -> DepthMap:
    size_hw = size_hw or (of.info.fit.height, of.info.fit.width)
    return DepthMap(np.ones(size_hw, np.float32), np.ones(size_hw, np.bool_), 0.0)


def worker(infer: Infer, pauses: list[float] | None = None) -> Worker:
    stage = Stage("infer", Kind.PARALLEL, lambda: infer)
    return worker_of(stage, sleep=([] if pauses is None else pauses).append)


def run(made: Worker, *requests: Request):
    call = Call(1, "infer", 0, Run(), headers=tuple(each.header for each in requests))
    return made.run(call, [(each,) for each in requests])


def test_what_is_drawn_is_answered_as_its_codec_reads_it() -> None:
    model, frames = FakeModel(), [frame(0), frame(1)]
    image_of = [k for k in (0, 1) for _ in TASKS]
    answers = Drawn(model).answer(frames, image_of, TASKS * 2)
    drawings = model.render(np.stack([each.image for each in frames]), image_of, TASKS * 2)
    for k, prompt, drawing, answer in zip(image_of, TASKS * 2, drawings, answers, strict=True):
        expected = codec_for(prompt).decode(frames[k].info.fit.crop(drawing), prompt)
        kind = kind_of(prompt)
        assert kind.summary(answer.value) == kind.summary(expected)
        np.testing.assert_array_equal(kind.array(answer.value), kind.array(expected))
        assert answer.model_ms > 0
        assert answer.codec_ms > 0


def test_a_prompt_that_the_model_refuses_is_not_drawn_and_the_others_are_in_one_call() -> None:
    model = Choosy()
    answers = Drawn(model).answer([frame()], [0, 0, 0], [CARS, DEPTH, NORMALS])
    assert model.calls == [["instances:car", "normals"]]
    assert answers[1].value == Failure("infer", "no depth today", retryable=False)
    assert [isinstance(each.value, Failure) for each in answers] == [False, True, False]


def test_a_drawing_that_cannot_be_read_fails_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    codec = codec_for(DEPTH)

    def torn(rgb: Pixels, prompt: Prompt) -> Value:
        raise ValueError("torn")

    monkeypatch.setattr(codec, "decode", torn)
    answers = Drawn(FakeModel()).answer([frame()], [0, 0], [DEPTH, NORMALS])
    assert answers[0].value == Failure("infer", "ValueError: torn", retryable=False)
    assert not isinstance(answers[1].value, Failure)


def test_drawings_of_another_size_are_an_error() -> None:
    class Small(Painter):
        def render(self, images: Pixels, image_of: Sequence[int], prompts: Sequence[Prompt]) -> Pixels:
            return super().render(images, image_of, prompts)[:, ::2]

    with pytest.raises(ModelError, match=r"must draw \(1, 64, 96, 3\), not \(1, 32, 96, 3\)"):
        Drawn(Small()).answer([frame()], [0], [DEPTH])


def test_what_is_paid_for_is_drawn_once_whatever_happens_beside_it() -> None:
    pauses: list[float] = []
    model = Painter(
        {DEPTH: [ModelBusyError("429", 7.0), ModelBusyError("429")], NORMALS: [ValueError("refused")]}
    )
    answers = Drawn(model, is_paid=True, sleep=pauses.append).answer(
        [frame(k) for k in range(8)], list(range(8)), [CARS] * 5 + [DEPTH, NORMALS, CARS]
    )
    assert [call[0] for call in model.calls].count("instances:car") == 6
    assert [call[0] for call in model.calls].count("depth") == 3
    assert [call[0] for call in model.calls].count("normals") == 1
    assert pauses == [7.0, 0.4]
    assert [k for k, each in enumerate(answers) if isinstance(each.value, Failure)] == [6]


def test_one_refused_prompt_of_eight_frames_is_asked_once_and_fails_alone() -> None:
    refused = Failure("infer", "a policy", retryable=False)
    model = Speaker(lambda of, prompt: refused if of.header.frame_index == 3 else wall(of))
    reply, outputs = run(worker(Infer(model)), *(request(k) for k in range(8)))
    assert model.asked == [8]
    assert [refusal.header.frame_index for refusal in reply.failed] == [3]
    assert [each.failed_in for each in outputs] == [None, None, None, "infer", None, None, None, None]
    assert {each.predictions[0].cost_usd for each in outputs} == {0.04}
    assert [(header.frame_index, cost) for header, cost in reply.costs] == [(k, 0.04) for k in range(8)]


@pytest.mark.parametrize(
    "error", [ModelError("the account is closed"), MemoryError(), ModelBusyError("429", 5.0)]
)
def test_a_paid_model_that_breaks_off_is_not_asked_again(error: Exception) -> None:
    def say(of: Frame, prompt: Prompt) -> Value:
        raise error

    model = Speaker(say)
    reply, outputs = run(worker(Infer(model, is_paid=True)), *(request(k) for k in range(8)))
    assert model.asked == [8]
    assert len(reply.failed) == len(outputs) == 8


def test_a_free_model_that_breaks_off_is_asked_in_halves_until_the_bad_ones_stand_alone() -> None:
    def say(of: Frame, prompt: Prompt) -> Value:
        if of.header.frame_index == 5:
            raise MemoryError
        return wall(of)

    model = Speaker(say)
    reply, _ = run(worker(Infer(model)), *(request(k) for k in range(8)))
    assert [refusal.header.frame_index for refusal in reply.failed] == [5]
    assert model.asked[:3] == [8, 4, 4]


def test_a_busy_model_is_waited_for_as_long_as_it_says() -> None:
    errors: list[Exception] = [ModelBusyError("429", 3.0), ModelBusyError("503"), ModelBusyError("429", 1.5)]

    def say(of: Frame, prompt: Prompt) -> Value:
        if errors:
            raise errors.pop(0)
        return wall(of)

    pauses: list[float] = []
    reply, _ = run(worker(Infer(Speaker(say)), pauses), request(0))
    assert pauses == [3.0, 0.4, 1.5]
    assert not reply.failed


def test_a_model_that_asks_for_an_hour_is_not_waited_for() -> None:
    def work() -> None:
        raise ModelBusyError("the quota is used up", 3600)

    pauses: list[float] = []
    with pytest.raises(ModelBusyError):
        retry(work, "infer", pauses.append)
    assert pauses == []


def test_a_busy_error_travels_whole() -> None:
    error = pickle.loads(pickle.dumps(ModelBusyError("come back", 2.5)))
    assert (str(error), error.retry_after_s) == ("come back", 2.5)


@pytest.mark.parametrize(
    ("say", "said"),
    [
        (lambda of, _: wall(of), "model speaker answered 'normals' with DepthMap, not NormalMap"),
        (lambda of, _: wall(of, (3, 4)), "DepthMap"),
    ],
)
def test_an_answer_of_another_kind_is_a_failure(say: Callable[[Frame, Prompt], Value], said: str) -> None:
    (result,) = Infer(Speaker(say))([request(0, NORMALS)])
    assert result.failure is not None
    assert said in result.failure.error


def test_an_answer_of_another_size_than_the_picture_is_a_failure() -> None:
    (result,) = Infer(Speaker(lambda of, _: wall(of, (64, 96))))([request(0)])
    assert result.failure is not None
    assert result.failure.error == (
        "model speaker answered 'depth' with 64 x 96 pixels, not the 48 x 96 of the picture"
    )


def test_who_answered_may_differ_from_answer_to_answer() -> None:
    class Several(Speaker):
        def answer(
            self, frames: Sequence[Frame], image_of: Sequence[int], prompts: Sequence[Prompt]
        ) -> list[Answer]:
            first, second = super().answer(frames, image_of, prompts)
            return [replace(first, model="strong", fingerprint="9", model_ms=12.0), second]

    (result,) = Infer(Several(lambda of, _: wall(of)))(
        [request(0, DEPTH, Prompt.parse("depth[curve=street]"))]
    )
    first, second = result.predictions
    assert (first.model, first.model_fingerprint, first.timing.model_ms) == ("strong", "9", 12.0)
    assert (second.model, second.model_fingerprint) == ("speaker", "1")


def test_what_answers_cost_is_promised_with_them_and_counted_on() -> None:
    ledger = Ledger.at(Durable("clip", 0, Position(4, 160, 4), cost_usd=1.5))
    for number in (4, 5):
        ledger.take(replace(request(number).header, pts=number), {}, 0.25)
    assert ledger.promise(Durable("clip", 0, Position(6))).cost_usd == 2.0


def test_a_model_that_loses_an_answer_is_an_error() -> None:
    class Forgetful(Speaker):
        def answer(
            self, frames: Sequence[Frame], image_of: Sequence[int], prompts: Sequence[Prompt]
        ) -> list[Answer]:
            return super().answer(frames, image_of, prompts)[1:]

    with pytest.raises(ModelError, match="gave 1 answers to 2 prompts"):
        Infer(Forgetful(lambda of, _: wall(of)))([request(0, DEPTH, NORMALS)])


class Priced:
    """A drawing model of a user's that costs money, and says so."""

    spec = ModelSpec(model_hw=(32, 64), is_paid=True)
    name, fingerprint = "priced", "1"

    def render(self, images: Pixels, image_of: Sequence[int], prompts: Sequence[Prompt]) -> Pixels:
        return images[list(image_of)]

    def close(self) -> None:
        pass


class Mute:
    """No model at all."""


def test_whatever_draws_is_loaded_as_what_answers() -> None:
    assert isinstance(load_model("fake"), FakeModel)
    made = load_model(f"{__name__}:Priced")
    assert isinstance(made, Answering)
    assert isinstance(made, Drawn)
    assert isinstance(load_drawing(f"{__name__}:Priced"), Priced)
    assert spec_of(f"{__name__}:Priced").model_hw == (32, 64)
    assert spec_of(f"{__name__}:Mute") == ModelSpec()


def test_what_neither_answers_nor_draws_is_refused() -> None:
    with pytest.raises(UsageError, match="does not draw: it needs name, fingerprint, render and close"):
        load_model(f"{__name__}:Mute")
    with pytest.raises(UsageError, match="does not draw"):
        load_drawing(f"{__name__}:Speaker", {"say": wall})
