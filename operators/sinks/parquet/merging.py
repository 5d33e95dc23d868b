"""Parts of one table, read one after the other and written as one, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from plantain.operators.errors import SinkError
from plantain.operators.sinks.columns import SCHEMA_VERSION
from plantain.operators.sinks.rows import SCHEMAS

# Of a row group that is written: large enough for readers that skip by statistics, small enough for memory.
GROUP_BYTES = 64 << 20
GROUP_ROWS = 1 << 18
# What stands beside each other in a group is packed well, and found by its stream without reading the others.
_ORDER = ("stream_id", "epoch", "frame_index")
_RASTER = ("raster_format", "raster_scale", "raster")


def merge(name: str, files: Iterable[pq.ParquetFile], target: Any, *, rasters: bool) -> int:
    """Writes the rows of several files of a table as one file.

    Args:
        name: The table.
        files: In the order of their rows.
        target: Where to; a path or something that takes bytes.
        rasters: Whether dense maps are kept.

    Returns:
        Rows.

    Raises:
        SinkError: If a file is of another version.
        OSError: If a file cannot be read, or the target not be written.
    """
    count = 0
    writer: pq.ParquetWriter | None = None
    try:
        for table in _groups(_tables(name, files, rasters=rasters)):
            if writer is None:
                writer = pq.ParquetWriter(target, table.schema, compression="zstd")
            in_order = table.sort_by([(column, "ascending") for column in _ORDER])  # stable
            writer.write_table(in_order, row_group_size=GROUP_ROWS)
            count += table.num_rows
    finally:
        if writer is not None:
            writer.close()
    return count


def has_rasters(file: pq.ParquetFile) -> bool:
    """Whether a file of `frames` holds dense maps, by its footer."""
    place = file.schema_arrow.get_field_index("raster")
    columns = [file.metadata.row_group(k).column(place) for k in range(file.metadata.num_row_groups)]
    return any(each.statistics is None or each.statistics.null_count < each.num_values for each in columns)


def is_of_files(file: pq.ParquetFile) -> bool:
    """Whether rows of a file of `frames` were read from files, which can be read again, by its footer."""
    place = file.schema_arrow.get_field_index("captured_by")
    for k in range(file.metadata.num_row_groups):
        statistics = file.metadata.row_group(k).column(place).statistics
        if statistics is None or not statistics.has_min_max or "file" in (statistics.min, statistics.max):
            return True
    return False


def _tables(name: str, files: Iterable[pq.ParquetFile], *, rasters: bool) -> Iterator[pa.Table]:
    for file in files:
        schema = file.schema_arrow
        version = (schema.metadata or {}).get(b"plantain.schema_version", b"").decode()
        if version != SCHEMA_VERSION:
            raise SinkError(f"a part of '{name}' is of version {version or 'unknown'}, not {SCHEMA_VERSION}")
        for k in range(file.num_row_groups):
            table = file.read_row_group(k).select(SCHEMAS[name].names)
            if not rasters and name == "frames":
                for column in _RASTER:
                    place = table.schema.get_field_index(column)
                    field = table.schema.field(place)
                    table = table.set_column(place, field, pa.nulls(table.num_rows, field.type))
            yield table.cast(SCHEMAS[name]).replace_schema_metadata(schema.metadata)


def _groups(tables: Iterator[pa.Table]) -> Iterator[pa.Table]:
    """Tables joined until they are worth a row group; the metadata is that of the first."""
    held: list[pa.Table] = []
    rows = size = 0
    metadata = None
    for table in tables:
        metadata = metadata or table.schema.metadata
        held.append(table.replace_schema_metadata(metadata))
        rows, size = rows + table.num_rows, size + table.nbytes
        if rows >= GROUP_ROWS or size >= GROUP_BYTES:
            yield pa.concat_tables(held)
            held, rows, size = [], 0, 0
    if held:
        yield pa.concat_tables(held)
