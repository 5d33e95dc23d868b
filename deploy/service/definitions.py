"""What requests have changed about the streams of a service, kept in its output folder over every restart.

.plantain/serve/streams.json    readable by its owner only: addresses of cameras hold passwords
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from plantain.operators.errors import UsageError
from plantain.operators.sinks.store import Store, storage_error
from plantain.pipeline.checkpoint import FOLDER
from plantain.pipeline.config import PipelineConfig, StreamConfig
from plantain.pipeline.definitions import Definitions

NAME = f"{FOLDER}/serve/streams.json"


class DefinitionStore:
    """Loads and keeps definitions.

    Args:
        config: The configuration; its output folder holds the file.

    Raises:
        SinkError: If there can be no such folder.
    """

    def __init__(self, config: PipelineConfig) -> None:
        self._store = Store(config.output.out)
        self._configured = Definitions.of(config).streams
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


def _plain(stream: StreamConfig) -> dict[str, Any]:
    """Every setting of a stream, as JSON has it."""
    plain = stream.model_dump(mode="json", exclude={"prompts"})
    return plain | {"prompts": [str(prompt) for prompt in stream.prompts]}


def _stream(plain: Mapping[str, Any]) -> StreamConfig:
    return StreamConfig.model_validate({**plain})
