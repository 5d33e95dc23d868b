"""How far a stream is committed, by what the brokers tell and what was noted before."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from plantain.operators.sinks.kafka.attempts import Attempt, Attempts, Mark
from plantain.operators.sinks.kafka.messages import Message
from plantain.operators.sinks.store import Store

OLD, NEW = Mark((0, 0), (0, 3), "0123", 4), Mark((0, 4), (0, 7), "0123", 5)


def message(index: int, epoch: int = 0, fingerprint: str = "0123") -> Message:
    return Message(b"clip", b"{}", [], 0, (epoch, index), fingerprint)


@pytest.mark.parametrize("mark", [OLD, NEW])
def test_a_mark_is_read_as_it_was_written(mark: Mark) -> None:
    assert Mark.read(mark.written()) == mark
    assert mark.renewed() != mark
    assert dataclasses.replace(mark.renewed(), number=mark.number) == mark


def test_no_text_is_no_mark() -> None:
    assert Mark.read(None) is None
    assert Mark.read("") is None
    assert Attempt().reaches(None) is None


def test_a_mark_covers_what_comes_before_its_last_frame_with_the_same_weights() -> None:
    assert [NEW.covers(message(index)) for index in (0, 4, 7, 8)] == [True, True, True, False]
    assert not NEW.covers(message(0, epoch=1))
    assert not NEW.covers(message(0, fingerprint="4567"))
    assert [NEW.without_its_own().covers(message(index)) for index in (3, 4)] == [True, False]


def test_messages_whose_mark_counted_are_gone_unless_the_mark_was_renewed() -> None:
    attempt = Attempt(half="mark", mark=NEW.written())
    assert attempt.reaches(NEW.written()) == NEW.without_its_own()
    assert attempt.reaches(NEW.renewed().written()) == NEW.renewed()


def test_messages_that_counted_before_their_mark_are_covered_until_a_later_mark() -> None:
    attempt = Attempt(half="messages", mark=NEW.written())
    assert attempt.reaches(None) == NEW
    assert attempt.reaches(OLD.written()) == NEW
    later = Mark((0, 8), (0, 9), "0123", NEW.number + 1)
    assert attempt.reaches(later.written()) == later


def test_an_attempt_is_the_same_until_it_is_forgotten(tmp_path: Path) -> None:
    attempts = Attempts(Store(str(tmp_path)))
    attempt = attempts.get("clip")
    attempt.outcome, attempt.promise = "commit", NEW.written()
    attempts.put("clip", attempt)
    assert Attempts(Store(str(tmp_path))).get("clip") == attempt
    (tmp_path / ".plantain" / "streams" / "clip.kafka").unlink()
    assert attempts.get("clip").name != attempt.name
