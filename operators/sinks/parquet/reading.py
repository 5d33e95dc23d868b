"""What a Parquet sink stored, back as columns or as the results they were made of.

    from plantain.operators.sinks.parquet.reading import read_events, read_frames, read_objects, read_results

    objects = read_objects("out", ["label", "distance_m"])          # columns: NumPy arrays of one length
    for result in read_results("out", "dock-3", [0, 25, 50]):       # masks, metres and normals again
        ...

Any other Parquet reader opens the same folder; these functions also decode maps and run lengths.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from fractions import Fraction
from functools import wraps
from pathlib import Path, PurePosixPath
from typing import Any, ParamSpec, TypeVar

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pyarrow import fs

from plantain.operators.answers import kind_of
from plantain.operators.answers.base import Row
from plantain.operators.answers.rasters import unpack
from plantain.operators.errors import SinkError
from plantain.operators.geometry import Letterbox
from plantain.operators.prompts import Prompt
from plantain.operators.redaction import redact, shown
from plantain.operators.sinks.rows import SCHEMAS, SHARED, folder_of
from plantain.operators.sinks.store import open_filesystem
from plantain.operators.types import Failure, FrameInfo, Header, Prediction, Result, Timing, Value

Columns = dict[str, NDArray[Any]]
"""Columns by name, all of one length."""

Key = tuple[int, int, str, str]
"""Epoch, frame index, prompt and who answered."""

# Parts that are put together while they are read are looked for again so often.
ATTEMPTS = 5

P = ParamSpec("P")
T = TypeVar("T")


def _looking_again(read: Callable[P, T]) -> Callable[P, T]:
    """Reads anew where a part has gone that was listed: its rows are in another one by now."""

    @wraps(read)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> T:
        for attempt in range(ATTEMPTS):
            try:
                return read(*args, **kwargs)
            except FileNotFoundError as error:
                if attempt == ATTEMPTS - 1:
                    raise SinkError(f"parts go while they are read: {redact(str(error))}") from error
        raise AssertionError

    return wrapped


def read_frames(
    root: str | Path, columns: Sequence[str] | None = None, *, stream_id: str | None = None
) -> Columns:
    """Columns of the `frames` table, one row for each frame and prompt, in stream and frame order.

    Args:
        root: The output folder, local or `s3://`, `gs://`, `abfs://`.
        columns: Which ones; all but the maps if left out.
        stream_id: Only this stream.

    Returns:
        Numbers as NumPy numbers (integers with nulls as float64 and NaN); words and bytes as objects, None
        where null.

    Raises:
        SinkError: If the folder holds no such table, or the table no such column.
    """
    return _columns(root, "frames", columns, stream_id)


def read_objects(
    root: str | Path, columns: Sequence[str] | None = None, *, stream_id: str | None = None
) -> Columns:
    """Columns of the `objects` table, one row for each mask; like `read_frames`.

    Raises:
        SinkError: If the folder holds no such table, or the table no such column.
    """
    return _columns(root, "objects", columns, stream_id)


def read_events(
    root: str | Path, columns: Sequence[str] | None = None, *, stream_id: str | None = None
) -> Columns:
    """Columns of the `events` table, one row for each time that an event was stated; like `read_frames`.

    Raises:
        SinkError: If the folder holds no such table, or the table no such column.
    """
    return _columns(root, "events", columns, stream_id)


@_looking_again
def find_events(
    root: str | Path,
    since: datetime,
    until: datetime | None = None,
    stream_ids: Collection[str] = (),
    kinds: Collection[str] = (),
) -> list[Row]:
    """Rows of the `events` table that became known in a span of time, in stream order.

    Args:
        root: The output folder.
        since: By the capture time of the frame that made them known.
        until: The end, excluded; None for none.
        stream_ids: Only of these; of all if there are none.
        kinds: Only these; all if there are none.

    Raises:
        SinkError: If the folder holds no such table.
    """
    where = ds.field("captured_at") >= pa.scalar(since, pa.timestamp("us", tz="UTC"))
    if until is not None:
        where &= ds.field("captured_at") < pa.scalar(until, pa.timestamp("us", tz="UTC"))
    for name, wanted in (("stream_id", stream_ids), ("kind", kinds)):
        if wanted:
            where &= ds.field(name).isin(sorted(wanted))
    rows: list[Row] = _dataset(root, "events", None).to_table(filter=where).to_pylist()
    return rows


@_looking_again
def read_metadata(root: str | Path) -> dict[str, str]:
    """What the Parquet footers say about the run: schema version, model, palette, label map."""
    filesystem, parts = _parts(root, "frames", None)
    schema = pq.read_schema(parts[0], filesystem=filesystem) if parts else SCHEMAS["frames"]
    return {key.decode(): value.decode() for key, value in (schema.metadata or {}).items()}


@_looking_again
def read_results(root: str | Path, stream_id: str, frames: Collection[int] | None = None) -> list[Result]:
    """The answers about frames of a stream, in frame order, as the pipeline made them.

    A map that was not stored comes back as a Failure that says so. Pictures are never stored, so
    `info.picture` is None.

    Args:
        root: The output folder.
        stream_id: The stream.
        frames: Frame indexes; all of them if left out, which a long stream makes large.

    Raises:
        SinkError: If the folder holds no such tables.
        CodecError: If a stored map is damaged.
    """
    where = None if frames is None else ds.field("frame_index").isin([int(index) for index in frames])
    is_frame = ds.field("status") != "gap"
    of_frames = is_frame if where is None else where & is_frame
    rows = _dataset(root, "frames", stream_id).to_table(filter=of_frames).to_pylist()
    objects: dict[Key, list[Row]] = defaultdict(list)
    for row in _dataset(root, "objects", stream_id).to_table(filter=where).to_pylist():
        objects[_key(row)].append(row)
    grouped: dict[tuple[int, int], list[Row]] = defaultdict(list)
    for row in rows:
        grouped[row["epoch"], row["frame_index"]].append(row)
    return [_result(group, objects) for _, group in sorted(grouped.items())]


@_looking_again
def _columns(root: str | Path, name: str, columns: Sequence[str] | None, stream_id: str | None) -> Columns:
    wanted = (
        [field for field in SCHEMAS[name].names if field != "raster"] if columns is None else list(columns)
    )
    unknown = [column for column in wanted if column not in SCHEMAS[name].names]
    if unknown:
        raise SinkError(
            f"table '{name}' has no column {', '.join(unknown)}; it has {', '.join(SCHEMAS[name].names)}"
        )
    table: pa.Table = _dataset(root, name, stream_id).to_table(columns=wanted)
    return {column: table[column].to_numpy() for column in wanted}


def _dataset(root: str | Path, name: str, stream_id: str | None) -> ds.Dataset:
    """The parts of a table, in the order of streams and segments, of this and of earlier versions of the schema.

    Columns that an earlier version did not have are null.
    """
    filesystem, parts = _parts(root, name, stream_id)
    if not parts:
        return ds.dataset(SCHEMAS[name].empty_table())
    found = ds.dataset(parts, SCHEMAS[name], format="parquet", filesystem=filesystem, partitioning=None)
    return found if stream_id is None else found.filter(ds.field("stream_id") == stream_id)


def _parts(root: str | Path, name: str, stream_id: str | None) -> tuple[fs.FileSystem, list[str]]:
    """The files of a table, in the order of streams and segments; none where it has no rows of a stream that is there.

    Raises:
        SinkError: If nothing is there of the stream, or of any stream.
    """
    filesystem, path = open_filesystem(str(root))

    def listed(table: str, *streams: str) -> list[str]:
        folders = [folder_of(table, each) for each in streams] or [table]
        selectors = [
            fs.FileSelector(str(PurePosixPath(path) / each), recursive=True, allow_not_found=True)
            for each in folders
        ]
        found = [info.path for selector in selectors for info in filesystem.get_file_info(selector)]
        return sorted(each for each in found if each.endswith(".parquet"))

    own = folder_of("frames", stream_id) if stream_id is not None else "frames"
    begun = PurePosixPath(".plantain/segments") / (stream_id or "")
    try:
        places = filesystem.get_file_info([str(PurePosixPath(path) / each) for each in (own, begun)])
        is_known = any(place.type is fs.FileType.Directory for place in places) or (
            stream_id is not None
            and any(_has_rows_of(stream_id, each, filesystem) for each in listed("frames", SHARED))
        )
        parts = listed(name) if stream_id is None else listed(name, stream_id, SHARED)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise SinkError(f"{shown(str(root))} cannot be read: {redact(str(error))}") from error
    if not is_known:
        missing = f"no stream '{stream_id}'" if stream_id is not None else "no results"
        raise SinkError(f"{shown(str(root))} holds {missing}: there is no folder {shown(places[0].path)}")
    return filesystem, parts


def _has_rows_of(stream_id: str, part: str, filesystem: fs.FileSystem) -> bool:
    held = pq.read_table(part, columns=["stream_id"], filesystem=filesystem, partitioning=None)
    return stream_id in held["stream_id"].unique().to_pylist()


def _key(row: Row) -> Key:
    return row["epoch"], row["frame_index"], row["prompt"], row["model_fingerprint"]


def _result(rows: Sequence[Row], objects: dict[Key, list[Row]]) -> Result:
    """All answers about one frame."""
    predictions = tuple(
        Prediction(
            Prompt.parse(row["prompt"]),
            _value(row, objects.get(_key(row), [])),
            row["model"],
            row["model_fingerprint"],
            Timing(row["decode_ms"], row["wait_ms"], row["model_ms"], row["codec_ms"]),
            row["cost_usd"] or 0.0,
        )
        for row in rows
    )
    first = rows[0]
    captured = first["captured_at"]
    size_hw = (first["height"], first["width"])
    info = FrameInfo(
        pts=first["pts"],
        time_base=Fraction(first["time_base_num"], first["time_base_den"]),
        captured_ns=None if captured is None else round(captured.timestamp() * 1e6) * 1000,
        captured_by=first["captured_by"],
        # Maps are stored without padding, so that the picture fills them whatever the model's canvas was.
        fit=Letterbox.fit(size_hw, _map_hw(predictions) or size_hw, "stretch"),
        decode_ms=first["decode_ms"],
        rung=first["rung"],
        image=first["image"] or "",
    )
    return Result(Header(first["stream_id"], first["epoch"], first["frame_index"]), info, predictions)


def _map_hw(predictions: Sequence[Prediction]) -> tuple[int, int] | None:
    """Height and width of the maps, all of which have the size of the model's picture."""
    sizes = (
        kind_of(prediction.prompt).size_hw(prediction.value)
        for prediction in predictions
        if not isinstance(prediction.value, Failure)
    )
    return next((size_hw for size_hw in sizes if size_hw is not None), None)


def _value(row: Row, objects: Sequence[Row]) -> Value | Failure:
    """The value that a frame row and its object rows stand for."""
    if row["status"] != "ok":
        stage, _, error = (row["reason"] or row["status"]).partition(": ")
        return Failure(stage, error or stage, retryable=False)
    raster = None
    if row["raster"] is not None:
        raster = unpack(row["raster_format"], row["raster_scale"], row["raster"])
    value = kind_of(Prompt.parse(row["prompt"])).read(row, objects, raster)
    if value is None:
        return Failure("write", f"the {row['task']} map was not stored", retryable=False)
    return value
