"""Models that read a picture and a question, and write: any checkpoint of image-text-to-text."""

from __future__ import annotations

from collections.abc import Sequence

from plantain.operators.answers.text.value import Text
from plantain.operators.models.specialists.base import Answers, Asked, Parts, Picture, Specialist
from plantain.operators.prompts import Prompt, Task


class Chat(Specialist):
    """Writes the likeliest words, so that the same frame is answered the same.

    Args:
        parts: The checkpoint's.
        max_tokens: Longest answer.
        instruction: What is written above each question; empty for nothing.
    """

    tasks = (Task.ASK,)

    def __init__(self, parts: Parts, *, max_tokens: int = 64, instruction: str = "") -> None:
        super().__init__(parts)
        self._max_tokens, self._instruction = int(max_tokens), instruction
        # Padding on the right would be read as part of the question.
        parts.processor.tokenizer.padding_side = "left"

    def look(self, pictures: Sequence[Picture], asked: Asked) -> Answers:
        """All questions about all pictures in one batch."""
        from PIL import Image

        drawn = [Image.fromarray(each.pixels.permute(1, 2, 0).cpu().numpy()) for each in pictures]
        talks = [
            [{"role": "user", "content": [{"type": "image", "image": drawn[k]}, self._words(prompt)]}]
            for k, prompts in enumerate(asked)
            for prompt in prompts
        ]
        inputs = self.parts.processor.apply_chat_template(
            talks,
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
            processor_kwargs={"padding": True},
        ).to(self.parts.device)
        with self.computing():
            written = self.parts.network.generate(**inputs, max_new_tokens=self._max_tokens, do_sample=False)
        said = self.parts.processor.batch_decode(
            written[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True
        )
        answers = iter(Text(each.strip()) for each in said)
        return [[next(answers) for _ in prompts] for prompts in asked]

    def _words(self, prompt: Prompt) -> dict[str, str]:
        return {"type": "text", "text": "\n".join(filter(None, (self._instruction, prompt.text)))}
