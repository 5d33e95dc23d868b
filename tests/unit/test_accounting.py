from __future__ import annotations

from collections import Counter

from plantain.operators.types import Durable, Position
from plantain.pipeline.engine.books import Account


def test_what_is_neither_answered_nor_lost_is_in_flight():
    account = Account(decoded=10, results=4, failed=Counter(infer=2, write=1), dropped=Counter(stale=1))
    assert account.in_flight == 2


def test_the_books_go_on_where_the_stream_is_durable():
    durable = Durable("clip", 0, Position(20, 800, delivered=15), failed=(("infer", 2), ("analyse", 1)))
    account = Account.at(durable)
    assert (account.decoded, account.results, account.in_flight) == (15, 12, 0)
    assert account.failed == {"infer": 2, "analyse": 1}
