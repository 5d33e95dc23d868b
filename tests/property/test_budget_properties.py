"""Money and rate of hosted models under random prices, delays and failures, on a clock that nobody waits for."""

from __future__ import annotations

import subprocess
import sys
import threading
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from plantain.operators.answers.text.value import Text
from plantain.operators.errors import ModelBusyError, ModelError, ModelLostError
from plantain.operators.models.hosted.desk import Desk, Job, Told
from plantain.operators.models.hosted.ledger import PIECE_BYTES, Ledger
from plantain.operators.models.hosted.options import Hosting
from plantain.operators.models.hosted.pace import Pace
from plantain.operators.models.hosted.purse import HOUR_S, Purse
from plantain.operators.types import Failure


class Clock:
    """Goes on when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def most_in_an_hour(spent: list[tuple[float, float]]) -> float:
    """The largest sum within any hour, of (when, US dollars)."""
    return max(
        (sum(usd for then, usd in spent if when <= then < when + HOUR_S) for when, _ in spent), default=0.0
    )


PRICES = st.floats(0.001, 0.6)
FATES = st.sampled_from(["ok", "refused", "lost", "denied", "busy", "broken"])


@given(
    budget=st.floats(0.6, 5.0),
    calls=st.lists(st.tuples(PRICES, st.floats(0.0, 1.0), st.floats(0, 1500), FATES), max_size=60),
    patience_s=st.sampled_from([0.0, 30.0, 50_000.0]),
)
def test_no_hour_costs_more_than_the_budget(
    budget: float, calls: list[tuple[float, float, float, str]], patience_s: float
) -> None:
    """What the server charges is counted at the server, whatever the desk believes."""
    clock = Clock()
    hosting = Hosting(
        base_url="http://127.0.0.1:1", max_usd_per_hour=budget, patience_s=patience_s, at_once=1
    )
    desk = Desk("priced", hosting, clock, clock.sleep)
    charged: list[tuple[float, float]] = []
    tries = [0] * len(calls)

    def job_of(number: int) -> Job:
        price, share, latency_s, fate = calls[number]

        def ask() -> float:
            clock.sleep(latency_s)
            tries[number] += 1
            if fate == "busy" and tries[number] == 1:
                raise ModelBusyError("later", latency_s)
            if fate == "denied":
                raise ModelError("no")
            charged.append((clock.now, price if fate in ("lost", "broken") else share * price))
            if fate == "lost":
                raise ModelLostError("cut")
            if fate == "broken":
                raise ZeroDivisionError
            return share * price

        def read(usd: float) -> Told:
            return Told(
                Failure("infer", "refused", retryable=False) if fate == "refused" else Text("yes"), usd
            )

        return Job(ask, read, price)

    answers = desk.answers([job_of(number) for number in range(len(calls))])
    assert most_in_an_hour(charged) <= budget + 1e-6
    assert sum(answer.cost_usd for answer in answers) == pytest.approx(sum(usd for _, usd in charged))
    for (_, _, _, fate), count in zip(calls, tries, strict=True):
        assert count <= (2 if fate == "busy" else 1), "what was paid for or denied is never asked again"


@given(
    budget=st.floats(1.0, 3.0),
    steps=st.lists(st.tuples(PRICES, st.floats(0.0, 1.0), st.floats(0, 900), st.integers(0, 5)), max_size=60),
)
@example(1.0, [(0.5, 0.0, 0.0, 0), (0.5, 1.0, 1.0165350842186172, 1), (0.5, 0.0, 0.0, 0)])
def test_calls_that_overlap_share_the_budget(
    budget: float, steps: list[tuple[float, float, float, int]]
) -> None:
    """Each step begins a call, and ends some of those that are out, in any order."""
    clock = Clock()
    purse = Purse(budget, clock)
    out: list[tuple[object, object, float]] = []
    charged: list[tuple[float, float]] = []
    waits_s: list[float | None] = []
    for price, share, pause_s, ends in steps:
        clock.sleep(pause_s)
        paying = purse.paying(price)
        try:
            bill = paying.__enter__()
        except ModelBusyError as error:
            waits_s.append(error.retry_after_s)
        else:
            out.append((paying, bill, share * price))
        for _ in range(min(ends, len(out))):
            paying, bill, usd = out.pop(ends % len(out))
            bill.usd = usd  # type: ignore[attr-defined]
            paying.__exit__(None, None, None)  # type: ignore[attr-defined]
            charged.append((clock.now, usd))
    charged += [(clock.now, usd) for *_, usd in out]
    assert all(wait_s is not None and 0 < wait_s <= HOUR_S for wait_s in waits_s)
    assert most_in_an_hour(charged) <= budget + 1e-6


def test_money_is_there_again_when_it_was_said_to_be() -> None:
    clock = Clock()
    purse = Purse(1.0, clock)
    for _ in range(4):
        with purse.paying(0.25):
            clock.sleep(60)
    with (
        pytest.raises(
            ModelBusyError, match=r"the budget of 1 USD an hour is spent; more in 57 min"
        ) as refusal,
        purse.paying(0.25),
    ):
        pass
    clock.sleep(refusal.value.retry_after_s or 0.0)
    with purse.paying(0.25):
        pass


def test_what_is_charged_beyond_the_list_keeps_later_calls_back() -> None:
    purse = Purse(1.0, Clock())
    with purse.paying(0.1) as bill:
        bill.usd = 0.95
    with pytest.raises(ModelBusyError), purse.paying(0.1):
        pass


@given(
    per_minute=st.floats(1, 600),
    burst=st.integers(1, 20),
    pauses=st.lists(st.floats(0, 30), min_size=1, max_size=80),
    held=st.lists(st.floats(0, 60), max_size=3),
)
def test_requests_keep_to_the_rate(
    per_minute: float, burst: int, pauses: list[float], held: list[float]
) -> None:
    clock = Clock()
    pace = Pace(per_minute, burst, clock, clock.sleep)
    went: list[float] = []
    for k, pause_s in enumerate(pauses):
        clock.sleep(pause_s)
        if k < len(held):
            pace.hold(held[k])
            until = clock.now + held[k]
        pace.wait(patience_s=1000.0)
        went.append(clock.now)
        if k < len(held):
            assert clock.now >= until - 1e-6
    for first in range(len(went)):
        for last in range(first, len(went)):
            allowed = burst + (went[last] - went[first]) * per_minute / 60
            assert last - first + 1 <= allowed + 1e-6
    assert all(a <= b for a, b in pairwise(went))


def test_a_ledger_outlives_its_purse_and_is_shared(tmp_path: Path) -> None:
    clock = Clock()
    path = str(tmp_path / "new" / "spent.txt")

    def purse() -> Purse:
        return Purse(1.0, clock, Ledger(path, clock))

    first, second = purse(), purse()
    with first.paying(0.4):
        pass
    with second.paying(0.4):
        clock.sleep(60)
    for each in (first, second, third := purse()):
        with pytest.raises(ModelBusyError), each.paying(0.4):
            pass
    clock.sleep(HOUR_S - 60)
    with third.paying(0.4):
        pass
    with pytest.raises(ModelBusyError), first.paying(0.4):
        pass
    for each in (first, second, third):
        each.close()
    with Path(path).open("a") as file:
        file.write("not ours\n12 ")
    fourth = purse()
    with pytest.raises(ModelBusyError), fourth.paying(0.4):
        pass
    fourth.close()


def test_what_another_has_put_aside_is_not_there(tmp_path: Path) -> None:
    """Calls that are out count whole in every purse of the ledger, and what they did not cost is there again."""
    clock = Clock()
    first, second = (Purse(1.0, clock, Ledger(str(tmp_path / "spent.txt"), clock)) for _ in range(2))
    with first.paying(0.6) as bill:
        with pytest.raises(ModelBusyError), second.paying(0.6):
            pass
        with pytest.raises(ModelBusyError), first.paying(0.6):
            pass
        clock.sleep(5)
        bill.usd = 0.1
    with second.paying(0.9) as bill:
        bill.usd = 0.0
    with pytest.raises(ModelError), second.paying(0.9):
        raise ModelError("denied")
    with first.paying(0.9), pytest.raises(ModelBusyError) as refusal, second.paying(0.05):
        pass
    assert refusal.value.retry_after_s == pytest.approx(HOUR_S)
    first.close()
    second.close()


SPENDER = """
import sys, time
from plantain.operators.errors import ModelBusyError
from plantain.operators.models.hosted.ledger import Ledger
from plantain.operators.models.hosted.purse import Purse

purse, spent = Purse(1.0, ledger=Ledger(sys.argv[1])), 0
print("ready", flush=True)
sys.stdin.readline()
while True:
    try:
        with purse.paying(0.03):
            time.sleep(0.001)
    except ModelBusyError:
        break
    spent += 1
print(spent)
"""


def test_processes_of_one_ledger_do_not_spend_the_same_money_twice(tmp_path: Path) -> None:
    """Each looks and puts aside at the same time as the others, as often as money lasts."""
    command = [sys.executable, "-c", SPENDER, str(tmp_path / "spent.txt")]
    spenders = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(4)
    ]
    for each in spenders:
        assert each.stdout is not None
        assert each.stdout.readline() == "ready\n"
    counts = [int(each.communicate("go\n", timeout=60)[0]) for each in spenders]
    assert sum(counts) == 33, counts


def test_a_server_that_wants_forever_is_asked_again_after_an_hour() -> None:
    clock = Clock()
    pace = Pace(0, 1, clock, clock.sleep)
    pace.hold(float("inf"))
    with pytest.raises(ModelBusyError, match="60 min are left"):
        pace.wait(30.0)
    clock.sleep(HOUR_S)
    pace.wait(30.0)


def test_threads_share_slots_and_money() -> None:
    """Real threads: never more calls than slots, and not a cent beyond the budget."""
    hosting = Hosting(base_url="http://127.0.0.1:1", max_usd_per_hour=1.0, at_once=5, patience_s=0.0)
    desk = Desk("priced", hosting)
    lock, gate = threading.Lock(), threading.Event()
    now, most = 0, 0

    def ask() -> None:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
            if now == 5:
                gate.set()
        gate.wait(2)
        with lock:
            now -= 1

    answers = desk.answers([Job(ask, lambda _: Told(Text("yes"), 0.03), 0.03) for _ in range(60)])
    assert most == 5
    paid = [answer for answer in answers if not isinstance(answer.value, Failure)]
    assert len(paid) == 33, "as often as 0.03 goes into 1"


def test_what_a_full_disk_does_not_take_is_counted_all_the_same() -> None:
    purse = Purse(1.0, Clock(), Ledger("/dev/full"))
    with purse.paying(0.6) as bill:
        bill.usd = 0.6
    with pytest.raises(ModelBusyError, match="budget of 1 USD"), purse.paying(0.6):
        pass
    purse.close()


def test_a_ledger_of_years_is_read_to_its_end(tmp_path: Path) -> None:
    path, clock = tmp_path / "spent.txt", Clock()
    old = "".join(f"{clock() - 1e6 + k:.3f} 400000000\n" for k in range(100_000))
    path.write_text(old + f"{clock():.3f} 900000000\n")
    assert path.stat().st_size > 2 * PIECE_BYTES
    purse = Purse(1.0, clock, Ledger(str(path), clock))
    with pytest.raises(ModelBusyError, match="budget of 1 USD"), purse.paying(0.6):
        pass
    purse.close()
