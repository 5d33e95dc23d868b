"""Per stream, what is durable: stored after the sinks have committed, read when a run starts again.

A checkpoint may be older than what the sinks hold (killed in between): then a segment is made again, and
replaces itself. It is never newer.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from plantain.operators.errors import UsageError
from plantain.operators.sinks.store import Store
from plantain.operators.types import Durable, Position

FOLDER = ".plantain"
RUN = f"{FOLDER}/run.json"


class Checkpoints:
    """The checkpoints of one output folder.

    Args:
        store: The folder's store.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def begin(self, run: dict[str, Any], *, resume: bool, may_differ: bool = False) -> None:
        """Starts or resumes a run in this folder.

        Args:
            run: What decides the rows: prompts, model, canvas, segments; and under `streams` by name, what decides
                those of each stream. Streams may come and go; what is in both runs must be equal.
            resume: False to start over.
            may_differ: Whether settings other than before are no mistake.

        Raises:
            UsageError: If the folder holds results of another run, unless it may differ.
        """
        run = json.loads(json.dumps(run))
        known = self._known() if resume and self._has_results() else {}
        changed = [] if may_differ else _differences(known, run)
        if changed:
            raise UsageError(
                f"the output folder holds results of a run with other settings ({', '.join(changed)}): "
                "choose another --out, or --no-resume to replace them"
            )
        if not resume:
            for folder in ("streams", "added"):
                for old in self._store.names(f"{FOLDER}/{folder}"):
                    self._store.delete(old)
        run["streams"] = {**known.get("streams", {}), **run["streams"]}
        self._store.put(RUN, json.dumps(run, indent=1, sort_keys=True).encode())

    def admit(self, stream_id: str, made_of: list[Any]) -> None:
        """Notes what decides the rows of a stream that is added to a run which is under way.

        Raises:
            UsageError: If the folder holds results of a stream of this name that was made of something else.
        """
        name = f"{FOLDER}/added/{stream_id}.json"
        wanted = json.loads(json.dumps(made_of))
        stored = self._store.get(name)
        known = self._known().get("streams", {}).get(stream_id) if stored is None else json.loads(stored)
        if known not in (None, wanted) and self.load(stream_id) is not None:
            raise UsageError(
                f"the output folder holds results of a stream '{stream_id}' with other settings: choose another id"
            )
        self._store.put(name, json.dumps(wanted).encode())

    def streams(self) -> list[str]:
        """Names of the streams of the run that was begun here before."""
        return list(self._known().get("streams", {}))

    def load(self, stream_id: str) -> Durable | None:
        """What is durable of a stream, None if nothing is."""
        data = self._store.get(f"{FOLDER}/streams/{stream_id}.json")
        if data is None:
            return None
        fields = json.loads(data)
        fields["position"] = Position(**fields["position"])
        for counted in ("failed", "answers"):
            fields[counted] = tuple(tuple(entry) for entry in fields.get(counted, ()))
        return Durable(**fields)

    def _known(self) -> dict[str, Any]:
        """What the run that was begun here before is made of; empty if there was none."""
        stored = self._store.get(RUN)
        return {} if stored is None else dict(json.loads(stored))

    def _has_results(self) -> bool:
        return any(self._store.names(folder) for folder in (f"{FOLDER}/streams", "frames"))

    def save(self, durable: Durable) -> None:
        """Stores what is durable now."""
        data = json.dumps(asdict(durable)).encode()
        self._store.put(f"{FOLDER}/streams/{durable.stream_id}.json", data)


def _differences(known: dict[str, Any], run: dict[str, Any]) -> list[str]:
    """Names of the settings in which two runs differ; a stream that only one of them has is no difference."""
    if not known:
        return []
    streams, others = run["streams"], known["streams"]
    changed = [key for key in {*known, *run} - {"streams"} if known.get(key) != run.get(key)]
    changed += [f"streams.{name}" for name in {*streams} & {*others} if streams[name] != others[name]]
    return sorted(changed)
