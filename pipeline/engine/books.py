"""Where every frame went, per stream, and per prompt of a stream.

decoded = results + failed + lost + skipped + in flight. What nobody wanted is skipped, and no loss; what somebody
wanted, and nobody will ever look at, is lost.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from plantain.operators.segments import Durable
from plantain.operators.types import Header

NOT_DUE = "not due"
"""Why a frame was skipped of which nothing was asked yet, or a prompt that was not asked of a frame."""

OVERLOAD = "overload"
"""Why a frame, or a prompt of it, was lost that the ladder gave up."""

NOT_WANTED = frozenset((NOT_DUE, "not sampled", "stopped", "removed"))
"""Reasons that are no loss: a setting passed it over, or somebody ended the stream. Any other is one."""


@dataclass(slots=True)
class Book:
    """Frames of one stream, or those of them that one prompt was to be asked of.

    Attributes:
        decoded: Delivered by the source.
        results: Answered, and taken by the sinks. What a writer that died had not committed is taken back.
        failed: Not answered, by the stage where it failed.
        lost: Wanted, and let go, by reason.
        skipped: Let go since nobody wanted it, by reason.
    """

    decoded: int = 0
    results: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    lost: Counter[str] = field(default_factory=Counter)
    skipped: Counter[str] = field(default_factory=Counter)

    @property
    def in_flight(self) -> int:
        """Decoded, and neither answered nor let go yet."""
        gone = self.failed.total() + self.lost.total() + self.skipped.total()
        return self.decoded - self.results - gone

    def add(self, other: Book) -> None:
        """Adds the figures of another book."""
        self.decoded += other.decoded
        self.results += other.results
        self.failed += other.failed
        self.lost += other.lost
        self.skipped += other.skipped

    def drop(self, reason: str, count: int = 1) -> None:
        """Notes what was let go."""
        (self.skipped if reason in NOT_WANTED else self.lost)[reason] += count

    def take(self, failed_in: str | None) -> None:
        """Notes what became of a frame, or of a prompt of it, in the last stage."""
        if failed_in is None:
            self.results += 1
        else:
            self.failed[failed_in] += 1


@dataclass(slots=True)
class Account(Book):
    """The books of one stream, over all runs that made its results.

    Attributes:
        prompts: A book for each prompt that was ever asked of it.
    """

    prompts: dict[str, Book] = field(default_factory=dict)
    _before: dict[str, Book] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def at(cls, durable: Durable) -> Account:
        """The books of a stream that goes on where it is durable."""
        delivered = durable.position.delivered
        failed = Counter(dict(durable.failed))
        account = cls(delivered, 0, failed)
        for prompt, stage, count in durable.answers:
            if not prompt:
                account.drop(NOT_DUE, count)
                continue
            book = account.prompts.setdefault(prompt, Book(delivered))
            if stage:
                book.failed[stage] += count
            else:
                book.results += count
        for book in account.prompts.values():
            if book.in_flight:
                book.drop(NOT_DUE, book.in_flight)
        account.results = account.in_flight
        return account

    def begin(self, durable: Durable) -> None:
        """The sinks are told to begin at `durable`; what they say is durable counts from there."""
        at = Account.at(durable)
        self._before = {
            prompt: Book(0, book.results - there.results, book.failed - there.failed)
            for prompt, book, there in self._beside(at)
        }

    def enter(self, parts: Sequence[Header], prompts: Iterable[str]) -> None:
        """A frame came.

        Args:
            parts: What it is asked, and what it is not because of overload, a header for each pool.
            prompts: All prompts of the stream.
        """
        self.decoded += 1
        asked = [prompt for part in parts for prompt in part.prompts]
        spared = [prompt for part in parts for prompt in part.spared]
        for prompt in dict.fromkeys((*prompts, *asked, *spared)):
            book = self._book(prompt)
            book.decoded += 1
            if prompt not in asked:
                book.drop(OVERLOAD if prompt in spared else NOT_DUE)

    def drop_unseen(self, reasons: Counter[str], prompts: Iterable[str]) -> None:
        """The source let frames go before anybody could ask anything of them."""
        for book in (self, *map(self._book, prompts)):
            book.decoded += reasons.total()
            for reason, count in reasons.items():
                book.drop(reason, count)

    def leave(self, header: Header, failed: Mapping[str, str]) -> None:
        """A frame, or a part of it, and what was asked of it, has left the last stage.

        Args:
            header: Its own.
            failed: The stage where each prompt failed that did. Of a frame in parts the first one speaks for the frame.
        """
        for prompt in header.prompts:
            self._book(prompt).take(failed.get(prompt))
        if header.part:
            return
        if header.prompts or failed:
            self.take(next(iter(failed.values()), None))
        else:
            self.drop(OVERLOAD if header.spared else NOT_DUE)

    def lose(self, header: Header, reason: str) -> None:
        """A frame, or a part of it, and what was asked of it, will never come to the last stage."""
        books: list[Book] = [] if header.part else [self]
        for book in (*books, *map(self._book, header.prompts)):
            book.drop(reason)

    def take_back(self, durable: Durable, reason: str) -> None:
        """Results that were not committed are lost."""
        at = Account.at(durable)
        for prompt, book, there in self._beside(at):
            before = self._before.get(prompt, Book())
            was = book.in_flight
            book.results = min(book.results, before.results + there.results)
            book.failed = book.failed & (before.failed + there.failed)
            if lost := book.in_flight - was:
                book.drop(reason, lost)

    def settle(self, durable: Durable, reason: str, *, is_failure: bool = False) -> None:
        """What is durable counts, also of what is in flight; the rest is lost, also of the results."""
        for prompt, book, there in self._beside(Account.at(durable)):
            before = self._before.get(prompt, Book())
            book.results, book.failed = before.results + there.results, before.failed + there.failed
            if is_failure:
                book.failed[reason] += book.in_flight
            else:
                book.drop(reason, book.in_flight)
            book.failed, book.lost, book.skipped = +book.failed, +book.lost, +book.skipped

    def _beside(self, other: Account) -> list[tuple[str, Book, Book]]:
        """Each book of this account and the same one of another."""
        pairs: list[tuple[str, Book, Book]] = [("", self, other)]
        pairs += [(name, book, other.prompts.get(name, Book())) for name, book in self.prompts.items()]
        return pairs

    def _book(self, prompt: str) -> Book:
        book = self.prompts.get(prompt)
        if book is None:  # made for every frame, it would be a tenth of what the engine does for it
            book = self.prompts[prompt] = Book()
        return book


@dataclass(slots=True)
class Ledger:
    """What of a stream the sinks have been given: what is durable once they have committed it.

    Attributes:
        delivered: Frames.
        last_pts: Presentation time of the last of them; None where unknown.
        failed: Those with a failed prompt, by stage.
        answers: How often each prompt was asked, by prompt and the stage where it failed or empty.
        cost_usd: What the answers cost, US dollars.
    """

    delivered: int = 0
    last_pts: int | None = None
    failed: Counter[str] = field(default_factory=Counter)
    answers: Counter[tuple[str, str]] = field(default_factory=Counter)
    cost_usd: float = 0.0

    @classmethod
    def at(cls, durable: Durable) -> Ledger:
        """The ledger of a stream that goes on where it is durable."""
        answers = Counter({(prompt, stage): count for prompt, stage, count in durable.answers})
        position = durable.position
        failed = Counter(dict(durable.failed))
        return cls(position.delivered, position.previous_pts, failed, answers, durable.cost_usd)

    def take(self, header: Header, failed: Mapping[str, str], cost_usd: float = 0.0) -> None:
        """The sinks are given a frame, or a part of it."""
        self.cost_usd += cost_usd
        self.answers.update((prompt, failed.get(prompt, "")) for prompt in header.prompts)
        if header.part:
            return
        self.delivered += 1
        self.last_pts = header.pts
        if failed:
            self.failed[next(iter(failed.values()))] += 1
        elif not header.prompts:
            self.answers["", ""] += 1

    def promise(self, durable: Durable) -> Durable:
        """The same promise, with all that the sinks have been given by now."""
        position = replace(durable.position, delivered=self.delivered, previous_pts=self.last_pts)
        answers = tuple((*asked, count) for asked, count in sorted(self.answers.items()))
        failed = tuple(sorted(self.failed.items()))
        return replace(durable, position=position, failed=failed, answers=answers, cost_usd=self.cost_usd)
