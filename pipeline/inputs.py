"""Where a stream goes on whose input may be another one by now: rows of two films never meet under one name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import structlog

from plantain.operators.errors import UsageError
from plantain.operators.redaction import shown
from plantain.operators.segments import Durable
from plantain.operators.sources.identity import Change, Identity, change_of, identity_of, is_same_content
from plantain.operators.sources.web import is_web
from plantain.operators.streams import StreamSpec
from plantain.pipeline.checkpoint import Checkpoints

# So many servers are asked at a time which file they have.
MOST_ASKED = 32

log = structlog.get_logger()


class ChangedInputError(UsageError):
    """Another file is where that was whose results are stored."""


def told_of_all(specs: Iterable[StreamSpec]) -> dict[str, Identity | None]:
    """What servers say of the files on the web among streams, by the stream's name.

    They are asked beside one another: one that does not answer takes seconds.

    Raises:
        UsageError: If no source reads one.
    """
    asked = [spec for spec in specs if is_web(spec.url)]
    if not asked:
        return {}
    with ThreadPoolExecutor(min(len(asked), MOST_ASKED), thread_name_prefix="plantain-head") as pool:
        return dict(zip([spec.stream_id for spec in asked], pool.map(identity_of, asked), strict=True))


def resumed(
    spec: StreamSpec,
    checkpoints: Checkpoints,
    *,
    replace_changed: bool,
    told: Mapping[str, Identity | None] | None = None,
) -> Durable | None:
    """What is durable of a stream, and counts: None if it begins anew.

    What has grown goes on, also if it was complete: before its last segment, which is made again. Which input it is is
    noted for the next time. Where nothing was delivered, as of a file that could not be read, what the file was is no
    matter.

    Args:
        spec: The stream.
        checkpoints: What is durable.
        replace_changed: Whether it is to begin anew if its file is another one.
        told: What servers have said (`told_of_all`); one that is not in it is asked.

    Raises:
        ChangedInputError: If its file is another one, and it is not to begin anew.
    """
    name = spec.stream_id
    known, durable = checkpoints.identity(name), checkpoints.load(name)
    now = told[name] if told is not None and name in told else identity_of(spec, known)
    if now is None:
        return durable
    change = Change.NONE if known is None else change_of(spec, known, now)
    if change is Change.REPLACED and not _has_any(durable):
        checkpoints.forget(name)
        durable = None
    elif change is Change.REPLACED:
        if not replace_changed:
            raise ChangedInputError(
                f"stream '{name}': {shown(spec.url)} is not what it was when its results were made (replaced, or cut "
                "since): --replace does it anew, or choose another --out"
            )
        log.warning(
            "replaced", stream=name, what=f"{shown(spec.url)} is another one than before; it is done anew"
        )
        checkpoints.forget(name)
        durable = None
    elif (
        change is Change.GROWN
        and durable is not None
        and durable.is_complete
        and not _has_enough(spec, durable)
    ):
        log.info("grown", stream=name, what=f"{shown(spec.url)} has grown; the rest is done")
        durable = checkpoints.before_end(name)
    checkpoints.identify(name, now)
    return durable


def is_finished(spec: StreamSpec, checkpoints: Checkpoints) -> bool:
    """Whether a stream is complete, and its file what it was then."""
    durable, known = checkpoints.load(spec.stream_id), checkpoints.identity(spec.stream_id)
    if durable is None or not durable.is_complete or known is None:
        return False
    now = identity_of(spec, known)
    return now is not None and change_of(spec, known, now) is Change.NONE


def is_other(spec: StreamSpec, checkpoints: Checkpoints) -> bool:
    """Whether a stream has results, and they were made of another file than the one that is there now."""
    known = checkpoints.identity(spec.stream_id)
    if known is None or not _has_any(checkpoints.load(spec.stream_id)):
        return False
    now = identity_of(spec, known)
    return now is not None and change_of(spec, known, now) is Change.REPLACED


def same_elsewhere(spec: StreamSpec, checkpoints: Checkpoints, present: Mapping[str, Path]) -> str | None:
    """The stream whose results were made of this very file when that had another name; None if there is none.

    Args:
        spec: A stream.
        checkpoints: What is durable.
        present: Files that are there, by the names of their streams: this one is a copy of such a one that is what it
            was.
    """
    now = identity_of(spec)
    if now is None or _has_any(checkpoints.load(spec.stream_id)):
        return None
    for name, known in checkpoints.identities().items():
        if not is_same_content(known, now) or name == spec.stream_id:
            continue
        durable = checkpoints.load(name)
        if durable is None or not durable.is_complete:
            continue
        there = identity_of(replace(spec, url=str(present[name])), known) if name in present else None
        if there is None or not is_same_content(known, there):
            return name
    return None


def _has_any(durable: Durable | None) -> bool:
    """Whether anything of a stream was delivered, so that its rows are those of one file."""
    if durable is None:
        return False
    return bool(durable.epoch or durable.position.frame_index or durable.position.delivered)


def _has_enough(spec: StreamSpec, durable: Durable) -> bool:
    """Whether it ended since it had as many frames as were asked for."""
    most = spec.sampling.max_frames
    return most is not None and durable.position.delivered >= most
