"""What a worker makes of what operators raise, and of what it is told."""

from __future__ import annotations

import pickle
from collections.abc import Sequence

import numpy as np
import pytest

from plantain.operators.answers.image.value import Image
from plantain.operators.errors import ModelBusyError, ModelError, SinkError, SourceLostError
from plantain.operators.following import Follower
from plantain.operators.render.looks import Look, Picture
from plantain.operators.segments import Durable, Position
from plantain.operators.streams import ReadState
from plantain.operators.types import Failure, Prediction, Result, Timing
from plantain.pipeline.calls import Call, Close, Fail, Open, Read, Refusal, Run, StreamError, Wanted, Work
from plantain.pipeline.graph import Kind, Stage
from plantain.pipeline.worker import Worker, worker_of
from tests.numbers import DEPTH, frame, starts_of
from tests.numbers import Plan as NumberPlan

(START,) = starts_of({"a": NumberPlan(9)})


def things(*indexes: int, stream_id: str = "a") -> list[Result]:
    return [frame(stream_id, index) for index in indexes]


def answered(item: Result, value: Image | Failure) -> Result:
    return Result(item.header, item.info, (Prediction(DEPTH, value, "scripted", "1", Timing()),))


def failure_of(result: Result) -> Failure | None:
    return next((failure for _, failure in result.failures), None)


class Script:
    """Raises an error for some items, and notes every call."""

    def __init__(self, errors: dict[int, list[Exception]] | None = None) -> None:
        self.errors = errors or {}
        self.calls: list[list[int]] = []

    def play(self, items: Sequence[Result]) -> list[Result]:
        self.calls.append([item.header.frame_index for item in items])
        for item in items:
            if left := self.errors.get(item.header.frame_index):
                raise left[0] if len(left) == 1 else left.pop(0)
        return [answered(item, Image(np.zeros((1, 1, 3), np.uint8))) for item in items]


class Scripted(Script):
    """A model that answers as scripted."""

    def __init__(self, errors: dict[int, list[Exception]] | None = None) -> None:
        super().__init__(errors)
        self.laps: list[tuple[str, float]] = []
        self.forgotten: list[str] = []

    def __call__(self, requests, waits_ms=()):
        return self.play(requests)

    def fail(self, request, failure):
        return answered(request, failure)

    def swap(self, options):
        raise ModelError("no other weights")

    def forget(self, stream_id):
        self.forgotten.append(stream_id)

    def close(self):
        raise OSError("already gone")


class Following(Script, Follower):
    """A follower without a way back."""

    def __init__(self, errors: dict[int, list[Exception]] | None = None) -> None:
        Script.__init__(self, errors)
        Follower.__init__(self)

    def __call__(self, results):
        return self.play(results)


def worker_for(operator: object, kind: Kind, pauses: list[float] | None = None) -> Worker:
    pauses = [] if pauses is None else pauses
    has_model = isinstance(operator, Scripted)
    return worker_of(Stage("stage", kind, make=lambda: operator, has_model=has_model), sleep=pauses.append)


def call_of(items: list[Result], work: Work) -> Call:
    headers = tuple(item.header for item in items)
    return Call(1, "stage", 0, work, headers=headers, waits_ms=(0.0,) * len(items))


def run(worker: Worker, items: list[Result]):
    return worker.run(call_of(items, Run()), [(item,) for item in items])


def test_a_batch_that_fails_is_halved_until_the_bad_items_stand_alone():
    operator = Scripted({2: [ModelError("too dark")]})
    reply, outputs = run(worker_for(operator, Kind.PARALLEL), things(0, 1, 2, 3))
    assert operator.calls == [[0, 1, 2, 3], [0, 1], [2, 3], [2], [3]]
    assert [each.header.frame_index for each in outputs] == [0, 1, 2, 3]
    assert [failure_of(each) for each in outputs] == [
        None,
        None,
        Failure("stage", "too dark", retryable=False),
        None,
    ]
    assert reply.failed == (Refusal(outputs[2].header, str(DEPTH), "too dark"),)
    assert reply.headers == tuple(each.header for each in outputs)
    assert reply.busy_s >= 0


def test_an_error_that_nobody_meant_to_show_is_named_by_its_type_and_without_secrets():
    operator = Scripted({0: [RuntimeError("cannot reach http://me:pw@host/")], 1: [KeyError()]})
    reply, _ = run(worker_for(operator, Kind.PARALLEL), things(0, 1))
    assert [refusal.error for refusal in reply.failed] == [
        "RuntimeError: cannot reach http://host/",
        "KeyError",
    ]


def test_a_busy_model_is_asked_again_after_growing_pauses():
    pauses: list[float] = []
    operator = Scripted({0: [ModelBusyError("come back later")]})
    reply, outputs = run(worker_for(operator, Kind.PARALLEL, pauses), things(0, 1))
    assert pauses == [0.2, 0.4, 0.8, 1.6, 3.2]
    assert len(outputs) == 2
    assert {refusal.error for refusal in reply.failed} == {"come back later"}, "it never was free"
    assert len(operator.calls) == 6, "and is not asked about every half as well"


def test_a_backend_that_answers_too_little_fails_its_items_and_says_so():
    class Forgetful(Scripted):
        def __call__(self, items, waits_ms=()):
            return super().__call__(items)[1:]

    _, outputs = run(worker_for(Forgetful(), Kind.PARALLEL), things(0, 1))
    assert [failure_of(each).error for each in outputs] == ["stage stage gave 0 outputs for 1 inputs"] * 2


def test_a_follower_is_never_given_an_item_twice():
    operator = Following({1: [SinkError("disk full")]})
    reply, outputs = run(worker_for(operator, Kind.STREAM), things(0, 1, 2))
    assert operator.calls == [[0, 1, 2]]
    assert outputs == []
    assert reply.notes == (StreamError("a", "stage", "disk full"),)


def test_what_an_operator_gave_before_an_error_stands():
    durable = Durable("a", 0, Position())

    class Storing(Following):
        def __call__(self, results):
            yield durable
            raise SinkError("disk full")

    reply, _ = run(worker_for(Storing(), Kind.STREAM), things(0))
    assert reply.notes == (durable, StreamError("a", "stage", "disk full"))


def test_a_stream_that_breaks_does_not_touch_the_others_in_the_batch():
    operator = Following({1: [SinkError("disk full")]})
    items = [*things(0, 1), *things(5, stream_id="b"), *things(2), *things(6, stream_id="b")]
    reply, outputs = run(worker_for(operator, Kind.STREAM), items)
    assert [each.header.stream_id for each in outputs] == ["b", "b"]
    assert [note.stream_id for note in reply.notes] == ["a"]
    assert [2] not in operator.calls, "what follows in a broken stream is let go"


@pytest.mark.parametrize("work", [Open(START), Close()])
def test_what_was_under_way_when_a_stream_broke_is_let_go_until_it_begins_anew(work):
    operator = Following({1: [SinkError("disk full")]})
    worker = worker_for(operator, Kind.STREAM)
    run(worker, things(0))
    assert run(worker, things(1))[0].notes == (StreamError("a", "stage", "disk full"),)
    reply, outputs = run(worker, [*things(2), *things(2, stream_id="b")])
    assert [each.header.stream_id for each in outputs] == ["b"]
    assert reply.notes == ()
    worker.run(Call(1, "stage", 0, work, "a"), ())
    assert len(run(worker, things(3))[1]) == 1
    assert operator.calls == [[0], [1], [2], [3]]


def test_a_failure_is_announced_when_the_engine_says_so():
    items = things(3)
    failure = Failure("stage", "its worker died", retryable=False)
    worker = worker_for(Scripted(), Kind.PARALLEL)
    reply, (output,) = worker.run(call_of(items, Fail(failure)), [(items[0],)])
    assert failure_of(output) is failure
    assert reply.failed == (Refusal(items[0].header, str(DEPTH), "its worker died"),)


def test_a_prompt_that_a_model_could_not_answer_is_told_though_nothing_was_raised():
    class Choosy(Scripted):
        def __call__(self, requests, waits_ms=()):
            first, *others = super().__call__(requests)
            return [answered(first, Failure("stage", "refused", retryable=False)), *others]

    operator = Choosy()
    reply, outputs = run(worker_for(operator, Kind.PARALLEL), things(0, 1))
    assert reply.failed == (Refusal(outputs[0].header, str(DEPTH), "refused"),)
    assert operator.calls == [[0, 1]], "nobody else is asked again for it"


def test_a_model_that_keeps_streams_sees_one_at_a_time_and_forgets_the_one_that_failed():
    operator = Scripted({5: [ValueError("lost the thread")]})
    items = [*things(0, 1), *things(5, stream_id="b"), *things(2)]
    _, outputs = run(worker_for(operator, Kind.STREAM), items)
    assert operator.calls == [[0, 1], [5], [2]]
    assert [each.failed_in for each in outputs] == [None, None, "stage", None]
    assert operator.forgotten == ["b"]


class Reader:
    """A source that is lost for a moment."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.laps: list[tuple[str, float]] = []

    def open(self, start):
        raise OSError("no such camera")

    def read(self, stream_id, max_frames):
        if self.errors:
            raise self.errors.pop(0)
        return things(*range(max_frames))

    def state(self, stream_id):
        return ReadState(stream_id, False, Position(), 0)

    def close(self, stream_id=None):
        raise OSError("already gone")


def test_reading_is_tried_again_while_the_source_may_come_back():
    pauses: list[float] = []
    worker = worker_for(Reader(SourceLostError("a"), SourceLostError("b")), Kind.SOURCE, pauses)
    reply, outputs = worker.run(Call(1, "stage", 0, Read(Wanted("a", 0, 3)), "a"), ())
    assert len(outputs) == 3
    assert reply.notes == (ReadState("a", False, Position(), 0),)
    assert pauses == [0.2, 0.4]


def test_a_stream_that_cannot_be_opened_is_a_note_and_not_an_exception():
    reply, outputs = worker_for(Reader(), Kind.SOURCE).run(Call(1, "stage", 0, Open(START), "a"), ())
    assert outputs == []
    assert reply.notes == (StreamError("a", "stage", "OSError: no such camera"),)


def test_an_error_on_closing_comes_too_late_to_matter():
    worker = worker_for(Reader(), Kind.SOURCE)
    reply, _ = worker.run(Call(1, "stage", 0, Close(), "a"), ())
    assert reply.notes == ()
    worker.close()


@pytest.mark.parametrize(
    ("operator", "kind"), [(Scripted(), Kind.PARALLEL), (Scripted(), Kind.STREAM), (Following(), Kind.STREAM)]
)
def test_an_empty_call_is_nothing_special(operator, kind):
    reply, outputs = run(worker_for(operator, kind), [])
    assert (outputs, reply.headers, reply.failed) == ([], (), ())


def test_pictures_travel_beside_the_payloads_and_not_in_the_reply():
    """A reply is what the engine takes into its turn; a wall of viewers must not make it heavier."""
    look = Look("cam")

    class Drawing(Follower):
        def __call__(self, results):
            yield Picture(look, 0.0, None, jpeg=b"\xff\xd8" * 500)
            yield from results

    (item,) = things(0)
    stage = Stage("write", Kind.STREAM, Drawing)
    reply, payloads = worker_of(stage).run(Call(1, "write", 0, Run(), headers=(item.header,)), [[item]])
    assert payloads == [item, b"\xff\xd8" * 500]
    assert reply.headers == (item.header,)
    assert reply.pictures == (Picture(look, 0.0, None),)
    assert b"\xff\xd8" not in pickle.dumps(reply)
