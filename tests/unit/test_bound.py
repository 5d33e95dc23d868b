"""What is given together to a copy of a stage that is bound to streams."""

from __future__ import annotations

from plantain.operators.segments import Barrier, Durable, Position
from plantain.pipeline.calls import Call, Cut
from plantain.pipeline.engine.bound import _together
from plantain.pipeline.engine.workers import Lane


class Workers:
    """Nothing was begun anew."""

    @staticmethod
    def is_current(entry: Call) -> bool:
        return entry.stream_id != "gone"


def end(stream_id: str, following: int) -> Call:
    barrier = Barrier(following, Durable(stream_id, 0, Position()))
    return Call(0, "write", 0, Cut((barrier,)), stream_id=stream_id)


def ends(call: Call) -> list[tuple[str, int]]:
    assert isinstance(call.work, Cut)
    return [(barrier.stream_id, barrier.following) for barrier in call.work.barriers]


def test_segments_of_many_streams_end_together_and_of_each_one() -> None:
    """A camera that is away has a second one in the queue where a sink was busy for long, as with brokers away."""
    lane = Lane()
    lane.queue.extend([end("b", 1), end("gone", 1), end("a", 2), end("c", 1), end("c", 2)])
    workers = Workers()
    given = [ends(_together(end("a", 1), lane, workers))]  # type: ignore[arg-type]
    while lane.queue:
        given.append(ends(_together(lane.queue.popleft(), lane, workers)))  # type: ignore[arg-type]
    assert given == [[("a", 1), ("b", 1)], [("a", 2), ("c", 1)], [("c", 2)]]
