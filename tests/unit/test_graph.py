from __future__ import annotations

import pytest

from plantain.operators.errors import UsageError
from plantain.pipeline.graph import Graph, Kind, Stage


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


def test_pools_come_before_what_follows_streams():
    stages = (stage("read", Kind.SOURCE), stage("analyse"), stage("infer", Kind.PARALLEL))
    with pytest.raises(UsageError, match="pools of models come before"):
        Graph(stages).validate()


def test_a_graph_knows_its_pools_and_its_followers():
    sessions = stage("sessions", Kind.STREAM, has_model=True)
    graph = Graph((stage("read", Kind.SOURCE), stage("infer", Kind.PARALLEL), sessions, stage("write")))
    graph.validate()
    assert [each.name for each in graph.pools] == ["infer", "sessions"]
    assert [each.name for each in graph.followers] == ["write"]
