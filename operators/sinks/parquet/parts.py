"""The parts of an output folder: what is where, how large, and since when."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import PurePosixPath

from pyarrow import fs

from plantain.operators.sinks.rows import SCHEMAS, SHARED, folder_of

_SHARED_STEM = re.compile(r"part-(\d{20})-")
_OWN_STEM = re.compile(r"part-(\d{4,})-(\d{6,})(?:\+(\d{4,})-(\d{6,}))?$")


def day_of(at_ns: int) -> date:
    """The day, in UTC, of a moment, ns since 1970."""
    return datetime.fromtimestamp(at_ns / 1e9, UTC).date()


@dataclass(frozen=True, slots=True)
class Part:
    """What became visible together, in all tables.

    Attributes:
        stream_id: Whose folder it is in; `SHARED` where several cameras share it.
        stem: Its files' name.
        written_ns: When its newest rows were written, ns since 1970 UTC.
        sizes: Bytes of each table that it is in.
    """

    stream_id: str
    stem: str
    written_ns: int
    sizes: Mapping[str, int]

    @property
    def day(self) -> date:
        """The day, in UTC, on which its newest rows were written."""
        return day_of(self.written_ns)

    @property
    def size(self) -> int:
        """Bytes in all tables."""
        return sum(self.sizes.values())

    @property
    def span(self) -> tuple[tuple[int, int], tuple[int, int]] | None:
        """Epoch and number of its first and its last segment; None of a shared part."""
        found = _OWN_STEM.match(self.stem)
        if found is None or self.stream_id == SHARED:
            return None
        first = (int(found[1]), int(found[2]))
        return first, first if found[3] is None else (int(found[3]), int(found[4]))

    def path(self, table: str) -> str:
        """Its file of a table, below the output folder."""
        return f"{folder_of(table, self.stream_id)}/{self.stem}.parquet"


def parts_in(filesystem: fs.FileSystem, root: str) -> list[Part]:
    """All parts, the oldest first.

    Raises:
        OSError: If the folder cannot be read.
    """
    found: dict[tuple[str, str], dict[str, fs.FileInfo]] = defaultdict(dict)
    for table in SCHEMAS:
        selector = fs.FileSelector(str(PurePosixPath(root) / table), recursive=True, allow_not_found=True)
        for info in filesystem.get_file_info(selector):
            path = PurePosixPath(info.path)
            if info.type is fs.FileType.File and path.suffix == ".parquet":
                found[path.parent.name.removeprefix("stream="), path.stem][table] = info
    parts = []
    for (stream_id, stem), infos in found.items():
        named = _SHARED_STEM.match(stem) if stream_id == SHARED else None
        written_ns = int(named[1]) if named else max(info.mtime_ns for info in infos.values())
        parts.append(Part(stream_id, stem, written_ns, {table: info.size for table, info in infos.items()}))
    return sorted(parts, key=lambda part: (part.written_ns, part.stream_id, part.stem))


def stem_of(parts: list[Part]) -> str:
    """What the part is called that takes the place of several of one folder, in their order."""
    if parts[0].stream_id == SHARED:
        return f"part-{max(part.written_ns for part in parts):020d}-{len(parts)}m"
    first, last = parts[0].span, parts[-1].span
    assert first is not None
    assert last is not None
    return "part-{:04d}-{:06d}+{:04d}-{:06d}".format(*first[0], *last[1])
