"""What requests have changed about the streams of a service, kept in its output folder over every restart.

.plantain/serve/streams.json    readable by its owner only: addresses of cameras hold passwords
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from plantain.operators.errors import UsageError
from plantain.operators.sinks.store import Store, storage_error
from plantain.pipeline.checkpoint import FOLDER
from plantain.pipeline.config import PipelineConfig, StreamConfig

NAME = f"{FOLDER}/serve/streams.json"

_PLAIN = ("fps", "every", "max_frames", "options", "source", "url", "id")


@dataclass(slots=True)
class Definitions:
    """Streams as they are wanted: the configuration's, and what requests made of them.

    Attributes:
        streams: By name.
        removed: Names of the configuration's that a request removed.
        paused: Names of those that are not to run.
        keys: The request that added a stream, by the stream's name.
    """

    streams: dict[str, StreamConfig]
    removed: set[str] = field(default_factory=set)
    paused: set[str] = field(default_factory=set)
    keys: dict[str, str] = field(default_factory=dict)

    def remove(self, name: str) -> None:
        """Forgets a stream; that one of the configuration is not wanted must be kept."""
        del self.streams[name]
        self.removed.add(name)
        self.paused.discard(name)
        self.keys.pop(name, None)


class DefinitionStore:
    """Loads and keeps definitions.

    Args:
        config: The configuration; its output folder holds the file.

    Raises:
        SinkError: If there can be no such folder.
    """

    def __init__(self, config: PipelineConfig) -> None:
        self._store = Store(config.output.out)
        self._configured = _configured(config)
        out = config.output.out
        if "://" not in out:
            folder = Path(out) / FOLDER / "serve"
            try:
                folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise storage_error(out, error) from error
            with contextlib.suppress(OSError):  # not on every file system
                folder.chmod(0o700)

    def load(self) -> Definitions:
        """What is wanted now.

        Raises:
            UsageError: If the file is not one of ours.
            SinkError: If it cannot be read.
        """
        data = self._store.get(NAME)
        made = Definitions(dict(self._configured))
        if data is None:
            return made
        try:
            known = json.loads(data)
            made.removed = set(known["removed"])
            for name in made.removed & set(self._configured):
                del made.streams[name]
            for name, changes in known["changed"].items():
                if name in made.streams:
                    made.streams[name] = _stream(_plain(made.streams[name]) | changes)
            for name, plain in known["added"].items():
                made.streams.setdefault(name, _stream(plain))
            made.paused = set(known["paused"]) & set(made.streams)
            made.keys = {name: key for name, key in known["keys"].items() if name in made.streams}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise UsageError(
                f"{NAME} in the output folder is damaged ({error}): remove it, or mend it"
            ) from error
        return made

    def save(self, definitions: Definitions) -> None:
        """Keeps what differs from the configuration.

        Raises:
            SinkError: If it cannot be stored.
        """
        added, changed = {}, {}
        for name, stream in definitions.streams.items():
            plain = _plain(stream)
            if name not in self._configured:
                added[name] = plain
            else:
                before = _plain(self._configured[name])
                if differing := {key: value for key, value in plain.items() if value != before[key]}:
                    changed[name] = differing
        document = {
            "added": added,
            "changed": changed,
            "removed": sorted(definitions.removed & set(self._configured)),
            "paused": sorted(definitions.paused),
            "keys": definitions.keys,
        }
        self._store.put(NAME, json.dumps(document, indent=1).encode())


def _configured(config: PipelineConfig) -> dict[str, StreamConfig]:
    """The configuration's streams under their names, with folders and globs expanded."""
    common = config.prompts
    return {
        str(stream.id): stream if stream.prompts else stream.model_copy(update={"prompts": common})
        for stream in config.named()
    }


def _plain(stream: StreamConfig) -> dict[str, Any]:
    return {name: getattr(stream, name) for name in _PLAIN} | {
        "prompts": [str(prompt) for prompt in stream.prompts]
    }


def _stream(plain: Mapping[str, Any]) -> StreamConfig:
    return StreamConfig.model_validate({**plain})
