"""The Kafka cluster: how to reach it, and what its errors mean to a user. The only module that imports the client."""

from __future__ import annotations

import contextlib
import logging
import re
import socket
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

try:
    with warnings.catch_warnings():
        # 3.0.12 reads its own files in a way that Python 3.11 warns of.
        warnings.simplefilter("ignore", DeprecationWarning)
        import kafka
        from kafka import errors as errors
        from kafka import structs as structs
        from kafka.net.compat import KafkaNetClient
        from kafka.net.manager import KafkaConnectionManager
        from kafka.net.selector import NetworkSelector
except ImportError as error:
    raise ImportError("it needs kafka-python: pip install 'plantain-video[kafka]'") from error

import structlog

from plantain.operators.errors import SinkBackpressureError, SinkError
from plantain.operators.redaction import redact
from plantain.operators.sinks.kafka.messages import Record

# What Kafka takes for a record whose time is not known.
NO_TIME = -1

# A call that could not be made now may be made again after this; the call itself has waited already.
RETRY_AFTER_S = 1.0

# A transaction that stands still for longer is begun again by another producer, which costs little: after a broker was
# restarted, the client's own (3.0.12) stood still until its deliveries had expired (measured 2026-11-21).
STANDSTILL_S = 25.0

# Errors that no repetition heals, and what to do about them.
_REFUSED: tuple[tuple[tuple[type[Exception], ...], str], ...] = (
    (
        (
            errors.SaslAuthenticationFailedError,
            errors.UnsupportedSaslMechanismError,
            errors.IllegalSaslStateError,
            errors.SecurityDisabledError,
        ),
        "the brokers refuse the login: check output.kafka.security",
    ),
    (
        (errors.AuthorizationError,),
        "the login may not do this: grant it writing to the topic and its transactions",
    ),
    (
        (errors.MessageSizeTooLargeError, errors.RecordListTooLargeError),
        "a message is too large for the topic: lower output.kafka.max_message_bytes, or raise its max.message.bytes",
    ),
    ((errors.KafkaConfigurationError,), "settings of output.kafka do not fit the brokers, or one another"),
    ((errors.InvalidTopicError,), "the topic's name is not a legal one: change output.kafka.topic_prefix"),
    (
        (errors.ProducerFencedError,),
        "another run with the same settings writes the same stream: stop one of them",
    ),
    (
        (errors.InvalidTransactionTimeoutError,),
        "the brokers allow no transaction that long: raise their transaction.max.timeout.ms",
    ),
    (
        (
            errors.InvalidRecordError,
            errors.InvalidTimestampError,
            errors.PolicyViolationError,
            errors.UnsupportedVersionError,
            errors.UnsupportedForMessageFormatError,
            errors.UnsupportedCompressionTypeError,
            errors.InvalidConfigurationError,
        ),
        "the brokers refuse the message",
    ),
)

# The client says seconds as `24.999997937000444`.
_LONG_NUMBER = re.compile(r"\d+\.\d{6,}")

log = structlog.get_logger()


class Brokers:
    """Makes clients of one cluster; holds no connection itself.

    Args:
        bootstrap: `host:port` of some brokers, separated by commas.
        timeout_s: How long a delivery may take until it counts as failed, seconds.
        bootstrap_timeout_ms: How long the first contact may take.
        api_version: Of the brokers, where they cannot be asked.
        max_request_bytes: The largest request.
        security: `protocol`, `mechanism`, `username`, `password`, `ca_file`, `cert_file`, `key_file`, `check_hostname`.

    Attributes:
        standstill_s: How long a step of a transaction may take, seconds.
    """

    def __init__(
        self,
        bootstrap: str,
        *,
        timeout_s: float,
        bootstrap_timeout_ms: int,
        api_version: Sequence[int] | None,
        max_request_bytes: int,
        security: Mapping[str, Any],
    ) -> None:
        self.bootstrap = bootstrap
        self.timeout_s = timeout_s
        self.standstill_s = min(STANDSTILL_S, timeout_s)
        self._is_timed = True
        self._password = str(security.get("password") or "")
        self._client = {
            "bootstrap_servers": [server.strip() for server in bootstrap.split(",")],
            "bootstrap_timeout_ms": bootstrap_timeout_ms,
            "api_version": tuple(api_version) if api_version else None,
            "security_protocol": security.get("protocol", "PLAINTEXT"),
            "sasl_mechanism": security.get("mechanism"),
            "sasl_plain_username": security.get("username"),
            "sasl_plain_password": security.get("password"),
            "ssl_cafile": security.get("ca_file"),
            "ssl_certfile": security.get("cert_file"),
            "ssl_keyfile": security.get("key_file"),
            "ssl_check_hostname": security.get("check_hostname", True),
            "reconnect_backoff_max_ms": 2000,  # a broker that is back is found again soon
        }
        timeout_ms = int(timeout_s * 1000)
        self._producer = {
            "client_id": "plantain",
            "acks": "all",
            "delivery_timeout_ms": timeout_ms,
            "request_timeout_ms": min(30_000, timeout_ms // 2),
            "transaction_timeout_ms": 60_000,
            "max_block_ms": min(bootstrap_timeout_ms, timeout_ms),
            "max_request_size": max_request_bytes,
            "batch_size": 1 << 17,
            "linger_ms": 2,
            "metrics_enabled": False,
        }

    def producer(self, transactional_id: str | None = None) -> Any:
        """A connected producer; a transactional one has fenced the earlier ones of its id and ended what they began.

        Raises:
            SinkBackpressureError: If the brokers cannot be reached now.
            SinkError: If they refuse.
        """
        with self.explained(), self._noticing() as network:
            made = Producer(
                self.standstill_s,
                **self._client,
                **self._producer,
                enable_idempotence=True,
                transactional_id=transactional_id,
                kafka_client=network,
            )
            if transactional_id is not None:
                try:
                    made.init_transactions()
                except BaseException:
                    abandon(made)
                    raise
            return made

    def send(self, producer: Any, topic: str, record: Record) -> Any:
        """Gives a record to a producer; returns the future of its delivery."""
        return producer.send(
            topic,
            record.value,
            key=record.key,
            headers=list(record.headers),
            timestamp_ms=record.timestamp_ms if self._is_timed else NO_TIME,
        )

    def admin(self) -> Any:
        """A connected client that asks about transactions and groups.

        Raises:
            KafkaError: If the brokers cannot be reached now, or refuse.
        """
        with self._noticing() as network:
            return _Admin(
                **self._client, request_timeout_ms=self._producer["request_timeout_ms"], kafka_client=network
            )

    @contextlib.contextmanager
    def _noticing(self) -> Iterator[Callable[..., Any]]:
        """What a client is to make its connections with, so that a refusal is told from silence.

        The client itself tries in vain until its time is up, and then tells of the time only; why each attempt failed
        is found in its log.
        """
        networks: list[Any] = []
        attempts = _Attempts()

        def connect(**config: Any) -> Any:
            net = NetworkSelector(**config)
            networks.append(KafkaNetClient(net, _Connections(net, **config), **config))
            return networks[-1]

        logger = logging.getLogger("kafka.net.manager")
        logger.addHandler(attempts)
        try:
            yield connect
        except BaseException as error:
            for network in networks:
                network.close()
            if isinstance(error, errors.KafkaTimeoutError):
                raise attempts.explain(error, is_login=self._password != "") from None
            raise
        finally:
            logger.removeHandler(attempts)

    @contextlib.contextmanager
    def explained(self) -> Iterator[None]:
        """Errors of the client as ours.

        Raises:
            SinkBackpressureError: If the same call may succeed later.
            SinkError: If it never will.
        """
        try:
            yield
        except errors.KafkaError as error:
            raise self.error_of(error) from None  # the original may quote the login
        except (OSError, ValueError) as error:  # certificates that cannot be read, an impossible option
            raise SinkError(
                f"no client of Kafka at {self.bootstrap} can be made: {self.sentence(error)}"
            ) from None

    def error_of(self, error: Exception) -> SinkError:
        """What an error of the client means.

        Brokers that refuse the time of a record (one that is an hour ahead of their own) are sent none from then on.
        """
        where = f"Kafka at {redact(self.bootstrap)}"
        if self._is_timed and _may_be_about_time(error):
            self._is_timed = False
            sentence = (
                f"{where} refuses the time of a message: it is sent without; check this machine's clock"
            )
            log.warning("sent without time", error=f"{sentence} ({self.sentence(error)})")
            return SinkBackpressureError(sentence, 0.0)
        for kinds, advice in _REFUSED:
            if isinstance(error, kinds):
                return SinkError(f"{where}: {advice} ({self.sentence(error)})")
        if _may_be_about_time(error):
            return SinkError(f"{where}: the brokers refuse the message ({self.sentence(error)})")
        return SinkBackpressureError(
            f"{where} cannot take results now: {self.sentence(error)}", RETRY_AFTER_S
        )

    def sentence(self, error: Exception) -> str:
        """What an error of the client says, without secrets."""
        name = type(error).__name__
        text = _LONG_NUMBER.sub(lambda found: f"{float(found[0]):.0f}", redact(str(error)))
        if isinstance(error, errors.KafkaTimeoutError) and error.args in ((), (None,)):
            text = "they did not answer in time"
        if name not in text:
            text = f"{name}: {text}"
        return text.replace(self._password, "***") if self._password else text


class Producer(kafka.KafkaProducer):  # type: ignore[misc]  # the client has no types
    """One that does not wait for ever for a step of a transaction.

    3.0.12 does, also when it is closed meanwhile: each transaction that a killed broker broke off left a thread behind,
    and with it the whole producer (5 in 26 minutes of tests/soak, 2026-11-30). Whether a step that was given up still
    took effect does not matter: the next producer waits for the outcome and reads the mark.

    Args:
        standstill_s: How long a step may take, seconds.
        config: Of the client.
    """

    def __init__(self, standstill_s: float, **config: Any) -> None:
        self._standstill_s = standstill_s
        super().__init__(**config)

    def send_offsets_to_transaction(self, offsets: Any, group_metadata: Any) -> None:
        """Makes offsets part of the transaction."""
        self.complete(self._transaction_manager.send_offsets_to_transaction(offsets, group_metadata))

    def commit_transaction(self) -> None:
        """Commits the transaction."""
        self.complete(self._transaction_manager.begin_commit())

    def abort_transaction(self) -> None:
        """Aborts the transaction."""
        self.complete(self._transaction_manager.begin_abort())

    def complete(self, step: Any) -> None:
        """Waits for a step that its transaction manager has begun.

        Raises:
            KafkaError: If the step fails, or stands still.
        """
        self._sender.wakeup()
        if not step.wait(timeout_ms=1000 * self._standstill_s):
            raise errors.KafkaTimeoutError(
                f"a step of a transaction did not end within {self._standstill_s:g} s"
            )


class _Connections(KafkaConnectionManager):  # type: ignore[misc]  # the client has no types
    """Closes the sockets of attempts that fail.

    3.0.12 leaves them in a circle with the exception: they stay open until garbage is collected (335 descriptors after
    ten minutes in which the broker was killed nine times, and 70 then; tests/soak, 2026-11-30).
    """

    async def _build_transport(self, node: Any, timeout_at: float | None = None) -> Any:
        try:
            return await super()._build_transport(node, timeout_at=timeout_at)
        except Exception as error:
            for frame, _ in traceback.walk_tb(error.__traceback__):
                if isinstance(tried := frame.f_locals.get("sock"), socket.socket):
                    tried.close()
            traceback.clear_frames(error.__traceback__)
            raise


class _Admin(kafka.KafkaAdminClient):  # type: ignore[misc]  # the client has no types
    """Refuses offsets that an open transaction is about to change, as consumers of committed messages do."""

    def _list_group_offsets_requests(self, group_specs: Any) -> Iterator[Any]:
        for group, request in super()._list_group_offsets_requests(group_specs):
            request.require_stable = True
            yield group, request


def _may_be_about_time(error: Exception) -> bool:
    """Of a batch with such a record, 3.0.12 gives the others a plain error, and if there are several, these another."""
    if isinstance(error, errors.InvalidRecordError):
        return "imestamp" in str(error)
    return isinstance(error, errors.InvalidTimestampError) or (
        type(error) is errors.KafkaError and "invalid records" in str(error)
    )


class _Attempts(logging.Handler):
    """Why attempts to connect failed; as text, since an exception would keep its socket open."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keeps what the logged exceptions say, but for time that was up."""
        args = record.args if isinstance(record.args, tuple) else ()
        timeouts = (errors.KafkaTimeoutError, errors.RequestTimedOutError)
        self._texts.extend(
            str(arg) for arg in args if isinstance(arg, Exception) and not isinstance(arg, timeouts)
        )

    def explain(self, error: Exception, *, is_login: bool) -> Exception:
        """What a client that ran out of time suffered from."""
        texts = self._texts
        if not texts:
            return error
        explained: Exception = errors.KafkaTimeoutError(texts[-1])
        if any("CERTIFICATE_VERIFY_FAILED" in text for text in texts):
            explained = errors.KafkaConfigurationError(
                f"security.ca_file does not vouch for them: {texts[-1]}"
            )
        elif (
            is_login
            and any("socket disconnected" in t for t in texts)
            and not any("ECONN" in t for t in texts)
        ):
            # So a wrong password shows itself: brokers close the connection, and 3.0.12 does not read their last words.
            explained = errors.SaslAuthenticationFailedError("they end the connection at each login")
        return explained


def abandon(producer: Any) -> None:
    """Ends a producer at once, whatever it still holds.

    Its own `close` first waits for deliveries and leaves its thread running when that takes too long, which then
    would go on delivering beside the next producer.
    """
    producer._sender.force_close()
    with contextlib.suppress(errors.KafkaError):
        producer.close(timeout=10)
