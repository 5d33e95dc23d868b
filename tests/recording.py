"""A model that remembers what it was asked together, named by dotted path."""

from __future__ import annotations

from collections.abc import Sequence

from plantain.operators.models.base import ModelSpec, Pixels
from plantain.operators.models.fake import FakeModel
from plantain.operators.prompts import Prompt


class RecordingModel(FakeModel):
    """Answers as the fake model does; `batches` has the prompts of each call, in this process."""

    name = "recording"
    fingerprint = "recording-1"
    spec = ModelSpec(model_hw=(96, 128))
    batches: list[list[str]] = []  # noqa: RUF012 - shared on purpose: the test is not where the model is made

    def render(self, images: Pixels, image_of: Sequence[int], prompts: Sequence[Prompt]) -> Pixels:
        """As the fake model."""
        self.batches.append([str(prompt) for prompt in prompts])
        return super().render(images, image_of, prompts)
