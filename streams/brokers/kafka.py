"""A real Apache Kafka on this machine, from the jars that `make kafka-jars` fetches; no Docker."""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
import time
import uuid
from base64 import urlsafe_b64encode
from contextlib import suppress
from pathlib import Path
from typing import Self

from streams.brokers.errors import BrokerError
from streams.brokers.metadata import topic_partitions
from streams.processes import Child

ROOT = Path(__file__).resolve().parents[2]
JARS = ROOT / ".cache" / "kafka"
MESSAGE_BYTES = 16 * 1024 * 1024  # the most that `topics.message_bytes` may ask for here
START_SECONDS = 60.0
_STOP_SECONDS = 20.0
LOG_LINES = 15

# One node that is broker and controller. After a crash it is let in again only when the session of
# the dead one has run out, 9 s by default.
PROPERTIES = """\
process.roles=broker,controller
node.id=1
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
controller.listener.names=CONTROLLER
controller.quorum.voters=1@127.0.0.1:{controller}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
broker.heartbeat.interval.ms=500
broker.session.timeout.ms=4000
log.dirs={data}
auto.create.topics.enable=false
message.max.bytes={message_bytes}
replica.fetch.max.bytes={message_bytes}
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
group.initial.rebalance.delay.ms=0
"""
LOGGING = """\
log4j.rootLogger=WARN, stdout
log4j.appender.stdout=org.apache.log4j.ConsoleAppender
log4j.appender.stdout.layout=org.apache.log4j.PatternLayout
log4j.appender.stdout.layout.ConversionPattern=%d %p %m (%c)%n
"""
# A server for a demo and for tests: up in seconds rather than at full speed after minutes.
QUICK_START = ["-Xmx512m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"]


_ATTEMPTS = 3
"""Attempts on other ports, if none was named and another process has taken the first."""


def find_jars() -> Path:
    """The folder with Kafka's jars, when a server can be started from it.

    Raises
    ------
    BrokerError
        Naming what is missing, Java, Maven or the jars, and what to do about it.
    """
    if shutil.which("java") is None:
        raise BrokerError(
            "Kafka needs Java 11 or later and there is no `java` on the PATH: install it "
            "(Debian: apt-get install openjdk-17-jre-headless)"
        )
    if not (JARS / ".complete").exists():
        if shutil.which("mvn") is None:
            raise BrokerError(
                f"Kafka's jars are not in {JARS} and there is no `mvn` on the PATH to fetch them: "
                "install Maven (Debian: apt-get install maven), then run `make kafka-jars`"
            )
        raise BrokerError(f"Kafka's jars are not in {JARS}: run `make kafka-jars` in {ROOT}")
    return JARS


class KafkaServer:
    """One Kafka node, broker and KRaft controller, on 127.0.0.1.

    It ends when the context does, and also when this process dies of SIGKILL (`streams.processes`);
    its temporary folder goes with it.

    Parameters
    ----------
    port
        The port that clients connect to; 0 takes a free one.
    data
        A folder for the log, kept afterwards and taken up again when it holds one already.
        Without it the log is in the temporary folder.
    properties
        More lines of ``server.properties``, which win over ours; they may name the ports as
        ``{port}`` and ``{controller}``.

    Attributes
    ----------
    bootstrap : str
        ``127.0.0.1:port``.

    Raises
    ------
    BrokerError
        When Java or the jars are missing, or the server never answers.
    """

    embedded = False

    def __init__(self, port: int = 0, data: Path | None = None, properties: str = "") -> None:
        self._jars = find_jars()
        self._child: Child | None = None
        self._answered = False
        self._home = Path(tempfile.mkdtemp(prefix="millrace-kafka-"))
        self._archive = self._jars / "server.jsa"
        self._new_archive = self._home / "server.jsa"
        self._log = self._home / "server.log"
        try:
            data = (data or self._home / "data").absolute()
            for again in reversed(range(_ATTEMPTS)):
                try:
                    self._begin(port, data, properties)
                    break
                except BrokerError as error:
                    # A port that was free a second ago: another process has taken it.
                    if port or not again or "Address already in use" not in str(error):
                        raise
        except BaseException:
            self.close()
            raise

    def _begin(self, port: int, data: Path, properties: str) -> None:
        client, controller = _free_ports(port)
        self.bootstrap = f"127.0.0.1:{client}"
        (self._home / "log4j.properties").write_text(LOGGING)
        (self._home / "server.properties").write_text(
            (PROPERTIES + properties).format(
                port=client, controller=controller, data=data, message_bytes=MESSAGE_BYTES
            )
        )
        if not (data / "meta.properties").exists():
            self._format()
        self._start()

    @property
    def pid(self) -> int:
        """Process id of the Java process; 0 when it is stopped."""
        return self._child.pid if self._child else 0

    def restart(self) -> None:
        """Stop the server, in order unless it is dead already, and start it on the same log."""
        self._stop()
        self._start()

    def kill(self) -> None:
        """End the server with SIGKILL, as a crash would; `restart` brings it back."""
        if self._child:
            self._child.kill()
            self._child = None

    def wait(self) -> None:
        """Serve until an exception (KeyboardInterrupt, most likely) ends the wait.

        Raises
        ------
        BrokerError
            When the server ends by itself.
        """
        assert self._child is not None
        status = self._child.process.wait()
        raise BrokerError(f"Kafka ended with status {status}; its log ends:\n{self._log_end()}")

    def close(self) -> None:
        """Stop the server and remove its temporary folder. A second call does nothing."""
        self._stop()
        shutil.rmtree(self._home, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _java(self, main: str, *arguments: str, options: tuple[str, ...] = ()) -> Child:
        command = [
            "java",
            *QUICK_START,
            *options,
            f"-Dlog4j.configuration=file:{self._home / 'log4j.properties'}",
            "-cp",
            f"{self._jars}/*",
            main,
            *arguments,
        ]
        with self._log.open("ab") as log:
            return Child(command, output=log, temporary=self._home, stop_seconds=_STOP_SECONDS)

    def _format(self) -> None:
        identifier = urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        properties = str(self._home / "server.properties")
        with self._java(
            "kafka.tools.StorageTool",
            "format",
            f"--cluster-id={identifier}",
            "--config",
            properties,
        ) as tool:
            try:
                status: int | None = tool.process.wait(START_SECONDS)
            except subprocess.TimeoutExpired:
                status = None
        if status != 0:
            raise BrokerError(
                f"Kafka could not format its storage (status {status}); its log ends:\n"
                f"{self._log_end()}"
            )

    def _start(self) -> None:
        # Java's class data sharing: the first server to serve and stop in order leaves the archive
        # that halves the start of those to come. A JVM that it does not fit ignores it.
        sharing = (
            f"-XX:SharedArchiveFile={self._archive}"
            if self._archive.exists()
            else f"-XX:ArchiveClassesAtExit={self._new_archive}"
        )
        self._child = self._java(
            "kafka.Kafka",
            str(self._home / "server.properties"),
            options=("-XX:+IgnoreUnrecognizedVMOptions", "-Xshare:auto", sharing),
        )
        deadline = time.monotonic() + START_SECONDS
        while self._child.running and time.monotonic() < deadline:
            with suppress(BrokerError):
                topic_partitions(self.bootstrap, seconds=1.0)
                self._answered = True
                return
        how = "did not answer in time" if self._child.running else "ended as it started"
        raise BrokerError(f"Kafka on {self.bootstrap} {how}; its log ends:\n{self._log_end()}")

    def _stop(self) -> None:
        if not self._child:
            return
        self._child.stop()
        self._child = None
        if self._answered and self._new_archive.exists():
            with suppress(OSError):  # a cache that cannot be written costs a second a start
                part = self._archive.with_name(f"{self._home.name}.part")
                shutil.move(self._new_archive, part)
                part.replace(self._archive)  # atomic: other servers may be starting from it

    def _log_end(self) -> str:
        lines = self._log.read_text(errors="replace").splitlines() if self._log.exists() else []
        return "\n".join(lines[-LOG_LINES:]) or "(it wrote nothing)"


def _free_ports(port: int) -> tuple[int, int]:
    """The port for clients, a free one for 0, and another for the controller."""
    with socket.socket() as client, socket.socket() as controller:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            client.bind(("127.0.0.1", port))
        except OSError as error:
            raise BrokerError(
                f"port {port} of 127.0.0.1 cannot be taken ({error.strerror}): name another with "
                "--port, or 0 for a free one"
            ) from None
        controller.bind(("127.0.0.1", 0))
        return client.getsockname()[1], controller.getsockname()[1]
