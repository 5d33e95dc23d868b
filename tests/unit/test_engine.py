"""The engine, one decision at a time. Every interleaving is tried in tests/property/test_engine_properties.py."""

from __future__ import annotations

from collections import Counter

import pytest

from plantain.pipeline.calls import Completion, Poll
from plantain.pipeline.engine import binding
from plantain.pipeline.engine.deaths import MAX_ATTEMPTS, MAX_REWINDS
from plantain.pipeline.engine.engine import Engine
from plantain.pipeline.engine.stream import Phase
from tests.numbers import SEGMENT, OrderedSink, Plan, frame, graph_of, starts_of
from tests.simulation import World

BEGUN = {Phase.READING, Phase.DRAINING, Phase.FINISHING}


def world_of(plans: dict[str, Plan], *, seed: int = 1, deaths: int = 0, **shape) -> tuple[World, OrderedSink]:
    sink = OrderedSink()
    return World(graph_of(plans, sink, **shape), starts_of(plans), seed, deaths), sink


def runs_of(world: World, stage: str) -> list:
    return [call for call in world.calls if call.stage == stage and call.verb == "run"]


def test_batches_mix_streams_whatever_is_asked_of_them():
    world, _ = world_of({"a": Plan(9), "b": Plan(9)}, readers=2, models=1, max_items=6, calls_in_flight=1)
    world.run()
    assert any(
        {header.stream_id for header in call.headers} == {"a", "b"} for call in runs_of(world, "infer")
    )


def test_a_frame_is_one_item_however_many_prompts_are_asked_of_it():
    world, _ = world_of({"a": Plan(12)})
    world.run()
    costs = Counter(header.frame_index for call in runs_of(world, "infer") for header in call.headers)
    assert set(costs.values()) == {1}, "each frame is sent to the model once"


def test_the_window_bounds_frames_in_flight_and_is_shared():
    plans = {"a": Plan(30), "b": Plan(30)}
    world, _ = world_of(plans, readers=2, read_frames=2, max_frames_in_flight=8, calls_in_flight=4)
    most = Counter()
    while not world.engine.is_done:
        world.step()
        for name, stream in world.engine.streams.items():
            most[name] = max(most[name], stream.num_items + 2 * stream.num_reads)
    assert most["a"] <= 8
    assert most["b"] >= 4, "one stream does not take it all"


def test_streams_wait_for_a_reader_and_each_gets_its_turn():
    world, sink = world_of({name: Plan(4) for name in "abcde"}, readers=2)
    world.step()
    phases = [stream.phase for stream in world.engine.streams.values()]
    assert phases.count(Phase.READING) == 2
    assert phases.count(Phase.WAITING) == 3
    world.run()
    assert all(sink.frames_of(name) == Plan(4).expected() for name in "abcde")


@pytest.mark.parametrize(("at_most", "readers"), [(1, 1), (2, 2), (5, 3)])
def test_files_do_not_pile_up_in_front_of_sinks_that_take_their_time(monkeypatch, at_most, readers):
    monkeypatch.setattr(binding, "MAX_READ_FILES", at_most)
    plans = {f"{k:02d}": Plan(1 + k % 2) for k in range(24)}
    world, sink = world_of(plans, readers=readers, max_frames_in_flight=256, calls_in_flight=4)
    most = 0
    while not world.engine.is_done:
        world.step()
        most = max(most, sum(stream.phase in BEGUN for stream in world.engine.streams.values()))
    assert most <= at_most + readers
    assert all(sink.frames_of(name) == plan.expected() for name, plan in plans.items())


def test_one_bad_stream_does_not_touch_the_others():
    plans = {
        "good": Plan(20),
        "torn": Plan(20, breaks_at=7),
        "blind": Plan(6, infer_fails=frozenset(range(6))),
    }
    world, sink = world_of(plans)
    world.run()
    good, torn, blind = (world.engine.streams[name] for name in plans)
    assert (good.phase, good.error) == (Phase.DONE, "")
    assert (torn.phase, torn.error) == (Phase.FAILED, "OSError: the tape is torn")
    assert blind.error.startswith("not one frame was answered; the last one: infer: ValueError: cannot see ")
    assert [len(sink.frames_of(name)) for name in plans] == [20, 7, 6]


def test_a_stream_that_is_complete_already_is_not_opened():
    plans = {"a": Plan(6)}
    world, sink = world_of(plans)
    world.run()
    again = World(graph_of(plans, sink), starts_of(plans, world.checkpoints))
    assert again.engine.is_done
    assert again.engine.dispatch(0.0) == []
    assert again.engine.streams["a"].account.results == 6


def test_a_stream_without_frames_is_done():
    world, sink = world_of({"a": Plan(0)})
    world.run()
    assert world.engine.streams["a"].phase is Phase.DONE
    assert world.checkpoints["a"].is_complete
    assert sink.results == []


@pytest.mark.parametrize("stage", ["read", "infer", "analyse", "write"])
@pytest.mark.parametrize("seed", range(5))
def test_a_worker_that_dies_with_several_calls_changes_nothing(stage, seed):
    plans = {"a": Plan(23), "b": Plan(17)}
    world, sink = world_of(plans, seed=seed, readers=1, models=1, calls_in_flight=3, max_items=2)
    while not world.engine.is_done:
        world.step()
        if not world.num_deaths and len(world.inboxes[stage, 0]) >= 2:
            world.kill((stage, 0), done_first=seed % 2 == 0)
    assert world.num_deaths == 1
    for name, plan in plans.items():
        assert sink.frames_of(name) == plan.expected()
        assert world.engine.streams[name].phase is Phase.DONE


def test_a_frame_that_kills_every_worker_it_meets_is_announced_as_failed():
    world, sink = world_of({"a": Plan(9, poison=frozenset({4}))})
    world.run()
    assert sink.frames_of("a") == [(index, "infer" if index == 4 else None) for index in range(9)]
    assert world.num_deaths == MAX_ATTEMPTS
    (failed,) = [result for result in sink.results if result.failed_in]
    assert failed.predictions[0].value.error == f"its worker died {MAX_ATTEMPTS} times with this frame"


def test_a_stream_that_only_goes_back_is_given_up_and_the_others_go_on():
    world, sink = world_of({"bad": Plan(9), "good": Plan(40)}, readers=2)
    while not world.engine.is_done:
        world.step()
        inbox = world.inboxes["read", 0]
        if any(call.verb == "read" and call.stream_id == "bad" for call in inbox):
            world.kill(("read", 0))
    bad, good = world.engine.streams["bad"], world.engine.streams["good"]
    assert bad.phase is Phase.FAILED
    assert bad.error == f"its process died; {MAX_REWINDS} more tries ended the same way"
    assert good.phase is Phase.DONE
    assert sink.frames_of("good") == Plan(40).expected()


def test_workers_that_die_whatever_they_are_told_end_in_failure_and_not_in_a_loop():
    world, sink = world_of(
        {"a": Plan(9, poison=frozenset({4}), deadly=frozenset({4})), "b": Plan(9)}, models=1
    )
    world.run()
    assert world.engine.streams["a"].phase is Phase.FAILED
    assert world.engine.streams["a"].error == "infer: its process died, again and again"
    assert sink.frames_of("b") == Plan(9).expected()


def test_a_reader_that_dies_does_not_send_streams_back_that_have_been_read():
    world, sink = world_of({"short": Plan(3), "long": Plan(60)}, readers=1)
    while not world.engine.streams["long"].is_open:
        world.step()
    short = world.engine.streams["short"]
    generation = short.generation
    world.kill(("read", 0))
    world.run()
    assert short.generation == generation
    assert sink.frames_of("short") == Plan(3).expected()
    assert sink.frames_of("long") == Plan(60).expected()


def test_answers_may_come_in_any_order_and_twice_is_nothing():
    engine = Engine(graph_of({"a": Plan(6)}, OrderedSink()), starts_of({"a": Plan(6)}))
    (call, *_) = engine.dispatch(0.0)
    engine.complete(Completion(call.ticket, None, error="died"), 0.0)
    assert engine.restarts() == [(call.stage, call.worker)]
    engine.complete(Completion(call.ticket, None, error="died"), 0.0)
    assert engine.restarts() == []
    engine.complete(Completion(999, None, error="never sent"), 0.0)


def test_a_drain_before_anything_was_read_ends_at_once():
    world, sink = world_of({"a": Plan(9), "b": Plan(9)}, readers=1)
    world.engine.drain()
    assert world.engine.is_done
    assert [stream.phase for stream in world.engine.streams.values()] == [Phase.INTERRUPTED] * 2
    assert sink.results == []


@pytest.mark.parametrize("steps", [3, 8, 15, 25, 40, 80])
def test_a_drain_stores_what_is_in_flight_and_the_checkpoint_stays_at_a_whole_segment(steps):
    world, sink = world_of({"a": Plan(60)})
    for _ in range(steps):
        world.step()
    world.engine.drain()
    world.run()
    stream = world.engine.streams["a"]
    assert stream.phase is Phase.INTERRUPTED
    assert len(sink.frames_of("a")) == stream.account.decoded == stream.account.results
    if "a" in world.checkpoints:
        assert world.checkpoints["a"].position.frame_index % SEGMENT == 0
        assert not world.checkpoints["a"].is_complete


def test_a_drain_after_the_last_read_lets_the_stream_complete():
    world, _ = world_of({"a": Plan(5)})
    while not world.engine.streams["a"].has_ended:
        world.step()
    world.engine.drain()
    world.run()
    assert world.engine.streams["a"].phase is Phase.DONE


def test_nothing_has_a_deadline_that_no_worker_is_free_for():
    world, _ = world_of({"a": Plan(30)}, models=1, calls_in_flight=1, max_items=2)
    while not (world.inboxes["infer", 0] and world.engine.loads(world.now)["infer"].items):
        world.step()
    calls = world.engine.dispatch(world.now + 10)
    assert not any(call.stage == "infer" for call in calls)
    assert world.engine.deadline() is None, (
        "or the runner would look again and again until the worker is done"
    )


def test_only_full_batches_are_given_ahead_to_a_model_that_still_works():
    world, _ = world_of({"a": Plan(60)}, models=1, calls_in_flight=2, max_items=4, read_frames=2)
    while not world.engine.is_done:
        ahead = bool(world.inboxes["infer", 0])
        before = len(runs_of(world, "infer"))
        world.step()
        more_can_come = world.engine.streams["a"].phase is Phase.READING
        for place, call in enumerate(runs_of(world, "infer")[before:]):
            if more_can_come and (ahead or place):
                is_full = len(call.headers) == 4 or sum(header.cost for header in call.headers) + 3 > 2 * 4
                assert is_full, "what comes while the model works joins the others"
    assert any(len(call.headers) == 4 for call in runs_of(world, "infer"))


def test_a_further_batch_is_given_when_the_model_has_nearly_done_the_one_before():
    world, _ = world_of({"a": Plan(60)}, models=1, calls_in_flight=2, max_items=4, read_frames=2)
    engine, pool = world.engine, world.engine.pool()
    lane = pool.lanes[0]

    while not (len(lane.tickets) == 1 and len(list(pool.waiting())) >= 4):
        lane.item_s = 0.1
        world.step()
    lane.item_s = 0.1
    begun_s, size = lane.begun_s, len(pool.workers.sent[min(lane.tickets)].items)
    due_s = begun_s + 0.9 * 0.1 * size
    assert engine.deadline() <= due_s
    assert not [call for call in engine.dispatch(due_s - 0.01) if call.stage == "infer"]
    question = frame("?1", 0)
    engine.queries.ask("?1", [question.header], [question], due_s - 0.005)
    (call,) = [call for call in engine.dispatch(due_s + 0.001) if call.stage == "infer"]
    assert len(call.headers) > 1
    assert call.headers[0].stream_id == "?1", "it does not wait for a batch that waits"


def test_a_checkpoint_that_cannot_be_stored_ends_the_stream():
    world, _ = world_of({"a": Plan(30), "b": Plan(30)})
    while not world.checkpoints:
        world.step()
    (name,) = world.checkpoints
    world.engine.fail(name, "no space is left")
    world.run()
    assert world.engine.streams[name].phase is Phase.FAILED
    assert world.engine.streams[name].error == "no space is left"
    (other,) = {"a", "b"} - {name}
    assert world.engine.streams[other].phase is Phase.DONE


@pytest.mark.parametrize("stage", ["read", "analyse", "write"])
def test_a_worker_that_dies_when_everything_is_stored_sends_nobody_back(stage):
    world, sink = world_of({"a": Plan(7)})
    stream = world.engine.streams["a"]
    while not stream.start.durable.is_complete:
        world.step()
    generation = stream.generation
    world.kill((stage, 0))
    world.run()
    assert stream.generation == generation
    assert stream.phase is Phase.DONE
    assert stream.account.decoded == stream.account.results == 7
    assert sink.frames_of("a") == Plan(7).expected()


def test_a_camera_whose_frames_may_not_enter_is_not_looked_at_again_and_again():
    plans = {"cam": Plan(90, is_live=True)}
    world, _ = world_of(plans, readers=1, models=1, calls_in_flight=1, read_frames=4, max_frames_in_flight=8)
    for _ in range(60):  # the model gives no answer
        for call in world.engine.dispatch(world.now):
            world.inboxes[call.stage, call.worker].append(call)
        for key, inbox in world.inboxes.items():
            while inbox and key[0] != "infer":
                world.work(key)
        while world.answers:
            world.deliver()
        world.now += 0.03
    assert world.engine.frames_in_flight == 8
    world.engine.dispatch(world.now)
    deadline = world.engine.deadline()
    assert deadline is None or deadline > world.now


@pytest.mark.parametrize(
    ("names", "apart"),
    [
        (["cam", "file"], [["cam"], ["file"]]),
        (["file", "cam"], [["file"], ["cam"]]),
        (["file", "cam", "cam2"], [["file"], ["cam", "cam2"]]),
        (["cam", "file", "file2"], [["cam", "file2"], ["file"]]),
        (["cam", "cam2", "file", "file2"], [["cam", "file"], ["cam2", "file2"]]),
    ],
    ids=str,
)
def test_a_file_that_takes_its_time_holds_up_no_camera_that_could_be_read_elsewhere(names, apart):
    plans = {name: Plan(50, is_live=name.startswith("cam")) for name in names}
    world, _ = world_of(plans, readers=2, models=1)
    world.engine.dispatch(world.now)
    readers: list[list[str]] = [[], []]
    for name, stream in world.engine.streams.items():
        readers[stream.workers["read"]].append(name)
    assert sorted(map(sorted, readers)) == sorted(apart)


def test_many_cameras_are_looked_at_together_though_few_frames_may_be_in_flight():
    """A camera rarely has more than one frame: room for a reader's whole helping is not kept free for each."""
    plans = {f"cam{k}": Plan(5, is_live=True) for k in range(40)}
    world, _ = world_of(plans, readers=1, models=1, calls_in_flight=1, read_frames=8, max_frames_in_flight=64)
    polled: list[int] = []
    for _ in range(8):
        for call in world.engine.dispatch(world.now):
            if isinstance(call.work, Poll):
                polled.append(len(call.wanted))
            world.inboxes[call.stage, call.worker].append(call)
        for key in world.inboxes:
            while world.inboxes[key]:
                world.work(key)
        while world.answers:
            world.deliver()
        world.now += 0.03
    assert max(polled) == 40
