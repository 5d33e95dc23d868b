"""Models that keep a session for each stream: one frame at a time, in order."""

from __future__ import annotations

import itertools
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from time import perf_counter
from typing import Any

import torch

from plantain.operators.models.base import Answer
from plantain.operators.models.specialists.base import Answers, Asked, Parts, Picture, Specialist
from plantain.operators.prompts import Prompt, Task
from plantain.operators.types import Failure, Frame, Value

# Sessions number their objects from 0. Numbers of different sessions must differ: what was object 3 before a camera was
# away is another than object 3 after.
NUMBERS_A_SESSION = 1_000_000


class VideoModel(Specialist):
    """Answers as any specialist does, and is `Forgetful`.

    Args:
        parts: The checkpoint's.
    """

    tasks = (Task.INSTANCES, Task.REFER, Task.SEMANTIC, Task.DETECT)

    def __init__(self, parts: Parts) -> None:
        super().__init__(parts)
        self._sessions: dict[str, tuple[int, Any]] = {}
        self._numbers = itertools.count()

    def answer(
        self, frames: Sequence[Frame], image_of: Sequence[int], prompts: Sequence[Prompt]
    ) -> list[Answer]:
        """One answer for each prompt; see Answering. Frames are taken one after the other.

        Raises:
            ModelError: If memory runs out; the stream's session begins anew.
        """
        answers: dict[int, Answer] = {}
        for index, frame in enumerate(frames):
            mine = [k for k, place in enumerate(image_of) if place == index]
            for k in mine:
                if why := self._why_not(prompts[k]):
                    answers[k] = Answer(Failure("infer", why, retryable=False))
            asked = [k for k in mine if k not in answers]
            if not asked:
                continue
            start = perf_counter()
            values = self._follow(frame, [prompts[k] for k in asked])
            spent_ms = (perf_counter() - start) * 1e3 / len(asked)
            answers |= {k: Answer(value, model_ms=spent_ms) for k, value in zip(asked, values, strict=True)}
        return [answers[k] for k in range(len(prompts))]

    def look(self, pictures: Sequence[Picture], asked: Asked) -> Answers:
        """Pictures of nobody's stream: a session of one frame for each."""
        return [
            [*self.step(self.new_session(), 0, picture, prompts)]
            for picture, prompts in zip(pictures, asked, strict=True)
        ]

    def forget(self, stream_id: str) -> None:
        """The next frame of a stream begins a session."""
        self._sessions.pop(stream_id, None)

    def close(self) -> None:
        """Forgets everything, and gives back the network's memory."""
        self._sessions.clear()
        super().close()

    @abstractmethod
    def new_session(self) -> Any:
        """What is kept about a stream that begins."""

    @abstractmethod
    def step(
        self, session: Any, first: int, picture: Picture, prompts: Sequence[Prompt]
    ) -> Sequence[Value | Failure]:
        """What a session shows on its next frame.

        Args:
            session: The stream's.
            first: What is added to its numbers, so that no other session gives the same.
            picture: The frame.
            prompts: What is asked.
        """

    def _follow(self, frame: Frame, prompts: Sequence[Prompt]) -> Sequence[Value | Failure]:
        stream_id = frame.header.stream_id
        if stream_id not in self._sessions:
            self._sessions[stream_id] = (next(self._numbers), self.new_session())
        number, session = self._sessions[stream_id]
        picture = self._picture(frame)
        try:
            return self.step(session, number * NUMBERS_A_SESSION, picture, prompts)
        except torch.OutOfMemoryError as error:
            self.forget(stream_id)  # it may have taken half of the frame, and goes with what it held
            raise self.too_large(picture.size_hw) from error


def rows_of(found: Mapping[str, Any], rows: Sequence[int], ids: Sequence[int]) -> dict[str, Any]:
    """Some of the things that were found, with their numbers.

    Args:
        found: `masks` (N, H, W), `scores` (N,) and `boxes` (N, 4).
        rows: Which of them.
        ids: Their numbers.
    """
    places = torch.tensor(rows, dtype=torch.int64)
    masks, scores, boxes = found["masks"], found["scores"], found["boxes"]
    return {
        "masks": masks[places.to(masks.device)],
        "scores": scores[places.to(scores.device)].float().clamp(0, 1).to(masks.device),
        "boxes": boxes[places.to(boxes.device)].float(),
        "ids": list(ids),
    }
