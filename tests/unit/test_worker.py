from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from plantain.operators.errors import ModelBusyError, ModelError, SinkError, SourceLostError
from plantain.operators.types import Failure, Header
from plantain.pipeline.graph import Kind, Stage
from plantain.pipeline.worker import Call, StageWorker, StreamError


@dataclass
class Thing:
    """An item; it knows where it failed."""

    header: Header
    failure: Failure | None = None


def things(*indexes: int, stream_id: str = "a") -> list[Thing]:
    return [Thing(Header(stream_id, 0, index)) for index in indexes]


@dataclass
class Scripted:
    """An operator that raises an error for some items, and notes every call."""

    errors: dict[int, list[Exception]] = field(default_factory=dict)
    calls: list[list[int]] = field(default_factory=list)

    def __call__(self, items, waits_ms=()):
        self.calls.append([item.header.frame_index for item in items])
        for item in items:
            if left := self.errors.get(item.header.frame_index):
                raise left[0] if len(left) == 1 else left.pop(0)
        return list(items)

    def fail(self, item, failure):
        return Thing(item.header, failure)

    def close(self, stream_id=None):
        raise OSError("already gone")


@dataclass
class Begun(Scripted):
    """The same for streams that begin and end, without a way back."""

    def open(self, start):
        return None

    def close(self, stream_id=None):
        pass


@dataclass
class Stateful(Scripted):
    """The same with state: which items it has seen."""

    seen: list[int] = field(default_factory=list)

    def __call__(self, items, waits_ms=()):
        for item in items:
            self.seen.append(item.header.frame_index)
        return super().__call__(items)

    def snapshot(self, stream_id):
        return list(self.seen)

    def restore(self, stream_id, state):
        self.seen = list(state)


def worker_for(operator, kind: Kind, pauses: list[float] | None = None) -> StageWorker:
    pauses = [] if pauses is None else pauses
    return StageWorker(Stage("stage", kind, make=lambda: operator), sleep=pauses.append)


def call_of(items: list[Thing], verb: str = "run", **options) -> Call:
    return Call(
        1, "stage", 0, verb, headers=tuple(i.header for i in items), waits_ms=(0.0,) * len(items), **options
    )


def run(worker: StageWorker, items: list[Thing]):
    return worker.run(call_of(items), items)


def test_a_batch_that_fails_is_halved_until_the_bad_items_stand_alone():
    operator = Scripted({2: [ModelError("too dark")]})
    reply, outputs = run(worker_for(operator, Kind.PARALLEL), things(0, 1, 2, 3))
    assert operator.calls == [[0, 1, 2, 3], [0, 1], [2, 3], [2], [3]]
    assert [each.header.frame_index for each in outputs] == [0, 1, 2, 3]
    assert [each.failure for each in outputs] == [
        None,
        None,
        Failure("stage", "too dark", retryable=False),
        None,
    ]
    assert reply.failed == ((Header("a", 0, 2), "too dark"),)
    assert reply.headers == tuple(each.header for each in outputs)
    assert reply.busy_s >= 0


def test_an_error_that_nobody_meant_to_show_is_named_by_its_type_and_without_secrets():
    operator = Scripted({0: [RuntimeError("cannot reach http://me:pw@host/")], 1: [KeyError()]})
    reply, _ = run(worker_for(operator, Kind.PARALLEL), things(0, 1))
    assert [why for _, why in reply.failed] == ["RuntimeError: cannot reach http://host/", "KeyError"]


def test_a_busy_model_is_asked_again_after_growing_pauses():
    pauses: list[float] = []
    operator = Scripted({0: [ModelBusyError("come back later")]})
    reply, outputs = run(worker_for(operator, Kind.PARALLEL, pauses), things(0, 1))
    assert pauses == [0.2, 0.4, 0.8, 1.6, 3.2]
    assert len(outputs) == 2
    assert {why for _, why in reply.failed} == {"come back later"}, "it never was free"
    assert len(operator.calls) == 6, "and is not asked about every half as well"


def test_a_backend_that_answers_too_little_fails_its_items_and_says_so():
    class Forgetful(Scripted):
        def __call__(self, items, waits_ms=()):
            return super().__call__(items)[1:]

    _, outputs = run(worker_for(Forgetful(), Kind.PARALLEL), things(0, 1))
    assert [each.failure.error for each in outputs] == ["stage stage gave 0 outputs for 1 inputs"] * 2


def test_a_stateful_operator_is_set_back_and_the_items_are_tried_one_by_one():
    operator = Stateful({1: [ValueError("lost it")]})
    reply, outputs = run(worker_for(operator, Kind.STREAM), things(0, 1, 2))
    assert operator.seen == [0, 2], "as if the bad item had never been there"
    assert [each.failure.error if each.failure else None for each in outputs] == [
        None,
        "ValueError: lost it",
        None,
    ]
    assert reply.notes == ()


def test_an_operator_that_cannot_be_set_back_is_never_given_an_item_twice():
    operator = Scripted({1: [SinkError("disk full")]})
    reply, outputs = run(worker_for(operator, Kind.STREAM), things(0, 1, 2))
    assert operator.calls == [[0, 1, 2]]
    assert outputs == []
    assert reply.notes == (StreamError("a", "stage", "disk full"),)


def test_what_an_operator_gave_before_an_error_stands():
    def operator(items):
        yield "durable"
        raise SinkError("disk full")

    reply, _ = run(worker_for(operator, Kind.STREAM), things(0))
    assert reply.notes == ("durable", StreamError("a", "stage", "disk full"))


def test_a_stream_that_breaks_does_not_touch_the_others_in_the_batch():
    operator = Scripted({1: [SinkError("disk full")]})
    items = [*things(0, 1), *things(5, stream_id="b"), *things(2), *things(6, stream_id="b")]
    reply, outputs = run(worker_for(operator, Kind.STREAM), items)
    assert [each.header.stream_id for each in outputs] == ["b", "b"]
    assert [note.stream_id for note in reply.notes] == ["a"]
    assert [2] not in operator.calls, "what follows in a broken stream is let go"


@pytest.mark.parametrize("verb", ["open", "close"])
def test_what_was_under_way_when_a_stream_broke_is_let_go_until_it_begins_anew(verb):
    operator = Begun({1: [SinkError("disk full")]})
    worker = worker_for(operator, Kind.STREAM)
    run(worker, things(0))
    assert run(worker, things(1))[0].notes == (StreamError("a", "stage", "disk full"),)
    reply, outputs = run(worker, [*things(2), *things(2, stream_id="b")])
    assert [each.header.stream_id for each in outputs] == ["b"]
    assert reply.notes == ()
    worker.run(Call(1, "stage", 0, verb, "a"), ())
    assert len(run(worker, things(3))[1]) == 1
    assert operator.calls == [[0], [1], [2], [3]]


def test_a_failure_is_announced_when_the_engine_says_so():
    items = things(3)
    failure = Failure("stage", "its worker died", retryable=False)
    reply, (output,) = worker_for(Scripted(), Kind.PARALLEL).run(
        call_of(items, "fail", argument=failure), items
    )
    assert output.failure is failure
    assert reply.failed == ((items[0].header, "its worker died"),)


class Reader:
    """A source that is lost for a moment."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)

    def open(self, start):
        raise OSError("no such camera")

    def __call__(self, stream_id, max_frames):
        if self.errors:
            raise self.errors.pop(0)
        return things(*range(max_frames))

    def state(self, stream_id):
        return f"state of {stream_id}"

    def close(self, stream_id=None):
        raise OSError("already gone")


def test_reading_is_tried_again_while_the_source_may_come_back():
    pauses: list[float] = []
    worker = worker_for(Reader(SourceLostError("a"), SourceLostError("b")), Kind.SOURCE, pauses)
    reply, outputs = worker.run(Call(1, "stage", 0, "read", "a", argument=(("a", 0, 3),)), ())
    assert len(outputs) == 3
    assert reply.notes == ("state of a",)
    assert pauses == [0.2, 0.4]


def test_a_stream_that_cannot_be_opened_is_a_note_and_not_an_exception():
    reply, outputs = worker_for(Reader(), Kind.SOURCE).run(Call(1, "stage", 0, "open", "a"), ())
    assert outputs == []
    assert reply.notes == (StreamError("a", "stage", "OSError: no such camera"),)


def test_an_error_on_closing_comes_too_late_to_matter():
    worker = worker_for(Reader(), Kind.SOURCE)
    reply, _ = worker.run(Call(1, "stage", 0, "close", "a"), ())
    assert reply.notes == ()
    worker.close()


@pytest.mark.parametrize("kind", [Kind.PARALLEL, Kind.STREAM])
def test_an_empty_call_is_nothing_special(kind):
    reply, outputs = run(worker_for(Stateful(), kind), [])
    assert (outputs, reply.headers, reply.failed) == ([], (), ())
