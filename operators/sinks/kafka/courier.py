"""Delivers what waits, in order, however long brokers are away: the half of the relay that is a thread."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial

import structlog

from plantain.operators.errors import SinkBackpressureError, SinkError
from plantain.operators.redaction import sentence_of
from plantain.operators.sinks.base import Segment
from plantain.operators.sinks.kafka.deliveries import Delivery
from plantain.operators.sinks.kafka.messages import Message
from plantain.operators.sinks.kafka.spool import BATCH_BYTES, Kept
from plantain.operators.sinks.kafka.waiting import Part, Waiting

# Another writer's spool is looked at so often, while it holds streams of ours.
ELSEWHERE_EVERY_S = 1.0

log = structlog.get_logger()


class Courier:
    """See the module.

    Args:
        delivery: How messages get to the brokers; nobody else calls it.
        waiting: What is to be delivered.
    """

    def __init__(self, delivery: Delivery, waiting: Waiting) -> None:
        self._delivery = delivery
        self._waiting = waiting
        self._num_lives = 0

    def run(self) -> None:
        """Works until the writer has ended."""
        try:
            while self._wait():
                self._work()
        except Exception as error:  # noqa: BLE001 - the writer goes on with the disk, and says why
            if not self._waiting.is_closed:
                log.error("kafka relay", error=sentence_of(error))
            with self._waiting.changed:
                self._waiting.trouble = sentence_of(error)
                self._waiting.changed.notify_all()
        finally:
            self._delivery.close()

    def _wait(self) -> bool:
        """Returns when there is something to do; False when there will be nothing more."""
        with self._waiting.changed:
            while not self._waiting.is_closed:
                self._look_elsewhere()
                if self._waiting.next_file() is not None or self._ready() or self._gone():
                    return True
                self._waiting.changed.wait(ELSEWHERE_EVERY_S if self._waiting.elsewhere else None)
            return False

    def _look_elsewhere(self) -> None:
        """Finds out what other writers have delivered by now."""
        for stream_id, looked_s in list(self._waiting.elsewhere.items()):
            if time.monotonic() - looked_s >= ELSEWHERE_EVERY_S:
                if self._waiting.spool.is_elsewhere(stream_id):
                    self._waiting.elsewhere[stream_id] = time.monotonic()
                else:
                    del self._waiting.elsewhere[stream_id]

    def _ready(self) -> list[Part]:
        """Parts with news."""
        blocked = self._waiting.blocked
        return [part for part in self._waiting.news if part.segment.stream_id not in blocked]

    def _gone(self) -> list[str]:
        """Streams that have ended, and of which nothing is left."""
        if not self._waiting.leaving:
            return []
        open_ = {segment.stream_id for segment in self._waiting.parts}
        return [
            each for each in self._waiting.leaving if each not in open_ and not self._waiting.spool.has(each)
        ]

    def _work(self) -> None:
        """Delivers everything that there is now: what was begun, then the disk, then what is new."""
        with self._waiting.changed:
            kept = self._waiting.next_file()
            parts = self._ready()
        stuck: set[str] = set()
        for part in parts:
            if (kept is None or part.kept is not None) and part.segment.stream_id not in stuck:
                self._pass_on(part)
                if part.is_committed and not part.is_over:
                    stuck.add(part.segment.stream_id)
        with self._waiting.changed:
            kept = self._waiting.next_file()
        if kept is not None:
            self._pass_on_file(kept)
        with self._waiting.changed:
            gone = self._gone()
            self._waiting.leaving.difference_update(gone)
            for stream_id in gone:
                self._waiting.lives.pop(stream_id, None)
        for stream_id in gone:
            self._delivery.finish(stream_id)

    def _pass_on(self, part: Part) -> None:
        """Delivers what is new of a segment, and commits it if it is whole."""
        segment = part.segment
        while True:
            with self._waiting.changed:
                if part.is_over:
                    return
                if part.life not in (
                    None,
                    self._waiting.lives.get(segment.stream_id),
                ):  # what the delivery had is forgotten
                    part.life, part.place = None, 0
                messages, place = part.held.after(part.place, BATCH_BYTES)
                if not messages and not part.is_committed:
                    self._waiting.news.pop(part, None)
                    return
                part.life = self._begin(segment.stream_id)
            if not self._deliver(segment, part.life, lambda: part.is_over, messages):
                return
            with self._waiting.changed:
                part.place = place
                if not messages and not part.is_over:
                    if part.kept is not None:
                        self._waiting.spool.done(part.kept, segment)
                    self._waiting.let_go(part)
                    self._waiting.changed.notify_all()

    def _pass_on_file(self, kept: Kept) -> None:
        """Delivers a file of the spool: all its streams' messages, then their commits."""
        with self._waiting.changed:
            blocked = self._waiting.blocked
            lives = {
                segment: self._begin(segment.stream_id)
                for segment in kept.waiting
                if segment not in self._waiting.parts and segment.stream_id not in blocked
            }
        sent = set(lives)
        try:
            for segment, messages in kept.messages() if lives else ():
                if segment in sent and not self._deliver(
                    segment, lives[segment], partial(kept.is_done, segment), messages
                ):
                    sent.remove(segment)
        except SinkError as error:
            with self._waiting.changed:
                self._waiting.num_lost += self._waiting.spool.set_aside(kept, error)
            return
        for segment in lives:
            if segment in sent and not self._deliver(
                segment, lives[segment], partial(kept.is_done, segment), ()
            ):
                sent.remove(segment)
            with self._waiting.changed:
                if segment in sent:
                    self._waiting.spool.done(kept, segment)
                elif (
                    self._waiting.lives.get(segment.stream_id) == lives[segment]
                ):  # the delivery has half of it
                    del self._waiting.lives[segment.stream_id]

    def _begin(self, stream_id: str) -> int:
        """The stream's life in the delivery, which has it begin where it has something that is not wanted."""
        if stream_id not in self._waiting.lives:
            self._num_lives += 1
            self._waiting.lives[stream_id] = self._num_lives
            self._waiting.unbegun.add(stream_id)
        return self._waiting.lives[stream_id]

    def _deliver(
        self, segment: Segment, life: int | None, is_over: Callable[[], bool], messages: Sequence[Message]
    ) -> bool:
        """Has messages delivered, or without any the segment committed, however long brokers are away.

        Returns:
            Whether it was; not if it is not wanted any more, the brokers refuse it, or this ends.
        """
        stream_id = segment.stream_id
        while True:
            with self._waiting.changed:
                if (
                    self._waiting.is_closed
                    or is_over()
                    or stream_id in self._waiting.refused
                    or self._waiting.lives.get(stream_id) != life
                ):
                    return False
                is_new = stream_id in self._waiting.unbegun
                is_resumed = stream_id not in self._waiting.anew
            try:
                if is_new:
                    self._delivery.begin(stream_id, is_resumed=is_resumed)
                    with self._waiting.changed:
                        if self._waiting.lives.get(stream_id) != life:
                            continue
                        self._waiting.unbegun.discard(stream_id)
                        self._waiting.anew.discard(stream_id)
                if messages:
                    self._delivery.send(segment, messages)
                else:
                    self._delivery.commit(segment)
            except SinkBackpressureError as error:
                self._note_trouble(str(error))
                with self._waiting.changed:
                    self._waiting.changed.wait_for(
                        lambda: self._waiting.is_closed or is_over(), error.retry_after_s
                    )
            except SinkError as error:
                with self._waiting.changed:
                    if self._waiting.is_closed:
                        return False
                    log.error("refused", stream=stream_id, error=str(error))
                    self._waiting.refused[stream_id] = error
                    self._waiting.lives.pop(stream_id, None)
                    self._waiting.changed.notify_all()
            else:
                self._note_trouble("")
                return True

    def _note_trouble(self, what: str) -> None:
        """Says once that the brokers are away, and once that they are back."""
        if bool(what) == bool(self._waiting.trouble):
            return
        with self._waiting.changed:
            self._waiting.trouble = what
            self._waiting.changed.notify_all()
        if what:
            log.warning(
                "behind", sink="kafka", what="results wait on disk until the brokers are back", error=what
            )
        else:
            log.info("back", sink="kafka", messages=self._waiting.spool.num_waiting)
