"""Stands between the writer and Kafka, so that brokers which are away hold up nobody.

    writer --send----> parts of segments --thread--> delivery --> brokers
             commit: delivered within a moment, or kept on disk (spool.py), from where the thread goes on

What is committed is delivered or on disk; the promise of the sinks hangs on nothing else. The thread delivers what is
on disk first, in order, then what is open. A process that is killed leaves the disk to the next one, which goes on
there: a delivery skips what is committed already (exactly_once.py), or repeats it under the same ids.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

import structlog

from plantain.operators.errors import SinkBackpressureError, SinkError
from plantain.operators.segments import Backlog
from plantain.operators.sinks.base import Segment
from plantain.operators.sinks.kafka.courier import Courier
from plantain.operators.sinks.kafka.deliveries import Delivery
from plantain.operators.sinks.kafka.held import Held
from plantain.operators.sinks.kafka.messages import Message
from plantain.operators.sinks.kafka.spool import Spool, SpoolFullError
from plantain.operators.sinks.kafka.waiting import Part, Waiting

# A commit waits so long for the brokers, while they answer; then it goes to the disk. They take milliseconds.
PATIENCE_S = 2.0
# Files come back so much later when the spool is full.
FULL_RETRY_S = 5.0
# How long `close` waits for a delivery that is under way.
CLOSE_S = 1.0

log = structlog.get_logger()


class Relay:
    """See the module. None of its calls waits for brokers for longer than a moment.

    Args:
        delivery: How messages get to the brokers; called by one thread only.
        spool: Where they wait.
        patience_s: How long a commit waits for brokers that answer, seconds.
    """

    def __init__(self, delivery: Delivery, spool: Spool, patience_s: float = PATIENCE_S) -> None:
        self._delivery = delivery
        self._waiting = Waiting(spool)
        self._patience_s = patience_s
        self._is_full = False
        courier = Courier(delivery, self._waiting)
        self._thread = threading.Thread(target=courier.run, name="kafka-relay", daemon=True)
        self._thread.start()

    def begin(self, stream_id: str, *, is_resumed: bool) -> None:
        """Forgets what was not committed; if the stream starts anew, also what waits on disk.

        Raises:
            SinkError: If the disk cannot be used.
        """
        with self._waiting.changed:
            self._forget(stream_id)
            if not is_resumed:
                self._waiting.spool.drop(stream_id)
                self._waiting.anew.add(stream_id)
            self._waiting.refused.pop(stream_id, None)
            self._waiting.leaving.discard(stream_id)
            if self._waiting.spool.is_elsewhere(stream_id):
                self._waiting.elsewhere[stream_id] = time.monotonic()
            self._waiting.changed.notify_all()

    def send(self, segment: Segment, messages: Sequence[Message]) -> None:
        """Takes messages, which are delivered soon.

        Raises:
            SinkError: If the brokers have refused something of the stream, or the disk is full.
        """
        with self._waiting.changed:
            self._raise_refused(segment.stream_id)
            part = self._waiting.parts.get(segment)
            if part is None:
                part = self._waiting.parts[segment] = Part(segment, Held(self._waiting.spool.folder))
            part.held.add(messages)
            self._waiting.news[part] = None
            self._waiting.changed.notify_all()

    def commit(self, segments: Sequence[Segment]) -> None:
        """Returns when segments are delivered, or on disk.

        What finds no room on disk is lost to Kafka if it is a camera's, which cannot wait; that is counted, and said.

        Raises:
            SinkBackpressureError: If there is no room for a file's; commit again.
            SinkError: If the brokers refused something of the only stream.
        """
        with self._waiting.changed:
            parts = [self._waiting.parts[segment] for segment in segments if segment in self._waiting.parts]
            for part in parts:
                part.is_committed = True
                self._waiting.news[part] = None
            self._waiting.changed.notify_all()
            if not self._is_behind:
                self._waiting.changed.wait_for(lambda: all(map(self._is_settled, parts)), self._patience_s)
            if len(segments) == 1:
                self._raise_refused(segments[0].stream_id)
            self._keep([part for part in parts if not part.is_over])

    def finish(self, stream_id: str) -> None:
        """The stream has ended: what it holds is given back when everything of it is delivered."""
        with self._waiting.changed:
            self._waiting.leaving.add(stream_id)
            self._waiting.changed.notify_all()

    def forget(self, stream_id: str) -> None:
        """The stream was taken away: what was not committed is let go."""
        with self._waiting.changed:
            self._forget(stream_id)
            self._waiting.leaving.add(stream_id)
            self._waiting.changed.notify_all()

    def backlog(self) -> Backlog:
        """What is committed and not delivered, but for what the brokers refuse."""
        with self._waiting.changed:
            waiting = self._waiting.spool.files
            if self._waiting.refused:
                waiting = tuple(
                    each for each in waiting if self._waiting.has_some(each, self._waiting.refused.keys())
                )
            num_open = sum(
                part.held.count
                for part in self._waiting.parts.values()
                if part.is_committed and part.kept is None
            )
            now_ns = time.time_ns()
            return Backlog(
                "kafka",
                num_open + sum(kept.num_waiting for kept in waiting),
                self._waiting.spool.size,
                self._waiting.spool.max_bytes,
                max(0.0, (now_ns - min((kept.at_ns for kept in waiting), default=now_ns)) / 1e9),
                self._waiting.num_lost,
                self._waiting.trouble or next(map(str, self._waiting.refused.values()), ""),
            )

    def close(self) -> None:
        """Leaves what waits on disk to the next process; what was not committed is gone."""
        with self._waiting.changed:
            self._waiting.is_closed = True
            self._waiting.changed.notify_all()
        self._thread.join(CLOSE_S)
        if self._thread.is_alive():
            self._delivery.close()  # which ends what it is in the midst of
            self._thread.join(CLOSE_S)
        with self._waiting.changed:
            for part in list(self._waiting.parts.values()):
                self._waiting.let_go(part)
            self._waiting.spool.close()

    @property
    def _is_behind(self) -> bool:
        """Whether there is no point in waiting for the brokers."""
        return (
            self._waiting.trouble != ""
            or bool(self._waiting.elsewhere)
            or self._waiting.next_file() is not None
        )

    def _is_settled(self, part: Part) -> bool:
        return part.is_over or part.segment.stream_id in self._waiting.refused or self._waiting.trouble != ""

    def _raise_refused(self, stream_id: str) -> None:
        if stream_id in self._waiting.refused:
            raise self._waiting.refused[stream_id]

    def _keep(self, parts: list[Part]) -> None:
        """Puts segments on disk; those of cameras for which there is no room are lost."""
        if not parts:
            return
        try:
            kept = self._waiting.spool.put([(part.segment, part.held) for part in parts])
        except (SpoolFullError, SinkError) as error:
            self._say_full(error)
            for part in parts:
                if part.segment.is_live:
                    self._waiting.num_lost += part.held.count
                    self._waiting.lives.pop(part.segment.stream_id, None)
                    self._waiting.let_go(part)
            if all(part.segment.is_live for part in parts):
                return
            if isinstance(error, SinkError):
                raise
            raise SinkBackpressureError(
                f"the brokers are away, and {error}: wait for them, or raise output.spool.size", FULL_RETRY_S
            ) from None
        self._is_full = False
        for part in parts:
            if part.life is not None:
                part.kept = kept
            else:
                self._waiting.let_go(part)

    def _say_full(self, error: Exception) -> None:
        if not self._is_full:
            self._is_full = True
            what = "what more comes of cameras is lost to Kafka alone; files wait for the brokers"
            log.error("spool full", what=what, error=str(error))

    def _forget(self, stream_id: str) -> None:
        """What was not committed is gone; what is on disk is delivered from there."""
        for part in [part for part in self._waiting.parts.values() if part.segment.stream_id == stream_id]:
            self._waiting.let_go(part)
        self._waiting.lives.pop(stream_id, None)
