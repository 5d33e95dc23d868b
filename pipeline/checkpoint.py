"""Per stream, what is durable: stored after the sinks have committed, read when a run starts again.

A checkpoint may be older than what the sinks hold (killed in between): then a segment is made again, and
replaces itself. It is never newer. All streams are in one file, so that a thousand cost as much as one.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from plantain.operators.errors import UsageError
from plantain.operators.segments import Durable, Position
from plantain.operators.sinks.store import Store
from plantain.pipeline.config.stream import location_noted

FOLDER = ".plantain"
RUN = f"{FOLDER}/run.json"
STREAMS = f"{FOLDER}/streams.json"
ATTEMPTS = f"{FOLDER}/streams"
"""Where sinks note how far they are with each stream; forgotten with the checkpoints."""
VERSION = 3
"""Of what is stored in an output folder: tables, their parts and checkpoints."""


class Checkpoints:
    """The checkpoints of one output folder: read once, kept in memory, written as a whole.

    Args:
        store: The folder's store.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._streams: dict[str, _Stream] | None = None
        self._has_news = False
        self._texts: dict[str, tuple[_Stream, str]] = {}  # as they were stored last

    def begin(
        self,
        run: dict[str, Any],
        *,
        resume: bool,
        may_differ: bool = False,
        locations: Mapping[str, str] | None = None,
    ) -> None:
        """Starts or resumes a run in this folder.

        Args:
            run: What decides the rows: prompts, model, canvas, segments; and under `streams` by name, what decides
                those of each stream. Streams may come and go; what is in both runs must be equal.
            resume: False to start over.
            may_differ: Whether settings other than before are no mistake.
            locations: Where streams are, by name: what is where it was is no other for how its path is spelled.

        Raises:
            UsageError: If the folder holds results of another run, unless it may differ, or of an older version.
        """
        run = json.loads(json.dumps(run))
        stored = self._known()
        if stored and stored.get("version", 1) < VERSION and self._has_results():
            raise UsageError(
                "the output folder holds results of an older version of Plantain, which can be read but not added to: "
                "choose another --out"
            )
        known = stored if resume and self._has_results() else {}
        here = locations or {}
        were = self.locations() if known else {}
        same = {name for name, location in here.items() if were.get(name) == location}
        changed = [] if may_differ else _differences(known, run, same)
        if changed:
            raise UsageError(
                f"the output folder holds results of a run with other settings ({', '.join(changed)}): "
                "choose another --out, or --no-resume to replace them"
            )
        if not resume:
            for name in (STREAMS, *self._store.names(ATTEMPTS)):
                self._store.delete(name)
            self._streams = {}
        run["streams"] = {**known.get("streams", {}), **run["streams"]}
        run["locations"] = {**known.get("locations", {}), **here}
        run["version"] = VERSION
        self._store.put(RUN, json.dumps(run, indent=1, sort_keys=True).encode())

    def admit(self, stream_id: str, made_of: list[Any], location: str | None = None) -> None:
        """Notes what decides the rows of a stream that is added to a run which is under way.

        Args:
            stream_id: The stream.
            made_of: What decides its rows.
            location: Where it is; see `begin`.

        Raises:
            UsageError: If the folder holds results of a stream of this name that was made of something else.
        """
        wanted = json.loads(json.dumps(made_of))
        stream = self._all().get(stream_id, _Stream())
        known = stream.made_of or self._known().get("streams", {}).get(stream_id)
        were = stream.location or (known and location_noted(known))
        is_same = known in (None, wanted) or (
            location is not None and location == were and _is_same(known, wanted)
        )
        if not is_same and stream.durable is not None:
            raise UsageError(
                f"the output folder holds results of a stream '{stream_id}' with other settings: choose another id"
            )
        with self._lock:
            self._all()[stream_id] = replace(stream, made_of=wanted, location=location)
            self._has_news = True

    def streams(self) -> list[str]:
        """Names of the streams of the run that was begun here before."""
        return list(self._known().get("streams", {}))

    def names(self) -> dict[str, list[Any]]:
        """What decides the rows of each stream of the run that was begun here before, by name."""
        return dict(self._known().get("streams", {}))

    def locations(self) -> dict[str, str]:
        """Where the streams of the run that was begun here before are, by name, as far as it is known."""
        known = self._known()
        noted = {name: location_noted(made) for name, made in known.get("streams", {}).items()}
        located: dict[str, str] = {name: location for name, location in noted.items() if location is not None}
        return {**located, **known.get("locations", {})}

    def load(self, stream_id: str) -> Durable | None:
        """What is durable of a stream, None if nothing is."""
        return self._all().get(stream_id, _Stream()).durable

    def before_end(self, stream_id: str) -> Durable | None:
        """What was durable of a complete stream before its last segment; None if nothing was."""
        return self._all().get(stream_id, _Stream()).before_end

    def identity(self, stream_id: str) -> dict[str, Any] | None:
        """Which input a stream's results were made of; None if nobody noted it."""
        return self._all().get(stream_id, _Stream()).identity

    def identities(self) -> dict[str, dict[str, Any]]:
        """Which input each stream's results were made of, by name, where somebody noted it."""
        with self._lock:
            return {
                name: stream.identity for name, stream in self._all().items() if stream.identity is not None
            }

    def identify(self, stream_id: str, identity: Mapping[str, Any]) -> None:
        """Notes which input a stream's results are made of from now on."""
        with self._lock:
            stream = self._all().get(stream_id, _Stream())
            if stream.identity != dict(identity):
                self._all()[stream_id] = replace(stream, identity=dict(identity))
                self._has_news = True

    def forget(self, stream_id: str) -> None:
        """Nothing is durable of a stream any more: it is done anew.

        Raises:
            SinkError: If what sinks noted of it cannot be removed.
        """
        with self._lock:
            self._all().pop(stream_id, None)
            self._has_news = True
        self._store.delete(f"{ATTEMPTS}/{stream_id}.kafka")

    def adopt(self, stream_id: str, twin: str, mark: tuple[str, str], location: str) -> None:
        """What is known of a stream that was added while a run was under way holds for another one, too.

        Args:
            stream_id: The other one, which is the same file under another name.
            twin: The stream.
            mark: Address and digest of the other one (`config.stream.mark_of`).
            location: Where that is.
        """

        def named(durable: Durable | None) -> Durable | None:
            return None if durable is None else replace(durable, stream_id=stream_id)

        with self._lock:
            stream = self._all()[twin]
            url, digest = mark
            self._all()[stream_id] = replace(
                stream,
                durable=named(stream.durable),
                before_end=named(stream.before_end),
                made_of=stream.made_of and [url, *stream.made_of[1:3], digest, *stream.made_of[4:]],
                location=location,
            )
            self._has_news = True

    def thin(self, below: str, present: Collection[str], most: int) -> None:
        """Lets go of what is known of recordings that were read and are gone, all but the latest.

        Args:
            below: How their addresses begin.
            present: Streams whose recordings are there.
            most: So many are kept all the same.

        Raises:
            SinkError: If what sinks noted of them cannot be removed.
        """
        with self._lock:
            gone = [
                name
                for name, stream in self._all().items()
                if name not in present
                and stream.made_of is not None
                and stream.made_of[0].startswith(below)
                and stream.durable is not None
                and stream.durable.is_complete
            ]
            forgotten = gone[: max(0, len(gone) - most)]
            for name in forgotten:
                del self._all()[name]
            self._has_news |= bool(forgotten)
        for name in forgotten:
            self._store.delete(f"{ATTEMPTS}/{name}.kafka")

    @property
    def has_news(self) -> bool:
        """Whether something is noted that is not stored."""
        return self._has_news

    def save(self, durables: Sequence[Durable]) -> None:
        """Stores what is durable now, and whatever else is news.

        Raises:
            SinkError: If it cannot be stored.
        """
        with self._lock:
            streams = self._all()
            for durable in durables:
                stream = streams.get(durable.stream_id, _Stream())
                is_end = durable.is_complete and (stream.durable is None or not stream.durable.is_complete)
                before_end = stream.durable if is_end else stream.before_end
                streams[durable.stream_id] = replace(stream, durable=durable, before_end=before_end)
            self._texts = {name: self._text_of(name, stream) for name, stream in streams.items()}
            held = ", ".join(f"{json.dumps(name)}: {text}" for name, (_, text) in self._texts.items())
            self._has_news = False
        self._store.put(STREAMS, f"{{{held}}}".encode())

    def _text_of(self, name: str, stream: _Stream) -> tuple[_Stream, str]:
        """A stream as JSON, with itself; of a thousand, a few are news."""
        known = self._texts.get(name)
        return known if known is not None and known[0] is stream else (stream, json.dumps(asdict(stream)))

    def _all(self) -> dict[str, _Stream]:
        """What is known of every stream."""
        if self._streams is None:
            held = read_json(self._store, STREAMS)
            try:
                self._streams = {name: _Stream.of(fields) for name, fields in held.items()}
            except (KeyError, TypeError) as error:
                raise _damaged(STREAMS, error) from error
        return self._streams

    def _known(self) -> dict[str, Any]:
        """What the run that was begun here before is made of; empty if there was none."""
        return read_json(self._store, RUN)

    def _has_results(self) -> bool:
        return bool(self._all()) or bool(self._store.names("frames"))


def read_json(store: Store, name: str) -> dict[str, Any]:
    """What is noted under a name in an output folder; empty if nothing is.

    Raises:
        SinkError: If it cannot be read.
        UsageError: If it is damaged.
    """
    stored = store.get(name)
    try:
        held = {} if stored is None else json.loads(stored)
    except ValueError as error:
        raise _damaged(name, error) from error
    if not isinstance(held, dict):
        raise _damaged(name, "no mapping")
    return held


def _damaged(name: str, why: object) -> UsageError:
    return UsageError(f"{name} in the output folder is damaged ({why}): choose another --out")


@dataclass(frozen=True, slots=True)
class _Stream:
    """What is kept of a stream.

    Attributes:
        durable: What is durable of it; None if nothing is.
        made_of: What decides its rows, if it was added while a run was under way.
        identity: Which input its results were made of; None if nobody noted it.
        before_end: What was durable before its last segment, if it is complete.
        location: Where it is, if it was added while a run was under way.
    """

    durable: Durable | None = None
    made_of: list[Any] | None = None
    identity: dict[str, Any] | None = None
    before_end: Durable | None = None
    location: str | None = None

    @classmethod
    def of(cls, fields: dict[str, Any]) -> _Stream:
        durables = (_durable(fields["durable"]), _durable(fields.get("before_end")))
        return cls(
            durables[0], fields["made_of"], fields.get("identity"), durables[1], fields.get("location")
        )


def _durable(held: dict[str, Any] | None) -> Durable | None:
    if held is None:
        return None
    counted = {name: tuple(map(tuple, held[name])) for name in ("failed", "answers")}
    return Durable(**{**held, **counted, "position": Position(**held["position"])})


def _differences(known: dict[str, Any], run: dict[str, Any], same: Collection[str]) -> list[str]:
    """Names of the settings in which two runs differ; a stream that only one of them has is no difference.

    Args:
        known: What was run before.
        run: What is run.
        same: Streams that are where they were.
    """
    if not known:
        return []
    streams, others = run["streams"], known["streams"]
    changed = [
        key for key in {*known, *run} - {"streams", "locations", "version"} if known.get(key) != run.get(key)
    ]
    changed += [
        f"streams.{name}"
        for name in {*streams} & {*others}
        if streams[name] != others[name] and not (name in same and _is_same(streams[name], others[name]))
    ]
    return sorted(changed)


def _is_same(made_of: list[Any], other: list[Any]) -> bool:
    """Whether all is equal but how a path is spelled."""
    return made_of[1:3] == other[1:3] and made_of[4:] == other[4:]
