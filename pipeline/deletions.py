"""What has been deleted of an output folder since it is kept no longer: for whoever asks how things are.

It is noted in the folder, so that it is known after a restart, and whoever tidies by hand adds to the same figures.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from plantain.operators.sinks.parquet.tidy import Change
from plantain.operators.sinks.store import Store
from plantain.pipeline.checkpoint import FOLDER, read_json

DELETED = f"{FOLDER}/deleted.json"


@dataclass(frozen=True, slots=True)
class Deleted:
    """All that went of a kind.

    Attributes:
        until: The last day (UTC) of which something went.
        size: Bytes.
    """

    until: str = ""
    size: int = 0


class Deletions:
    """What went, by what it was: `rows`, `rasters`, `pictures`; added to by one thread, read by any.

    Args:
        store: The folder's store; None where nothing is ever deleted.
    """

    def __init__(self, store: Store | None = None) -> None:
        self._store = store
        self._deleted: Mapping[str, Deleted] = {}
        self.load()

    def load(self) -> None:
        """Looks what others have noted.

        Raises:
            SinkError: If it cannot be read.
            UsageError: If it is damaged.
        """
        held = {} if self._store is None else read_json(self._store, DELETED)
        self._deleted = {what: Deleted(**fields) for what, fields in held.items()}

    def add(self, change: Change) -> None:
        """Notes what went.

        Raises:
            SinkError: If it cannot be stored.
        """
        known = self._deleted.get(change.what, Deleted())
        now = Deleted(max(known.until, str(change.day)), known.size + change.size - change.size_after)
        self._deleted = {**self._deleted, change.what: now}
        if self._store is not None:
            held = {what: asdict(each) for what, each in self._deleted.items()}
            self._store.put(DELETED, json.dumps(held).encode())

    @property
    def sizes(self) -> dict[str, int]:
        """Bytes that went, by what they were."""
        return {what: each.size for what, each in self._deleted.items()}

    def __str__(self) -> str:
        """In words; empty if nothing went."""
        return ", ".join(
            f"{what} until {each.until} ({each.size / 1e6:.1f} MB)" for what, each in self._deleted.items()
        )
