"""Parts on an object store: buffered, then one PUT each."""

from __future__ import annotations

import io
from pathlib import PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs

from plantain.operators.sinks.base import Segment
from plantain.operators.sinks.rows import SCHEMAS, SHARED, folder_of


class RemoteFolder:
    """See the module.

    Args:
        filesystem: Of the store.
        root: The output folder there.
    """

    def __init__(self, filesystem: fs.FileSystem, root: str) -> None:
        self._filesystem = filesystem
        self._root = PurePosixPath(root)

    def begin(self, stream_id: str, *, is_resumed: bool) -> None:
        """Deletes earlier parts of a stream that starts anew."""
        if is_resumed:
            return
        for name in SCHEMAS:
            folder = str(self._root / folder_of(name, stream_id))
            found = self._filesystem.get_file_info(fs.FileSelector(folder, allow_not_found=True))
            for info in found:
                self._filesystem.delete_file(info.path)

    def stage(self, segment: Segment, name: str) -> io.BytesIO:
        """Where a part of a segment is made."""
        del segment, name
        return io.BytesIO()

    def commit(self, segment: Segment, targets: dict[str, Any]) -> None:
        """Puts the parts of a segment."""
        for name in reversed(SCHEMAS):  # frames last
            folder = self._root / folder_of(name, segment.stream_id)
            place = str(folder / f"{segment.name}.parquet")
            if name not in targets:  # an earlier run may have stated what this one does not
                if self._filesystem.get_file_info(place).type is not fs.FileType.NotFound:
                    self._filesystem.delete_file(place)
                continue
            if isinstance(self._filesystem, fs.SubTreeFileSystem):
                self._filesystem.create_dir(str(folder))
            with self._filesystem.open_output_stream(place) as stream:
                stream.write(targets[name].getbuffer())

    def finish(self, stream_id: str) -> None:
        """Holds nothing of a stream."""

    def share(self, name: str, tables: dict[str, pa.Table]) -> None:
        """Puts a part that several cameras share."""
        for table in sorted(tables, reverse=True):  # objects, then frames, as everywhere
            folder = self._root / folder_of(table, SHARED)
            if isinstance(self._filesystem, fs.SubTreeFileSystem):
                self._filesystem.create_dir(str(folder))
            with self._filesystem.open_output_stream(str(folder / name)) as stream:
                pq.write_table(tables[table], stream, compression="zstd")
