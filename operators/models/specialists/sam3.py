"""SAM 3 on pictures: whatever a phrase means, each one apart, with the model's own scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from plantain.operators.models.phrases import Phrases
from plantain.operators.models.specialists.base import Answers, Asked, Parts, Picture, Specialist, in_float32
from plantain.operators.models.specialists.detection import boxes_of
from plantain.operators.models.specialists.regions import flatten
from plantain.operators.prompts import Prompt, Task
from plantain.operators.types import Value

# Phrases that the detector is asked about at once: each takes the features of one picture, 60 MB at full size.
MAX_PAIRS = 8


class Sam3(Specialist):
    """One pass of the vision encoder for each picture, and one of the small detector for each phrase.

    A score is that of the query times the presence of the phrase in the picture, so that nothing else need say whether
    it is there. The text encoder runs once for each phrase.

    Args:
        parts: The checkpoint's.
        threshold: Surest that a mask or box must be, in [0, 1].
        mask_threshold: Surest that a pixel of a mask must be, in [0, 1].
    """

    tasks = (Task.SEMANTIC, Task.INSTANCES, Task.REFER, Task.DETECT)

    def __init__(self, parts: Parts, *, threshold: float = 0.3, mask_threshold: float = 0.5) -> None:
        super().__init__(parts)
        self._threshold, self._mask_threshold = float(threshold), float(mask_threshold)
        self._phrases = Phrases(self._encode)

    def look(self, pictures: Sequence[Picture], asked: Asked) -> Answers:
        """Pairs of a picture and a phrase, each asked once however many prompts name it."""
        inputs = self.parts.processor(images=[picture.pixels for picture in pictures], return_tensors="pt")
        with self.computing():
            seen = self.parts.network.get_vision_features(inputs["pixel_values"].to(self.parts.device))
        pairs = list(
            dict.fromkeys(
                (k, phrase)
                for k, prompts in enumerate(asked)
                for prompt in prompts
                for phrase in prompt.classes
            )
        )
        found: dict[tuple[int, str], Mapping[str, Tensor]] = {}
        for first in range(0, len(pairs), MAX_PAIRS):
            part = pairs[first : first + MAX_PAIRS]
            outputs = self._detect(seen, [k for k, _ in part], [phrase for _, phrase in part])
            read = self.parts.processor.post_process_instance_segmentation(
                outputs,
                threshold=self._threshold,
                mask_threshold=self._mask_threshold,
                target_sizes=[pictures[k].size_hw for k, _ in part],
            )
            found |= dict(zip(part, read, strict=True))
        return [
            [
                value_of([found[k, phrase] for phrase in prompt.classes], prompt, pictures[k])
                for prompt in prompts
            ]
            for k, prompts in enumerate(asked)
        ]

    def _detect(self, seen: Any, indices: list[int], phrases: list[str]) -> Any:
        """The detector's outputs of pairs, by the pictures' features."""
        states, attention = self._phrases.of(phrases)
        places = torch.tensor(indices, device=self.parts.device)
        picked = type(seen)(
            fpn_hidden_states=tuple(each[places] for each in seen.fpn_hidden_states),
            fpn_position_encoding=tuple(_rows(each, places) for each in seen.fpn_position_encoding),
        )
        words = Words(states)
        with self.computing():
            return in_float32(
                self.parts.network(vision_embeds=picked, text_embeds=words, attention_mask=attention)
            )

    def _encode(self, phrases: list[str]) -> tuple[Tensor, Tensor]:
        with self.computing():
            return words_of(self.parts, self.parts.network, phrases)


class Words:
    """Projected states in the form in which the network takes text that is encoded already.

    Args:
        pooler_output: (P, L, C).
    """

    def __init__(self, pooler_output: Tensor) -> None:
        self.pooler_output = pooler_output


def words_of(parts: Parts, detector: Any, phrases: list[str]) -> tuple[Tensor, Tensor]:
    """Projected states (P, L, C) of the words of each phrase, and which of the L are words, (P, L)."""
    words = parts.processor.tokenizer(
        phrases, return_tensors="pt", padding="max_length", max_length=32, truncation=True
    ).to(parts.device)
    states = detector.get_text_features(
        input_ids=words["input_ids"], attention_mask=words["attention_mask"], return_dict=True
    )
    return states.pooler_output, words["attention_mask"]


def _rows(encoding: Tensor, places: Tensor) -> Tensor:
    """Position encodings of pictures; some releases keep one for all."""
    return encoding[places] if len(encoding) > 1 else encoding.expand(len(places), *encoding.shape[1:])


def value_of(found: Sequence[Mapping[str, Any]], prompt: Prompt, picture: Picture) -> Value:
    """What was found of each class of a prompt, as its kind of answer.

    Of an expression, everything that it means is one region; so is everything of one class of `semantic`.

    Args:
        found: `masks` (N, H, W), `boxes` (N, 4) in pixels of the picture, `scores` (N,) and, where things are followed,
            their `ids`, of each class.
        prompt: What was asked.
        picture: Where it was found.
    """
    ids = [number for each in found for number in each.get("ids", ())]
    names = [name for name, each in zip(prompt.classes, found, strict=True) for _ in each["scores"]]
    numbers = torch.tensor([k for k, each in enumerate(found) for _ in each["scores"]], dtype=torch.int64)
    scores = torch.cat([each["scores"] for each in found])
    if prompt.task is Task.DETECT:
        boxes = {"boxes": torch.cat([each["boxes"] for each in found]), "scores": scores, "labels": numbers}
        answer = boxes_of(boxes, prompt.classes, {k: k for k in range(len(found))}, picture)
        return replace(answer, track_ids=tuple(ids))
    masks = [each["masks"].bool().reshape(-1, *picture.size_hw) for each in found]
    if prompt.task is Task.INSTANCES:
        return flatten(torch.cat(masks), names, scores, ids)
    kept = [k for k, each in enumerate(found) if len(each["scores"])]
    unions = torch.stack([masks[k].any(dim=0) for k in kept]) if kept else masks[0]
    best = torch.stack([found[k]["scores"].max() for k in kept]) if kept else scores
    return flatten(unions, [prompt.classes[k] for k in kept], best)
