# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A small world of real servers: a broker in the west, one in the east, a mirror in each, and hosts to fence them at.

The servers are configured as the lab's are. The hosts' ssh is a program of ours on the path; what is behind it are
these very processes.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import socketserver
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import trustme
from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from recovery_lab import kafka, kafka_programs, mirror_maker
from recovery_lab.kafka import ADMIN, APPLICATION, MIRROR, Broker, Listener
from recovery_lab.mirror_maker import End
from tests.support.waiting import wait_for

WEST, EAST = "us-west-2", "us-east-1"
ADDRESSES = {WEST: "127.6.1.62", EAST: "127.6.2.62"}
OTHER = {WEST: EAST, EAST: WEST}
PORT = 9092
PASSWORDS = {user: f"planted-password-of-{user}" for user in (ADMIN, MIRROR, APPLICATION)}
UNITS = {"kafka": "broker", "kafka-mirror-maker": "mirror"}

SSH = """\
#!{python}
import socket, sys
words = sys.argv[1:]
with socket.socket(socket.AF_UNIX) as link:
    link.connect({path!r})
    link.sendall("\\n".join(words[-2:]).encode() + b"\\0")
    answer = b"".join(iter(lambda: link.recv(65536), b"")).decode()
if answer.startswith("!"):
    sys.exit(print(answer[1:], file=sys.stderr) or 255)
print(answer)
"""


@dataclass
class World:
    """All of it."""

    folder: Path
    java: Path
    archives: Path
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    masked: set[str] = field(default_factory=set)
    silent: set[str] = field(default_factory=set)
    commands: list[str] = field(default_factory=list)
    # A process that is to die with its parent dies with the thread that has started it.
    starter: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(max_workers=1))

    @property
    def ca(self) -> Path:
        return self.folder / "ca.crt"

    # ---- processes

    def start(self, name: str) -> None:
        """Start a process by its name ("us-west-2/broker"), unless it is masked or runs."""
        if name in self.masked or self.alive(name):
            return
        region, part = name.split("/")
        folder = self.folder / region
        last: list[str | Path] = ["kafka.Kafka", folder / "server.properties"]
        if part == "mirror":
            last = [mirror_maker.PROGRAM, folder / "mirror.properties"]
        # Dies with pytest, however pytest dies.
        guard = [shutil.which("setpriv") or "", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []
        words = [*guard, *map(str, [*kafka.java_words(self.java, self.archives, folder, 112), *last])]
        with (folder / f"{part}.log").open("ab") as log:
            streams: dict[str, Any] = {"stdout": log, "stderr": log, "stdin": subprocess.DEVNULL}
            self.processes[name] = self.starter.submit(subprocess.Popen, words, **streams).result()

    def alive(self, name: str) -> bool:
        return name in self.processes and self.processes[name].poll() is None

    def kill(self, name: str) -> None:
        if self.alive(name):
            self.processes[name].kill()
            self.processes[name].wait()

    def stop(self, name: str) -> None:
        if self.alive(name):
            self.processes[name].terminate()
            try:
                self.processes[name].wait(10)
            except subprocess.TimeoutExpired:
                self.kill(name)

    # ---- the hosts' service manager, as ssh reaches it

    def systemctl(self, host: str, line: str) -> str:
        """Do what a line of systemctl commands says; give what `show` would."""
        self.commands.append(f"{host}: {line}")
        if host in self.silent:
            return f"!connect to host {host} port 22: Connection timed out"
        if line.startswith("sudo -n -l "):
            return line.rpartition("echo ")[2]
        shown = ""
        for words in (part.replace("sudo -n ", "").split() for part in line.split("; ")):
            name = f"{host}/{UNITS[words[-1]]}"
            match words[1]:
                case "mask":
                    self.masked.add(name)
                case "unmask":
                    self.masked.discard(name)
                case "start":
                    self.start(name)
                case "stop":
                    self.stop(name)
                case "kill":
                    self.kill(name)
                case "show":
                    shown = self.show(name)
        return shown

    def show(self, name: str) -> str:
        rows = {
            "ActiveState": "active" if self.alive(name) else "inactive",
            "MainPID": self.processes[name].pid if self.alive(name) else 0,
            "UnitFileState": "masked" if name in self.masked else "enabled",
        }
        return "\n".join(f"{key}={value}" for key, value in rows.items())

    # ---- clients beside ours

    def first(self) -> None:
        """Start it as it is on the first day: the west takes the writes, the east is closed and mirrors."""
        configure(self)
        self.masked = {f"{WEST}/mirror"}
        self.silent.clear()
        for region in ADDRESSES:
            self.start(f"{region}/broker")
        for region in ADDRESSES:
            eventually(lambda region=region: self.answers(region), 60)  # type: ignore[misc]
            bindings = kafka.allowed() + ([] if region == WEST else kafka.closed())
            client = self.admin(region)  # what it promises ends with it
            for future in client.create_acls(bindings).values():
                future.result()
        self.start(f"{EAST}/mirror")
        eventually(lambda: f"{WEST}.heartbeats" in self.admin(EAST).list_topics(timeout=5).topics, 60)

    def renew(self) -> None:
        """Throw everything away and start anew."""
        for name in list(self.processes):
            self.kill(name)
        for region in ADDRESSES:
            shutil.rmtree(self.folder / region / "data")
        self.first()

    def settings(self, region: str, user: str = ADMIN) -> dict[str, Any]:
        return kafka.client_settings(f"{ADDRESSES[region]}:{PORT}", PASSWORDS[user], self.ca, user)

    def admin(self, region: str) -> AdminClient:
        return AdminClient(self.settings(region))

    def answers(self, region: str) -> bool:
        try:
            return bool(self.admin(region).list_topics(timeout=2))
        except KafkaException:
            return False

    def produce(self, region: str, topic: str, count: int, *, begin: int = 0, partition: int = -1) -> list[int]:
        """Write numbered records as the application does; give the numbers that were acknowledged."""
        done: list[int] = []
        producer = Producer(
            {**self.settings(region, APPLICATION), "acks": "all", "linger.ms": 0, "message.timeout.ms": 5000}
        )
        for number in range(begin, begin + count):
            told = lambda error, _message, number=number: None if error else done.append(number)  # noqa: E731
            where = {"partition": partition} if partition >= 0 else {"key": str(number)}
            producer.produce(topic, json.dumps({"n": number}).encode(), on_delivery=told, **where)
        producer.flush(10)
        return sorted(done)

    def read(self, region: str, topic: str) -> list[int]:
        """Read all that a topic holds, as nobody's group."""
        consumer = Consumer({**self.settings(region), "group.id": "oracle", "enable.auto.commit": False})
        found: list[int] = []
        with closing(consumer):
            partitions = consumer.list_topics(topic, timeout=5).topics[topic].partitions
            ends = {one: consumer.get_watermark_offsets(TopicPartition(topic, one), timeout=5) for one in partitions}
            consumer.assign([TopicPartition(topic, one, low) for one, (low, _) in ends.items()])
            wanted = sum(high - low for low, high in ends.values())
            deadline = time.monotonic() + 20
            while len(found) < wanted and time.monotonic() < deadline:
                found += [json.loads(one.value())["n"] for one in consumer.consume(500, 0.5) if not one.error()]
        return found

    def consume(self, region: str, topic: str, group: str, count: int, seconds: float = 20) -> list[int]:
        """Consume as a member of a group does, and commit; `count` at most, until nothing more comes."""
        own = {"group.id": group, "enable.auto.commit": False, "auto.offset.reset": "latest"}
        consumer = Consumer({**self.settings(region, APPLICATION), **own, "session.timeout.ms": 6000})
        found: list[int] = []
        with closing(consumer):
            consumer.subscribe([topic])
            deadline = time.monotonic() + seconds
            while len(found) < count and time.monotonic() < deadline:
                message = consumer.poll(0.2)
                if message is None or message.error():
                    continue
                deadline = time.monotonic() + 2
                found.append(json.loads(message.value())["n"])
                consumer.commit(message, asynchronous=False)
        return found

    def begin(self, region: str, topic: str, group: str) -> None:
        """Let a group stand at the beginning of a topic."""
        places = [TopicPartition(topic, one, 0) for one in self.ends(region, topic)]
        client = self.admin(region)
        for future in client.alter_consumer_group_offsets([ConsumerGroupTopicPartitions(group, places)]).values():
            future.result()

    def ends(self, region: str, topic: str) -> dict[int, int]:
        consumer = Consumer({**self.settings(region), "group.id": "oracle"})
        with closing(consumer):
            partitions = consumer.list_topics(topic, timeout=5).topics[topic].partitions
            return {one: consumer.get_watermark_offsets(TopicPartition(topic, one), timeout=5)[1] for one in partitions}

    def create(self, topic: str, partitions: int = 3) -> None:
        """Make a topic in the west and wait until it is mirrored."""
        client = self.admin(WEST)
        for future in client.create_topics([NewTopic(topic, partitions, 1)]).values():
            future.result()
        eventually(lambda: topic in self.admin(EAST).list_topics(timeout=5).topics, 30)

    def store(self) -> dict[str, Any]:
        """Describe it, as a platform description would."""

        def unit(region: str, name: str) -> dict[str, Any]:
            return {"host": region, "unit": name, "user": "operator"}

        members = {
            region: {
                "bootstrap": [f"{address}:{PORT}"],
                "brokers": [unit(region, "kafka")],
                "mirrors": [unit(region, "kafka-mirror-maker")],
            }
            for region, address in ADDRESSES.items()
        }
        return {
            "members": members,
            "security": {"ca_file": str(self.ca)},
            "credentials": "kafka",
            "objectives": {"rpo_seconds": 60},
        }

    def mirrored(self, topic: str, source: str = WEST) -> None:
        """Wait until the other region has as many records."""
        wanted = sum(self.ends(source, topic).values())
        eventually(lambda: sum(self.ends(OTHER[source], topic).values()) >= wanted, 30)


def eventually(probe: Callable[[], bool], seconds: float = 20) -> None:
    """Wait for what brokers are asked; they do not answer while they start."""

    def seen() -> bool:
        with contextlib.suppress(KafkaException):
            return probe()
        return False

    wait_for(seen, "what the brokers were asked", seconds)


class Hosts(socketserver.ThreadingUnixStreamServer):
    """What ssh reaches."""

    daemon_threads = True

    def __init__(self, path: Path, world: World) -> None:
        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                words = b"".join(iter(lambda: self.request.recv(1), b"\0")).decode()
                host, _, line = words.partition("\n")
                self.wfile.write(world.systemctl(host, line).encode())

        super().__init__(str(path), Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()


def certify(world: World) -> None:
    authority = trustme.CA()
    world.ca.write_bytes(authority.cert_pem.bytes())
    for region, address in ADDRESSES.items():
        issued = authority.issue_cert(address)
        chain = b"".join(one.bytes() for one in issued.cert_chain_pems)
        (world.folder / region).mkdir()
        (world.folder / region / "keystore.pem").write_bytes(kafka.keystore(issued.private_key_pem.bytes(), chain))


def configure(world: World) -> None:
    for region, address in ADDRESSES.items():
        folder = world.folder / region
        broker = Broker(
            address,
            (Listener("LOCAL", PORT, address),),
            PASSWORDS,
            folder / "data",
            folder / "keystore.pem",
            world.ca,
        )
        (folder / "server.properties").write_text(kafka.broker_properties(broker))
        source, target = (End(one, f"{ADDRESSES[one]}:{PORT}") for one in (OTHER[region], region))
        text = mirror_maker.mirror_properties(source, target, PASSWORDS[MIRROR], world.ca)
        (folder / "mirror.properties").write_text(text)
        words = [*kafka.java_words(world.java, world.archives, folder, 64), "kafka.tools.StorageTool", "format"]
        words += ["--cluster-id", kafka.cluster_id(), "--config", folder / "server.properties"]
        subprocess.run(list(map(str, words)), check=True, capture_output=True)


@contextlib.contextmanager
def running(folder: Path) -> Iterator[World]:
    """Run everything for the time of a test session."""
    found = kafka_programs.fetch(print)
    world = World(folder, found["java"], found[kafka_programs.FOLDER])
    certify(world)
    program = folder / "bin/ssh"
    program.parent.mkdir()
    program.write_text(SSH.format(python=sys.executable, path=str(folder / "hosts")))
    program.chmod(0o755)
    hosts = Hosts(folder / "hosts", world)
    try:
        world.first()
        yield world
    finally:
        hosts.shutdown()
        hosts.server_close()
        for name in list(world.processes):
            world.kill(name)
        world.starter.shutdown()
