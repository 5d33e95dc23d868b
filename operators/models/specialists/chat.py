"""Models that read a picture and a question, and write: any checkpoint of image-text-to-text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from PIL import Image

from plantain.operators.answers.text.value import Text
from plantain.operators.errors import ModelUnavailableError
from plantain.operators.models.specialists.base import Answers, Asked, Parts, Picture, Specialist
from plantain.operators.prompts import Prompt, Task
from plantain.operators.redaction import sentence_of

# Pairs of a picture and a question that the network reads at once: the picture is part of what is read, and takes its
# memory for each question.
MAX_PAIRS = 8

_TRIAL = Image.new("RGB", (64, 64)), "is it wet?"


class Chat(Specialist):
    """Writes the likeliest words, so that the same frame is answered the same.

    A processor without a template for conversations is given picture and question as they are, as that of BLIP, GIT or
    PaliGemma wants them, and one pair at a time: some of their networks take padding for words.

    Args:
        parts: The checkpoint's.
        max_tokens: Longest answer.
        instruction: What is written above each question; empty for nothing.

    Raises:
        ModelUnavailableError: If it cannot be asked a question about a picture.
    """

    tasks = (Task.ASK,)

    def __init__(self, parts: Parts, *, max_tokens: int = 64, instruction: str = "") -> None:
        super().__init__(parts)
        self._max_tokens, self._instruction = int(max_tokens), instruction
        self._converses = bool(getattr(parts.processor, "chat_template", None))
        self._pairs_at_once = MAX_PAIRS if self._converses else 1
        self._try()

    def look(self, pictures: Sequence[Picture], asked: Asked) -> Answers:
        """All questions about all pictures, so many at once as memory holds."""
        drawn = [Image.fromarray(each.pixels.permute(1, 2, 0).cpu().numpy()) for each in pictures]
        pairs = [(drawn[k], self._words(prompt)) for k, prompts in enumerate(asked) for prompt in prompts]
        said: list[str] = []
        while len(said) < len(pairs):
            part = pairs[len(said) : len(said) + self._pairs_at_once]
            try:
                said += self._said(part, self._max_tokens)
            except torch.OutOfMemoryError:
                if len(part) == 1:
                    raise
                self._pairs_at_once = len(part) // 2
                torch.cuda.empty_cache()
        answers = iter(Text(each.strip()) for each in said)
        return [[next(answers) for _ in prompts] for prompts in asked]

    def _try(self) -> None:
        """Prepares a question about a picture; where that is no conversation it is answered, too, with one word."""
        try:
            # Padding on the right would be read as part of the question.
            self.parts.processor.tokenizer.padding_side = "left"
            self._read([_TRIAL])
            if not self._converses:
                self._said([_TRIAL], 1)
        except torch.OutOfMemoryError:
            raise
        except Exception as error:
            raise ModelUnavailableError(
                f"{self.name} cannot be asked a question about a picture: its processor has "
                f"{'a' if self._converses else 'no'} template for conversations, and says: {sentence_of(error)}"
            ) from error

    def _said(self, pairs: Sequence[tuple[Image.Image, str]], max_tokens: int) -> list[str]:
        """What is written about each picture below its question."""
        inputs = self._read(pairs)
        with self.computing():
            written = self.parts.network.generate(**inputs, max_new_tokens=max_tokens, do_sample=False)
        decode = self.parts.processor.batch_decode
        if self._converses:
            return list(decode(written[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True))
        questions = decode(inputs["input_ids"], skip_special_tokens=True)
        texts = decode(written, skip_special_tokens=True)
        return [_below(text, question) for text, question in zip(texts, questions, strict=True)]

    def _read(self, pairs: Sequence[tuple[Image.Image, str]]) -> Any:
        """What the network takes."""
        processor, device = self.parts.processor, self.parts.device
        if not self._converses:
            images, texts = zip(*pairs, strict=True)
            return processor(images=[*images], text=[*texts], return_tensors="pt").to(device)
        parts = ([{"type": "image", "image": image}, {"type": "text", "text": text}] for image, text in pairs)
        return processor.apply_chat_template(
            [[{"role": "user", "content": content}] for content in parts],
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
            processor_kwargs={"padding": True},
        ).to(device)

    def _words(self, prompt: Prompt) -> str:
        return "\n".join(filter(None, (self._instruction, prompt.text)))


def _below(text: str, question: str) -> str:
    """What follows a question that is repeated first, perhaps after a blank or two: some networks do, some do not."""
    at = text.find(question)
    return text[at + len(question) :] if 0 <= at <= 2 else text
