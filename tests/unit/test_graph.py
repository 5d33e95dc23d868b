from __future__ import annotations

import pytest

from plantain.operators.errors import UsageError
from plantain.pipeline.graph import Chain, Graph, Kind, Stage


def stage(name: str, kind: Kind = Kind.STREAM, **options) -> Stage:
    return Stage(name, kind, make=lambda: None, **options)


def test_every_mistake_is_named_one_a_line():
    graph = Graph(
        (stage("read"), stage("read", Kind.SOURCE, workers=0)), read_frames=9, max_frames_in_flight=8
    )
    with pytest.raises(UsageError) as caught:
        graph.validate()
    lines = str(caught.value).splitlines()
    assert lines == [
        "stage names must differ: read, read",
        "the first stage, and only the first, must be a source",
        "stage read needs at least one worker, one item and one call in flight",
        "read_frames must not exceed max_frames_in_flight",
    ]


def test_an_empty_graph_is_a_mistake():
    with pytest.raises(UsageError, match="must be a source"):
        Graph(()).validate()


def test_describe_has_a_line_for_each_stage():
    text = Graph((stage("read", Kind.SOURCE), stage("infer", Kind.PARALLEL, workers=2, gpus=0.5))).describe()
    read, infer, bound = text.splitlines()
    assert read.split() == ["read", "source", "1", "x", "1", "CPU", "8", "frames", "a", "call"]
    assert "2 x 1 CPU + 0.5 GPU" in infer
    assert bound == "at most 256 frames between decoder and sink"


class Doubling:
    def __call__(self, items):
        return [2 * item for item in items]

    def close(self, stream_id=None):
        self.closed = stream_id


class Counting:
    def __init__(self):
        self.counts = {}

    def open(self, start):
        self.counts[start] = 0
        return f"opened {start}"

    def __call__(self, items):
        self.counts["clip"] += len(items)
        return items

    def snapshot(self, stream_id):
        return self.counts[stream_id]

    def restore(self, stream_id, state):
        self.counts[stream_id] = state

    def fail(self, item, failure):
        return f"{item} failed: {failure}"

    def finish(self, stream_id, *, is_complete):
        return f"finished {stream_id} {is_complete}"


def test_a_chain_hands_on_and_each_call_goes_to_the_members_that_have_it():
    doubling, counting = Doubling(), Counting()
    chain = Chain(doubling, counting)
    assert chain.open("clip") == "opened clip"
    assert chain([1, 2]) == [2, 4]
    before = chain.snapshot("clip")
    chain([3])
    chain.restore("clip", before)
    assert counting.counts == {"clip": 2}
    assert chain.fail(7, "why") == "7 failed: why"
    assert chain.finish("clip", is_complete=True) == "finished clip True"
    chain.close("clip")
    assert doubling.closed == "clip"
    chain.close()
    assert doubling.closed is None
