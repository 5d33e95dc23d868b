"""Between the writer and Kafka: what is committed is delivered, or on disk and delivered later, in order and once."""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import structlog

from plantain.operators.errors import SinkBackpressureError, SinkError
from plantain.operators.sinks.base import Segment
from plantain.operators.sinks.kafka.messages import Message
from plantain.operators.sinks.kafka.relay import Relay
from plantain.operators.sinks.kafka.spool import Spool

PATIENCE_S = 60.0


def message(stream_id: str, number: int, size: int = 10) -> Message:
    value = f"{stream_id} {number}".encode().ljust(size)
    return Message(stream_id.encode(), value, (("ce_id", b"\xc3\xa9"), ("x", b"")), 5, (0, number), "0123")


class Brokers:
    """What consumers see, whichever process wrote it; may be away, refuse streams, and lose answers."""

    def __init__(self) -> None:
        self.is_away = False
        self.refuses: set[str] = set()
        self.seen: dict[str, list[int]] = defaultdict(list)
        self.commits: list[str] = []
        self.chance: Callable[[], float] = lambda: 1.0

    def reach(self, stream_id: str) -> None:
        if self.is_away or self.chance() < 0.2:
            raise SinkBackpressureError("nobody is there", 0.001)
        if stream_id in self.refuses:
            raise SinkError("too large")


class Exact:
    """A delivery in transactions: what is committed is seen once, by its position."""

    def __init__(self, brokers: Brokers) -> None:
        self.brokers = brokers
        self.open: dict[str, list[Message]] = {}

    def begin(self, stream_id: str, *, is_resumed: bool) -> None:
        self.open[stream_id] = []

    def send(self, segment: Segment, messages: list[Message]) -> None:
        self.brokers.reach(segment.stream_id)
        self.open[segment.stream_id] += messages

    def commit(self, segment: Segment) -> None:
        stream_id = segment.stream_id
        self.brokers.reach(stream_id)
        seen = self.brokers.seen[stream_id]
        last = seen[-1] if seen else -1
        seen += [each.position[1] for each in self.open[stream_id] if each.position[1] > last]
        self.brokers.commits.append(f"{stream_id} {segment.index}")
        if self.brokers.chance() < 0.1:
            raise SinkBackpressureError("the answer is lost", 0.001)
        self.open[stream_id] = []

    def finish(self, stream_id: str) -> None:
        self.open.pop(stream_id, None)

    def close(self) -> None:
        self.open.clear()


class AtOnce(Exact):
    """A delivery that sends what it is given, and verifies on commit."""

    def send(self, segment: Segment, messages: list[Message]) -> None:
        self.brokers.reach(segment.stream_id)
        self.brokers.seen[segment.stream_id] += [each.position[1] for each in messages]

    def commit(self, segment: Segment) -> None:
        self.brokers.reach(segment.stream_id)


@pytest.fixture
def brokers() -> Brokers:
    return Brokers()


@pytest.fixture
def made(tmp_path: Path, brokers: Brokers) -> Iterator[Callable[..., Relay]]:
    with contextlib.ExitStack() as stack:

        def make(
            delivery: type[Exact] = Exact, max_bytes: int = 1 << 20, patience_s: float = PATIENCE_S
        ) -> Relay:
            relay = Relay(delivery(brokers), Spool(tmp_path / "spool", max_bytes), patience_s)
            stack.callback(relay.close)
            return relay

        yield make


def wait_for(is_so: Callable[[], bool]) -> None:
    limit_s = time.monotonic() + PATIENCE_S
    while not is_so():
        assert time.monotonic() < limit_s
        time.sleep(0.002)


def segment(index: int, stream_id: str = "cam", *, is_live: bool = True) -> Segment:
    return Segment(stream_id, 0, index, is_live)


def store(relay: Relay, index: int, stream_id: str = "cam", *, size: int = 10, is_live: bool = True) -> None:
    """A segment of four messages."""
    of = segment(index, stream_id, is_live=is_live)
    for number in range(4 * index, 4 * index + 4, 2):
        relay.send(of, [message(stream_id, number, size), message(stream_id, number + 1, size)])
    relay.commit([of])


def files(tmp_path: Path) -> list[Path]:
    return sorted(tmp_path.glob("spool/*/*.arrow"))


def drained(relay: Relay) -> None:
    wait_for(lambda: relay.backlog().messages == 0)


@pytest.mark.parametrize("delivery", [Exact, AtOnce])
def test_while_the_brokers_are_there_nothing_touches_the_disk(made, brokers, tmp_path, delivery):
    relay = made(delivery)
    relay.begin("cam", is_resumed=False)
    for index in range(3):
        store(relay, index)
        assert brokers.seen["cam"] == list(range(4 * index + 4)), "a commit that returns is delivered"
    relay.finish("cam")
    assert files(tmp_path) == []


def test_messages_are_on_their_way_before_they_are_committed(made, brokers):
    relay = made(AtOnce)
    relay.begin("cam", is_resumed=False)
    relay.send(segment(0), [message("cam", 0)])
    wait_for(lambda: brokers.seen["cam"] == [0])


@pytest.mark.parametrize("delivery", [Exact, AtOnce])
def test_brokers_that_are_away_cost_the_writer_nothing_and_get_everything_in_order_later(
    made, brokers, tmp_path, delivery
):
    relay = made(delivery)
    for stream_id in ("cam", "yard"):
        relay.begin(stream_id, is_resumed=False)
        store(relay, 0, stream_id)
    brokers.is_away = True
    with structlog.testing.capture_logs() as logs:
        for index in range(1, 4):
            for stream_id in ("cam", "yard"):
                store(relay, index, stream_id)
        waiting = relay.backlog()
        assert (waiting.messages, len(files(tmp_path))) == (24, 6)
        assert 0 < waiting.size == sum(path.stat().st_size for path in files(tmp_path))
        assert waiting.trouble == "nobody is there"
        brokers.is_away = False
        drained(relay)
    assert brokers.seen == {"cam": list(range(16)), "yard": list(range(16))}
    assert [entry["event"] for entry in logs] == ["behind", "back"], "said once"
    assert files(tmp_path) == []
    store(relay, 4)
    assert brokers.seen["cam"][-1] == 19


def test_what_several_processes_left_goes_in_their_order_whatever_the_clock_was_set_to(
    made, brokers, monkeypatch
):
    brokers.is_away = True
    for index, now_ns in enumerate((5_000, 9_000, 1_000, 0)):
        monkeypatch.setattr(time, "time_ns", lambda now_ns=now_ns: now_ns)
        relay = made()
        relay.begin("cam", is_resumed=index > 0)
        store(relay, index)
        relay.close()
    brokers.is_away = False
    drained(made())
    assert brokers.seen["cam"] == list(range(16))


def test_segments_that_are_committed_together_are_one_file(made, brokers, tmp_path):
    relay = made()
    brokers.is_away = True
    streams = [f"cam{k}" for k in range(20)]
    for stream_id in streams:
        relay.begin(stream_id, is_resumed=False)
        relay.send(segment(0, stream_id), [message(stream_id, 0)])
    relay.commit([segment(0, stream_id) for stream_id in streams])
    assert len(files(tmp_path)) == 1
    brokers.is_away = False
    drained(relay)
    assert brokers.seen == {stream_id: [0] for stream_id in streams}


def test_of_recordings_that_have_ended_nothing_is_held(made, brokers):
    relay = made()
    for number in range(40):
        name = f"clip{number}"
        brokers.is_away = number % 2 == 0
        relay.begin(name, is_resumed=False)
        store(relay, 0, name, is_live=False)
        brokers.is_away = False
        relay.finish(name)
    waiting = relay._waiting
    wait_for(lambda: not waiting.leaving)
    assert relay.backlog().messages == 0
    assert not any((waiting.parts, waiting.news, waiting.anew, waiting.lives, waiting.unbegun))
    assert not any((waiting.spool._files, waiting.spool._streams))


def test_the_next_process_goes_on_with_what_was_left(made, brokers, tmp_path):
    relay = made()
    relay.begin("cam", is_resumed=False)
    brokers.is_away = True
    for index in range(3):
        store(relay, index)
    relay.send(segment(3), [message("cam", 12)])
    relay.close()
    brokers.is_away = False
    again = made()
    again.begin("cam", is_resumed=True)
    drained(again)
    assert brokers.seen["cam"] == list(range(12)), "and nothing that was not committed"
    store(again, 3)
    assert brokers.seen["cam"] == list(range(16))


def test_a_stream_that_starts_anew_leaves_nothing_on_disk_and_others_keep_theirs(made, brokers, tmp_path):
    relay = made()
    brokers.is_away = True
    for stream_id in ("cam", "yard"):
        relay.begin(stream_id, is_resumed=False)
        relay.send(segment(0, stream_id), [message(stream_id, 0)])
    relay.commit([segment(0, "cam"), segment(0, "yard")])
    relay.begin("cam", is_resumed=False)
    relay.close()
    brokers.is_away = False
    drained(made())
    assert brokers.seen == {"yard": [0]}


def test_a_full_spool_costs_cameras_messages_and_files_time_and_is_said_once(made, brokers):
    relay = made(max_bytes=6000)
    relay.begin("cam", is_resumed=False)
    relay.begin("file", is_resumed=False)
    brokers.is_away = True
    with structlog.testing.capture_logs() as logs:
        for index in range(6):
            store(relay, index, size=1000)
        assert relay.backlog().lost == 20
        assert relay.backlog().size <= 6000
        with pytest.raises(
            SinkBackpressureError, match=r"the brokers are away, and .* raise output.spool.size"
        ):
            store(relay, 0, "file", size=1000, is_live=False)
    assert [entry["event"] for entry in logs].count("spool full") == 1
    brokers.is_away = False
    drained(relay)
    relay.commit([segment(0, "file", is_live=False)])
    store(relay, 6)
    assert brokers.seen == {"cam": [*range(4), *range(24, 28)], "file": list(range(4))}


def test_a_refusal_ends_its_stream_only_and_is_tried_again_when_that_begins_again(made, brokers):
    relay = made()
    for stream_id in ("cam", "yard"):
        relay.begin(stream_id, is_resumed=False)
    brokers.refuses = {"cam"}
    with pytest.raises(SinkError, match="too large"):
        store(relay, 0)
    with pytest.raises(SinkError, match="too large"):
        relay.send(segment(1), [message("cam", 4)])
    store(relay, 0, "yard")
    relay.forget("cam")
    brokers.refuses = set()
    relay.begin("cam", is_resumed=True)
    store(relay, 0)
    assert brokers.seen == {"cam": list(range(4)), "yard": list(range(4))}


def test_what_is_refused_on_disk_holds_up_nobody_and_no_end(made, brokers, tmp_path):
    relay = made()
    brokers.is_away = True
    for stream_id in ("cam", "yard"):
        relay.begin(stream_id, is_resumed=False)
    store(relay, 0)
    store(relay, 0, "yard")
    brokers.refuses, brokers.is_away = {"cam"}, False
    drained(relay)
    assert brokers.seen == {"yard": list(range(4))}
    store(relay, 1, "yard")
    assert brokers.seen["yard"] == list(range(8))
    assert len(files(tmp_path)) == 1
    brokers.refuses = set()
    relay.begin("cam", is_resumed=True)
    drained(relay)
    assert brokers.seen["cam"] == list(range(4))


def test_what_was_sent_before_the_brokers_went_is_not_sent_again_by_the_same_process(made, brokers):
    relay = made(AtOnce)
    relay.begin("cam", is_resumed=False)
    relay.send(segment(0), [message("cam", 0)])
    wait_for(lambda: brokers.seen["cam"] == [0])
    brokers.is_away = True
    relay.send(segment(0), [message("cam", 1)])
    relay.commit([segment(0)])
    brokers.is_away = False
    drained(relay)
    assert brokers.seen["cam"] == [0, 1]


def test_what_another_writer_still_holds_of_a_stream_goes_first(made, brokers, monkeypatch):
    monkeypatch.setattr("plantain.operators.sinks.kafka.courier.ELSEWHERE_EVERY_S", 0.01)
    brokers.is_away = True
    one, other = made(), made(patience_s=0.0)
    one.begin("cam", is_resumed=False)
    store(one, 0)
    other.begin("cam", is_resumed=True)
    store(other, 1)
    brokers.is_away = False
    drained(one)
    drained(other)
    assert brokers.seen["cam"] == list(range(8))
    assert brokers.commits == ["cam 0", "cam 1"]


def test_what_a_writer_leaves_that_ends_after_the_next_has_begun_is_delivered_first(
    made, brokers, monkeypatch
):
    """An engine that is begun again while the one before still waits for brokers that are away."""
    monkeypatch.setattr("plantain.operators.sinks.kafka.courier.ELSEWHERE_EVERY_S", 0.01)
    brokers.is_away = True
    one, other = made(), made(patience_s=0.0)
    one.begin("cam", is_resumed=False)
    store(one, 0)
    other.begin("cam", is_resumed=True)
    store(other, 1)
    one.close()
    brokers.is_away = False
    drained(other)
    assert brokers.seen["cam"] == list(range(8))
    assert brokers.commits == ["cam 0", "cam 1"]
    store(other, 2)
    drained(other)
    assert brokers.seen["cam"] == list(range(12))


def test_a_file_that_is_damaged_is_said_and_left_where_it_is(made, brokers, tmp_path):
    relay = made()
    brokers.is_away = True
    relay.begin("cam", is_resumed=False)
    store(relay, 0)
    store(relay, 1)
    relay.close()
    files(tmp_path)[0].write_bytes(b"torn")
    brokers.is_away = False
    with structlog.testing.capture_logs() as logs:
        drained(made())
    assert "damaged" in [entry["event"] for entry in logs]
    assert brokers.seen["cam"] == list(range(4, 8))
    assert len(files(tmp_path)) == 1


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("delivery", [Exact, AtOnce])
def test_whatever_comes_between_everything_is_delivered_in_order(made, brokers, delivery, seed):
    """Outages, lost answers, processes that end, streams that begin again: each frame once, or without transactions
    at least once, with first arrivals in order.
    """
    chance = random.Random(seed)
    lock = threading.Lock()

    def draw() -> float:
        with lock:
            return chance.random()

    streams = {f"s{k}": 0 for k in range(3)}  # and their next segment
    brokers.chance = draw
    relay = made(delivery, patience_s=0.01)
    for stream_id in streams:
        relay.begin(stream_id, is_resumed=False)
    for _ in range(40):
        what = draw()
        if what < 0.1:
            brokers.is_away = not brokers.is_away
        elif what < 0.2:
            for stream_id, index in streams.items():  # ends with open segments
                relay.send(segment(index, stream_id), [message(stream_id, 4 * index)])
            relay.close()
            relay = made(delivery, patience_s=0.01)
            for stream_id in streams:
                relay.begin(stream_id, is_resumed=True)
        elif what < 0.3:
            stream_id = chance.choice(list(streams))
            relay.send(segment(streams[stream_id], stream_id), [message(stream_id, 4 * streams[stream_id])])
            relay.begin(stream_id, is_resumed=True)
        elif what < 0.6:
            for stream_id, index in streams.items():
                relay.send(segment(index, stream_id), [message(stream_id, 4 * index + k) for k in range(4)])
            relay.commit([segment(index, stream_id) for stream_id, index in streams.items()])
            streams = {stream_id: index + 1 for stream_id, index in streams.items()}
        else:
            stream_id = chance.choice(list(streams))
            store(relay, streams[stream_id], stream_id)
            streams[stream_id] += 1
    brokers.is_away, brokers.chance = False, lambda: 1.0
    drained(relay)
    for stream_id, index in streams.items():
        seen = brokers.seen[stream_id]
        assert (seen if delivery is Exact else list(dict.fromkeys(seen))) == list(range(4 * index))
