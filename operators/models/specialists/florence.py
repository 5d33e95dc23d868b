"""Florence-2: writes where things are, boxes and outlines, as words; without a score."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from plantain.operators.models.phrases import MAX_PHRASES
from plantain.operators.models.specialists.base import Answers, Asked, Parts, Picture, Specialist
from plantain.operators.models.specialists.detection import boxes_of
from plantain.operators.models.specialists.regions import flatten
from plantain.operators.prompts import Prompt, Task
from plantain.operators.types import Value

_ASKED = {Task.DETECT: "<OPEN_VOCABULARY_DETECTION>", Task.REFER: "<REFERRING_EXPRESSION_SEGMENTATION>"}
"""The library's name of each task; it stands before the words."""

# Questions that are read at once.
MAX_PAIRS = 8


class Florence(Specialist):
    """Asks about each class by itself, so that no answer depends on what else is asked; sees each picture once.

    Args:
        parts: The checkpoint's.
        beams: Answers that are followed at once while it writes; the library's examples take 3.
        max_tokens: Longest answer: a box takes four, an outline hundreds.
    """

    tasks = tuple(_ASKED)

    def __init__(self, parts: Parts, *, beams: int = 3, max_tokens: int = 512) -> None:
        super().__init__(parts)
        self._beams, self._max_tokens = int(beams), int(max_tokens)
        self._questions: dict[str, Tensor] = {}

    def look(self, pictures: Sequence[Picture], asked: Asked) -> Answers:
        """Each question about each picture once."""
        questions = list(
            dict.fromkeys(
                (k, _ASKED[prompt.task], name)
                for k, prompts in enumerate(asked)
                for prompt in prompts
                for name in prompt.classes
            )
        )
        images = [picture.pixels for picture in pictures]
        inputs = self.parts.processor.image_processor(images=images, return_tensors="pt")
        with self.computing():
            seen = self.parts.network.get_image_features(inputs["pixel_values"].to(self.parts.device))
        found: dict[tuple[int, str, str], dict[str, Any]] = {}
        for first in range(0, len(questions), MAX_PAIRS):
            part = questions[first : first + MAX_PAIRS]
            found |= dict(zip(part, self._ask(pictures, seen.pooler_output, part), strict=True))
        return [
            [
                _value([found[k, _ASKED[prompt.task], name] for name in prompt.classes], prompt, pictures[k])
                for prompt in prompts
            ]
            for k, prompts in enumerate(asked)
        ]

    def _ask(
        self, pictures: Sequence[Picture], seen: Tensor, questions: Sequence[tuple[int, str, str]]
    ) -> list[dict[str, Any]]:
        """What is written in answer to (picture, task, words), as the library reads it.

        Args:
            pictures: All of them.
            seen: (M, L, C) what the vision tower made of them.
            questions: Some about them.
        """
        processor, network = self.parts.processor, self.parts.network
        tokens = [self._tokens(task + name, pictures[k]) for k, task, name in questions]
        ids = pad_sequence(tokens, batch_first=True, padding_value=processor.tokenizer.pad_token_id)
        mask = pad_sequence([torch.ones_like(each) for each in tokens], batch_first=True)
        places = torch.tensor([k for k, _, _ in questions], device=self.parts.device)
        with self.computing():
            words = network.get_input_embeddings()(ids)
            shown = seen[places].to(words.dtype)
            where = network.get_placeholder_mask(ids, inputs_embeds=words, image_features=shown)
            encoded = network.get_encoder()(
                attention_mask=mask, inputs_embeds=words.masked_scatter(where, shown), return_dict=True
            )
            written = network.generate(
                encoder_outputs=encoded,
                attention_mask=mask,
                max_new_tokens=self._max_tokens,
                num_beams=self._beams,
                do_sample=False,
            )
        texts = processor.batch_decode(written, skip_special_tokens=False)
        read = []
        for text, (k, task, _) in zip(texts, questions, strict=True):
            height, width = pictures[k].size_hw
            said = text.replace(processor.tokenizer.pad_token, "")
            read.append(processor.post_process_generation(said, task=task, image_size=(width, height))[task])
        return read

    def _tokens(self, question: str, picture: Picture) -> Tensor:
        """A question's numbers (L,), with the places of any picture's features; cut up when it is first asked."""
        if question not in self._questions:
            if len(self._questions) >= MAX_PHRASES:
                self._questions.clear()
            cut = self.parts.processor(images=[picture.pixels], text=[question], return_tensors="pt")
            self._questions[question] = cut["input_ids"][0].to(self.parts.device)
        return self._questions[question]


def _value(found: Sequence[dict[str, Any]], prompt: Prompt, picture: Picture) -> Value:
    """Boxes or regions of what was read; it gives no scores, so that each is 1."""
    if prompt.task is Task.DETECT:
        written = [(k, box) for k, each in enumerate(found) for box in each["bboxes"]]
        kept = [(k, box) for k, box in written if box[2] > box[0] and box[3] > box[1]]
        boxes = [box for _, box in kept]
        numbers = torch.tensor([k for k, _ in kept], dtype=torch.int64)
        held = {
            "boxes": torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
            "scores": torch.ones(len(boxes)),
            "labels": numbers,
        }
        return boxes_of(held, prompt.classes, {k: k for k in range(len(found))}, picture)
    outlines = [outline for thing in found[0]["polygons"] for outline in thing if len(outline) >= 6]
    mask = torch.from_numpy(_filled(outlines, picture.size_hw))
    masks = mask[None] if mask.any() else mask[None][:0]
    return flatten(masks, prompt.classes[: len(masks)], torch.ones(len(masks)))


def _filled(outlines: Sequence[Sequence[float]], size_hw: tuple[int, int]) -> np.ndarray[Any, Any]:
    """(H, W) bool, true inside outlines `x1, y1, x2, y2, ...` in pixels."""
    canvas = Image.new("1", (size_hw[1], size_hw[0]))
    for outline in outlines:
        ImageDraw.Draw(canvas).polygon(list(outline), fill=1)
    return np.array(canvas, np.bool_)
