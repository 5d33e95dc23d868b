"""What the engine knows about one stream."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from enum import StrEnum

from operators.sources.base import ReadState, Start, StreamInfo
from operators.types import Durable, Position
from pipeline.accounting import Account
from pipeline.batching import Item
from pipeline.ordering import Reorder


class Phase(StrEnum):
    """Where a stream is in its life.

    WAITING for a reader, READING, DRAINING what is in flight, FINISHING in the sinks; then one of the last three.
    """

    WAITING = "waiting"
    READING = "reading"
    DRAINING = "draining"
    FINISHING = "finishing"
    DONE = "done"
    FAILED = "failed"
    INTERRUPTED = "interrupted"


ENDED = frozenset({Phase.DONE, Phase.FAILED, Phase.INTERRUPTED})


@dataclass(slots=True)
class Stream:
    """One stream's life in the engine.

    Attributes:
        start: How it begins, kept up to date with what is durable.
        phase: Where it is.
        error: Why it failed; it may still be draining.
        last_failure: Why a frame of it failed last.
        info: What its source said when it was opened.
        account: Its books.
        num_damaged: Packets that could not be decoded.
        workers: The copy of each source and stream stage that it is bound to.
        generation: Counts restarts; items and calls of an older one are let go.
        epoch: The latest that a frame of it had.
        is_open: Its source is open in this generation.
        has_ended: Its source has nothing more to give.
        is_interrupted: It was told to stop before its end.
        next_read_s: A live stream is not read before this, in the engine's clock.
        dropped: What its source has let go since it was opened, by reason.
        num_reads, num_calls, num_items: Reads and other calls about it that are out, and frames in flight.
        next_sequence: Of its next item.
        rewinds: Restarts, perhaps by its own fault, since something new became durable.
        reorder: Puts its items back in sequence behind parallel stages.
    """

    start: Start
    phase: Phase = Phase.WAITING
    error: str = ""
    last_failure: str = ""
    info: StreamInfo | None = None
    account: Account = field(default_factory=Account)
    num_damaged: int = 0
    workers: dict[str, int] = field(default_factory=dict)
    generation: int = 0
    epoch: int = 0
    is_open: bool = False
    has_ended: bool = False
    is_interrupted: bool = False
    next_read_s: float = 0.0
    dropped: Counter[str] = field(default_factory=Counter)
    num_reads: int = 0
    num_calls: int = 0
    num_items: int = 0
    next_sequence: int = 0
    rewinds: int = 0
    reorder: Reorder[Item] = field(default_factory=Reorder)

    @classmethod
    def of(cls, start: Start) -> Stream:
        """A stream that goes on at `start`, or is done if nothing is left to do."""
        account = Account.at(start.durable)
        if account.failed and not account.results:  # what was wrong may have been put right since
            start = Start.fresh(start.spec, start.prompts)
            account = Account.at(start.durable)
        return cls(start, Phase.DONE if start.durable.is_complete else Phase.WAITING, account=account)

    @property
    def stream_id(self) -> str:
        """Its name."""
        return self.start.spec.stream_id

    @property
    def is_live(self) -> bool:
        """Whether it cannot be read again."""
        return self.info is not None and self.info.is_live

    def take_read(self, state: ReadState) -> None:
        """Notes how far reading has come."""
        self.has_ended = self.has_ended or state.has_ended
        self.num_damaged = state.num_damaged
        news = Counter(dict(state.dropped)) - self.dropped
        self.dropped += news
        self.account.dropped += news
        self.account.decoded += news.total()

    def take_durable(self, durable: Durable) -> bool:
        """Notes what is durable now; False if that is no news."""
        known = self.start.durable
        if _progress(durable) < _progress(known):
            return False
        if durable != known:
            self.rewinds = 0
        self.start = replace(self.start, durable=durable)
        return True

    def rewind(self, *, is_guilty: bool) -> None:
        """Forgets everything since it was last durable; a live stream, which cannot be read again, begins a new epoch.

        Args:
            is_guilty: Whether the stream itself may be why it has to go back.
        """
        self.generation += 1
        self.rewinds += is_guilty
        self.error = ""
        self.is_open = self.has_ended = False
        if self.is_live:
            self.account.dropped["worker died"] += self.num_items
            epoch = max(self.epoch, self.start.durable.epoch) + 1
            self.start = replace(self.start, durable=Durable(self.stream_id, epoch, Position()))
        else:
            self.account = Account.at(self.start.durable)
        self.num_items = self.next_sequence = self.num_calls = 0
        self.dropped = Counter()
        self.reorder = Reorder()
        self.phase = Phase.DRAINING if self.is_interrupted else Phase.READING


def _progress(durable: Durable) -> tuple[bool, int, int]:
    return durable.is_complete, durable.epoch, durable.position.frame_index
