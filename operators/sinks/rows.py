"""The rows that leave Plantain: made once for each result and handed to every sink.

Flat tables. `frames` has one row for each frame and prompt, `objects` one for each region or box; an object repeats
the identity of its frame row. `events` has one for each fact over time. `columns.py` says what is in them.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Literal

import pyarrow as pa

from plantain.operators.answers import kind_of
from plantain.operators.answers.base import Row
from plantain.operators.sinks.columns import COLUMNS, SCHEMA_VERSION
from plantain.operators.sinks.events import event_row, moment_of
from plantain.operators.trace import trace_id_of
from plantain.operators.types import Failure, Gap, Prediction, Result

_ARROW = {
    "string": pa.string(),
    "int32": pa.int32(),
    "int64": pa.int64(),
    "float32": pa.float32(),
    "float64": pa.float64(),
    "binary": pa.binary(),
    "timestamp": pa.timestamp("us", tz="UTC"),
}

SCHEMAS: dict[str, pa.Schema] = {
    table: pa.schema([pa.field(each.name, _ARROW[each.type], nullable=each.is_nullable) for each in columns])
    for table, columns in COLUMNS.items()
}

Grid = Literal["source", "model"]
"""On which grid masks are given: the source picture's own, or the picture's as the model saw it."""

SHARED = "_shared"
"""Stands for the stream where parts lie that several cameras share: no stream's name begins so."""

SPARSE = frozenset({"events"})
"""Tables that have a part only where a segment has rows of them."""

_NO_FRAME_ROW: Row = dict.fromkeys(column.name for column in COLUMNS["frames"])
_NO_OBJECT_ROW: Row = dict.fromkeys(column.name for column in COLUMNS["objects"])
_NO_RASTER: Row = {"raster_format": None, "raster_scale": None, "raster": None}


def folder_of(table: str, stream_id: str) -> str:
    """Where a stream's parts of a table lie, below the output folder: `frames/stream=NAME`.

    A hive partition, but not called `stream_id`: a column that is in the files as well as in their path has two types,
    over which pandas and pyarrow stumble; and without it in the files, other readers could not tell streams apart.
    """
    return f"{table}/stream={stream_id}"


def identity_of(result: Result, prediction: Prediction) -> str:
    """`stream_id/epoch/frame_index/prompt/model_fingerprint`: equal for the same answer, however often it is made.

    Of a gap, which no model has answered, `gap@` and its beginning in nanoseconds stand in the last place.
    """
    header = result.header
    by = f"gap@{result.info.captured_ns}" if result.is_gap else prediction.model_fingerprint
    return f"{header.stream_id}/{header.epoch}/{header.frame_index}/{prediction.prompt}/{by}"


class AnswerRows:
    """The rows of one answer.

    Attributes:
        result, prediction: What they are made of.
        frame: Its row of `frames`, all columns, without the dense map.
        objects: Its rows of `objects`, all columns.
    """

    def __init__(self, result: Result, prediction: Prediction, identity: Row, grid: Grid) -> None:
        self.result = result
        self.prediction = prediction
        value, timing, info = prediction.value, prediction.timing, result.info
        identity = identity | {
            "task": str(prediction.prompt.task),
            "prompt": str(prediction.prompt),
            "model": prediction.model,
            "model_fingerprint": prediction.model_fingerprint,
        }
        self.objects: list[Row] = []
        if isinstance(value, Failure):
            said: Row = {"status": "failed", "reason": f"{value.stage}: {value.error}"}
            if isinstance(value, Gap):
                said |= {"status": "gap", "gap_until": moment_of(value.until_ns)}
        else:
            kind = kind_of(prediction.prompt)
            said = {"status": "ok"} | kind.summary(value)
            size_hw = info.fit.source_hw if grid == "source" else (info.fit.height, info.fit.width)
            whole = _NO_OBJECT_ROW | identity
            self.objects = [whole | row for row in kind.objects(value, info.fit, size_hw)]
        self.frame: Row = (
            _NO_FRAME_ROW
            | identity
            | said
            | {
                "decode_ms": info.decode_ms,
                "wait_ms": timing.wait_ms,
                "model_ms": timing.model_ms,
                "codec_ms": timing.codec_ms,
                "cost_usd": prediction.cost_usd,
                "rung": info.rung,
                "trace_id": trace_id_of(result.header),
            }
        )

    @cached_property
    def raster(self) -> Row:
        """The columns of the dense map; packed when it is first asked for."""
        value = self.prediction.value
        packed = None if isinstance(value, Failure) else kind_of(self.prediction.prompt).raster(value)
        if packed is None:
            return _NO_RASTER
        return {"raster_format": packed.format, "raster_scale": packed.scale, "raster": packed.data}


class Rows:
    """Results and their rows, which are made when somebody first asks for them, and once for all who do.

    Args:
        results: What the pipeline answered about frames of one stream.
        run_id: Written into each row.
        source: Where the stream's pixels are.
        grid: On which masks are given.
    """

    def __init__(
        self, results: Sequence[Result], run_id: str = "", source: str = "", *, grid: Grid = "source"
    ) -> None:
        self.results = tuple(results)
        self._run_id = run_id
        self._source = source
        self._grid = grid

    @cached_property
    def answers(self) -> tuple[AnswerRows, ...]:
        """One for each frame and prompt, in their order."""
        return tuple(
            AnswerRows(result, prediction, identity, self._grid)
            for result in self.results
            for identity in (self._identity(result),)
            for prediction in result.predictions
        )

    def table(self, name: str, *, rasters: bool = False) -> list[Row]:
        """The rows of a table.

        Args:
            name: `frames`, `objects` or `events`.
            rasters: With the dense maps.
        """
        if name == "events":
            return [event_row(event, self._run_id) for result in self.results for event in result.events]
        if name == "objects":
            return [row for answer in self.answers for row in answer.objects]
        return [answer.frame | answer.raster if rasters else answer.frame for answer in self.answers]

    def _identity(self, result: Result) -> Row:
        """What all rows of a frame have in common."""
        header, info = result.header, result.info
        return {
            "run_id": self._run_id,
            "stream_id": header.stream_id,
            "epoch": header.epoch,
            "frame_index": header.frame_index,
            "pts": info.pts,
            "time_base_num": info.time_base.numerator,
            "time_base_den": info.time_base.denominator,
            "time_s": info.time_s,
            "captured_at": moment_of(info.captured_ns),
            "captured_by": info.captured_by,
            "width": info.fit.source_hw[1],
            "height": info.fit.source_hw[0],
            "source": self._source,
            "image": info.image or None,
        }


def table_of(name: str, rows: Sequence[Row], metadata: dict[str, str] | None = None) -> pa.Table:
    """Rows of table `name` as Arrow, with the schema version and `metadata` in the schema."""
    schema = SCHEMAS[name].with_metadata({"plantain.schema_version": SCHEMA_VERSION, **(metadata or {})})
    return pa.Table.from_pylist(list(rows), schema=schema)
