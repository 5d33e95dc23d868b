"""What the brokers know of the transactions of earlier producers, and how the last of them is brought to its end."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from typing import Any, Literal, TypeVar

from plantain.operators.sinks.kafka.brokers import Brokers, errors, structs

# Once a producer is initialised, nothing of its predecessors is being completed any more, and a transaction of its own
# is complete milliseconds after its commit was accepted: what is pending for longer hangs.
PATIENCE_S = 5.0

# Between attempts: markers are written within some 5 ms (one broker on loopback, measured 2026-11-21).
PAUSE_S = 0.02

Outcome = Literal["commit", "abort", "unknown"]

_OUTCOMES: dict[str, Outcome] = {
    "PrepareCommit": "commit",
    "CompleteCommit": "commit",
    "Ongoing": "abort",  # the next producer's initialisation does so
    "PrepareEpochFence": "abort",
    "PrepareAbort": "abort",
    "CompleteAbort": "abort",
}

T = TypeVar("T")


class Coordinator:
    """Asks the brokers; one connection, made with the first question. All methods raise errors of the client.

    Args:
        brokers: Whom to ask.
        limit_s: How long a question may be asked again while brokers come and go, seconds.
    """

    def __init__(self, brokers: Brokers, limit_s: float) -> None:
        self._brokers = brokers
        self._limit_s = limit_s
        self._admin: Any = None

    def outcome_of(self, transactional_id: str) -> Outcome | None:
        """How the last transaction ended, or will; None if there was none, or the brokers are too old to tell (< 3.0).

        It must be asked for before the next producer is initialised: the brokers forget it then ("unknown").
        """

        def ask(admin: Any) -> Outcome | None:
            try:
                found = admin.describe_transactions([transactional_id])[transactional_id]
            except (errors.TransactionalIdNotFoundError, errors.UnsupportedVersionError):
                return None
            return _OUTCOMES.get(found.state.value, "unknown")

        return self._ask(ask, "how the last transaction ended")

    def is_pending(self, group: str, topic: str) -> bool:
        """Whether a transaction that has not ended is about to change the note."""

        def ask(admin: Any) -> bool:
            try:
                admin.list_group_offsets({group: [structs.TopicPartition(topic, 0)]})
            except errors.UnstableOffsetCommitError:
                return True
            return False

        return self._ask(ask, "whether a transaction is pending")

    def await_end(self, partitions: Collection[Any], producer: Any) -> None:
        """Returns when no transaction of a producer, or of an earlier one of its name, is open in these partitions.

        Brokers that cannot tell (< 2.8), or may not, are believed.

        Raises:
            KafkaTimeoutError: If one hangs.
        """

        def ask(admin: Any) -> None:
            if _is_open(admin, partitions, producer):
                raise errors.UnstableOffsetCommitError

        self._ask(ask, "whether committed messages count")

    def is_open(self, partitions: Collection[Any], producer: Any) -> bool:
        """Whether a transaction of a producer, or of an earlier one of its name, is open in any of these partitions.

        Of a producer that was just initialised, this is exact: its predecessors' markers are written, or lost for good.
        """

        def ask(admin: Any) -> bool:
            return _is_open(admin, partitions, producer)

        return self._ask(ask, "whether committed messages count")

    def note_of(self, group: str, topic: str) -> str | None:
        """The text that the last committed transaction left in a consumer group, None if there was none.

        Waits for a transaction that is just being completed.
        """
        partition = structs.TopicPartition(topic, 0)

        def ask(admin: Any) -> str | None:
            found = admin.list_group_offsets({group: [partition]})[group].get(partition)
            return None if found is None or found.offset < 0 else str(found.metadata)

        return self._ask(ask, "how far the stream is committed")

    def close(self) -> None:
        """Ends the connection; the next question makes another."""
        if self._admin is not None:
            self._admin.close()
            self._admin = None

    def _ask(self, question: Callable[[Any], T], what: str) -> T:
        began = time.monotonic()
        while True:
            try:
                if self._admin is None:
                    self._admin = self._brokers.admin()
                return question(self._admin)
            except errors.UnstableOffsetCommitError:
                limit_s, why = PATIENCE_S, "a transaction that would change it does not end"
            except errors.RetriableError as error:
                self.close()  # 3.0.12 would go on asking a coordinator that has moved
                limit_s, why = self._limit_s, self._brokers.sentence(error)
            except BaseException:
                self.close()
                raise
            if time.monotonic() - began > limit_s:
                raise errors.KafkaTimeoutError(f"{what} is not known after {limit_s:g} s: {why}") from None
            time.sleep(PAUSE_S)


def _is_open(admin: Any, partitions: Collection[Any], producer: Any) -> bool:
    producer_id = producer._transaction_manager.producer_id_and_epoch.producer_id
    try:
        found = admin.describe_producers(list(partitions))
    except (errors.UnsupportedVersionError, errors.TopicAuthorizationFailedError):
        return False
    return any(
        each.producer_id == producer_id and each.current_transaction_start_offset >= 0
        for state in found.values()
        for each in state.active_producers
    )


def settle(
    producer: Any, partitions: Collection[Any], group: str, *, commits: bool, notes: Mapping[Any, Any]
) -> None:
    """Ends whatever hangs of earlier transactions of an initialised producer's id, in all places they could write to.

    A transaction ends in each partition when the marker of its outcome is written there. A broker that is killed
    between the decision and the markers may, after its restart, forget to write them (seen with 4.3.0: it loads the
    decision before it knows the partitions' leaders, takes the partitions for deleted, and calls the transaction
    complete). What was written then neither counts nor is gone: the group's note cannot be read, consumers of committed
    messages stand still, and the next marker of the same producer id in that partition decides over it. That marker
    must tell the old outcome, before anything new is written: a new commit would bring aborted messages to light, a
    new abort would take committed ones away.

    This is a transaction without messages, over every partition of the topics and the group. Its markers tell the
    outcome where the old one is missing and change nothing where it is not. With the outcome known, it is therefore
    right whichever of the markers were lost:

    | lost in       | old outcome commit                    | old outcome abort                        |
    |---------------|---------------------------------------|------------------------------------------|
    | both          | messages and note come to light       | both are gone; the messages are sent anew |
    | the messages  | they join the note, which counts      | they are gone like the note              |
    | the note      | it covers the messages, which count   | it is gone like the messages             |

    With the outcome unknown (a process was killed between the initialisation and here, and left nothing behind: a
    camera's), a pending note is aborted, since nobody was told that it counts, and otherwise messages are committed,
    since their note may count: messages that the lost marker would have decided over the other way are repeated, none
    is lost.

    If this transaction itself is broken off, the brokers abort it, and what hung with it. If both hung, they still
    share their fate. If only the messages hung, the note counts all the same: whoever settles gives a new one with
    it, so that the old one, found again, tells that its messages are gone. If only the note hung, it is gone although
    its messages count. The caller remembers beforehand which of them hung (`attempts.Attempt`).

    Args:
        producer: It was just initialised.
        partitions: All those of the topics to which its predecessors sent messages.
        group: Where they left notes.
        commits: Whether the last transaction was committed.
        notes: What to leave in the group: offsets with texts.

    Raises:
        KafkaError: If it failed; initialise another producer.
    """
    manager = producer._transaction_manager
    producer.begin_transaction()
    with manager._lock:
        for partition in partitions:
            manager.maybe_add_partition_to_transaction(partition)
        added = manager._add_partitions_to_transaction_handler()
        manager._enqueue_request(added)
    producer.complete(added.result)  # an abort would forget partitions that are not added yet
    producer.send_offsets_to_transaction(dict(notes), structs.ConsumerGroupMetadata(group, -1, "", None))
    if commits:
        producer.commit_transaction()
    else:
        producer.abort_transaction()
