"""An image generator behind `POST /v1/images/edits`: vLLM-Omni, SGLang, NVIDIA Dynamo, DeepInfra.

Multipart in: the frame and the instruction; `data[0].b64_json` out. Fields that a server does not know it ignores
without a word, so the size of what comes back is looked at.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from plantain.operators.answers import codec_for
from plantain.operators.errors import ModelError
from plantain.operators.models.base import Pixels
from plantain.operators.models.drawn import decoded
from plantain.operators.models.hosted.api import bearer
from plantain.operators.models.hosted.base import Hosted, Picture
from plantain.operators.models.hosted.desk import Job, Told
from plantain.operators.models.hosted.drawings import unpacked
from plantain.operators.models.hosted.options import OwnPrice
from plantain.operators.prompts import Prompt
from plantain.operators.types import Frame


@dataclass(frozen=True, kw_only=True)
class ImagesOptions(OwnPrice):
    """Of a generator.

    Attributes:
        model: As the server calls it; empty for a server that has one.
        steps, guidance_scale: Of the sampler; the server's own if left out.
        seed: Equal pictures are drawn alike, by servers that heed it.
    """

    model: str = ""
    steps: int | None = None
    guidance_scale: float | None = None
    seed: int = 0


class ImagesModel(Hosted[ImagesOptions]):
    """See the module."""

    name = "images-api"
    options_type = ImagesOptions
    header = staticmethod(bearer)

    def picture(self, frame: Frame) -> Pixels:
        """The whole canvas: its size is what generators like."""
        return np.ascontiguousarray(frame.image)

    def job(self, frame: Frame, prompt: Prompt, picture: Picture) -> Job:
        """The request for a drawing.

        Raises:
            CodecError: If the answer is no drawing.
        """
        codec_for(prompt)
        return Job(
            lambda: self._post(prompt, picture),
            lambda reply: self._read(frame, prompt, reply),
            self.options.usd_per_answer,
        )

    def _post(self, prompt: Prompt, picture: Picture) -> Any:
        height, width = picture.size_hw
        fields = {
            "prompt": prompt.instruction(),
            "size": f"{width}x{height}",
            "n": "1",
            "response_format": "b64_json",
            "output_format": "png",
            "seed": str(self.options.seed),
        }
        for name, value in (
            ("model", self.options.model or None),
            ("num_inference_steps", self.options.steps),
            ("guidance_scale", self.options.guidance_scale),
        ):
            if value is not None:
                fields[name] = str(value)
        files = {"image": ("frame.png", picture.png, "image/png")}
        return self._api.post("/images/edits", data=fields, files=files)

    def _read(self, frame: Frame, prompt: Prompt, reply: Any) -> Told:
        where = self.options.place
        try:
            packed = reply["data"][0]["b64_json"]
        except (KeyError, IndexError, TypeError) as error:
            raise ModelError(f"{where} answers without data[0].b64_json: it speaks another API") from error
        drawing = unpacked(packed, where)
        if drawing.shape != frame.image.shape:
            (height, width), (wanted_h, wanted_w) = drawing.shape[:2], frame.image.shape[:2]
            raise ModelError(
                f"{where} drew {width} x {height} pixels, not the {wanted_w} x {wanted_h} of the canvas: "
                "set canvas to a size that the server keeps, mostly multiples of 16"
            )
        answer = decoded(frame, prompt, drawing, 0.0, drifts=True)
        return Told(answer.value, self.options.usd_per_answer, answer.codec_ms)
