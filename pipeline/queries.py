"""Questions about single frames, asked in the same batches as the streams' frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from plantain.operators.errors import PlantainError
from plantain.operators.prompts import Prompt

MARK = "?"
"""Begins the name of every query; no stream's name does."""

# A query about a stream waits so long for it to be open and to have a frame.
PATIENCE_S = 5.0
AGAIN_S = 0.05


@dataclass(slots=True)
class Query:
    """Frames that are asked something, once.

    Attributes:
        query_id: Its name in the engine.
        num_frames: How many answers it waits for.
        stream_id: The stream whose newest frame is asked; empty where the frames are given.
        prompts: What is asked of a stream's frame.
        deadline_s: It waits for a stream's frame no longer than this, in the engine's clock.
        next_look_s: A stream's frame is not looked for before this.
        made: References to the answers that are there, by the frame's place in the query.
    """

    query_id: str
    num_frames: int
    stream_id: str = ""
    prompts: tuple[Prompt, ...] = ()
    deadline_s: float = 0.0
    next_look_s: float = 0.0
    made: dict[int, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a query came to.

    Attributes:
        query_id: The query.
        handles: The executor's references to its results, in the order of its frames.
        error: Why there are none.
    """

    query_id: str
    handles: Sequence[Any] = ()
    error: PlantainError | None = None
