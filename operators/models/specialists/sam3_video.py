"""SAM 3 on streams: whatever phrases mean, each thing followed from frame to frame under a number of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from plantain.operators.models.phrases import Phrases
from plantain.operators.models.specialists.base import Parts, Picture
from plantain.operators.models.specialists.sam3 import Words, value_of, words_of
from plantain.operators.models.specialists.video import VideoModel, rows_of
from plantain.operators.prompts import Prompt
from plantain.operators.types import Value


class Sam3Video(VideoModel):
    """A session for each stream, all its phrases in one pass of the vision encoder.

    A phrase that is asked for the first time joins the session; one that nobody asks about any more leaves it. The text
    encoder runs once for each phrase, whatever sessions it joins. Masks of one phrase do not overlap.

    Args:
        parts: The checkpoint's.
        threshold: Surest that a thing must be when it is first found, in [0, 1]; the checkpoint's own if left out.
    """

    def __init__(self, parts: Parts, *, threshold: float | None = None) -> None:
        super().__init__(parts)
        if threshold is not None:
            parts.network.score_threshold_detection = parts.network.new_det_thresh = float(threshold)
        self._phrases = Phrases(self._encode)
        _use_own_utilities()

    def new_session(self) -> Any:
        """A session without phrases."""
        from plantain.operators.models.specialists.sessions import Sam3Session

        device = self.parts.device
        return Sam3Session(
            inference_device=device,
            inference_state_device=device,
            video_storage_device=device,
            dtype=torch.float32,
        )

    def step(self, session: Any, first: int, picture: Picture, prompts: Sequence[Prompt]) -> list[Value]:
        """See VideoModel."""
        phrases = list(dict.fromkeys(name for prompt in prompts for name in prompt.classes))
        for phrase in phrases:
            states, attention = self._phrases.of([phrase])
            session.ask(phrase, Words(states), attention)
        processor = self.parts.processor
        inputs = processor(images=picture.pixels, return_tensors="pt")
        with self.computing():
            outputs = self.parts.network(
                inference_session=session, frame=inputs["pixel_values"].to(self.parts.device)
            )
            found = processor.postprocess_outputs(session, outputs, original_sizes=[[*picture.size_hw]])
        ids = found["object_ids"].tolist()
        session.forget(ids)
        of_phrase = {}
        for name in phrases:
            mine = found["prompt_to_obj_ids"].get(name, [])
            of_phrase[name] = rows_of(
                found, [ids.index(each) for each in mine], [first + each for each in mine]
            )
        return [value_of([of_phrase[name] for name in p.classes], p, picture) for p in prompts]

    def _encode(self, phrases: list[str]) -> tuple[Tensor, Tensor]:
        """See `words_of`; each by itself, as the library does, whose answers are these to the bit."""
        with self.computing():
            read = [words_of(self.parts, self.parts.network.detector_model, [each]) for each in phrases]
        states, attention = zip(*read, strict=True)
        return torch.cat(states), torch.cat(attention)


def _use_own_utilities() -> None:
    """The library fetches compiled code from the hub while it runs, unless it has some already."""
    from transformers.models.sam3_video import modeling_sam3_video

    from plantain.operators.models.specialists.cv_utils import CvUtils

    modeling_sam3_video.cv_utils_kernel = CvUtils()
