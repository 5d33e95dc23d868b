"""What every specialist does: refuses what it cannot, looks at each picture once, gives way when memory is short."""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from plantain.operators.errors import ModelError, UsageError
from plantain.operators.models.base import Answer
from plantain.operators.prompts import Prompt, Task
from plantain.operators.types import Failure, Frame, FrameInfo, Value

Asked = Sequence[Sequence[Prompt]]
"""What is asked of each picture."""
Answers = list[list[Value | Failure]]
"""What is answered to that, in the same order."""

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


@dataclass(frozen=True, eq=False, slots=True)
class Picture:
    """What a specialist sees of a frame.

    Attributes:
        pixels: (3, H, W) uint8 RGB on the model's device: the canvas without its bars.
        info: What is known about the frame.
    """

    pixels: Tensor
    info: FrameInfo

    @property
    def size_hw(self) -> tuple[int, int]:
        """Height and width, which are those of every dense answer."""
        return self.info.fit.height, self.info.fit.width


@dataclass(frozen=True, eq=False, slots=True)
class Parts:
    """What a specialist is made of.

    Attributes:
        name: What users call it.
        fingerprint: See Answering.
        network: Of the library, with its weights, in evaluation mode.
        processor: What the library prepares pictures and words with, and reads the network's outputs.
        device: Where to compute.
        dtype: What matrices are multiplied in; weights and sums stay in float32.
    """

    name: str
    fingerprint: str
    network: Any
    processor: Any
    device: torch.device
    dtype: torch.dtype = torch.float32


class Specialist(ABC):
    """A network of a library behind `Answering`; one call looks at all pictures of one size together.

    Attributes:
        tasks: What it can answer.
    """

    tasks: ClassVar[tuple[Task, ...]]

    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        self.name, self.fingerprint = parts.name, parts.fingerprint
        self._at_once: dict[tuple[int, int], int] = {}

    @abstractmethod
    def look(self, pictures: Sequence[Picture], asked: Asked) -> Answers:
        """The answers about pictures of equal size, in the order of what is asked of each."""

    def refusal(self, prompt: Prompt) -> str:  # noqa: ARG002
        """Why a prompt of a right task cannot be answered; empty if it can."""
        return ""

    def answer(
        self, frames: Sequence[Frame], image_of: Sequence[int], prompts: Sequence[Prompt]
    ) -> list[Answer]:
        """One answer for each prompt; see Answering."""
        told: dict[int, Answer] = {}
        asked: dict[int, list[int]] = {}
        for k, prompt in enumerate(prompts):
            if why := self._why_not(prompt):
                told[k] = Answer(Failure("infer", why, retryable=False))
            else:
                asked.setdefault(image_of[k], []).append(k)
        alike: dict[tuple[int, int], list[int]] = {}
        for index in asked:
            alike.setdefault((frames[index].info.fit.height, frames[index].info.fit.width), []).append(index)
        for size_hw, indices in alike.items():
            start = perf_counter()
            values = self._in_parts(
                size_hw, [frames[k] for k in indices], [[prompts[n] for n in asked[k]] for k in indices]
            )
            numbers = [n for k in indices for n in asked[k]]
            spent_ms = (perf_counter() - start) * 1e3 / len(numbers)
            flat = [value for of_frame in values for value in of_frame]
            for n, value in zip(numbers, flat, strict=True):
                told[n] = Answer(value, model_ms=spent_ms)
        return [told[k] for k in range(len(prompts))]

    def close(self) -> None:
        """Gives back the network's memory; it answers no more."""
        self.parts.network.to("meta")
        if self.parts.device.type == "cuda":
            torch.cuda.empty_cache()

    def forward(self, **inputs: Any) -> Any:
        """The network's outputs, in float32."""
        moved = {
            name: each.to(self.parts.device) if isinstance(each, Tensor) else each
            for name, each in inputs.items()
        }
        with self.computing():
            return in_float32(self.parts.network(**moved))

    @contextlib.contextmanager
    def computing(self) -> Iterator[None]:
        """Without gradients, multiplying in the wanted precision."""
        is_mixed = self.parts.dtype != torch.float32
        with (
            torch.inference_mode(),
            torch.autocast(self.parts.device.type, self.parts.dtype, enabled=is_mixed),
        ):
            yield

    def too_large(self, size_hw: tuple[int, int]) -> ModelError:
        """What to say where there is no memory for one picture."""
        return ModelError(
            f"model {self.name} has not enough memory for one picture of {size_hw[1]} x {size_hw[0]}: "
            "give it a smaller canvas, fewer copies, or dtype: bfloat16"
        )

    def _why_not(self, prompt: Prompt) -> str:
        if prompt.task not in self.tasks:
            return f"model {self.name} has no answer to '{prompt}': it answers {', '.join(self.tasks)}"
        return self.refusal(prompt)

    def _in_parts(self, size_hw: tuple[int, int], frames: Sequence[Frame], asked: Asked) -> Answers:
        """Looks at so many frames at once as memory has been found to hold."""
        values: Answers = []
        while len(values) < len(frames):
            first, count = len(values), self._at_once.get(size_hw, len(frames))
            part = slice(first, first + count)
            try:
                pictures = [self._picture(frame) for frame in frames[part]]
                values += self.look(pictures, asked[part])
            except torch.OutOfMemoryError as error:
                seen = min(count, len(frames) - first)
                if seen == 1:
                    raise self.too_large(size_hw) from error
                self._at_once[size_hw] = seen // 2
                torch.cuda.empty_cache()
        return values

    def _picture(self, frame: Frame) -> Picture:
        cropped = frame.info.fit.crop(frame.image)
        pixels = torch.from_numpy(np.array(cropped)).to(self.parts.device).permute(2, 0, 1)
        return Picture(pixels, frame.info)


def in_float32(outputs: Any) -> Any:
    """A library's outputs with every tensor of lower precision in float32, also those inside others."""
    if isinstance(outputs, Tensor):
        return outputs.float() if outputs.is_floating_point() else outputs
    if isinstance(outputs, Mapping):
        for name in list(outputs):
            outputs[name] = in_float32(outputs[name])  # type: ignore[index]  # the library's own, which may be changed
        return outputs
    if isinstance(outputs, (list, tuple)):
        return type(outputs)(in_float32(each) for each in outputs)
    return outputs


def device_called(name: str) -> torch.device:
    """`cpu`, `cuda`, `cuda:1`; empty for the GPU where there is one.

    Raises:
        UsageError: If it is none.
    """
    try:
        return torch.device(name or ("cuda" if torch.cuda.is_available() else "cpu"))
    except RuntimeError as error:
        raise UsageError(f"device '{name}' is unknown: use cpu, cuda or cuda:NUMBER") from error


def dtype_called(name: str) -> torch.dtype:
    """What to multiply in; empty for float32.

    Raises:
        UsageError: If it is none of the two.
    """
    if name and name not in DTYPES:
        raise UsageError(f"dtype '{name}' is unknown: use {' or '.join(DTYPES)}")
    return DTYPES[name or "float32"]
