"""What a report is made from: the rows of a run, and what is known of it besides."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from plantain.deploy.lab.scoring import Score
from plantain.deploy.report.absences import Absence, absences_of
from plantain.operators.errors import UsageError
from plantain.operators.prompts import Prompt
from plantain.operators.redaction import shown
from plantain.operators.sinks.parquet.reading import Columns, read_frames, read_metadata, read_objects
from plantain.operators.sinks.store import Store
from plantain.pipeline.checkpoint import Checkpoints
from plantain.pipeline.runner import Outcome

_FRAME_COLUMNS = (
    "run_id", "stream_id", "epoch", "frame_index", "time_s", "captured_at", "captured_by", "gap_until", "width",
    "height", "task", "prompt", "model",
    "model_fingerprint", "status", "reason", "num_objects", "decode_ms", "wait_ms", "model_ms", "codec_ms",
)  # fmt: skip
_OBJECT_COLUMNS = ("stream_id", "frame_index", "time_s", "captured_at", "task", "label", "distance_m")


@dataclass(frozen=True, slots=True)
class Run:
    """See the module.

    Attributes:
        root: The output folder, as it may be shown.
        frames, gaps, objects: Rows of frames, of gaps, of what was seen.
        metadata: Of the tables.
        sources: Address of each stream, as far as the tables say.
        outcome: How the run went.
        unread: Bytes of each stream's file that could not be read, where there are some.
        scores, num_scored: How right it was, and of how many frames that is known.
    """

    root: str
    frames: Columns
    gaps: Columns
    objects: Columns
    metadata: dict[str, str]
    sources: dict[str, str]
    outcome: Outcome | None
    scores: Sequence[Score]
    num_scored: int
    unread: dict[str, int] = field(default_factory=dict)

    @classmethod
    def read(cls, root: str, outcome: Outcome | None, scores: Sequence[Score], num_scored: int) -> Run:
        """What is stored in an output folder.

        Raises:
            UsageError: If it holds no rows.
            SinkError: If the tables cannot be read.
        """
        stored = read_frames(root, _FRAME_COLUMNS)
        is_gap = stored["status"] == "gap"
        frames, gaps = (
            {name: column[of] for name, column in stored.items()} for of in (np.logical_not(is_gap), is_gap)
        )
        if not len(frames["run_id"]):
            raise UsageError(f"{shown(root)} holds no rows yet: run something into it first")
        objects, metadata = read_objects(root, _OBJECT_COLUMNS), read_metadata(root)
        told = json.loads(metadata.get("plantain.run", "{}")).get("streams", {})
        sources = {stream_id: url for stream_id, (url, *_) in told.items()}
        checkpoints = Checkpoints(Store(root))
        found = {name: checkpoints.load(name) for name in set(frames["stream_id"].tolist())}
        unread = {
            name: durable.unread_bytes for name, durable in sorted(found.items()) if durable is not None
        }
        unread = {name: size for name, size in unread.items() if size}
        return cls(shown(root), frames, gaps, objects, metadata, sources, outcome, scores, num_scored, unread)

    @property
    def streams(self) -> list[str]:
        """Their names."""
        return sorted(set(self.frames["stream_id"].tolist()))

    def prompts(self) -> list[Prompt]:
        """What was asked."""
        return [Prompt.parse(written) for written in dict.fromkeys(self.frames["prompt"].tolist())]

    def num_frames(self) -> int:
        """Frames that were looked at."""
        places = (self.frames[name].tolist() for name in ("stream_id", "epoch", "frame_index"))
        return len(set(zip(*places, strict=True)))

    def absences(self, name: str) -> list[Absence]:
        """When nothing was seen of a stream."""
        of = self.gaps["stream_id"] == name
        columns = (self.gaps[column][of] for column in ("captured_at", "gap_until", "reason"))
        return absences_of(zip(*columns, strict=True))
