"""Gemini as one who draws: Nano Banana 2 and its like.

It draws in ten shapes (`aspectRatio`) and in its own sizes. So a frame's picture is sent on a canvas of the nearest
shape, with bars where it does not fill it, and what is drawn is taken from there.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from plantain.operators.answers import codec_for
from plantain.operators.answers.image.value import Image
from plantain.operators.errors import ModelError
from plantain.operators.geometry import Letterbox
from plantain.operators.models.base import Pixels
from plantain.operators.models.drawn import decoded
from plantain.operators.models.hosted.base import Picture
from plantain.operators.models.hosted.desk import Job, Told
from plantain.operators.models.hosted.drawings import fitted, unpacked
from plantain.operators.models.hosted.gemini import Gemini, GeminiOptions, Part, request_of
from plantain.operators.prompts import Prompt
from plantain.operators.types import Frame

ASPECTS = ((1, 1), (2, 3), (3, 2), (3, 4), (4, 3), (4, 5), (5, 4), (9, 16), (16, 9), (21, 9))
"""Width and height that all of its image models take."""

# Sizes are multiples of 16 or more, so that a shape is met within 1 % (16:9 is 1376 x 768).
MAX_STRETCH = 0.03


@dataclass(frozen=True, kw_only=True)
class DrawingOptions(GeminiOptions):
    """Of a model that draws.

    Attributes:
        model: As of all.
        image_size: `1K`, `2K` or `4K`.
        seed: Of the sampler; it is no promise.
    """

    model: str = "gemini-3.1-flash-image"
    image_size: str = "1K"
    seed: int = 0


class GeminiImage(Gemini[DrawingOptions]):
    """See the module."""

    name = "gemini-image"
    options_type = DrawingOptions

    def picture(self, frame: Frame) -> Pixels:
        """The picture on a canvas of a shape that is drawn."""
        picture = frame.info.fit.crop(frame.image)
        return np.ascontiguousarray(place_of(picture)[1].place(picture))

    def job(self, frame: Frame, prompt: Prompt, picture: Picture) -> Job:
        """The request for a drawing.

        Raises:
            CodecError: If the answer is no drawing.
        """
        codec_for(prompt)
        words = prompt.instruction()
        (across, down), fit = place_of(frame.info.fit.crop(frame.image))
        request = request_of(
            words,
            picture,
            seed=self.options.seed,
            responseModalities=["IMAGE"],
            imageConfig={"aspectRatio": f"{across}:{down}", "imageSize": self.options.image_size},
        )

        def read(reply: object) -> Told:
            told = self.told(reply, lambda parts: Image(self._drawing(parts, fit, prompt)))
            if not isinstance(told.value, Image):
                return told
            answer = decoded(frame, prompt, frame.info.fit.place(told.value.rgb), 0.0, drifts=True)
            return Told(answer.value, told.usd, answer.codec_ms)

        return Job(lambda: self.generate(request), read, self.options.max_usd(words))

    def _drawing(self, parts: list[Part], fit: Letterbox, prompt: Prompt) -> Pixels:
        """The drawing of a picture, of its size."""
        model = self.options.model
        data = next((part["inlineData"] for part in parts if isinstance(part.get("inlineData"), dict)), None)
        if data is None:
            raise ModelError(f"{model} answers in words, and draws nothing")
        drawing = unpacked(data.get("data"), model)
        height, width = drawing.shape[:2]
        wanted_h, wanted_w = fit.model_hw
        stretch = (width / height) / (wanted_w / wanted_h)
        if abs(stretch - 1) > MAX_STRETCH:
            raise ModelError(
                f"{model} drew {width} x {height} pixels, another shape than the {wanted_w} x {wanted_h} it was shown"
            )
        return fit.crop(fitted(drawing, fit.model_hw, is_smooth=prompt.codec == "image"))


def place_of(picture: Pixels) -> tuple[tuple[int, int], Letterbox]:
    """The shape nearest to a picture's, and where the picture lies on the smallest canvas of this shape."""
    height, width = picture.shape[:2]
    across, down = min(ASPECTS, key=lambda each: abs(np.log(width * each[1] / (height * each[0]))))
    canvas_hw = max(height, -(-width * down // across)), max(width, -(-height * across // down))
    return (across, down), Letterbox.fit((height, width), canvas_hw)
