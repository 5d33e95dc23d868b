"""A real Apache Kafka 4 on loopback, in KRaft mode, for tests that need one; or any broker that PLANTAIN_KAFKA names.

The jars come from Maven with the pom.xml in tests/kafka/ and are kept in PLANTAIN_CACHE (~/.cache/plantain). The broker
listens without a login and, for the tests of security, with SASL (PLAIN and SCRAM) and with TLS.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import socket
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from confluent_kafka.admin import AdminClient, NewTopic

POM = Path(__file__).parent / "kafka" / "pom.xml"
CACHE = Path(os.environ.get("PLANTAIN_CACHE", "~/.cache/plantain")).expanduser()
CLUSTER = "cGxhbnRhaW4tdGVzdHMhIQ"
USER, PASSWORD = "plantain", "not-a-secret-71"
START_TIMEOUT_S = 120.0
# Small and quick to start; a test broker moves megabytes.
JAVA = ("java", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xms64m", "-Xmx320m")

PROPERTIES = """
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=PLAIN://127.0.0.1:{plain},SASL://127.0.0.1:{sasl},TLS://127.0.0.1:{tls},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAIN://127.0.0.1:{plain},SASL://127.0.0.1:{sasl},TLS://127.0.0.1:{tls}
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAIN:PLAINTEXT,SASL:SASL_PLAINTEXT,TLS:SSL
inter.broker.listener.name=PLAIN
controller.listener.names=CONTROLLER
log.dirs={folder}/data
num.partitions=4
message.max.bytes=1048588
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=1
share.coordinator.state.topic.replication.factor=1
group.initial.rebalance.delay.ms=0
sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512
listener.name.sasl.plain.sasl.jaas.config={login}.plain.PlainLoginModule required user_{user}="{password}";
listener.name.sasl.scram-sha-256.sasl.jaas.config={login}.scram.ScramLoginModule required;
listener.name.sasl.scram-sha-512.sasl.jaas.config={login}.scram.ScramLoginModule required;
ssl.keystore.location={folder}/broker.p12
ssl.keystore.type=PKCS12
ssl.keystore.password={password}
ssl.key.password={password}
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


@dataclass
class Broker:
    """A broker of our own, or one that was there already.

    Attributes:
        bootstrap: Where it listens without a login.
        sasl, tls: Where it listens with one; empty if it is not ours.
        folder: Its data, keys and log.
    """

    bootstrap: str
    sasl: str = ""
    tls: str = ""
    folder: Path | None = None
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
        jars = _jars()
        folder = Path(tempfile.mkdtemp(prefix="plantain-kafka-"))
        ports = _free_ports(4)
        (folder / "log4j2.yaml").write_text(LOGGING)
        (folder / "server.properties").write_text(
            PROPERTIES.format(
                plain=ports[0],
                sasl=ports[1],
                tls=ports[2],
                controller=ports[3],
                folder=folder,
                user=USER,
                password=PASSWORD,
                login="org.apache.kafka.common.security",
            )
        )
        _make_certificate(folder)
        credentials = [
            option
            for mechanism in ("SCRAM-SHA-256", "SCRAM-SHA-512")
            for option in ("--add-scram", f"{mechanism}=[name={USER},password={PASSWORD}]")
        ]
        properties = str(folder / "server.properties")
        _run(
            *JAVA,
            "-cp",
            f"{jars}/*",
            "kafka.tools.StorageTool",
            "format",
            "-t",
            CLUSTER,
            "-c",
            properties,
            *credentials,
        )
        broker = cls(*(f"127.0.0.1:{port}" for port in ports[:3]), folder=folder)
        broker.start()
        return broker

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
        command = [
            *JAVA,
            f"-Dlog4j2.configurationFile={self.folder}/log4j2.yaml",
            "-cp",
            f"{_jars()}/*",
            "kafka.Kafka",
            f"{self.folder}/server.properties",
        ]
        with Path(f"{self.folder}/broker.log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                break
            with contextlib.suppress(OSError), socket.create_connection(_address(self.bootstrap), 5):
                return
            time.sleep(0.1)
        tail = Path(f"{self.folder}/broker.log").read_text()[-2000:]
        self.kill()
        raise BrokerUnavailableError(f"Kafka did not start: {tail}")

    def kill(self) -> None:
        """SIGKILL; what it had acknowledged is on its disk."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def close(self) -> None:
        """Ends a broker of our own, and removes its data."""
        self.kill()
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)

    def make_topic(self, name: str, num_partitions: int = 1, **config: str) -> None:
        """Creates a topic."""
        admin = AdminClient({"bootstrap.servers": self.bootstrap})
        made = admin.create_topics([NewTopic(name, num_partitions, 1, config=config)])
        made[name].result(60)


def _need_tools() -> None:
    """Java and Maven, from Debian's packages where they are missing."""
    missing = [
        package
        for tool, package in (("java", "openjdk-17-jre-headless"), ("mvn", "maven"))
        if not shutil.which(tool)
    ]
    if not missing:
        return
    if not shutil.which("apt-get") or (os.geteuid() != 0 and not shutil.which("sudo")):
        raise BrokerUnavailableError(f"install {' and '.join(missing)}")
    root = () if os.geteuid() == 0 else ("sudo", "-n")
    _run(*root, "apt-get", "update", "-q")
    _run(*root, "apt-get", "install", "-y", "-q", "--no-install-recommends", *missing)


def _jars() -> Path:
    """The folder of the broker's jars; filled once for each version of the pom."""
    jars = CACHE / f"kafka-{hashlib.blake2b(POM.read_bytes(), digest_size=6).hexdigest()}"
    if jars.is_dir():
        return jars
    CACHE.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(dir=CACHE))
    try:
        options = ("-DincludeScope=runtime", f"-DoutputDirectory={aside}")
        _run("mvn", "-q", "-B", "-f", str(POM), "dependency:copy-dependencies", *options)
        with contextlib.suppress(OSError):  # another process was quicker
            aside.rename(jars)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return jars


def _make_certificate(folder: Path) -> None:
    store = ("-keystore", f"{folder}/broker.p12", "-storepass", PASSWORD, "-alias", "broker")
    names = ("-dname", "CN=localhost", "-ext", "SAN=IP:127.0.0.1,DNS:localhost", "-ext", "BC=ca:true")
    _run("keytool", "-genkeypair", *store, "-storetype", "PKCS12", "-keyalg", "EC", "-validity", "30", *names)
    _run("keytool", "-exportcert", "-rfc", *store, "-file", f"{folder}/broker.pem")


def _run(*command: str) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BrokerUnavailableError(f"{command[0]}: {error}") from error
    if done.returncode != 0:
        raise BrokerUnavailableError(f"{command[0]} failed: {(done.stdout + done.stderr)[-1500:]}")


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for free in sockets:
            free.bind(("127.0.0.1", 0))
        return [free.getsockname()[1] for free in sockets]


def _address(server: str) -> tuple[str, int]:
    host, _, port = server.rpartition(":")
    return host, int(port)
