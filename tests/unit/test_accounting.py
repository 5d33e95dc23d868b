from __future__ import annotations

from collections import Counter

import pytest

from plantain.operators.segments import Durable, Position
from plantain.operators.types import Header
from plantain.pipeline.engine.books import Account, Book


def test_what_is_neither_answered_nor_lost_is_in_flight():
    account = Account(decoded=10, results=4, failed=Counter(infer=2, write=1), lost=Counter(stale=1))
    assert account.in_flight == 2


def test_the_books_go_on_where_the_stream_is_durable():
    durable = Durable("clip", 0, Position(20, 800, delivered=15), failed=(("infer", 2), ("analyse", 1)))
    account = Account.at(durable)
    assert (account.decoded, account.results, account.in_flight) == (15, 12, 0)
    assert account.failed == {"infer": 2, "analyse": 1}


@pytest.mark.parametrize("reason", ["not sampled", "not due", "stopped", "removed"])
def test_what_nobody_wanted_is_no_loss(reason):
    book = Book(decoded=3)
    book.drop(reason, 2)
    assert (book.lost, book.skipped, book.in_flight) == ({}, {reason: 2}, 1)


@pytest.mark.parametrize(
    "reason",
    ["overtaken", "late", "stale", "held back", "before keyframe", "damaged", "overload", "model behind",
     "worker died", "machine lost", "a reason of a user's own source"],
)  # fmt: skip
def test_what_was_wanted_and_will_never_be_looked_at_is_lost(reason):
    account = Account()
    account.drop_unseen(Counter({reason: 4, "not sampled": 40}), ("depth",))
    for book in (account, account.prompts["depth"]):
        assert (book.decoded, book.lost, book.skipped) == (44, {reason: 4}, {"not sampled": 40})


def test_a_prompt_that_was_not_due_is_skipped_and_one_that_was_spared_is_lost():
    account = Account()
    part = Header("gate", 0, 0, prompts=("depth",), spared=("normals",))
    account.enter([part], ("depth", "normals", "instances:car"))
    assert account.prompts["normals"].lost == {"overload": 1}
    assert account.prompts["instances:car"].skipped == {"not due": 1}
    account.leave(part, {})
    assert (account.results, account.in_flight, account.lost, account.skipped) == (1, 0, {}, {})


def test_books_of_removed_streams_are_added_up_apart():
    total = Book()
    for _ in range(2):
        total.add(Book(10, 4, Counter(infer=1), Counter(stale=2), Counter({"not sampled": 3})))
    assert (total.failed, total.lost, total.skipped) == ({"infer": 2}, {"stale": 4}, {"not sampled": 6})
    assert total.in_flight == 0
