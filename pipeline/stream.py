"""What the engine knows about one stream."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from enum import StrEnum

from plantain.operators.render.looks import Look
from plantain.operators.streams import ReadState, Start, StreamInfo
from plantain.operators.types import MOMENTARY, Durable, HealthEvent, Position
from plantain.pipeline.accounting import Account
from plantain.pipeline.batching import Item
from plantain.pipeline.ordering import Reorder
from plantain.pipeline.overload import Strain
from plantain.pipeline.pace import Recent


class Phase(StrEnum):
    """Where a stream is in its life.

    WAITING for a reader, READING, DRAINING what is in flight, FINISHING in the sinks; then PAUSED until it is resumed,
    RETRYING soon where a camera's results could not be stored, or one of the last three.
    """

    WAITING = "waiting"
    READING = "reading"
    DRAINING = "draining"
    FINISHING = "finishing"
    PAUSED = "paused"
    RETRYING = "retrying"
    DONE = "done"
    FAILED = "failed"
    INTERRUPTED = "interrupted"


ENDED = frozenset({Phase.DONE, Phase.FAILED, Phase.INTERRUPTED})
# It is not at work, and will not be soon.
RESTING = ENDED | {Phase.PAUSED, Phase.RETRYING}
# No worker has anything to do for it.
IDLE = RESTING | {Phase.WAITING}


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
        num_reconnects: Times that its camera was live again.
        workers: The copy of each source and stream stage that it is bound to.
        generation: Counts restarts; items and calls of an older one are let go.
        epoch, stored_epoch: The latest that a frame of it had; the latest that a checkpoint knows.
        size: Width and height of its source picture, pixels; 0 while unknown.
        health: The last lasting state that its source told of.
        is_open: Its source is open in this generation.
        has_ended: Its source has nothing more to give.
        then: What follows once it is drained, if it was told to stop before its end: INTERRUPTED, PAUSED, or WAITING
            to begin anew.
        is_leaving: It is to be forgotten once it has ended.
        num_retries: Times that it was begun again since something new became durable.
        retry_s: When it is to be begun again, in the engine's clock; None until that is decided.
        dropped: What its source has let go since it was opened, by reason.
        num_reads, num_calls, num_items: Reads and other calls about it that are out, and frames in flight.
        num_asked: Frames that the reads which are out may bring.
        num_tells: Events on their way to its sinks.
        next_sequence: Of its next item.
        next_index: Of its next frame.
        rewinds: Restarts, perhaps by its own fault, since something new became durable.
        reorder: Puts its items back in sequence behind parallel stages.
        recent: Results of the last seconds, and their latency.
        looks: What is drawn of it for viewers.
        rung: How much it has given up under overload.
        strain: How hard it finds it to keep up.
    """

    start: Start
    phase: Phase = Phase.WAITING
    error: str = ""
    last_failure: str = ""
    info: StreamInfo | None = None
    account: Account = field(default_factory=Account)
    num_damaged: int = 0
    num_reconnects: int = 0
    workers: dict[str, int] = field(default_factory=dict)
    generation: int = 0
    epoch: int = 0
    stored_epoch: int = -1
    size: tuple[int, int] = (0, 0)
    health: str = ""
    is_open: bool = False
    has_ended: bool = False
    then: Phase | None = None
    is_leaving: bool = False
    num_retries: int = 0
    retry_s: float | None = None
    dropped: Counter[str] = field(default_factory=Counter)
    num_reads: int = 0
    num_calls: int = 0
    num_items: int = 0
    num_asked: int = 0
    num_tells: int = 0
    next_sequence: int = 0
    next_index: int = 0
    rewinds: int = 0
    reorder: Reorder[Item] = field(default_factory=Reorder)
    recent: Recent = field(default_factory=Recent)
    looks: tuple[Look, ...] = ()
    rung: int = 0
    strain: Strain = field(default_factory=Strain)

    @classmethod
    def of(cls, start: Start) -> Stream:
        """A stream that goes on at `start`, or is done if nothing is left to do."""
        account = Account.at(start.durable)
        if account.failed and not account.results:  # what was wrong may have been put right since
            start = Start.fresh(start.spec, start.prompts, is_live=start.is_live)
            account = Account.at(start.durable)
        return cls(start, Phase.DONE if start.durable.is_complete else Phase.WAITING, account=account)

    @property
    def stream_id(self) -> str:
        """Its name."""
        return self.start.spec.stream_id

    @property
    def is_live(self) -> bool:
        """Whether it cannot be read again."""
        return self.start.is_live if self.info is None else self.info.is_live

    @property
    def is_quiet(self) -> bool:
        """Whether no worker has anything of it."""
        return not (self.num_items or self.num_reads or self.num_calls)

    def take_read(self, state: ReadState) -> None:
        """Notes how far reading has come."""
        self.has_ended = self.has_ended or state.has_ended
        self.num_damaged = state.num_damaged
        if state.size != (0, 0):
            self.size = state.size
        news = Counter(dict(state.dropped)) - self.dropped
        self.dropped += news
        self.strain.num_lost += news["overtaken"] + news["stale"] + news["late"]
        self.account.drop_unseen(news, self.prompts)

    def take_event(self, event: HealthEvent) -> None:
        """Notes how its source is."""
        if event.state in MOMENTARY:
            return
        self.num_reconnects += event.state == "live" and self.health not in (
            "",
            "connecting",
            "frozen",
            "stalled",
        )
        self.health = event.state

    def take_durable(self, durable: Durable) -> bool:
        """Notes what is durable now; False if that is no news."""
        known = self.start.durable
        if _progress(durable) < _progress(known):
            return False
        if durable != known:
            self.rewinds = self.num_retries = 0
        self.start = replace(self.start, durable=durable)
        return True

    @property
    def prompts(self) -> tuple[str, ...]:
        """What is asked of its frames now."""
        return tuple(map(str, self.start.prompts))

    def rewind(self, reason: str = "worker died") -> None:
        """Forgets everything since it was last durable; a live stream, which cannot be read again, begins a new epoch.

        Args:
            reason: Why frames of a live stream are lost.
        """
        self.let_go(reason)
        self.error = ""
        if self.is_live:
            epoch = max(self.epoch, self.start.durable.epoch) + 1
            durable = Durable(self.stream_id, epoch, Position(), self.start.durable.state)
            self.start = replace(self.start, durable=durable)
        else:
            self.account = Account.at(self.start.durable)
        self.phase = Phase.DRAINING if self.then is not None else Phase.READING

    def let_go(self, reason: str, *, is_failure: bool = False) -> None:
        """Counts what is not durable as lost, and forgets the calls and items that are out.

        Args:
            reason: In the books.
            is_failure: Whether it is counted as failed, and not as dropped.
        """
        self.generation += 1
        self.account.settle(self.start.durable, reason, is_failure=is_failure)
        self.num_items = self.next_sequence = self.next_index = self.num_calls = 0
        self.is_open = self.has_ended = False
        self.dropped = Counter()
        self.reorder = Reorder()
        self.account.begin(self.start.durable)


def _progress(durable: Durable) -> tuple[bool, int, int]:
    return durable.is_complete, durable.epoch, durable.position.frame_index
