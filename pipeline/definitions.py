"""The streams of a run as they are wanted: the configuration's, and what commands made of them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from plantain.pipeline.commands import ConflictError
from plantain.pipeline.config import PipelineConfig, StreamConfig


@dataclass(slots=True)
class Definitions:
    """Streams as they are wanted.

    Attributes:
        streams: By name.
        removed: Names of the configuration's that were removed.
        paused: Names of those that are not to run.
        keys: The request that added a stream, by the stream's name.
    """

    streams: dict[str, StreamConfig]
    removed: set[str] = field(default_factory=set)
    paused: set[str] = field(default_factory=set)
    keys: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, config: PipelineConfig) -> Definitions:
        """The configuration's streams under their names, with folders and globs expanded."""
        return cls({str(stream.id): stream for stream in config.named()})

    def knows(self, name: str, key: str | None) -> bool:
        """Whether this very request has added this stream.

        Raises:
            ConflictError: If the name is taken, or the key stands for another request.
        """
        if name in self.streams:
            if key is not None and self.keys.get(name) == key:
                return True
            raise ConflictError(f"there is a stream '{name}' already; remove it first, or choose another id")
        if key is not None and key.rpartition(" ")[0] in (
            other.rpartition(" ")[0] for other in self.keys.values()
        ):
            raise ConflictError("this key stands for another request: use a new one")
        return False

    def add(self, stream: StreamConfig, *, paused: bool, key: str | None) -> None:
        """A stream is wanted from now on."""
        name = str(stream.id)
        self.streams[name] = stream
        self.removed.discard(name)
        if paused:
            self.paused.add(name)
        if key is not None:
            self.keys[name] = key

    def remove(self, name: str) -> None:
        """A stream is not wanted any more; that one of the configuration is not must be remembered."""
        del self.streams[name]
        self.removed.add(name)
        self.paused.discard(name)
        self.keys.pop(name, None)

    def copy(self) -> Definitions:
        """As they are now."""
        return replace(
            self,
            streams=dict(self.streams),
            removed={*self.removed},
            paused={*self.paused},
            keys=dict(self.keys),
        )
