"""Which copy of each stage works for a stream."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from plantain.pipeline.engine.stream import IDLE, Stream
from plantain.pipeline.graph import Graph, Kind, Stage

MAX_READ_FILES = 16
"""Files that are read to their end and not stored yet, while others may begin: enough for full batches of clips of one
picture, and memory does not grow with their number where storing is what takes long."""


class Binding:
    """Binds streams to copies of the stages that keep something about them.

    Args:
        graph: The stages.
        streams: By name.

    Attributes:
        behind: The stages behind the source whose copies they are bound to: models that follow them, and the followers.
        stages: All of them.
    """

    def __init__(self, graph: Graph, streams: Mapping[str, Stream]) -> None:
        self._graph = graph
        self._streams = streams
        models = (stage for stage in graph.pools if stage.kind is Kind.STREAM)
        self.behind: tuple[Stage, ...] = (*models, *graph.followers)
        self.stages = (graph.source, *self.behind)

    def bind(self, waiting: list[Stream]) -> Iterator[Stream]:
        """Those of the waiting streams that work can begin for; cameras at once, files as soon as a reader is free.

        A read of a slow file holds its reader up, and the cameras there: they are kept apart as far as that goes.
        """
        source = self._graph.source
        bound = {stage.name: self._num_bound(stage) for stage in self.stages}
        files, num_read = [0] * source.workers, 0
        for stream in self._streams.values():
            if stream.phase in IDLE or stream.is_live:
                continue
            if stream.has_ended:
                num_read += 1
            else:
                files[stream.workers[source.name]] += 1
        for stream in waiting:
            loads = (bound[source.name], files) if stream.is_live else (files, bound[source.name])
            *_, reader = min(zip(*loads, range(source.workers), strict=True))
            if not stream.is_live:
                if files[reader] >= self._graph.streams_per_reader or num_read >= MAX_READ_FILES:
                    continue
                files[reader] += 1
            bound[source.name][reader] += 1
            stream.workers[source.name] = reader
            for stage in self.behind:
                counts = bound[stage.name]
                worker = stream.workers.setdefault(stage.name, counts.index(min(counts)))
                counts[worker] += 1
            yield stream

    def bind_to(self, stage: Stage, stream: Stream) -> None:
        """Binds a stream to the copy of one stage that has the least to do, unless it is bound there."""
        if stage.name not in stream.workers:
            counts = self._num_bound(stage)
            stream.workers[stage.name] = counts.index(min(counts))

    def _num_bound(self, stage: Stage) -> list[int]:
        """Streams that each copy of a stage still works for; a reader is free once its stream has ended."""
        counts = [0] * stage.workers
        for stream in self._streams.values():
            worker = stream.workers.get(stage.name)
            is_read = stage is self._graph.source and stream.has_ended
            if worker is not None and stream.phase not in IDLE and not is_read:
                counts[worker] += 1
        return counts
