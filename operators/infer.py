"""The third step: a batch of requests to drawings, and drawings to values."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np

from plantain.operators.answers import codec_for
from plantain.operators.errors import ModelError, UsageError
from plantain.operators.models.base import ModelBackend
from plantain.operators.prompts import Prompt
from plantain.operators.types import Failure, Prediction, Request, Result, Timing


@dataclass(frozen=True, slots=True)
class WarmUp:
    """Lets a model draw, and its drawings be decoded, before any frame waits for it.

    What is compiled or loaded at first use takes 0.5 to 1 s then, in which cameras would lose frames.

    Attributes:
        model_hw: Canvas of the pictures to come, height and width in pixels.
        prompts: What will be asked.
        batch_sizes: Frames of the batches to try.
    """

    model_hw: tuple[int, int]
    prompts: tuple[Prompt, ...]
    batch_sizes: tuple[int, ...]

    def __call__(self, model: ModelBackend) -> None:
        """Draws black pictures in batches of each size, and decodes the last one.

        A prompt that the model cannot draw ends the trial, and fails later with the frames that it is asked of: one
        camera's mistake is no other's.
        """
        for size in self.batch_sizes:
            images = np.zeros((size, *self.model_hw, 3), np.uint8)
            image_of = [frame for frame in range(size) for _ in self.prompts]
            try:
                drawings = model.render(images, image_of, self.prompts * size)
            except ModelError:
                return
            for prompt, drawing in zip(self.prompts, drawings, strict=False):
                codec_for(prompt).decode(drawing, prompt)


class Infer:
    """Draws and decodes; stateless, so any batch may go to any copy of it.

    Args:
        model: The backend. Each frame of a batch is given to it once, however many prompts ask about it.
        load: Makes such a backend with other options, or with None as it was made first; for `swap`.
        warm_up: What a backend does before it is used, for instance `WarmUp`; None for nothing.
        stage: Name of the pool, for failures.

    Attributes:
        laps: What the last calls were made of, as (part, seconds); whoever reads it clears it.
    """

    def __init__(
        self,
        model: ModelBackend,
        load: Callable[[Mapping[str, Any] | None], ModelBackend] | None = None,
        warm_up: Callable[[ModelBackend], None] | None = None,
        stage: str = "infer",
    ) -> None:
        self._model = model
        self._load = load
        self._warm_up = warm_up
        self._stage = stage
        if warm_up is not None:
            warm_up(model)
        self.laps: list[tuple[str, float]] = []

    def __call__(self, requests: Sequence[Request], waits_ms: Sequence[float] = ()) -> list[Result]:
        """One result for each request.

        Args:
            requests: Of equal canvas, from any streams, with any prompts.
            waits_ms: How long each request waited for the model, milliseconds; empty for not at all.
        """
        images = np.stack([request.frame.image for request in requests])
        prompts = [prompt for request in requests for prompt in request.prompts]
        image_of = [k for k, request in enumerate(requests) for _ in request.prompts]
        start = perf_counter()
        drawings = self._model.render(images, image_of, prompts)
        drawn = perf_counter()
        self.laps.append(("model", drawn - start))
        model_ms = (drawn - start) * 1e3 / max(1, len(prompts))
        expected = (len(prompts), *images.shape[1:])
        if drawings.shape != expected:
            raise ModelError(f"model {self._model.name} must draw {expected}, not {drawings.shape}")
        results = []
        first = 0
        for k, request in enumerate(requests):
            wait_ms = waits_ms[k] if waits_ms else 0.0
            predictions = []
            for prompt, drawing in zip(request.prompts, drawings[first:], strict=False):
                start = perf_counter()
                value = codec_for(prompt).decode(request.frame.info.fit.crop(drawing), prompt)
                codec_ms = (perf_counter() - start) * 1e3
                timing = Timing(request.frame.info.decode_ms, wait_ms, model_ms, codec_ms)
                predictions.append(
                    Prediction(prompt, value, self._model.name, self._model.fingerprint, timing)
                )
            first += len(request.prompts)
            results.append(Result(request.header, request.frame.info, tuple(predictions)))
        self.laps.append(("codec", perf_counter() - drawn))
        return results

    def swap(self, options: Mapping[str, Any] | None) -> None:
        """Draws with other weights from the next batch on; the old ones stay until these are there.

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

    def fail(self, request: Request, failure: Failure) -> Result:
        """The result that announces that a request failed."""
        timing = Timing(request.frame.info.decode_ms)
        predictions = tuple(
            Prediction(prompt, failure, self._model.name, self._model.fingerprint, timing)
            for prompt in request.prompts
        )
        return Result(request.header, request.frame.info, predictions)

    def close(self) -> None:
        """Gives back the model's memory."""
        self._model.close()
