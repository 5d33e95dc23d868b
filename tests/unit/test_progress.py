from __future__ import annotations

import io
import json
import re
from dataclasses import replace

import pytest

from plantain.deploy.cli.progress import MAX_BARS, Display, describe_end, summary
from plantain.pipeline.engine.stream import Phase
from tests.numbers import OrderedSink, Plan, graph_of, starts_of
from tests.simulation import World


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def world_of(plans: dict[str, Plan]) -> World:
    return World(graph_of(plans, OrderedSink()), starts_of(plans))


def watch(world: World, stream: Terminal) -> str:
    """Shows a whole run, and gives what was written."""
    with Display(stream) as display:
        while not world.engine.is_done:
            world.step()
            display.update(world.engine)
        display.update(world.engine)
        display.update(world.engine)
    return stream.getvalue()


def test_a_terminal_says_at_once_what_is_waited_for_and_for_how_long(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    terminal, world = Terminal(), world_of({"a": Plan(7)})
    with Display(terminal) as display:
        display.wait("model fake: loading")
        assert re.search(r"model fake: loading .*0 s", terminal.getvalue())
        while not world.engine.frames_in_flight:
            world.step()
        display.update(world.engine)
        assert "waiting for the first answer" in terminal.getvalue()
        world.run()
        display.update(world.engine)
        before = len(terminal.getvalue())
        display.update(world.engine)
    assert "waiting" not in terminal.getvalue()[before:]


def test_on_a_terminal_there_is_a_bar_for_each_stream(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    plans = {"a": Plan(7), "b": Plan(5), "c": Plan(4, infer_fails=frozenset({2})), "d": Plan(3, breaks_at=1)}
    text = watch(world_of(plans), Terminal())
    assert "\x1b[" in text
    assert "7/7" in text
    assert "5/5" in text
    assert "a: done, 7 frames" in text
    assert "c: done, 4 frames, 1 failed in infer" in text
    assert "d: failed after 1 frames: OSError: the tape is torn" in text


def test_more_streams_than_fit_on_a_screen_are_shown_while_they_work(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    names = [f"s{number}" for number in range(MAX_BARS + 5)]
    text = watch(world_of({name: Plan(4) for name in names}), Terminal())
    assert all(f"{name}: done, 4 frames" in text for name in names)


def test_an_interrupted_stream_says_how_to_go_on():
    world = world_of({"a": Plan(30)})
    while not world.engine.frames_in_flight:
        world.step()
    world.engine.drain()
    world.run()
    stream = world.engine.streams["a"]
    assert stream.phase is Phase.INTERRUPTED
    assert describe_end(stream).endswith("; run the same command again to go on")


def test_damage_is_told_without_passwords():
    world = world_of({"a": Plan(3)})
    world.run()
    stream = world.engine.streams["a"]
    stream.num_damaged = 4
    stream.start = replace(stream.start, spec=replace(stream.start.spec, url="http://me:pw@host/a.mp4"))
    assert describe_end(stream) == "a: done, 3 frames; 4 damaged packets in http://host/a.mp4 were skipped"


@pytest.mark.parametrize(("plan", "status"), [(Plan(3), "done"), (Plan(3, breaks_at=1), "failed")])
def test_the_summary_is_for_machines(plan, status):
    world = world_of({"a": plan})
    world.run()
    told = json.loads(json.dumps(summary(world.engine.streams["a"])))
    assert told["status"] == status
    assert told["decoded"] == told["results"] + sum(
        sum(told[what].values()) for what in ("failed", "lost", "skipped")
    )
