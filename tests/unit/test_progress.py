from __future__ import annotations

import io
import json
from dataclasses import replace

import pytest

import plantain.deploy.cli.progress as progress
from plantain.deploy.cli.progress import MAX_BARS, Display, describe_end, summary
from plantain.pipeline.engine.stream import Phase
from tests.numbers import OrderedSink, Plan, graph_of, starts_of
from tests.simulation import World


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def world_of(plans: dict[str, Plan]) -> World:
    return World(graph_of(plans, OrderedSink()), starts_of(plans))


def watch(world: World, stream: io.StringIO) -> str:
    """Shows a whole run, and gives what was written."""
    with Display(stream) as display:
        while not world.engine.is_done:
            world.step()
            display.update(world.engine)
        display.update(world.engine)
        display.update(world.engine)
    return stream.getvalue()


def test_off_a_terminal_each_stream_has_one_plain_line_at_its_end():
    text = watch(
        world_of({"a": Plan(7, infer_fails=frozenset({2})), "b": Plan(3, breaks_at=1)}), io.StringIO()
    )
    assert sorted(text.splitlines()) == [
        "a: done, 7 frames, 1 failed in infer",
        "b: failed after 1 frames: OSError: the tape is torn",
    ]


def test_off_a_terminal_a_long_run_says_where_it_is_now_and_then(monkeypatch):
    monkeypatch.setattr(progress, "LINE_EVERY_S", 0.0)
    lines = watch(world_of({"a": Plan(40)}), io.StringIO()).splitlines()
    assert len(lines) > 3
    assert all(line.startswith("a: ") for line in lines)
    assert lines[-1] == "a: done, 40 frames"


def test_on_a_terminal_there_is_a_bar_for_each_stream(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    text = watch(world_of({"a": Plan(7), "b": Plan(5)}), Terminal())
    assert "\x1b[" in text
    assert "7/7" in text
    assert "5/5" in text
    assert "a: done, 7 frames" in text


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
    assert told["decoded"] == told["results"] + sum(told["failed"].values()) + sum(told["dropped"].values())
