"""What the engine knows about one stream."""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from plantain.operators.health import FLOWING, MOMENTARY, HealthEvent
from plantain.operators.render.looks import Look
from plantain.operators.segments import Durable, Position
from plantain.operators.streams import ReadState, Start, StreamInfo
from plantain.pipeline.calls import Call
from plantain.pipeline.engine.books import Account, Ledger
from plantain.pipeline.engine.item import Item
from plantain.pipeline.engine.ordering import Order
from plantain.pipeline.engine.overload import Strain
from plantain.pipeline.engine.pace import Recent


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


_P = Phase
MOVES: Mapping[Phase, frozenset[Phase]] = {
    _P.WAITING: frozenset({_P.READING, _P.PAUSED, _P.FAILED, _P.INTERRUPTED}),
    _P.READING: frozenset({_P.READING, _P.DRAINING, _P.WAITING, _P.RETRYING, _P.FAILED, _P.INTERRUPTED}),
    _P.DRAINING: frozenset({_P.READING, _P.DRAINING, _P.FINISHING, _P.RETRYING, _P.FAILED, _P.INTERRUPTED}),
    _P.FINISHING: frozenset({*_P} - {_P.FINISHING}),
    _P.PAUSED: frozenset({_P.WAITING, _P.FAILED, _P.INTERRUPTED}),
    _P.RETRYING: frozenset({_P.WAITING, _P.PAUSED, _P.FAILED, _P.INTERRUPTED}),
    _P.DONE: frozenset({_P.FAILED}),
    _P.FAILED: frozenset({_P.WAITING, _P.FAILED}),
    _P.INTERRUPTED: frozenset({_P.FAILED}),
}
"""What a stream may become: a dead worker sets it back, and one whose end cannot be noted fails."""

ENDED = frozenset({Phase.DONE, Phase.FAILED, Phase.INTERRUPTED})
# It is not at work, and will not be soon.
RESTING = ENDED | {Phase.PAUSED, Phase.RETRYING}
# No worker has anything to do for it.
IDLE = RESTING | {Phase.WAITING}


@dataclass(slots=True)
class OpenSegment:
    """What a stream has handed on since its last barrier.

    Attributes:
        index: Number of the segment, within the epoch.
        epoch: Of its frames.
        num_items: Items in it.
        since_s: When the first of them was handed on, in the engine's clock; None while there is none.
        away_s: Since when its camera has been away with nothing handed on, in the engine's clock; None if it is not.
    """

    index: int = 0
    epoch: int = 0
    num_items: int = 0
    since_s: float | None = None
    away_s: float | None = None


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
        unread_bytes: How much of its file, which was read to its end, is not among its frames.
        num_reconnects: Times that its camera was live again.
        workers: The copy of each stage that it is bound to, by the stage's name.
        generation: Counts restarts; items and calls of an older one are let go.
        epoch, noted_epoch, stored_epoch: The latest that a frame of it had, that a checkpoint was told of, and that one
            knows.
        held: What waits in front of the sinks until a checkpoint knows its epoch.
        size: Width and height of its source picture, pixels; 0 while unknown.
        health: The last lasting state that its source told of.
        told: The last that was told of it, but for remarks; None before.
        live_epoch: The last in which its camera was live; -1 for none.
        newest_s: When its newest frame arrived, in the engine's clock; None before the first.
        is_open: Its source is open in this generation.
        has_ended: Its source has nothing more to give.
        then: What follows once it is drained, if it was told to stop before its end: INTERRUPTED, PAUSED, or WAITING
            to begin anew.
        is_leaving: It is to be forgotten once it has ended.
        num_retries: Times that it was begun again since something new became durable.
        retry_s: When it is to be begun again, in the engine's clock; None until that is decided.
        dropped: What its source has let go since it was opened, by reason.
        num_reads, num_calls, num_items: Reads and other calls about it that are out, and frames in flight.
        num_sides: Further parts of frames, for other pools than the first that a frame is for, in flight.
        num_asked: Frames that the reads which are out may bring.
        num_tells: Events on their way to its sinks.
        num_frames: That were read in this generation.
        next_index: Of its next frame.
        rewinds: Restarts, perhaps by its own fault, since something new became durable.
        join_s: Parts of a frame of it that belong together wait no longer than this for one another.
        order: Puts its items back in order behind the pools.
        segment: What has been handed on since the last barrier.
        ledger: What its sinks have been given.
        recent: Results of the last seconds, and their latency.
        looks: What is drawn of it for viewers.
        rungs: How much it has given up under overload, by pool.
        strains: How hard each pool finds it to keep up with it.
    """

    start: Start
    phase: Phase = Phase.WAITING
    error: str = ""
    last_failure: str = ""
    info: StreamInfo | None = None
    account: Account = field(default_factory=Account)
    num_damaged: int = 0
    unread_bytes: int = 0
    num_reconnects: int = 0
    workers: dict[str, int] = field(default_factory=dict)
    generation: int = 0
    epoch: int = 0
    noted_epoch: int = -1
    stored_epoch: int = -1
    held: deque[Item | Call] = field(default_factory=deque)
    size: tuple[int, int] = (0, 0)
    health: str = ""
    told: HealthEvent | None = None
    live_epoch: int = -1
    newest_s: float | None = None
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
    num_sides: int = 0
    num_frames: int = 0
    next_index: int = 0
    rewinds: int = 0
    join_s: float = 0.0
    order: Order = field(default_factory=lambda: Order(joins=True))
    segment: OpenSegment = field(default_factory=OpenSegment)
    ledger: Ledger = field(default_factory=Ledger)
    recent: Recent = field(default_factory=Recent)
    looks: tuple[Look, ...] = ()
    rungs: dict[str, int] = field(default_factory=dict)
    strains: defaultdict[str, Strain] = field(default_factory=lambda: defaultdict(Strain))

    @classmethod
    def of(cls, start: Start, join_s: float = 0.0) -> Stream:
        """A stream that goes on at `start`; it is done if nothing is left to do, and failed if it is refused."""
        account = Account.at(start.durable)
        if account.failed and not account.results:  # what was wrong may have been put right since
            start = replace(start, durable=Durable(start.spec.stream_id, 0, Position()))
            account = Account.at(start.durable)
        phase = Phase.DONE if start.durable.is_complete else Phase.WAITING
        return cls(
            start,
            Phase.FAILED if start.refusal else phase,
            start.refusal,
            account=account,
            unread_bytes=start.durable.unread_bytes,
            join_s=join_s,
            order=Order(joins=not start.is_live, patience_s=join_s),
            segment=OpenSegment(start.segment, start.durable.epoch),
            ledger=Ledger.at(start.durable),
        )

    def move(self, phase: Phase) -> None:
        """Goes on to another phase.

        Raises:
            ValueError: If that does not follow on the one that it is in.
        """
        if phase not in MOVES[self.phase]:
            raise ValueError(f"stream '{self.stream_id}' cannot go from {self.phase} to {phase}")
        self.phase = phase

    @property
    def stream_id(self) -> str:
        """Its name."""
        return self.start.spec.stream_id

    @property
    def is_live(self) -> bool:
        """Whether it cannot be read again."""
        return self.start.is_live

    @property
    def state(self) -> str:
        """How it is, in the one word that status, metrics, log and page have for it.

        Of a camera at work what its source tells (`types.HealthState`), `connecting` before; else its phase.
        """
        if self.is_leaving and self.phase not in ENDED:
            return "removing"
        if not self.is_live or self.phase in RESTING:
            return str(self.phase)
        return (self.health if self.is_open else "") or "connecting"

    @property
    def is_away(self) -> bool:
        """Whether it is a camera that is read, and of which nothing comes."""
        return (
            self.is_live
            and self.phase is Phase.READING
            and self.is_open
            and self.health not in ("", *FLOWING)
        )

    @property
    def is_quiet(self) -> bool:
        """Whether no worker has anything of it."""
        return not (self.num_items or self.num_sides or self.num_reads or self.num_calls)

    def take_read(self, state: ReadState) -> None:
        """Notes how far reading has come."""
        self.has_ended = self.has_ended or state.has_ended
        self.num_damaged = state.num_damaged
        self.unread_bytes = state.unread_bytes
        if state.size != (0, 0):
            self.size = state.size
        news = Counter(dict(state.dropped)) - self.dropped if state.dropped else None
        if not news:  # hardly ever there is any, and cameras are looked at some ten times a second
            return
        self.dropped += news
        for strain in self.strains.values():
            strain.num_lost += news["overtaken"] + news["stale"] + news["late"]
        self.account.drop_unseen(news, self.prompts)

    def take_event(self, event: HealthEvent) -> None:
        """Notes how its source is."""
        if event.state in MOMENTARY:
            return
        if event.state == "live":
            was_away = self.health not in ("", "connecting", "frozen")
            self.num_reconnects += was_away and event.epoch > self.live_epoch
            self.live_epoch = event.epoch
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
    def rung(self) -> int:
        """How much it has given up under overload, where that is most."""
        return max(self.rungs.values(), default=0)

    @property
    def has_results(self) -> bool:
        """Whether it ever had a result in this run."""
        return any(strain.has_results for strain in self.strains.values())

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
            known = self.start.durable
            durable = Durable(self.stream_id, epoch, Position(), known.state, seen_ns=known.seen_ns)
            self.start = replace(self.start, durable=durable)
        else:
            self.account = Account.at(self.start.durable)
        self.segment = OpenSegment(0, self.start.durable.epoch)
        self.ledger = Ledger.at(self.start.durable)

    def let_go(self, reason: str, *, is_failure: bool = False) -> None:
        """Counts what is not durable as lost, and forgets the calls and items that are out.

        Args:
            reason: In the books.
            is_failure: Whether it is counted as failed, and not as dropped.
        """
        self.generation += 1
        self.account.settle(self.start.durable, reason, is_failure=is_failure)
        self.num_items = self.num_sides = self.num_frames = self.next_index = self.num_calls = 0
        self.is_open = self.has_ended = False
        self.dropped = Counter()
        self.order = Order(joins=not self.is_live, patience_s=self.join_s)
        self.held.clear()
        self.account.begin(self.start.durable)


def _progress(durable: Durable) -> tuple[bool, int, int]:
    return durable.is_complete, durable.epoch, durable.position.frame_index
