"""SAM 3 on streams: whatever phrases mean, each thing followed from frame to frame under a number of its own."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from time import perf_counter
from typing import Any

import torch

from plantain.operators.models.base import Answer
from plantain.operators.models.specialists.base import Parts, Picture, Specialist
from plantain.operators.models.specialists.sam3 import value_of
from plantain.operators.prompts import Prompt, Task
from plantain.operators.types import Failure, Frame, Value

# Sessions number their objects from 0. Numbers of different sessions must differ: what was object 3 before a camera was
# away is another than object 3 after.
NUMBERS_A_SESSION = 1_000_000


class Sam3Video(Specialist):
    """A session for each stream, one frame of it at a time, all its phrases in one pass of the vision encoder.

    A phrase that is asked for the first time joins the session; one that nobody asks about any more leaves it. Masks of
    one phrase do not overlap. In a session everything is kept that the next frame needs, and nothing else
    (`sessions.py`).

    Args:
        parts: The checkpoint's.
        threshold: Surest that a thing must be when it is first found, in [0, 1]; the checkpoint's own if left out.
    """

    tasks = (Task.INSTANCES, Task.REFER, Task.SEMANTIC, Task.DETECT)

    def __init__(self, parts: Parts, *, threshold: float | None = None) -> None:
        super().__init__(parts)
        if threshold is not None:
            parts.network.score_threshold_detection = parts.network.new_det_thresh = float(threshold)
        self._sessions: dict[str, tuple[int, Any]] = {}
        self._numbers = itertools.count()
        _use_own_utilities()

    def answer(
        self, frames: Sequence[Frame], image_of: Sequence[int], prompts: Sequence[Prompt]
    ) -> list[Answer]:
        """One answer for each prompt; see Answering. Frames are taken one after the other."""
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

    def look(
        self, pictures: Sequence[Picture], asked: Sequence[Sequence[Prompt]]
    ) -> list[list[Value | Failure]]:
        """Pictures of nobody's stream: a session of one frame for each."""
        return [
            [*self._step(self._new_session(), picture, prompts)]
            for picture, prompts in zip(pictures, asked, strict=True)
        ]

    def forget(self, stream_id: str) -> None:
        """The next frame of a stream begins a session."""
        self._sessions.pop(stream_id, None)

    def close(self) -> None:
        """Forgets everything, and gives back the network's memory."""
        self._sessions.clear()
        super().close()

    def _follow(self, frame: Frame, prompts: Sequence[Prompt]) -> list[Value]:
        stream_id = frame.header.stream_id
        if stream_id not in self._sessions:
            self._sessions[stream_id] = self._new_session()
        return self._step(self._sessions[stream_id], self._picture(frame), prompts)

    def _new_session(self) -> tuple[int, Any]:
        from plantain.operators.models.specialists.sessions import BoundedSession

        device = self.parts.device
        made = BoundedSession(
            inference_device=device,
            inference_state_device=device,
            video_storage_device=device,
            dtype=torch.float32,
        )
        return next(self._numbers), made

    def _step(self, numbered: tuple[int, Any], picture: Picture, prompts: Sequence[Prompt]) -> list[Value]:
        """What a session shows on its next frame."""
        number, session = numbered
        phrases = list(dict.fromkeys(name for prompt in prompts for name in prompt.classes))
        processor = self.parts.processor
        processor.add_text_prompt(session, phrases)
        inputs = processor(images=picture.pixels, return_tensors="pt")
        with self.computing():
            outputs = self.parts.network(
                inference_session=session, frame=inputs["pixel_values"].to(self.parts.device)
            )
            found = processor.postprocess_outputs(session, outputs, original_sizes=[[*picture.size_hw]])
        ids = found["object_ids"].tolist()
        session.forget(ids)
        first = number * NUMBERS_A_SESSION
        of_phrase = {
            name: _part(found, ids, first, found["prompt_to_obj_ids"].get(name, [])) for name in phrases
        }
        return [value_of([of_phrase[name] for name in p.classes], p, picture) for p in prompts]


def _part(found: Mapping[str, Any], ids: list[int], first: int, mine: list[int]) -> dict[str, Any]:
    """What belongs to one phrase, with numbers that no other session gives."""
    rows = torch.tensor([ids.index(each) for each in mine], dtype=torch.int64)
    masks, scores, boxes = found["masks"], found["scores"], found["boxes"]
    return {
        "masks": masks[rows.to(masks.device)],
        "scores": scores[rows.to(scores.device)].float().clamp(0, 1).to(masks.device),
        "boxes": boxes[rows.to(boxes.device)].float(),
        "ids": [first + each for each in mine],
    }


def _use_own_utilities() -> None:
    """The library fetches compiled code from the hub while it runs, unless it has some already."""
    from transformers.models.sam3_video import modeling_sam3_video

    from plantain.operators.models.specialists.cv_utils import CvUtils

    modeling_sam3_video.cv_utils_kernel = CvUtils()
