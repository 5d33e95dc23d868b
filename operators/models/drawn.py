"""A model that draws as one that answers: the same frames, and its drawings decoded."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from time import perf_counter

from plantain.operators.answers import codec_for
from plantain.operators.answers.depth.value import DepthMap
from plantain.operators.answers.masks.value import Masks
from plantain.operators.answers.normals.value import NormalMap
from plantain.operators.errors import ModelError, PlantainError
from plantain.operators.models.alignment import is_shifted
from plantain.operators.models.base import (
    Answer,
    Checking,
    ModelBackend,
    Pixels,
    TellsMore,
    Told,
    drawings_of,
)
from plantain.operators.prompts import Prompt
from plantain.operators.redaction import sentence_of
from plantain.operators.retry import retry
from plantain.operators.types import Failure, Frame, Value


class Drawn:
    """Decodes what a model draws.

    A prompt that the model refuses (`Checking`) or whose answer is no drawing, and a drawing that cannot be decoded,
    fail alone. Where drawings cost money, each is asked for by itself, so that no failure and no pause of one makes
    another be paid for twice.

    Args:
        model: What draws.
        is_paid: Each drawing costs money.
        drifts: It is known to draw some pixels beside the frame: such a drawing is all off the palette.
        sleep: How to wait for a paid model that is busy.
    """

    def __init__(
        self,
        model: ModelBackend,
        *,
        is_paid: bool = False,
        drifts: bool = False,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.model = model
        self._is_paid = is_paid
        self._drifts = drifts
        self._sleep = sleep
        self.name, self.fingerprint = model.name, model.fingerprint

    def answer(
        self, frames: Sequence[Frame], image_of: Sequence[int], prompts: Sequence[Prompt]
    ) -> list[Answer]:
        """One answer for each prompt; see Answering.

        Raises:
            ModelError: If the model cannot draw one of them, or draws pictures of another size.
        """
        if self._is_paid:
            return [
                self._alone(frames[index], prompt) for index, prompt in zip(image_of, prompts, strict=True)
            ]
        answers: list[Answer | None] = [self._refusal(prompt) for prompt in prompts]
        asked = [k for k, answer in enumerate(answers) if answer is None]
        if asked:
            drawings, told, model_ms = self._draw(
                frames, [image_of[k] for k in asked], [prompts[k] for k in asked]
            )
            for k, drawing, own in zip(asked, drawings, told, strict=True):
                answers[k] = self._decoded(frames[image_of[k]], prompts[k], drawing, own, model_ms)
        return [answer for answer in answers if answer is not None]

    def close(self) -> None:
        """Gives back the model's memory."""
        self.model.close()

    def _alone(self, frame: Frame, prompt: Prompt) -> Answer:
        """One drawing by itself, waited for where the model is busy."""
        refused = self._refusal(prompt)
        if refused is not None:
            return refused
        try:
            work = partial(self._draw, [frame], [0], [prompt])
            drawings, told, model_ms = retry(work, self.name, self._sleep)
        except Exception as error:  # noqa: BLE001 - a user's backend may raise anything; it fails its own prompt only
            return Answer(failure_of(error))
        return self._decoded(frame, prompt, drawings[0], told[0], model_ms)

    def _refusal(self, prompt: Prompt) -> Answer | None:
        return refusal_of(prompt, self.model if isinstance(self.model, Checking) else None)

    def _draw(
        self, frames: Sequence[Frame], image_of: Sequence[int], prompts: Sequence[Prompt]
    ) -> tuple[Pixels, list[Told], float]:
        """Drawings, what more is known of them, and the time that each took, milliseconds."""
        start = perf_counter()
        if isinstance(self.model, TellsMore):
            drawings, told = self.model.draw_told(frames, image_of, prompts)
        else:
            drawings, told = drawings_of(self.model, frames, image_of, prompts), [Told()] * len(prompts)
        model_ms = (perf_counter() - start) * 1e3 / len(prompts)
        expected = (len(prompts), *frames[0].image.shape)
        if drawings.shape != expected:
            raise ModelError(f"model {self.name} must draw {expected}, not {drawings.shape}")
        return drawings, told, model_ms

    def _decoded(self, frame: Frame, prompt: Prompt, drawing: Pixels, told: Told, model_ms: float) -> Answer:
        """What a drawing means, with what the model told of it: its own scores of regions, and its lens."""
        answer = decoded(frame, prompt, drawing, model_ms, drifts=self._drifts)
        value = answer.value
        if isinstance(value, DepthMap) and told.lens is not None:
            return replace(answer, value=replace(value, lens=told.lens))
        if isinstance(value, Masks) and value.names and told.sure is not None:
            # Compiled: not for those who only plan.
            from plantain.operators.answers.masks.regions import means_of

            assert isinstance(self.model, TellsMore)
            sure, shares = means_of(value.labels, frame.info.fit.crop(told.sure), len(value.names))
            return replace(answer, value=replace(value, scores=self.model.scores(prompt, sure, shares)))
        return answer


def decoded(
    frame: Frame, prompt: Prompt, drawing: Pixels, model_ms: float, *, drifts: bool = False
) -> Answer:
    """What a drawing (H, W, 3) of the whole canvas means; of a model that drifts, whether it lies where it says so."""
    start = perf_counter()
    value: Value | Failure
    try:
        drawn = frame.info.fit.crop(drawing)
        value = codec_for(prompt).decode(drawn, prompt)
        if (
            drifts
            and isinstance(value, Masks | DepthMap | NormalMap)
            and is_shifted(frame.info.fit.crop(frame.image), drawn)
        ):
            value = replace(value, off_palette=1.0)
    except Exception as error:  # noqa: BLE001 - whatever is wrong with one drawing concerns no other
        value = failure_of(error)
    return Answer(value, model_ms=model_ms, codec_ms=(perf_counter() - start) * 1e3)


def refusal_of(prompt: Prompt, model: Checking | None = None) -> Answer | None:
    """The answer to a prompt that cannot be drawn, at all or by a model; None for one that can."""
    try:
        codec_for(prompt)
        if model is not None:
            model.check(prompt)
    except PlantainError as error:
        return Answer(failure_of(error))
    return None


def failure_of(error: Exception) -> Failure:
    """What becomes of a prompt whose answer an error prevented."""
    retryable = isinstance(error, PlantainError) and error.retryable
    return Failure("infer", sentence_of(error), retryable)
