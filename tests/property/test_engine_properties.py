"""The engine under every interleaving that a seed can draw: late answers, deaths, drains and killed runs."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from plantain.operators.prompts import Prompt
from plantain.pipeline.engine.stream import Phase
from plantain.pipeline.graph import Kind
from tests.numbers import DEPTH, OrderedSink, Plan, graph_of, starts_of
from tests.simulation import NORMALS, World

# One more could hit the same frame each time, which is then announced as failed (deaths.MAX_ATTEMPTS).
FEW_DEATHS = 2

SLOW = settings(max_examples=100, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))


def indexes(frames: list[tuple[int, str | None]]) -> list[int]:
    return [index for index, _ in frames]


@st.composite
def plans(
    draw: st.DrawFn, *, poison: bool = False, breaks: bool = False, live: bool = False
) -> dict[str, Plan]:
    made = {}
    for number in range(draw(st.integers(1, 4))):
        count = draw(st.integers(0, 30))
        frames = st.frozensets(st.integers(0, 29), max_size=3)
        made[f"s{number}"] = Plan(
            count,
            infer_fails=draw(frames),
            analyse_fails=draw(frames),
            poison=draw(frames) if poison else frozenset(),
            breaks_at=draw(st.none() | st.integers(0, count)) if breaks else None,
            is_live=live and draw(st.booleans()),
        )
    return made


shapes = st.fixed_dictionaries(
    {
        "readers": st.integers(1, 3),
        "models": st.integers(1, 3),
        "trackers": st.integers(1, 2),
        "writers": st.integers(1, 2),
        "max_items": st.integers(1, 5),
        "read_frames": st.integers(1, 5),
        "max_frames_in_flight": st.integers(5, 40),
        "calls_in_flight": st.integers(1, 3),
    }
)
seeds = st.integers(0, 2**32)
faults = st.integers(0, 4)


def assert_ended_as_planned(world: World, sink: OrderedSink, plan_of: dict[str, Plan]) -> None:
    for stream_id, plan in plan_of.items():
        stream = world.engine.streams[stream_id]
        assert sink.frames_of(stream_id) == plan.expected(), stream_id
        answered = [index for index, failed_in in plan.expected() if failed_in is None]
        reached_end = plan.breaks_at is None and (bool(answered) or not plan.expected())
        assert stream.phase is (Phase.DONE if reached_end else Phase.FAILED), (stream.phase, stream.error)
        assert stream.account.results == len(answered)
        assert stream.account.decoded == len(plan.expected())


@SLOW
@given(plans(breaks=True), shapes, seeds)
def test_every_frame_is_stored_once_and_in_order_whatever_completes_first(plan_of, shape, seed):
    sink = OrderedSink()
    world = World(graph_of(plan_of, sink, **shape), starts_of(plan_of), seed)
    world.run()
    assert_ended_as_planned(world, sink, plan_of)


@SLOW
@given(plans(breaks=True), shapes, seeds)
def test_a_few_dead_workers_change_nothing(plan_of, shape, seed):
    sink = OrderedSink()
    world = World(graph_of(plan_of, sink, **shape), starts_of(plan_of), seed, deaths=FEW_DEATHS)
    world.run()
    assert_ended_as_planned(world, sink, plan_of)


@SLOW
@given(plans(poison=True), shapes, seeds)
def test_a_frame_that_kills_its_workers_is_announced_and_no_other_frame_suffers(plan_of, shape, seed):
    sink = OrderedSink()
    world = World(graph_of(plan_of, sink, **shape), starts_of(plan_of), seed)
    world.run()
    assert_ended_as_planned(world, sink, plan_of)


@SLOW
@given(plans(), shapes, seeds)
def test_streams_given_up_after_many_deaths_are_completed_by_the_next_run(plan_of, shape, seed):
    sink = OrderedSink()
    world = World(graph_of(plan_of, sink, **shape), starts_of(plan_of), seed, deaths=12)
    world.run()
    for stream_id, plan in plan_of.items():
        # Twelve deaths can hit one frame three times: then it is announced as failed, and is still there, in its place.
        stored = indexes(sink.frames_of(stream_id))
        assert stored == indexes(plan.expected())[: len(stored)]
    again = World(graph_of(plan_of, sink, **shape), starts_of(plan_of, world.checkpoints), seed + 1)
    again.run()
    for stream_id, plan in plan_of.items():
        assert indexes(sink.frames_of(stream_id)) == indexes(plan.expected())


@SLOW
@given(plans(breaks=True), shapes, seeds, st.integers(0, 80), st.integers(0, FEW_DEATHS))
def test_a_drained_run_ends_soon_and_the_next_one_completes_it(plan_of, shape, seed, steps, deaths):
    sink = OrderedSink()
    world = World(graph_of(plan_of, sink, **shape), starts_of(plan_of), seed, deaths=deaths)
    for _ in range(steps):
        if world.engine.is_done:
            break
        world.step()
    while not world.engine.is_done:
        world.engine.drain()
        reads = sum(call.verb == "read" for call in world.calls)
        world.step()
        assert sum(call.verb == "read" for call in world.calls) == reads, "a drained engine reads nothing"
    for stream_id, plan in plan_of.items():
        stored = sink.frames_of(stream_id)
        assert stored == plan.expected()[: len(stored)]
    again = World(graph_of(plan_of, sink, **shape), starts_of(plan_of, world.checkpoints), seed + 1)
    again.run()
    assert_ended_as_planned(again, sink, plan_of)


@SLOW
@given(plans(breaks=True), shapes, seeds, st.lists(st.integers(0, 120), min_size=1, max_size=4))
def test_a_killed_run_is_completed_by_the_next_one(plan_of, shape, seed, lives):
    sink = OrderedSink()
    checkpoints = {}
    for number, steps in enumerate(lives):
        world = World(
            graph_of(plan_of, sink, **shape),
            starts_of(plan_of, checkpoints),
            seed + number,
            deaths=1,
            checkpoints=checkpoints,
        )
        for _ in range(steps):
            if world.engine.is_done:
                break
            world.step()
        checkpoints = dict(world.checkpoints)
        for stream_id, durable in checkpoints.items():
            stored = sink.frames_of(stream_id)
            assert len(stored) >= durable.position.frame_index, (
                "a checkpoint is never newer than what is stored"
            )
    world = World(graph_of(plan_of, sink, **shape), starts_of(plan_of, checkpoints), seed)
    world.run()
    assert_ended_as_planned(world, sink, plan_of)


@SLOW
@given(plans(), shapes, seeds, faults, st.integers(0, FEW_DEATHS))
def test_a_sink_that_fails_leaves_no_gap_and_the_next_run_completes_its_streams(
    plan_of, shape, seed, num_faults, deaths
):
    sink = OrderedSink(faults=num_faults, seed=seed)
    world = World(graph_of(plan_of, sink, **shape), starts_of(plan_of), seed, deaths=deaths)
    world.run()
    for stream_id, plan in plan_of.items():
        stored = sink.frames_of(stream_id)
        assert stored == plan.expected()[: len(stored)]
    sink.faults = 0
    again = World(graph_of(plan_of, sink, **shape), starts_of(plan_of, world.checkpoints), seed + 1)
    again.run()
    assert_ended_as_planned(again, sink, plan_of)
    assert not sink.offences


@SLOW
@given(plans(live=True), shapes, seeds, faults, st.integers(0, FEW_DEATHS), st.integers(1, 20))
def test_whatever_is_done_to_streams_meanwhile_nothing_is_lost_uncounted_or_left_behind(
    plan_of, shape, seed, num_faults, deaths, pause
):
    """World.step checks the books of every stream and prompt at every step."""
    sink = OrderedSink(plan_of, faults=num_faults, seed=seed)
    world = World(graph_of(plan_of, sink, **shape), starts_of(plan_of), seed, deaths=deaths)
    for number in range(400):
        if number % pause == 0:
            world.operate(plan_of)
        if not world.engine.is_done:
            world.step()
    for stream in list(world.engine.streams.values()):
        if stream.is_leaving:
            continue
        if stream.phase is Phase.PAUSED or stream.then is Phase.PAUSED:
            world.engine.lives.resume(stream.stream_id)
    world.run()
    assert not world.asked, "every query is answered or refused"
    for answer in world.answered.values():
        assert (answer.error is None) == bool(answer.handles)
    for stream_id, plan in plan_of.items():
        stream = world.engine.streams.get(stream_id)
        if plan.is_live:
            assert_results_are_what_is_stored(world, sink, stream_id)
        if plan.is_live or stream is None or stream.phase is not Phase.DONE:
            continue
        assert indexes(sink.frames_of(stream_id)) == indexes(plan.expected())
    for stream in list(world.engine.streams.values()):
        world.engine.lives.remove(stream.stream_id)
    world.run()
    world.step()  # an engine without streams goes on; what waited for nobody goes now
    assert not world.engine.streams
    assert all(stream.account.in_flight == 0 for stream in world.gone)
    assert_nothing_is_left(world)


POOLS = {"infer": Kind.PARALLEL, "sessions": Kind.STREAM, "more": Kind.PARALLEL}
LAST = Prompt.parse("refer:the red car")


@SLOW
@given(plans(breaks=True), shapes, seeds, st.integers(0, FEW_DEATHS), st.integers(2, 3))
def test_a_file_asked_of_several_models_gets_one_result_for_each_frame(
    plan_of, shape, seed, deaths, num_pools
):
    sink = OrderedSink()
    named = dict(list(POOLS.items())[:num_pools])
    starts = starts_of(plan_of, prompts=(DEPTH, NORMALS, LAST))
    world = World(graph_of(plan_of, sink, pools=named, **shape), starts, seed, deaths=deaths)
    world.run()
    assert_ended_as_planned(world, sink, plan_of)
    for result in sink.results:
        assert sorted(str(p.prompt) for p in result.predictions) == ["depth", "normals", str(LAST)]


@SLOW
@given(plans(breaks=True), shapes, seeds, st.lists(st.integers(0, 160), min_size=1, max_size=3))
def test_a_killed_run_of_several_models_is_completed_by_the_next_one(plan_of, shape, seed, lives):
    sink = OrderedSink()
    checkpoints = {}
    prompts = (DEPTH, NORMALS)
    for number, steps in enumerate([*lives, 20_000]):
        starts = starts_of(plan_of, checkpoints, prompts)
        graph = graph_of(plan_of, sink, pools={"infer": Kind.PARALLEL, "sessions": Kind.STREAM}, **shape)
        world = World(graph, starts, seed + number, deaths=1, checkpoints=checkpoints)
        for _ in range(steps):
            if world.engine.is_done:
                break
            world.step()
        checkpoints = dict(world.checkpoints)
    assert_ended_as_planned(world, sink, plan_of)


@SLOW
@given(
    plans(live=True),
    shapes,
    seeds,
    faults,
    st.integers(0, FEW_DEATHS),
    st.integers(1, 20),
    st.sampled_from([0.0, 0.02, 1.0]),
)
def test_whatever_is_done_to_streams_of_several_models_the_books_are_right(
    plan_of, shape, seed, num_faults, deaths, pause, join_s
):
    """World.step checks the books of every stream and prompt at every step; a camera's pools overtake one another.

    Parts of a camera's frame wait for one another not at all, for a while, or as long as it takes.
    """
    sink = OrderedSink(plan_of, faults=num_faults, seed=seed, overtaking=True)
    graph = graph_of(
        plan_of, sink, pools={"infer": Kind.PARALLEL, "sessions": Kind.STREAM}, join_s=join_s, **shape
    )
    world = World(graph, starts_of(plan_of, prompts=(DEPTH, NORMALS)), seed, deaths=deaths)
    for number in range(400):
        if number % pause == 0:
            world.operate(plan_of)
        if not world.engine.is_done:
            world.step()
    for stream in list(world.engine.streams.values()):
        if not stream.is_leaving and (stream.phase is Phase.PAUSED or stream.then is Phase.PAUSED):
            world.engine.lives.resume(stream.stream_id)
    world.run()
    assert not world.asked, "every query is answered or refused"
    for stream_id, plan in plan_of.items():
        stream = world.engine.streams.get(stream_id)
        if not plan.is_live and stream is not None and stream.phase is Phase.DONE:
            assert indexes(sink.frames_of(stream_id)) == indexes(plan.expected())
    for stream in list(world.engine.streams.values()):
        world.engine.lives.remove(stream.stream_id)
    world.run()
    world.step()
    assert all(stream.account.in_flight == 0 for stream in world.gone)
    assert_nothing_is_left(world)


def assert_results_are_what_is_stored(world: World, sink: OrderedSink, stream_id: str) -> None:
    """What a camera's books call a result is on disk, over all that it was added and removed.

    More may be there: a writer that dies may have committed and not said so, and so may one whose stream was removed
    without being drained.
    """
    lives = [
        stream for stream in (*world.gone, *world.engine.streams.values()) if stream.stream_id == stream_id
    ]
    taken = sum(
        stream.account.results + stream.account.failed.total() - stream.account.failed["stream ended"]
        for stream in lives
    )
    given_up = any(stream.phase is Phase.FAILED for stream in lives)
    stored = len(sink.frames_of(stream_id))
    assert given_up or stored >= taken
    if not world.num_deaths and not any("removed" in stream.account.skipped for stream in lives):
        assert given_up or stored == taken


def assert_nothing_is_left(world: World) -> None:
    """No worker and no queue remembers a stream or a query."""
    engine = world.engine
    assert not len(engine.queries)
    assert not list(engine.queries.deadlines())
    assert not engine._workers.sent
    assert not any(list(pool.waiting()) for pool in engine.pools.values())
    assert not any(lane.queue for lanes in engine._workers.lanes.values() for lane in lanes)
    reader, follower, writer = (
        [worker for (stage, _), worker in world.workers.items() if stage == name]
        for name in ("read", "analyse", "write")
    )
    assert not any(worker.operator._next or worker.operator._starts for worker in reader)
    assert not any(worker.operator._streams for worker in follower)
    assert not any(worker.operator._streams for worker in writer)
