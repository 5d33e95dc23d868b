"""A real Apache Kafka 4 on loopback, in KRaft mode, for tests that need one; or any broker that PLANTAIN_KAFKA names.

One node, or a cluster of three that tests may kill and freeze one by one.

The jars come from Maven with the pom.xml in tests/kafka/ and are kept in PLANTAIN_CACHE (~/.cache/plantain). The broker
listens without a login and, for the tests of security, with SASL (PLAIN and SCRAM) and with TLS.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import pytest
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient, NewTopic, TopicMetadata
from filelock import FileLock

from tests import debian
from tests.certificate import make_certificate
from tests.ports import free_ports

POM = Path(__file__).parent / "kafka" / "pom.xml"
CACHE = Path(os.environ.get("PLANTAIN_CACHE", "~/.cache/plantain")).expanduser()
CLUSTER = "cGxhbnRhaW4tdGVzdHMhIQ"
USER, PASSWORD = "plantain", "not-a-secret-71"
START_TIMEOUT_S = 180.0
NUM_NODES = 3
# Where it listens without a login, with one, with TLS, and with both.
LISTENERS = {"PLAINTEXT": "PLAINTEXT", "SASL_PLAINTEXT": "SASL", "SSL": "TLS", "SASL_SSL": "BOTH"}
NUM_PORTS = len(LISTENERS) + 1
# A client that does not tell of each connection that a killed broker refuses.
QUIETLY = {"log_level": 0}
# Small and quick to start; a test broker moves megabytes.
JAVA = ("java", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xms64m", "-Xmx320m")

# Nothing is deleted for its age: what a process sends whose clock is set back by a month would go at the next look.
PROPERTIES = """
process.roles=broker,controller
node.id={node}
controller.quorum.voters={voters}
listeners={listeners},CONTROLLER://127.0.0.1:{controller}
advertised.listeners={listeners}
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SASL:SASL_PLAINTEXT,TLS:SSL,BOTH:SASL_SSL
inter.broker.listener.name=PLAINTEXT
controller.listener.names=CONTROLLER
log.dirs={folder}/data
num.partitions=4
message.max.bytes=1048588
log.retention.ms=-1
default.replication.factor={copies}
min.insync.replicas={least}
offsets.topic.replication.factor={copies}
offsets.topic.num.partitions=1
transaction.state.log.replication.factor={copies}
transaction.state.log.min.isr={least}
transaction.state.log.num.partitions=1
share.coordinator.state.topic.replication.factor=1
auto.create.topics.enable={creates}
broker.session.timeout.ms=6000
group.initial.rebalance.delay.ms=0
sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512
listener.name.sasl.plain.sasl.jaas.config={login}.plain.PlainLoginModule required user_{user}="{password}";
listener.name.sasl.scram-sha-256.sasl.jaas.config={login}.scram.ScramLoginModule required;
listener.name.sasl.scram-sha-512.sasl.jaas.config={login}.scram.ScramLoginModule required;
listener.name.both.plain.sasl.jaas.config={login}.plain.PlainLoginModule required user_{user}="{password}";
listener.name.both.scram-sha-256.sasl.jaas.config={login}.scram.ScramLoginModule required;
listener.name.both.scram-sha-512.sasl.jaas.config={login}.scram.ScramLoginModule required;
ssl.keystore.location={folder}/broker.pem
ssl.keystore.type=PEM
"""

LOGGING = """
Configuration:
  Appenders:
    Console: {name: OUT, PatternLayout: {pattern: "%d %p %m (%c)%n"}}
  Loggers:
    Root: {level: WARN, AppenderRef: {ref: OUT}}
"""


class BrokerUnavailableError(Exception):
    """No broker can be had here; the message says why."""


@contextlib.contextmanager
def skipped_without_broker() -> Iterator[None]:
    """Skips a test that can have no broker, unless REQUIRE_KAFKA=1 says that there must be one."""
    try:
        yield
    except BrokerUnavailableError as error:
        if os.environ.get("REQUIRE_KAFKA") == "1":
            raise
        pytest.skip(f"no Kafka broker: {error}")


@dataclass
class Broker:
    """A broker of our own, or one that was there already.

    Attributes:
        bootstrap: Where it listens without a login.
        addresses: Where it listens, by protocol; empty if it is not ours.
        folder: Its data, keys and log.
        java: What runs it.
    """

    bootstrap: str
    addresses: dict[str, str] = field(default_factory=dict)
    folder: Path | None = None
    java: tuple[str, ...] = JAVA
    _process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @classmethod
    def find(cls) -> Broker:
        """The broker that PLANTAIN_KAFKA names, or a new one.

        Raises:
            BrokerUnavailableError: If there is neither.
        """
        named = os.environ.get("PLANTAIN_KAFKA")
        if named:
            return cls(named)
        _need_tools()
        ports = free_ports(NUM_PORTS)
        broker = cls._install(1, ports, {1: ports[-1]}, java=_java())
        broker.start()
        return broker

    @classmethod
    def _install(
        cls,
        node: int,
        ports: list[int],
        voters: dict[int, int],
        *,
        creates: bool = True,
        java: tuple[str, ...],
    ) -> Broker:
        """A broker that was never started.

        Args:
            node: Its number.
            ports: Where it listens: for each of LISTENERS, and as a controller.
            voters: Where all controllers of the cluster listen.
            creates: Whether a topic that is missing is made.
            java: What runs it.
        """
        folder = Path(tempfile.mkdtemp(prefix="plantain-kafka-"))
        addresses = {
            protocol: f"127.0.0.1:{port}" for protocol, port in zip(LISTENERS, ports[:-1], strict=True)
        }
        (folder / "log4j2.yaml").write_text(LOGGING)
        properties = folder / "server.properties"
        properties.write_text(
            PROPERTIES.format(
                node=node,
                voters=",".join(f"{number}@127.0.0.1:{port}" for number, port in voters.items()),
                copies=len(voters),
                least=len(voters) // 2 + 1,
                creates=str(creates).lower(),
                listeners=",".join(
                    f"{LISTENERS[protocol]}://{where}" for protocol, where in addresses.items()
                ),
                controller=ports[-1],
                folder=folder,
                user=USER,
                password=PASSWORD,
                login="org.apache.kafka.common.security",
            )
        )
        make_certificate(folder / "broker.pem")
        credentials = [
            option
            for mechanism in ("SCRAM-SHA-256", "SCRAM-SHA-512")
            for option in ("--add-scram", f"{mechanism}=[name={USER},password={PASSWORD}]")
        ]
        storage = (*java, "-cp", f"{_jars()}/*", "kafka.tools.StorageTool", "format", "-t", CLUSTER)
        _run(*storage, "-c", str(properties), *credentials)
        return cls(addresses["PLAINTEXT"], addresses, folder, java)

    @property
    def is_ours(self) -> bool:
        """Whether it may be stopped and killed."""
        return self.folder is not None

    @property
    def ca_file(self) -> str:
        """The PEM that its certificate can be verified with."""
        return f"{self.folder}/broker.pem"

    def start(self) -> None:
        """Starts it, with the data that it had; returns when it answers."""
        self.launch()
        self.wait()

    def launch(self) -> None:
        """Starts it, with the data that it had."""
        command = [
            *self.java,
            f"-Dlog4j2.configurationFile={self.folder}/log4j2.yaml",
            "-cp",
            f"{_jars()}/*",
            "kafka.Kafka",
            f"{self.folder}/server.properties",
        ]
        with Path(f"{self.folder}/broker.log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)

    def wait(self) -> None:
        """Returns when it answers.

        Raises:
            BrokerUnavailableError: If it does not.
        """
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline:
            if self._process is None or self._process.poll() is not None:
                break
            with contextlib.suppress(OSError), socket.create_connection(_address(self.bootstrap), 5):
                return
            time.sleep(0.1)
        tail = Path(f"{self.folder}/broker.log").read_text()[-2000:]
        self.kill()
        raise BrokerUnavailableError(f"Kafka did not start: {tail}")

    def freeze(self) -> None:
        """Stops it where it stands; its sockets stay open."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Lets it go on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """SIGKILL; what it had acknowledged is on its disk."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def end(self) -> None:
        """SIGTERM; returns when it has come to its end."""
        assert self._process is not None
        self._process.terminate()
        self._process.wait(START_TIMEOUT_S)
        self._process = None

    def close(self) -> None:
        """Ends a broker of our own, and removes its data."""
        self.kill()
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)

    def make_topic(self, name: str, num_partitions: int = 1, **config: str) -> None:
        """Creates a topic."""
        _make_topic(self.bootstrap, NewTopic(name, num_partitions, 1, config=config))


@dataclass
class Cluster:
    """Three brokers of our own that hold the same data; each is a controller, too. Two are enough to go on.

    Attributes:
        nodes: By their numbers.
    """

    nodes: dict[int, Broker]

    @classmethod
    def make(cls, *, creates: bool = True) -> Cluster:
        """A new cluster.

        Args:
            creates: Whether a topic that is missing is made.

        Raises:
            BrokerUnavailableError: If it cannot be had here.
        """
        _need_tools()
        free = iter(free_ports(NUM_PORTS * NUM_NODES))
        ports = {number: list(islice(free, NUM_PORTS)) for number in range(1, NUM_NODES + 1)}
        voters = {number: own[-1] for number, own in ports.items()}
        java = _java()
        with ThreadPoolExecutor(NUM_NODES) as pool:
            installed = {
                number: pool.submit(Broker._install, number, own, voters, creates=creates, java=java)
                for number, own in ports.items()
            }
        made = cls({number: node.result() for number, node in installed.items()})
        try:
            for node in made.nodes.values():
                node.launch()
            for node in made.nodes.values():
                node.wait()
        except BaseException:
            made.close()
            raise
        return made

    @property
    def bootstrap(self) -> str:
        """Where all of them listen."""
        return ",".join(node.bootstrap for node in self.nodes.values())

    def make_topic(self, name: str, **config: str) -> None:
        """Creates a topic of one partition that every node holds."""
        _make_topic(self.bootstrap, NewTopic(name, 1, NUM_NODES, config=config))

    def wait_until_whole(self, topic: str) -> None:
        """Returns when every node holds all of a topic, and of what goes with transactions."""
        deadline = time.monotonic() + START_TIMEOUT_S
        while True:
            topics = self._topics()
            names = {topic} | ({"__consumer_offsets", "__transaction_state"} & topics.keys())
            if all(len(topics[name].partitions[0].isrs) == NUM_NODES for name in names):
                return
            assert time.monotonic() < deadline, f"{', '.join(names)} are not whole"
            time.sleep(0.2)

    def leader_of(self, topic: str) -> Broker:
        """Who takes what is written to the only partition of a topic."""
        deadline = time.monotonic() + START_TIMEOUT_S
        while True:
            leader = self._topics()[topic].partitions[0].leader
            if leader in self.nodes:
                return self.nodes[leader]
            assert time.monotonic() < deadline, f"{topic} has no leader"
            time.sleep(0.1)

    def _topics(self) -> dict[str, TopicMetadata]:
        admin = AdminClient({"bootstrap.servers": self.bootstrap, **QUIETLY})
        return dict(admin.list_topics(timeout=START_TIMEOUT_S).topics)

    def close(self) -> None:
        """Ends all, and removes their data."""
        for node in self.nodes.values():
            node.close()


def _make_topic(bootstrap: str, topic: NewTopic) -> None:
    """Creates a topic; again while brokers that have just started do not answer."""
    admin = AdminClient({"bootstrap.servers": bootstrap, **QUIETLY})
    deadline = time.monotonic() + START_TIMEOUT_S
    while True:
        try:
            admin.create_topics([topic])[topic.topic].result(60)
        except KafkaException as error:
            if error.args[0].code() == KafkaError.TOPIC_ALREADY_EXISTS:
                return
            if not error.args[0].retriable() or time.monotonic() > deadline:
                raise
            time.sleep(0.5)
        else:
            return


def _need_tools() -> None:
    """Java and Maven, from Debian's packages where they are missing."""
    for tool, package in (("java", "openjdk-17-jre-headless"), ("mvn", "maven")):
        why = debian.why_missing((package,), lambda tool=tool: shutil.which(tool) is not None)  # type: ignore[misc]
        if why is not None:
            raise BrokerUnavailableError(why)


def _jars() -> Path:
    """The folder of the broker's jars; filled once for each version of the pom."""
    jars = CACHE / f"kafka-{hashlib.blake2b(POM.read_bytes(), digest_size=6).hexdigest()}"
    if jars.is_dir():
        return jars
    CACHE.mkdir(parents=True, exist_ok=True)
    with FileLock(CACHE / "lock"), tempfile.TemporaryDirectory(dir=CACHE) as aside:
        if not jars.is_dir():
            whole = Path(aside) / "jars"
            options = ("-DincludeScope=runtime", f"-DoutputDirectory={whole}")
            _run("mvn", "-q", "-B", "-f", str(POM), "dependency:copy-dependencies", *options)
            whole.rename(jars)
    return jars


def _java() -> tuple[str, ...]:
    """Java with the broker's classes as a first broker left them: half of what a start computes is loading them.

    Kept for each version of the pom and each Java; another one's would be passed over.
    """
    binary = Path(shutil.which("java") or "java").resolve()
    made_ns = binary.stat().st_mtime_ns
    kept = (
        CACHE
        / f"{_jars().name}-{hashlib.blake2b(f'{binary} {made_ns}'.encode(), digest_size=6).hexdigest()}.jsa"
    )
    if not kept.exists():
        with FileLock(CACHE / "lock"):
            if not kept.exists():
                _keep_classes(kept)
    return (*JAVA, f"-XX:SharedArchiveFile={kept}")


def _keep_classes(kept: Path) -> None:
    """Starts a broker that writes down its classes when it ends."""
    aside = kept.with_suffix(".new")
    ports = free_ports(NUM_PORTS)
    broker = Broker._install(1, ports, {1: ports[-1]}, java=JAVA)
    try:
        broker.java = (*JAVA, f"-XX:ArchiveClassesAtExit={aside}")
        broker.start()
        broker.make_topic("any")
        broker.end()
    finally:
        broker.close()
    aside.rename(kept)


def _run(*command: str) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BrokerUnavailableError(f"{command[0]}: {error}") from error
    if done.returncode != 0:
        raise BrokerUnavailableError(f"{command[0]} failed: {(done.stdout + done.stderr)[-1500:]}")


def _address(server: str) -> tuple[str, int]:
    host, _, port = server.rpartition(":")
    return host, int(port)
