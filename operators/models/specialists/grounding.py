"""Boxes of whatever words mean, and masks in them: Grounding DINO, OWLv2 and their like, alone or with SAM 2."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from plantain.operators.models.phrases import Phrases
from plantain.operators.models.specialists.base import Answers, Asked, Parts, Picture, Specialist
from plantain.operators.models.specialists.box_masks import BoxMasks
from plantain.operators.models.specialists.detection import boxes_of
from plantain.operators.models.specialists.kept import KeptPictures, KeptWords
from plantain.operators.models.specialists.regions import flatten
from plantain.operators.prompts import Prompt, Task
from plantain.operators.types import Value

# Pairs of a picture and a class that a network is asked about at once.
MAX_PAIRS = 8

Found = Mapping[str, Tensor]
"""`boxes` (N, 4) in pixels of the picture and `scores` (N,)."""


class Grounding(Specialist):
    """Finds each class by itself, so that no answer depends on what else is asked.

    Args:
        parts: The checkpoint's.
        threshold: Surest that a box must be, in [0, 1]; the library's own if left out.
        masks: What makes masks of boxes, for `instances`, `refer` and `semantic`; None for boxes alone.
    """

    tasks = (Task.DETECT, Task.INSTANCES, Task.REFER, Task.SEMANTIC)

    def __init__(
        self, parts: Parts, *, threshold: float | None = None, masks: BoxMasks | None = None
    ) -> None:
        super().__init__(parts)
        self._surest = {} if threshold is None else {"threshold": float(threshold)}
        self._masks = masks

    def refusal(self, prompt: Prompt) -> str:
        """Masks, where there is nothing to make them with."""
        if prompt.task is Task.DETECT or self._masks is not None:
            return ""
        return (
            f"model {self.name} has no answer to '{prompt}': it finds boxes (detect); "
            "give it a SAM 2 checkpoint with the option masks"
        )

    def look(self, pictures: Sequence[Picture], asked: Asked) -> Answers:
        """Boxes of each class that is asked about, once; masks where they are wanted."""
        wanted = [
            list(dict.fromkeys(name for prompt in prompts for name in prompt.classes)) for prompts in asked
        ]
        found = self.find(pictures, wanted)
        looks = None
        if self._masks is not None and any(p.task is not Task.DETECT for prompts in asked for p in prompts):
            looks = self._masks.look([picture.pixels for picture in pictures])
        return [
            [self._value(found[k], prompt, pictures[k], looks and looks[k]) for prompt in prompts]
            for k, prompts in enumerate(asked)
        ]

    @abstractmethod
    def find(self, pictures: Sequence[Picture], wanted: Sequence[Sequence[str]]) -> list[dict[str, Found]]:
        """The boxes of each class that is wanted of each picture."""

    def close(self) -> None:
        """Gives back the memory of both networks."""
        super().close()
        if self._masks is not None:
            self._masks.close()

    def _value(self, found: Mapping[str, Found], prompt: Prompt, picture: Picture, seen: Any) -> Value:
        each = [found[name] for name in prompt.classes]
        boxes = torch.cat([one["boxes"] for one in each])
        scores = torch.cat([one["scores"] for one in each])
        numbers = [k for k, one in enumerate(each) for _ in one["scores"]]
        if prompt.task is Task.DETECT:
            labels = {"boxes": boxes, "scores": scores, "labels": torch.tensor(numbers)}
            return boxes_of(labels, prompt.classes, {k: k for k in range(len(each))}, picture)
        assert self._masks is not None
        height, width = picture.size_hw
        inside = boxes.clamp(min=0).minimum(boxes.new_tensor([width, height, width, height]))
        masks = self._masks.of(seen, inside, picture.size_hw)
        if prompt.task is Task.INSTANCES:
            return flatten(masks, [prompt.classes[k] for k in numbers], scores)
        kept = sorted(set(numbers))
        of_class = [torch.tensor([n == k for n in numbers], device=masks.device) for k in kept]
        unions = torch.stack([masks[own].any(dim=0) for own in of_class]) if kept else masks
        best = torch.stack([scores[own.to(scores.device)].max() for own in of_class]) if kept else scores
        return flatten(unions, [prompt.classes[k] for k in kept], best)


class GroundingDino(Grounding):
    """Reads words and picture together: both encoders once for each picture and phrase, the rest for each pair.

    Asked for several classes at once it mixes up their words (GroundingDINO#141, #294).
    """

    def __init__(self, parts: Parts, **options: Any) -> None:
        super().__init__(parts, **options)
        network = parts.network.model
        self._seen = network.backbone = KeptPictures(network.backbone)
        network.text_backbone = KeptWords(network.text_backbone, parts.processor.tokenizer.pad_token_id)

    def find(self, pictures: Sequence[Picture], wanted: Sequence[Sequence[str]]) -> list[dict[str, Found]]:
        """A pass of what joins both for each pair of a picture and a class."""
        pairs = [(k, name) for k, names in enumerate(wanted) for name in names]
        images = [picture.pixels for picture in pictures]
        inputs = self.parts.processor.image_processor(images=images, return_tensors="pt")
        pixels = inputs["pixel_values"].to(self.parts.device)
        shown = inputs["pixel_mask"].to(self.parts.device)
        found: list[dict[str, Found]] = [{} for _ in pictures]
        try:
            with self.computing():
                self._seen.look(pixels, shown)
            for first in range(0, len(pairs), MAX_PAIRS):
                part = pairs[first : first + MAX_PAIRS]
                words = self.parts.processor(
                    text=[[name.replace(".", " ")] for _, name in part], padding=True, return_tensors="pt"
                )
                places = torch.tensor([k for k, _ in part], device=self.parts.device)
                self._seen.choose(places)
                # Of the pixels only their size matters: all pictures have the same.
                blank = pixels[:1].expand(len(part), *pixels.shape[1:])
                outputs = self.forward(pixel_values=blank, pixel_mask=shown[places], **words)
                read = self.parts.processor.post_process_grounded_object_detection(
                    outputs,
                    input_ids=words["input_ids"],
                    target_sizes=[pictures[k].size_hw for k, _ in part],
                    **self._surest,
                )
                for (k, name), each in zip(part, read, strict=True):
                    found[k][name] = {"boxes": each["boxes"], "scores": each["scores"]}
        finally:
            self._seen.forget()
        return found


class Owl(Grounding):
    """Compares the vectors of places with those of phrases: a pass for each picture, and none for a known phrase."""

    def __init__(self, parts: Parts, **options: Any) -> None:
        super().__init__(parts, **options)
        self._phrases = Phrases(self._encode)

    def find(self, pictures: Sequence[Picture], wanted: Sequence[Sequence[str]]) -> list[dict[str, Found]]:
        """All classes of all pictures in one pass, each read by itself."""
        from transformers.utils import ModelOutput

        names = list(dict.fromkeys(name for each in wanted for name in each))
        network = self.parts.network
        images = [picture.pixels for picture in pictures]
        inputs = self.parts.processor.image_processor(images=images, return_tensors="pt")
        (queries,) = self._phrases.of([f"a photo of a {name}" for name in names])
        with self.computing():
            grid, _ = network.image_embedder(pixel_values=inputs["pixel_values"].to(self.parts.device))
            features = grid.flatten(1, 2)
            logits, _ = network.class_predictor(
                features,
                queries.expand(len(images), *queries.shape),
                torch.ones(len(images), len(names), dtype=torch.bool, device=features.device),
            )
            boxes = network.box_predictor(features, grid)
        found: list[dict[str, Found]] = [{} for _ in pictures]
        sizes = [picture.size_hw for picture in pictures]
        for place, name in enumerate(names):
            outputs = ModelOutput(logits=logits[..., place : place + 1].float(), pred_boxes=boxes.float())
            read = self.parts.processor.post_process_grounded_object_detection(
                outputs, target_sizes=sizes, **self._surest
            )
            for k, each in enumerate(read):
                if name in wanted[k]:
                    found[k][name] = {"boxes": each["boxes"], "scores": each["scores"]}
        return found

    def _encode(self, phrases: list[str]) -> tuple[Tensor]:
        """Vectors (P, C) of unit length."""
        owl = next(iter(self.parts.network.children()))
        words = self.parts.processor.tokenizer(
            phrases, return_tensors="pt", padding="max_length", max_length=16, truncation=True
        ).to(self.parts.device)
        with self.computing():
            vectors = owl.get_text_features(**words).pooler_output
        return (torch.nn.functional.normalize(vectors, dim=-1),)
