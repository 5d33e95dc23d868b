"""The third step: a batch of requests to answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from time import perf_counter
from typing import Any

import numpy as np

from plantain.operators.answers import kind_of
from plantain.operators.errors import ModelError, PlantainError, UsageError
from plantain.operators.geometry import Letterbox
from plantain.operators.models.base import Answer, Answering, Forgetful
from plantain.operators.prompts import Prompt
from plantain.operators.redaction import sentence_of
from plantain.operators.types import (
    Failure,
    Frame,
    FrameInfo,
    Header,
    Prediction,
    Request,
    Result,
    Timing,
    Value,
)


@dataclass(frozen=True, slots=True)
class WarmUp:
    """Lets a model answer before any frame waits for it.

    What is compiled or loaded at first use takes 0.5 to 1 s then, in which cameras would lose frames.

    Attributes:
        model_hw: Canvas of the pictures to come, height and width in pixels.
        prompts: What will be asked.
        batch_sizes: Frames of the batches to try.
    """

    model_hw: tuple[int, int]
    prompts: tuple[Prompt, ...]
    batch_sizes: tuple[int, ...]

    def __call__(self, model: Answering) -> None:
        """Asks about black pictures in batches of each size.

        A prompt that the model cannot answer ends the trial at the latest, and fails later with the frames that it is
        asked of: one camera's mistake is no other's.
        """
        info = FrameInfo(0, Fraction(1), None, "file", Letterbox.fit(self.model_hw, self.model_hw, "stretch"))
        black = Frame(Header("", 0, 0), info, np.zeros((*self.model_hw, 3), np.uint8))
        for size in self.batch_sizes:
            image_of = [frame for frame in range(size) for _ in self.prompts]
            try:
                model.answer([black] * size, image_of, self.prompts * size)
            except ModelError:
                return


class Infer:
    """Asks the model; stateless, so any batch may go to any copy of it.

    Args:
        model: Who answers. Each frame of a batch is given to it once, however many prompts ask about it.
        load: Makes such a model with other options, or with None as it was made first; for `swap`.
        warm_up: What a model does before it is used, for instance `WarmUp`; None for nothing.
        is_paid: Answers cost money: a batch that breaks is announced as failed, and no part of it asked again.
        stage: Name of the stage, for failures.

    Attributes:
        laps: What the last calls were made of, as (part, seconds); whoever reads it clears it.
    """

    def __init__(
        self,
        model: Answering,
        load: Callable[[Mapping[str, Any] | None], Answering] | None = None,
        warm_up: Callable[[Answering], None] | None = None,
        *,
        is_paid: bool = False,
        stage: str = "infer",
    ) -> None:
        self._model = model
        self._load = load
        self._warm_up = warm_up
        self._is_paid = is_paid
        self._stage = stage
        if warm_up is not None:
            warm_up(model)
        self.laps: list[tuple[str, float]] = []

    def __call__(self, requests: Sequence[Request], waits_ms: Sequence[float] = ()) -> list[Result]:
        """One result for each request; a prompt that fails is its own failure.

        Args:
            requests: Of equal canvas, from any streams, with any prompts.
            waits_ms: How long each request waited for the model, milliseconds; empty for not at all.
        """
        # A query's frame goes under the query's name: a model that keeps something about streams must not mix them up.
        frames = [replace(request.frame, header=request.header) for request in requests]
        prompts = [prompt for request in requests for prompt in request.prompts]
        image_of = [k for k, request in enumerate(requests) for _ in request.prompts]
        start = perf_counter()
        answers = iter(self._ask(frames, image_of, prompts))
        spent_s = perf_counter() - start
        results = []
        codec_s = 0.0
        for k, request in enumerate(requests):
            wait_ms = waits_ms[k] if waits_ms else 0.0
            predictions = []
            for prompt in request.prompts:
                answer = next(answers)
                codec_s += answer.codec_ms / 1e3
                predictions.append(self._prediction(request, prompt, answer, wait_ms))
            results.append(Result(request.header, request.frame.info, tuple(predictions)))
        self.laps += [("model", max(0.0, spent_s - codec_s)), ("codec", codec_s)]
        return results

    def swap(self, options: Mapping[str, Any] | None) -> None:
        """Answers with other weights from the next batch on; the old ones stay until these are there.

        Raises:
            UsageError: If the backend does not take the options.
            ModelError: If it cannot be made here.
        """
        if self._load is None:
            raise UsageError(f"model {self._model.name} cannot be swapped")
        new = self._load(options)
        if self._warm_up is not None:
            self._warm_up(new)
        old, self._model = self._model, new
        old.close()

    def forget(self, stream_id: str) -> None:
        """Forgets what the model keeps about a stream."""
        if isinstance(self._model, Forgetful):
            self._model.forget(stream_id)

    def fail(self, request: Request, failure: Failure) -> Result:
        """The result that announces that a request failed."""
        predictions = tuple(
            self._prediction(request, prompt, Answer(failure), 0.0) for prompt in request.prompts
        )
        return Result(request.header, request.frame.info, predictions)

    def close(self) -> None:
        """Gives back the model's memory."""
        self._model.close()

    def _ask(
        self, frames: Sequence[Frame], image_of: Sequence[int], prompts: Sequence[Prompt]
    ) -> list[Answer]:
        """One answer for each prompt."""
        try:
            answers = self._model.answer(frames, image_of, prompts)
        except Exception as error:
            if not self._is_paid:
                raise
            retryable = isinstance(error, PlantainError) and error.retryable
            return [Answer(Failure(self._stage, sentence_of(error), retryable))] * len(prompts)
        if len(answers) != len(prompts):
            raise ModelError(
                f"model {self._model.name} gave {len(answers)} answers to {len(prompts)} prompts"
            )
        return answers

    def _prediction(self, request: Request, prompt: Prompt, answer: Answer, wait_ms: float) -> Prediction:
        timing = Timing(request.frame.info.decode_ms, wait_ms, answer.model_ms, answer.codec_ms)
        return Prediction(
            prompt,
            self._checked(answer.value, prompt, request.frame.info.fit),
            answer.model or self._model.name,
            answer.fingerprint or self._model.fingerprint,
            timing,
            answer.cost_usd,
        )

    def _checked(self, value: Value | Failure, prompt: Prompt, fit: Letterbox) -> Value | Failure:
        """The value, if it is of the prompt's kind and the picture's size; a Failure otherwise."""
        if isinstance(value, Failure):
            return replace(value, stage=self._stage) if value.stage == "infer" else value
        kind = kind_of(prompt)
        who = f"model {self._model.name} answered '{prompt}' with"
        if not isinstance(value, kind.value):
            wanted = kind.value.__name__
            return Failure(self._stage, f"{who} {type(value).__name__}, not {wanted}", retryable=False)
        size_hw = kind.size_hw(value)
        if size_hw not in (None, (fit.height, fit.width)):
            wanted = f"the {fit.height} x {fit.width} of the picture"
            return Failure(
                self._stage, f"{who} {size_hw[0]} x {size_hw[1]} pixels, not {wanted}", retryable=False
            )
        return kind.at_least(value, prompt.score) if prompt.score else value
