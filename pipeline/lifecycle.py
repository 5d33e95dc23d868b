"""A stream's way from being added to being forgotten, and what may be done to it meanwhile."""

from __future__ import annotations

from dataclasses import replace

from plantain.operators.errors import SourceError, UsageError
from plantain.operators.render.looks import Look
from plantain.operators.streams import Start
from plantain.operators.types import HealthEvent, HealthState
from plantain.pipeline.queries import Answer
from plantain.pipeline.state import State
from plantain.pipeline.stream import ENDED, IDLE, RESTING, Phase, Stream

# A camera whose results could not be stored is begun again after pauses that double up to the last, seconds.
FIRST_RETRY_S, LAST_RETRY_S = 1.0, 5.0


class UnknownStreamError(UsageError):
    """There is no stream of this name."""


def find(state: State, stream_id: str) -> Stream:
    """A stream by its name.

    Raises:
        UnknownStreamError: If there is none.
    """
    stream = state.streams.get(stream_id)
    if stream is None or stream.is_leaving:
        raise UnknownStreamError(f"there is no stream '{stream_id}'")
    return stream


def say(state: State, stream: Stream, what: HealthState, sentence: str, at_ns: int) -> None:
    """Tells of something that somebody did to a stream."""
    epoch = max(stream.epoch, stream.start.durable.epoch)
    state.tell(HealthEvent(stream.stream_id, epoch, what, f"stream '{stream.stream_id}': {sentence}", at_ns))


def add(state: State, start: Start, at_ns: int) -> Stream:
    """A further stream, which begins as soon as a reader is free.

    Raises:
        UsageError: If its name is taken.
    """
    name = start.spec.stream_id
    if name in state.streams:
        raise UsageError(f"there is a stream '{name}' already; remove it first, or choose another name")
    stream = state.streams[name] = Stream.of(start)
    stream.generation = state.next_generation
    say(state, stream, "added", "added", at_ns)
    return stream


def pause(state: State, stream_id: str, at_ns: int) -> Stream:
    """Lets a stream rest: what is in flight is finished and stored, and its source is closed.

    Raises:
        UsageError: If it has ended.
    """
    stream = find(state, stream_id)
    if stream.phase in ENDED:
        raise UsageError(f"stream '{stream_id}' has ended ({stream.phase}); it cannot be paused")
    if stream.phase in (Phase.WAITING, Phase.RETRYING):
        stream.phase, stream.error = Phase.PAUSED, ""
    elif stream.phase is not Phase.PAUSED:
        _stop(stream, Phase.PAUSED)
    say(state, stream, "paused", "paused", at_ns)
    return stream


def resume(state: State, stream_id: str, at_ns: int) -> Stream:
    """Lets a paused stream go on, and one that failed try again.

    Raises:
        UsageError: If it is done.
    """
    stream = find(state, stream_id)
    if stream.phase in (Phase.DONE, Phase.INTERRUPTED):
        raise UsageError(f"stream '{stream_id}' has ended ({stream.phase}); remove it and add it again")
    if stream.phase in (Phase.PAUSED, Phase.RETRYING, Phase.FAILED):
        _begin_again(stream)
    elif stream.then is Phase.PAUSED:
        stream.then = Phase.WAITING
    else:
        return stream
    say(state, stream, "resumed", "resumed", at_ns)
    return stream


def change(state: State, start: Start, at_ns: int) -> Stream:
    """Goes on with other prompts, sampling or options.

    New prompts count from the next frame that is read. For the rest, what is in flight is finished and stored, and the
    source is opened again.

    Args:
        state: Of the engine.
        start: The stream's start as it should be, whatever it says of what is durable.
        at_ns: The time, ns since 1970 UTC.
    """
    stream = find(state, start.spec.stream_id)
    is_same_source = start.spec == stream.start.spec
    stream.start = replace(stream.start, spec=start.spec, prompts=start.prompts, cadences=start.cadences)
    if stream.phase is Phase.READING:
        if is_same_source:
            state.order(state.source, stream, "change", stream.start)
        else:
            _stop(stream, Phase.WAITING)
    elif stream.phase not in IDLE and not is_same_source and stream.then is None:
        stream.then = Phase.WAITING
    say(state, stream, "reconfigured", f"now asked {', '.join(stream.prompts)}", at_ns)
    return stream


def remove(state: State, stream_id: str, at_ns: int, *, drain: bool = True) -> Stream:
    """Ends a stream and forgets it; what is stored stays.

    Args:
        state: Of the engine.
        stream_id: The stream.
        at_ns: The time, ns since 1970 UTC.
        drain: Whether what is in flight is finished and stored; if not, it is dropped.
    """
    stream = find(state, stream_id)
    stream.is_leaving = True
    if stream.phase in (Phase.WAITING, Phase.PAUSED, Phase.RETRYING):
        stream.phase = Phase.INTERRUPTED
    elif stream.phase not in ENDED and drain:
        _stop(stream, Phase.INTERRUPTED)
    elif stream.phase not in ENDED:
        stream.let_go("removed")
        stream.phase = Phase.INTERRUPTED
        _close(state, stream)
    say(state, stream, "removed", "removed", at_ns)
    return stream


def drain(state: State) -> None:
    """Takes no more questions and reads nothing more; what is in flight is answered, or finished and stored."""
    state.is_draining = True
    for stream in state.streams.values():
        if stream.phase in (Phase.WAITING, Phase.PAUSED):
            stream.phase = Phase.INTERRUPTED
        elif stream.phase is Phase.RETRYING:
            stream.phase = Phase.FAILED
        elif stream.phase not in ENDED:
            _stop(stream, Phase.INTERRUPTED)


def fail(state: State, stream: Stream, error: str, *, keep: bool) -> None:
    """Ends a stream for a reason; with `keep` what is in flight is still finished and stored.

    A camera that cannot store its results any more (a full disk, a broker that refuses) loses what is not durable,
    and is begun again soon, for ever: what fills a disk at night is often gone in the morning.
    """
    if stream.phase in ENDED | {Phase.RETRYING}:
        return
    stream.error = stream.error or error
    if keep:
        stream.phase = Phase.DRAINING if stream.phase is Phase.READING else stream.phase
        return
    stream.let_go("stream ended", is_failure=True)
    is_wanted = stream.then in (None, Phase.WAITING) and not stream.is_leaving
    has_worked = stream.strain.has_results  # what never did needs somebody to look at it
    stream.phase = Phase.RETRYING if stream.is_live and has_worked and is_wanted else Phase.FAILED
    stream.then = stream.retry_s = None
    _say_failed(state, stream)
    _close(state, stream)


def advance(state: State, stream: Stream) -> None:
    """Moves a stream on when the phase it is in is over."""
    if stream.phase is Phase.READING and stream.has_ended:
        stream.phase = Phase.DRAINING
    if stream.phase is Phase.DRAINING and stream.is_quiet:
        account = stream.account
        if account.failed and not account.results:
            stream.error = stream.error or f"not one frame was answered; the last one: {stream.last_failure}"
        stream.phase = Phase.FINISHING
        # A camera's last segment will not be made again: it is complete as it is, whatever ended it.
        is_complete = stream.is_live or (stream.has_ended and not stream.error)
        for stage in state.stateful:
            state.order(stage, stream, "finish", is_complete)
        state.order(state.source, stream, "close")
    elif stream.phase is Phase.FINISHING and not stream.num_calls:
        _finish(state, stream)
    if stream.is_leaving and stream.phase in ENDED and stream.is_quiet and not stream.num_tells:
        del state.streams[stream.stream_id]
        state.next_generation = max(state.next_generation, stream.generation + 1)
        state.departed.append(stream)
        state.meter.left(stream.stream_id)


def begin(state: State) -> None:
    """Binds waiting streams to workers; cameras at once, files as soon as a reader is free."""
    waiting = [stream for stream in state.streams.values() if stream.phase is Phase.WAITING]
    if not waiting:
        return
    bound = {stage.name: state.num_bound(stage) for stage in (state.source, *state.stateful)}
    files = [0] * state.source.workers
    for stream in state.streams.values():
        if stream.phase not in IDLE and not stream.has_ended and not stream.is_live:
            files[stream.workers[state.source.name]] += 1
    for stream in waiting:
        counts = bound[state.source.name] if stream.is_live else files
        reader = counts.index(min(counts))
        if not stream.is_live:
            if files[reader] >= state.graph.streams_per_reader:
                continue
            files[reader] += 1
        bound[state.source.name][reader] += 1
        stream.workers[state.source.name] = reader
        for stage in state.stateful:
            counts = bound[stage.name]
            worker = stream.workers.setdefault(stage.name, counts.index(min(counts)))
            counts[worker] += 1
        stream.phase = Phase.READING
        state.open(stream)


def retry(state: State, now: float) -> None:
    """Begins cameras again that could not store their results, when their pause is over."""
    for stream in state.streams.values():
        if stream.phase is not Phase.RETRYING:
            continue
        if stream.retry_s is None:
            stream.retry_s = now + min(LAST_RETRY_S, FIRST_RETRY_S * 2**stream.num_retries)
            stream.num_retries += 1
        elif now >= stream.retry_s:
            _begin_again(stream)
            say(state, stream, "resumed", "tries again to store its results", state.wall_ns())


def ease(state: State, now: float) -> None:
    """Lets live streams take a step on the overload ladder, where it is time to."""
    overload = state.graph.overload
    if not overload.ladder:
        return
    for stream in state.streams.values():
        if stream.phase is not Phase.READING or not (stream.is_live and stream.is_open):
            continue
        rung = stream.strain.step(overload, stream.rung, now)
        if rung == stream.rung:
            continue
        is_up = rung > stream.rung
        step = overload.ladder[max(rung, stream.rung) - 1]
        stream.rung = rung
        state.order(state.source, stream, "ease", overload.ease(rung))
        sentence = f"gives up half the {step}" if is_up else f"gets its {step} back"
        what: HealthState = "slowed" if is_up else "recovered"
        say(state, stream, what, f"{sentence}, rung {rung} of {len(overload.ladder)}", state.wall_ns())


def end_peeks(state: State, now: float) -> None:
    """Fails queries about streams that cannot answer them any more."""
    for _ in range(len(state.peeks)):
        query = state.queries.get(state.peeks.popleft())
        if query is None:
            continue
        stream = state.streams.get(query.stream_id)
        if stream is not None and stream.phase not in RESTING and now < query.deadline_s:
            state.peeks.append(query.query_id)
            continue
        del state.queries[query.query_id]
        why = "it is gone" if stream is None else f"it is {stream.phase}"
        if stream is not None and stream.phase not in RESTING:
            why = f"it has not had a frame yet ({stream.health or stream.phase})"
        state.answers.append(Answer(query.query_id, error=SourceError(f"stream '{query.stream_id}': {why}")))


def _stop(stream: Stream, then: Phase) -> None:
    """Ends reading; what is in flight goes on."""
    if stream.phase is Phase.READING and not stream.has_ended:
        stream.phase = Phase.DRAINING
        stream.then = then
    elif stream.then is not None:  # it is on its way to another end
        stream.then = then


def _finish(state: State, stream: Stream) -> None:
    """What follows when everything of a stream is stored."""
    then, stream.then = stream.then, None
    if stream.start.durable.is_complete and not stream.is_live:
        then = None  # it came to its end all the same
    if stream.error:
        stream.phase = Phase.FAILED
        _say_failed(state, stream)
    elif then is Phase.WAITING:
        _begin_again(stream)
    elif then is not None:
        stream.phase = then
    else:
        stream.phase = Phase.DONE
    if stream.phase in (Phase.FAILED, Phase.INTERRUPTED) and stream.is_leaving:
        _close(state, stream)


def _say_failed(state: State, stream: Stream) -> None:
    if stream.health != "failed":  # a camera has said so itself
        say(state, stream, "failed", stream.error, state.wall_ns())


def _begin_again(stream: Stream) -> None:
    """Waits for a reader, to go on where it is durable."""
    stream.rewinds = 0
    stream.rewind("stopped")
    stream.phase = Phase.WAITING


def _close(state: State, stream: Stream) -> None:
    """Lets every stage forget a stream."""
    for stage in (state.source, *state.stateful):
        if stage.name in stream.workers:
            state.order(stage, stream, "close")


def watch(state: State, stream_id: str, looks: tuple[Look, ...]) -> None:
    """Has pictures of a stream drawn where its sinks are, and the pixels for them brought there."""
    stream = state.streams.get(stream_id)
    if stream is None:
        return
    stream.looks = looks
    for stage in (state.source, state.writer):
        if stage is not None and stage.name in stream.workers and stream.phase not in IDLE:
            state.order(stage, stream, "watch", looks)
