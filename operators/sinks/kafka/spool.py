"""Messages on disk that are promised and not delivered: bounded, in order, and found again by the next process.

    FOLDER/WRITER/lock                  held by the writer as long as it lives
    FOLDER/WRITER/000000000017.arrow    what one commit could not deliver: whole segments, of one stream or many

A writer's folder whose lock is free was left by a process that is gone; whoever comes first takes it over.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import structlog
from pyarrow import ipc

from plantain.operators.errors import PlantainError
from plantain.operators.sinks.base import Segment
from plantain.operators.sinks.kafka.held import Held
from plantain.operators.sinks.kafka.messages import Message
from plantain.operators.sinks.store import storage_error, sync, sync_folder

log = structlog.get_logger()

# Messages are packed and read again so many bytes at a time.
BATCH_BYTES = 4 << 20

SCHEMA = pa.schema(
    [
        ("segment", pa.int32()),
        ("topic", pa.string()),
        ("key", pa.binary()),
        ("value", pa.binary()),
        ("headers", pa.map_(pa.string(), pa.binary())),
        ("timestamp_ms", pa.int64()),
        ("position", pa.list_(pa.int64())),
        ("fingerprint", pa.string()),
    ]
)
"""`segment` is the place of a message's segment in the list that the metadata holds."""


class SpoolFullError(PlantainError):
    """There is no room for more."""


@dataclass(slots=True, eq=False)
class Kept:
    """A file of the spool.

    Attributes:
        path: Where.
        size: Bytes on disk.
        at_ns: When it was written, ns since 1970 UTC.
        counts: How many messages each segment has.
        done: Segments that are delivered, or not wanted any more.
    """

    path: Path
    size: int
    at_ns: int
    counts: dict[Segment, int]
    done: set[Segment] = field(default_factory=set)

    @property
    def waiting(self) -> list[Segment]:
        """What is not delivered, in order."""
        return [segment for segment in self.counts if segment not in self.done]

    def is_done(self, segment: Segment) -> bool:
        """Whether nothing of a segment waits here."""
        return segment in self.done or segment not in self.counts

    @property
    def num_waiting(self) -> int:
        """Messages that are not delivered."""
        return sum(count for segment, count in self.counts.items() if segment not in self.done)

    def messages(self) -> Iterator[tuple[Segment, list[Message]]]:
        """What is not delivered, segment by segment, some messages at a time.

        Raises:
            SinkError: If it cannot be read.
        """
        names = list(self.counts)
        try:
            with ipc.open_file(self.path) as file:
                for number in range(file.num_record_batches):
                    rows = file.get_batch(number).to_pylist()
                    segment = names[rows[0]["segment"]]
                    if not self.is_done(segment):
                        yield segment, [_message(row) for row in rows]
        except (OSError, pa.ArrowInvalid) as error:
            raise storage_error(str(self.path), OSError(str(error))) from error


class Spool:
    """One writer's share of a folder, and what others left there.

    Args:
        folder: On a local disk.
        max_bytes: Of what this writer keeps there.

    Raises:
        SinkError: If the folder cannot be used.
    """

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self._folder = folder
        self._locks: dict[Path, int] = {}
        self._files: list[Kept] = []
        self._streams: Counter[str] = Counter()
        self._number = 0
        with self._storing():
            folder.mkdir(parents=True, exist_ok=True)
            self._take_over()
            self._own = folder / f"{_after_all(folder):020d}-{uuid.uuid4().hex[:8]}"
            aside = folder / f".{self._own.name}"
            aside.mkdir()  # nobody takes it over before it has its lock
            self._lock(aside)
            aside.rename(self._own)
            self._locks[self._own] = self._locks.pop(aside)

    @property
    def folder(self) -> Path:
        """Where this writer may leave things while it lives."""
        return self._own

    @property
    def files(self) -> tuple[Kept, ...]:
        """What waits, the oldest first."""
        return tuple(self._files)

    @property
    def size(self) -> int:
        """Bytes of what waits."""
        return sum(kept.size for kept in self._files)

    def is_elsewhere(self, stream_id: str) -> bool:
        """Whether another writer has something of a stream: its order would be lost if it were overtaken.

        What a writer that is gone by now has left is ours.

        Raises:
            SinkError: If the folder cannot be read.
        """
        with self._storing():
            self._take_over()
            folders = [*self._folder.iterdir()]
        for left in folders:
            if left in self._locks:
                continue
            for path in left.glob("*.arrow"):
                kept = _found(path)
                if kept is not None and any(segment.stream_id == stream_id for segment in kept.counts):
                    return True
        return False

    @property
    def num_waiting(self) -> int:
        """Messages that wait."""
        return sum(kept.num_waiting for kept in self._files)

    def put(self, segments: Sequence[tuple[Segment, Held]]) -> Kept:
        """Keeps segments, durably.

        Raises:
            SpoolFullError: If there is no room; nothing is kept.
            SinkError: If they cannot be written.
        """
        if self.size + sum(held.size for _, held in segments) > self.max_bytes:
            raise SpoolFullError(f"{self._folder} holds {self.size} of {self.max_bytes} bytes")
        self._number += 1
        kept = self._write(self._own / f"{self._number:012d}.arrow", segments)
        self._files.append(kept)
        self._streams.update(segment.stream_id for segment in kept.counts)
        return kept

    def done(self, kept: Kept, segment: Segment) -> None:
        """A segment is delivered, or not wanted any more; a file of which nothing waits is removed.

        Raises:
            SinkError: If it cannot be removed.
        """
        if kept.is_done(segment):
            return
        kept.done.add(segment)
        self._let_go(segment)
        if len(kept.done) == len(kept.counts):
            self._files.remove(kept)
            with self._storing():
                kept.path.unlink(missing_ok=True)

    def set_aside(self, kept: Kept, why: Exception) -> int:
        """Leaves a file that cannot be read where it is; gives the messages that are lost with it."""
        log.error("damaged", file=str(kept.path), error=str(why))
        lost = kept.num_waiting
        for segment in kept.waiting:
            self._let_go(segment)
        self._files.remove(kept)
        with contextlib.suppress(OSError):
            kept.path.rename(kept.path.with_suffix(".damaged"))
        return lost

    def _let_go(self, segment: Segment) -> None:
        self._streams[segment.stream_id] -= 1
        if not self._streams[segment.stream_id]:  # of recordings there is no end
            del self._streams[segment.stream_id]

    def has(self, stream_id: str) -> bool:
        """Whether something of a stream waits."""
        return stream_id in self._streams

    def drop(self, stream_id: str) -> None:
        """Lets go of a stream, also for the next process.

        Raises:
            SinkError: If that cannot be noted.
        """
        if not self.has(stream_id):
            return
        for kept in list(self._files):
            gone = [segment for segment in kept.waiting if segment.stream_id == stream_id]
            for segment in gone:
                self.done(kept, segment)
            if gone and kept.waiting:
                left = {segment: Held() for segment in kept.waiting}
                try:
                    for segment, messages in kept.messages():
                        left[segment].add(messages)
                    written = self._write(kept.path, list(left.items()))
                finally:
                    for held in left.values():
                        held.close()
                kept.size, kept.counts = written.size, written.counts
                kept.done.clear()

    def close(self) -> None:
        """Leaves what waits to the next process."""
        for folder, descriptor in self._locks.items():
            with contextlib.suppress(OSError):
                if not any(folder.glob("*.arrow")):
                    (folder / "lock").unlink()
                    folder.rmdir()
            os.close(descriptor)
        self._locks.clear()

    def _write(self, path: Path, segments: Sequence[tuple[Segment, Held]]) -> Kept:
        counts = {segment: held.count for segment, held in segments}
        listed = [[s.stream_id, s.epoch, s.index, s.is_live, count] for s, count in counts.items()]
        schema = SCHEMA.with_metadata({"segments": json.dumps(listed)})
        aside = path.with_suffix(".new")
        with self._storing():
            try:
                with aside.open("wb") as file:
                    with ipc.new_file(
                        file, schema, options=ipc.IpcWriteOptions(compression="zstd")
                    ) as writer:
                        for number, (_, held) in enumerate(segments):
                            for messages in _in_batches(held):
                                writer.write_batch(_batch(number, messages, schema))
                    file.flush()
                    sync(file.fileno())
                aside.rename(path)
                sync_folder(path.parent)
            except BaseException:
                with contextlib.suppress(OSError):
                    aside.unlink(missing_ok=True)
                raise
            return Kept(path, path.stat().st_size, time.time_ns(), counts)

    def _take_over(self) -> None:
        """Takes what writers have left that are gone; it is older than what is here."""
        found: list[Kept] = []
        for left in sorted(self._folder.iterdir()):
            if left not in self._locks and not left.name.startswith(".") and self._lock(left):
                found += filter(None, map(_found, sorted(left.glob("*.arrow"))))
        self._files[:0] = found
        for kept in found:
            self._streams.update(segment.stream_id for segment in kept.counts)

    def _lock(self, folder: Path) -> bool:
        """Takes a writer's folder, if nobody has it."""
        try:
            descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except (FileNotFoundError, NotADirectoryError):  # its writer has just removed it
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return False
        except (
            OSError
        ) as error:  # some network file systems have no locks: then there is one writer, it is hoped
            log.warning("unlocked", folder=str(folder), error=str(error))
        self._locks[folder] = descriptor
        return True

    @contextlib.contextmanager
    def _storing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise storage_error(str(self._folder), error) from error


def _after_all(folder: Path) -> int:
    """When a writer begins, ns since 1970 UTC: after those that are there, whatever became of the clock meanwhile."""
    names = (path.name.lstrip(".").partition("-")[0] for path in folder.iterdir())
    return max([time.time_ns(), *(int(name) + 1 for name in names if name.isdigit())])


def _found(path: Path) -> Kept | None:
    """A file that is there already; None if it has just gone, or is damaged."""
    try:
        with ipc.open_file(path) as file:
            listed = json.loads(file.schema.metadata[b"segments"])
        stat = path.stat()
    except FileNotFoundError:
        return None
    except (OSError, ValueError, pa.ArrowInvalid) as error:
        log.error("damaged", file=str(path), error=str(error))
        return None
    counts = {Segment(stream_id, *rest): count for stream_id, *rest, count in listed}
    return Kept(path, stat.st_size, stat.st_mtime_ns, counts)


def _in_batches(held: Held) -> Iterator[list[Message]]:
    place = 0
    while place < held.size:
        messages, place = held.after(place, BATCH_BYTES)
        yield messages


def _batch(segment: int, messages: Sequence[Message], schema: pa.Schema) -> pa.RecordBatch:
    rows = [
        {
            "segment": segment,
            "topic": message.topic,
            "key": message.key,
            "value": message.value,
            "headers": list(message.headers),
            "timestamp_ms": message.timestamp_ms,
            "position": message.position,
            "fingerprint": message.fingerprint,
        }
        for message in messages
    ]
    return pa.RecordBatch.from_pylist(rows, schema=schema)


def _message(row: dict[str, Any]) -> Message:
    return Message(
        row["key"],
        row["value"],
        tuple(row["headers"]),
        row["timestamp_ms"],
        tuple(row["position"]),
        row["fingerprint"],
        row["topic"],
    )
