"""CLIPSeg: coarse regions of whatever words mean, one pass of the vision encoder for all of them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from plantain.operators.models.phrases import Phrases
from plantain.operators.models.specialists.base import Answers, Asked, Parts, Picture, Specialist, in_float32
from plantain.operators.models.specialists.regions import flatten
from plantain.operators.prompts import Prompt, Task
from plantain.operators.types import Value


class ClipSeg(Specialist):
    """A probability for each pixel and phrase, cut at a threshold; the surest class wins where several are above it.

    Args:
        parts: The checkpoint's.
        threshold: Probability from which a pixel belongs to a phrase.
    """

    tasks = (Task.SEMANTIC, Task.REFER)

    def __init__(self, parts: Parts, *, threshold: float = 0.5) -> None:
        super().__init__(parts)
        self._threshold = float(threshold)
        self._phrases = Phrases(self._encode)

    def look(self, pictures: Sequence[Picture], asked: Asked) -> Answers:
        """Pairs of a picture and a phrase through the small decoder."""
        pairs = list(
            dict.fromkeys((k, name) for k, prompts in enumerate(asked) for p in prompts for name in p.classes)
        )
        places = torch.tensor([k for k, _ in pairs], device=self.parts.device)
        (conditions,) = self._phrases.of([name for _, name in pairs])
        images = [picture.pixels for picture in pictures]
        inputs = self.parts.processor.image_processor(images=images, return_tensors="pt")
        network = self.parts.network
        with self.computing():
            seen = network.clip.get_image_features(
                pixel_values=inputs["pixel_values"].to(self.parts.device),
                interpolate_pos_encoding=True,
                output_hidden_states=True,
            )
            levels = [seen.hidden_states[k + 1][places] for k in network.extract_layers]
            logits = in_float32(network.decoder(levels, conditions).logits)
        of_pair = dict(zip(pairs, logits.reshape(len(pairs), *logits.shape[-2:]).sigmoid(), strict=True))
        return [
            [
                self._value(torch.stack([of_pair[k, name] for name in p.classes]), p, pictures[k])
                for p in prompts
            ]
            for k, prompts in enumerate(asked)
        ]

    def _value(self, maps: Tensor, prompt: Prompt, picture: Picture) -> Value:
        """Regions of maps (P, h, w) of probabilities."""
        sized = torch.nn.functional.interpolate(maps[None], picture.size_hw, mode="bilinear")[0]
        best = sized.amax(dim=0)
        masks = (sized > self._threshold) & (sized == best)
        areas = masks.flatten(1).sum(1).clamp_min(1)
        return flatten(masks, prompt.classes, (sized * masks).flatten(1).sum(1) / areas)

    def _encode(self, phrases: list[str]) -> tuple[Tensor]:
        """Vectors (P, C) of phrases."""
        words = self.parts.processor.tokenizer(
            phrases, return_tensors="pt", padding="max_length", truncation=True
        ).to(self.parts.device)
        with self.computing():
            return (self.parts.network.clip.get_text_features(**words).pooler_output,)
