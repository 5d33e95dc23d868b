"""Models that read a picture and a question, and write: any checkpoint of image-text-to-text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from PIL import Image

from plantain.operators.answers.text.value import Text
from plantain.operators.errors import ModelUnavailableError
from plantain.operators.models.specialists.base import Answers, Asked, Parts, Picture, Specialist
from plantain.operators.models.specialists.kept import KeptLooks
from plantain.operators.prompts import Prompt, Task
from plantain.operators.redaction import sentence_of

# Pairs of a picture and a question that the network reads at once: the picture is part of what is read, and takes its
# memory for each question.
MAX_PAIRS = 8

_QWEN = ("qwen2_vl", "qwen2_5_vl", "qwen3_vl", "qwen3_vl_moe", "qwen3_5", "qwen3_5_moe")
_SEE_ONCE = (*_QWEN, "glm4v", "glm4v_moe", "glm46v")
"""Types of models whose library tells the patches and the features of each picture apart, alike in all of these."""


class Pair(NamedTuple):
    """A question about a picture.

    Attributes:
        place: Of the picture, among those that are looked at.
        image: The picture.
        question: In words.
    """

    place: int
    image: Image.Image
    question: str


_TRIAL = Pair(0, Image.new("RGB", (64, 64)), "is it wet?")


class Chat(Specialist):
    """Writes the likeliest words, so that the same frame is answered the same.

    A processor without a template for conversations is given picture and question as they are, as that of BLIP, GIT or
    PaliGemma wants them, and one pair at a time: some of their networks take padding for words.

    With Qwen-VL and GLM-V a picture passes through the vision encoder once for all questions.

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
        self._looks: KeptLooks | None = None
        self._try()
        if parts.network.config.model_type in _SEE_ONCE:
            self._looks = KeptLooks(parts.network.model.get_image_features)
            parts.network.model.get_image_features = self._looks

    def look(self, pictures: Sequence[Picture], asked: Asked) -> Answers:
        """All questions about all pictures, so many at once as memory holds."""
        drawn = [Image.fromarray(each.pixels.permute(1, 2, 0).cpu().numpy()) for each in pictures]
        pairs = [
            Pair(k, drawn[k], self._words(prompt)) for k, prompts in enumerate(asked) for prompt in prompts
        ]
        said: list[str] = []
        try:
            while len(said) < len(pairs):
                said += self._part(pairs[len(said) : len(said) + self._pairs_at_once])
        finally:
            if self._looks is not None:
                self._looks.forget()
        answers = iter(Text(each.strip()) for each in said)
        return [[next(answers) for _ in prompts] for prompts in asked]

    def _part(self, pairs: Sequence[Pair]) -> list[str]:
        """What is written below each question; nothing where memory holds half as many from now on."""
        try:
            return self._said(pairs, self._max_tokens)
        except torch.OutOfMemoryError:
            if len(pairs) == 1:
                raise
            self._pairs_at_once = len(pairs) // 2
            torch.cuda.empty_cache()
            return []

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

    def _said(self, pairs: Sequence[Pair], max_tokens: int) -> list[str]:
        """What is written about each picture below its question."""
        inputs = self._read(pairs)
        if self._looks is not None:
            self._looks.choose([pair.place for pair in pairs])
        with self.computing():
            written = self.parts.network.generate(**inputs, max_new_tokens=max_tokens, do_sample=False)
        decode = self.parts.processor.batch_decode
        if self._converses:
            return list(decode(written[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True))
        questions = decode(inputs["input_ids"], skip_special_tokens=True)
        texts = decode(written, skip_special_tokens=True)
        return [_below(text, question) for text, question in zip(texts, questions, strict=True)]

    def _read(self, pairs: Sequence[Pair]) -> Any:
        """What the network takes."""
        processor, device = self.parts.processor, self.parts.device
        if not self._converses:
            images, texts = [pair.image for pair in pairs], [pair.question for pair in pairs]
            return processor(images=images, text=texts, return_tensors="pt").to(device)
        parts = (
            [{"type": "image", "image": pair.image}, {"type": "text", "text": pair.question}]
            for pair in pairs
        )
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
