"""Kafka: topics of predictions, events and health, keyed by stream, as JSON with CloudEvents headers.

    results --messages.py--> messages --relay.py--> at_least_once.py--> PREFIX.predictions   sent at once
                                     (spool.py)  `-exactly_once.py----> PREFIX.events        in transactions
    health  --messages.py--> records  --notices.py--------> PREFIX.health        sent beside, nobody waits

Topics, values, headers and guarantees are described in docs/kafka.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from plantain.operators.health import HealthEvent
from plantain.operators.redaction import shown
from plantain.operators.segments import Backlog
from plantain.operators.sinks.base import Segment
from plantain.operators.sinks.kafka.at_least_once import AtLeastOnce
from plantain.operators.sinks.kafka.brokers import Brokers
from plantain.operators.sinks.kafka.deliveries import Delivery
from plantain.operators.sinks.kafka.exactly_once import ExactlyOnce
from plantain.operators.sinks.kafka.messages import Rasters, Topic, event_messages, health_record, messages_of
from plantain.operators.sinks.kafka.notices import Notices
from plantain.operators.sinks.kafka.relay import Relay
from plantain.operators.sinks.kafka.spool import Spool
from plantain.operators.sinks.rows import Rows, folder_of
from plantain.operators.sinks.store import Store


class KafkaSink:
    """Sends results and what is told of the streams. It connects with the first of them, in the process that writes.

    Args:
        url: The run's output folder: checkpoints lie there, and the Parquet parts that `rasters="refer"` names.
        run_id: With a stream's name, the name of its transactions.
        bootstrap: `host:port` of some brokers, separated by commas.
        topic_prefix: The topics' names up to the dot.
        transactional: Whether a consumer that reads committed messages must see each frame exactly once.
        events: Whether events are sent, for which their topic must be there.
        rasters: What happens to dense maps.
        max_message_bytes: A larger answer goes in parts.
        max_unacknowledged: Messages that may wait for acknowledgement.
        spool: Local folder for what brokers that are away cannot take; without one, they hold up the writer.
        spool_bytes: What waits there at most.
        timeout_s: How long a delivery may take, seconds.
        bootstrap_timeout_ms: How long the first contact may take.
        api_version: Of the brokers, where they cannot be asked.
        security: See `Brokers`.
    """

    def __init__(
        self,
        url: str,
        run_id: str,
        bootstrap: str,
        *,
        topic_prefix: str = "plantain",
        transactional: bool = False,
        events: bool = False,
        rasters: Rasters = "drop",
        max_message_bytes: int = 900_000,
        max_unacknowledged: int = 10_000,
        spool: str | None = None,
        spool_bytes: int = 2 << 30,
        timeout_s: float = 120.0,
        bootstrap_timeout_ms: int = 30_000,
        api_version: Sequence[int] | None = None,
        security: Mapping[str, Any] | None = None,
    ) -> None:
        self._url = shown(url.rstrip("/"))
        self._run_id = run_id
        self._rasters = rasters
        self._max_message_bytes = max_message_bytes
        self._has_events = events
        topics: dict[Topic, str] = {"predictions": f"{topic_prefix}.predictions"}
        if events:
            topics["events"] = f"{topic_prefix}.events"
        brokers = Brokers(
            bootstrap,
            timeout_s=timeout_s,
            bootstrap_timeout_ms=bootstrap_timeout_ms,
            api_version=api_version,
            max_request_bytes=max(1 << 20, 2 * max_message_bytes),
            security=security or {},
        )
        self._delivery: Delivery
        if transactional:
            self._delivery = ExactlyOnce(brokers, topics, run_id, Store(url), max_unacknowledged)
        else:
            self._delivery = AtLeastOnce(brokers, topics, max_unacknowledged)
        self._relay = None if spool is None else Relay(self._delivery, Spool(Path(spool), spool_bytes))
        self._notices = Notices(brokers, f"{topic_prefix}.health")

    def begin(self, stream_id: str, *, is_resumed: bool) -> None:
        """Forgets what was not committed. Topics keep what earlier runs sent: their messages have the same ids."""
        if self._relay is not None:
            self._relay.begin(stream_id, is_resumed=is_resumed)
        else:
            self._delivery.begin(stream_id, is_resumed=is_resumed)

    def write(self, segment: Segment, rows: Rows) -> None:
        """Takes rows; without transactions they are on their way at once.

        Raises:
            SinkBackpressureError: If the brokers cannot be reached, or do not keep up.
            SinkError: If they refuse, or a single object is larger than a message may be.
        """
        raster_ref = f"{self._url}/{folder_of('frames', segment.stream_id)}/{segment.name}.parquet"
        messages = [
            message
            for answer in rows.answers
            for message in messages_of(
                answer, rasters=self._rasters, raster_ref=raster_ref, max_bytes=self._max_message_bytes
            )
        ]
        if self._has_events:
            for result in rows.results:
                messages += event_messages(result, self._run_id)
        (self._relay or self._delivery).send(segment, messages)

    def commit(self, segment: Segment) -> None:
        """Returns when every message of the segment is acknowledged, with transactions: committed; or on disk.

        Raises:
            SinkBackpressureError: If that is not known yet; commit again.
            SinkError: If a message was refused.
        """
        if self._relay is not None:
            self._relay.commit([segment])
        else:
            self._delivery.commit(segment)

    def commit_together(self, segments: Sequence[Segment]) -> None:
        """Like `commit` of each; what goes to the disk goes there together."""
        if self._relay is not None:
            self._relay.commit(segments)
            return
        for segment in segments:
            self._delivery.commit(segment)

    def backlog(self) -> Backlog | None:
        """What waits for the brokers."""
        return None if self._relay is None else self._relay.backlog()

    def finish(self, stream_id: str) -> None:
        """Gives back the stream's connections."""
        (self._relay or self._delivery).finish(stream_id)

    def forget(self, stream_id: str) -> None:
        """Gives back the stream's connections, and lets go of what was not committed."""
        if self._relay is not None:
            self._relay.forget(stream_id)
        else:
            self._delivery.finish(stream_id)

    def tell(self, event: HealthEvent) -> None:
        """Sends a change of a stream's health, in its own time."""
        self._notices.put(health_record(event))

    def close(self) -> None:
        """Gives back all connections; what was not committed may or may not arrive, with transactions it does not."""
        (self._relay or self._delivery).close()
        self._notices.close()
