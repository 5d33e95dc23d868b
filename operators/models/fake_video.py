"""A backend without weights that keeps something about each stream, as video models do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from plantain.operators.answers.text.value import Text
from plantain.operators.models.base import Answer
from plantain.operators.models.fake import FakeModel
from plantain.operators.prompts import Prompt, Task
from plantain.operators.types import Frame


class FakeVideoModel:
    """Answers as `fake` does, and counts the frames of each stream's session; a question is answered with their number.

    So it shows who forgets a session, takes frames out of turn, or lets two copies see one stream.

    Args:
        options: Those of `FakeModel`.
    """

    name = "fake-video"
    fingerprint = "fake-video-1"

    def __init__(self, **options: str) -> None:
        self._inner = FakeModel(**options)  # type: ignore[arg-type]  # checked there
        self._seen: Counter[str] = Counter()

    def answer(
        self, frames: Sequence[Frame], image_of: Sequence[int], prompts: Sequence[Prompt]
    ) -> list[Answer]:
        """One answer for each prompt; see Answering."""
        places = []
        for frame in frames:
            self._seen[frame.header.stream_id] += 1
            places.append(self._seen[frame.header.stream_id])
        return [
            Answer(Text(f"frame {places[index]} of this session")) if prompt.task is Task.ASK else answer
            for index, prompt, answer in zip(
                image_of, prompts, self._inner.answer(frames, image_of, prompts), strict=True
            )
        ]

    def forget(self, stream_id: str) -> None:
        """The next frame of a stream begins a session."""
        self._seen.pop(stream_id, None)

    def close(self) -> None:
        """Forgets everything."""
        self._seen.clear()
        self._inner.close()
