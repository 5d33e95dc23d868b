"""Models that are run by Python code of their own, called as such are published: a processor, a call, what comes back.

    inputs = processor(images=[...], text=[...], return_tensors="pt")      # or task=[...]
    outputs = network(**inputs)                                            # images, or predictions

`images` are drawings, PIL or (H, W, 3) uint8 or float in [0, 1], which are decoded as any. `predictions` are values:
depth (H, W) in metres; directions (H, W, 3) in our axes; classes (H, W), numbered from 1 as the prompt names them;
things (H, W), each with a number of its own.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from time import perf_counter
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from plantain.operators.answers import kind_of
from plantain.operators.answers.normals.value import NormalMap
from plantain.operators.errors import ModelError, ModelUnavailableError, UsageError
from plantain.operators.models.base import Answer, Pixels
from plantain.operators.models.drawn import decoded, failure_of, refusal_of
from plantain.operators.models.generators.base import precision_of
from plantain.operators.models.loading import Checkpoint, located, made, network_of
from plantain.operators.models.specialists.base import device_called
from plantain.operators.models.specialists.depth import depth_of
from plantain.operators.models.specialists.families import fingerprint_of
from plantain.operators.models.specialists.regions import numbered
from plantain.operators.prompts import Prompt
from plantain.operators.types import Frame, Value

ASKS = ("text", "task")
"""What a processor is told beside pictures: the prompt's instruction, in the paper's words, or the name of its task."""


class RemoteCode:
    """Runs what a checkpoint brings, which may do anything on this machine: read it first.

    Args:
        checkpoint: Folder, or repository, `owner/name`.
        trust_remote_code: Must be true.
        asks: Of ASKS.
        at_once: Questions of one call.
        revision: Of the repository; the newest if empty. Pin it: other code is another model.
        device: `cpu`, `cuda`; the GPU if empty and there is one.
        dtype: `bfloat16`, `float32`, or empty for bfloat16 on a GPU.
        offline: Only what is on this machine.

    Raises:
        UsageError: If an option is unknown.
        ModelUnavailableError: If the code is not trusted, or the checkpoint brings none, cannot be had or is damaged.
    """

    name = "remote-code"

    def __init__(
        self,
        checkpoint: str = "",
        *,
        trust_remote_code: bool = False,
        asks: str = "text",
        at_once: int = 1,
        revision: str = "",
        device: str = "",
        dtype: str = "",
        offline: bool = False,
    ) -> None:
        import transformers

        if not checkpoint:
            raise UsageError("give the option checkpoint: the folder of one, or a repository as owner/name")
        if asks not in ASKS:
            raise UsageError(f"asks is '{asks}': use {' or '.join(ASKS)}")
        found = located(checkpoint, revision, offline=offline, has_code=trust_remote_code)
        found.refuse_code(is_trusted=trust_remote_code)
        cls = next((each for each in found.config.get("auto_map", {}) if each.startswith("AutoModel")), "")
        if not cls:
            raise ModelUnavailableError(
                f"{found.name} brings no model in Python code of its own: take the backend transformers"
            )
        where = device_called(device)
        precision = precision_of(dtype, where)
        network = network_of(found, getattr(transformers, cls), dtype=precision, trust_remote_code=True)
        self._network, self._device = network.to(where), where
        self._processor: Any = made(
            found,
            lambda: transformers.AutoProcessor.from_pretrained(
                found.folder, local_files_only=True, trust_remote_code=True
            ),
        )
        self._asks, self._at_once = asks, max(1, int(at_once))
        self.fingerprint = fingerprint_of(found, [asks, str(precision), _digest_of_code(found)])

    def answer(
        self, frames: Sequence[Frame], image_of: Sequence[int], prompts: Sequence[Prompt]
    ) -> list[Answer]:
        """One answer for each prompt; see Answering.

        Raises:
            ModelError: If the code gives neither images nor predictions, or not one for each question, or memory
                runs out.
        """
        answers = {k: refused for k, prompt in enumerate(prompts) if (refused := refusal_of(prompt))}
        asked = [k for k in range(len(prompts)) if k not in answers]
        for first in range(0, len(asked), self._at_once):
            part = asked[first : first + self._at_once]
            start = perf_counter()
            kind, outputs = self._called([(frames[image_of[k]], prompts[k]) for k in part])
            spent_ms = (perf_counter() - start) * 1e3 / len(part)
            for k, output in zip(part, outputs, strict=True):
                frame, prompt = frames[image_of[k]], prompts[k]
                if kind == "images":
                    fit = frame.info.fit
                    drawing = _pixels_of(output, (fit.height, fit.width))
                    answers[k] = decoded(frame, prompt, fit.place(drawing), spent_ms, drifts=True)
                else:
                    answers[k] = _read(output, prompt, frame, spent_ms)
        return [answers[k] for k in range(len(prompts))]

    def close(self) -> None:
        """Gives back the weights' memory; answers no more."""
        self._network.to("meta")
        if self._device.type == "cuda":
            torch.cuda.empty_cache()

    def _called(self, asked: Sequence[tuple[Frame, Prompt]]) -> tuple[str, Sequence[Any]]:
        """`images` or `predictions`, and one for each question."""
        pictures = [
            Image.fromarray(np.ascontiguousarray(frame.info.fit.crop(frame.image))) for frame, _ in asked
        ]
        words = [prompt.instruction() if self._asks == "text" else str(prompt.task) for _, prompt in asked]
        inputs = self._processor(images=pictures, return_tensors="pt", **{self._asks: words})
        moved = {
            name: each.to(self._device) if isinstance(each, Tensor) else each for name, each in inputs.items()
        }
        try:
            with torch.inference_mode():
                outputs = self._network(**moved)
        except torch.OutOfMemoryError as error:
            raise ModelError(
                f"{self.name} has not enough memory for {len(asked)} at once: give it a smaller canvas, or at_once"
            ) from error
        for kind in ("images", "predictions"):
            if isinstance(outputs, Mapping) and outputs.get(kind) is not None:
                if len(outputs[kind]) != len(asked):
                    raise ModelError(
                        f"the code of the model gives {len(outputs[kind])} {kind} for {len(asked)} questions"
                    )
                return kind, outputs[kind]
        raise ModelError("the code of the model gives neither images nor predictions: it is called otherwise")


def _pixels_of(drawing: Any, size_hw: tuple[int, int]) -> Pixels:
    """(H, W, 3) uint8 of this size; another one is brought to it without mixing colours."""
    if not isinstance(drawing, Image.Image):
        array = _array_of(drawing)
        if array.dtype != np.uint8:
            array = (array.clip(0, 1) * 255).round().astype(np.uint8)
        drawing = Image.fromarray(array)
    drawing = drawing.convert("RGB")
    if drawing.size != size_hw[::-1]:
        drawing = drawing.resize(size_hw[::-1], Image.Resampling.NEAREST)
    return np.array(drawing)


def _read(prediction: Any, prompt: Prompt, frame: Frame, model_ms: float) -> Answer:
    """A value of the prompt's kind, at the size of the picture."""
    try:
        value = kind_of(prompt).sized(
            _value_of(prediction, prompt), (frame.info.fit.height, frame.info.fit.width)
        )
    except Exception as error:  # noqa: BLE001 - whatever is wrong with one prediction concerns no other
        return Answer(failure_of(error), model_ms=model_ms)
    return Answer(value, model_ms=model_ms)


def _value_of(prediction: Any, prompt: Prompt) -> Value:
    array = _array_of(prediction)
    if prompt.codec == "depth":
        return depth_of(torch.from_numpy(array))
    if prompt.codec == "normals":
        return NormalMap(array.astype(np.float32), np.square(array).sum(axis=-1) > 0.25, 0.0)
    if prompt.codec in ("masks", "instances"):
        count = int(array.max())
        names = prompt.classes if prompt.codec == "masks" else prompt.classes * count
        return numbered(torch.from_numpy(array), names, [1.0] * len(names))
    raise ModelError(f"'{prompt}' has no value that a prediction could be")


def _array_of(output: Any) -> NDArray[Any]:
    return (
        output.float().cpu().numpy()
        if isinstance(output, Tensor) and output.is_floating_point()
        else np.asarray(output)
    )


def _digest_of_code(found: Checkpoint) -> str:
    """Changes with the code."""
    whole = hashlib.sha256()
    for path in sorted(found.folder.rglob("*.py")):
        whole.update(path.read_bytes())
    return whole.hexdigest()[:12]
