# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kafka, a broker a region: its configuration, its first contents, and what tells that it works.

Whoever comes from elsewhere is told an address of his own: a listener for the region's own clients, one for the
operator, one for each other region, each behind that origin's link.
"""

from __future__ import annotations

import uuid
from base64 import urlsafe_b64encode
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    NewTopic,
    ResourcePatternType,
    ResourceType,
)
from cryptography.hazmat.primitives import serialization

from . import addresses, identity, supervisor, topology
from .errors import LabError
from .state import State, write
from .topology import Server, Topology
from .wait import NotYet

ADMIN, MIRROR, APPLICATION = "admin", "mirror", "events"
PARTITIONS = 3
PLAIN = "org.apache.kafka.common.security.plain.PlainLoginModule"
SECONDS = 5.0
# Small: a lab has a few records, and two cores for everything.
JVM = (
    "-Xms48m",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-XX:MaxMetaspaceSize=128m",
    "-XX:ReservedCodeCacheSize=48m",
    "-Xss512k",
    "-Xshare:auto",
    "-Djava.net.preferIPv4Stack=true",
)
LOGGING = """\
log4j.rootLogger=WARN, stdout
log4j.appender.stdout=org.apache.log4j.ConsoleAppender
log4j.appender.stdout.layout=org.apache.log4j.PatternLayout
log4j.appender.stdout.layout.ConversionPattern=[%d] %p %m (%c)%n
"""
T = TypeVar("T")


@dataclass(frozen=True)
class Listener:
    """Where a broker listens for those of one origin, and what they are told to connect to."""

    name: str
    port: int
    advertised: str


@dataclass(frozen=True)
class Broker:
    """What a broker's configuration is made of."""

    address: str
    listeners: tuple[Listener, ...]
    passwords: Mapping[str, str]
    data: Path
    keystore: Path
    ca: Path
    controller_port: int = 9093


def listeners(region: str, regions: list[str]) -> tuple[Listener, ...]:
    """List a broker's listeners: its region's own, the operator's, those of the other regions."""
    own = Listener("LOCAL", addresses.PLACES["kafka"][1], addresses.server_address(region, "kafka"))
    origins = [addresses.OPERATOR, *(other for other in regions if other != region)]
    return own, *(
        Listener(
            origin.upper().replace("-", "_"),
            addresses.kafka_port(origin),
            addresses.link_address(origin, region, "kafka"),
        )
        for origin in origins
    )


def jaas(user: str, password: str, **users: str) -> str:
    """Write the login of a client, or with users that of a server."""
    words = [f'username="{user}"', f'password="{password}"']
    words += [f'user_{name}="{secret}"' for name, secret in users.items()]
    return f"{PLAIN} required {' '.join(words)};"


def broker_properties(broker: Broker) -> str:
    """Write a broker's configuration: one node of KRaft, SASL over TLS, ACLs."""
    controller = f"{broker.address}:{broker.controller_port}"
    login = jaas(ADMIN, broker.passwords[ADMIN], **broker.passwords)
    names = [listener.name for listener in broker.listeners]
    bound = [f"{listener.name}://{broker.address}:{listener.port}" for listener in broker.listeners]
    told = [f"{listener.name}://{listener.advertised}:{listener.port}" for listener in broker.listeners]
    rows: dict[str, Any] = {
        "process.roles": "broker,controller",
        "node.id": 1,
        "controller.quorum.voters": f"1@{controller}",
        "controller.listener.names": "CONTROLLER",
        "inter.broker.listener.name": names[0],
        "listeners": ",".join([*bound, f"CONTROLLER://{controller}"]),
        "advertised.listeners": ",".join(told),
        "listener.security.protocol.map": ",".join(
            [*(f"{name}:SASL_SSL" for name in names), "CONTROLLER:SASL_PLAINTEXT"]
        ),
        "sasl.enabled.mechanisms": "PLAIN",
        "sasl.mechanism.inter.broker.protocol": "PLAIN",
        "sasl.mechanism.controller.protocol": "PLAIN",
        **{f"listener.name.{name.lower()}.plain.sasl.jaas.config": login for name in (*names, "CONTROLLER")},
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": broker.keystore,
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": broker.ca,
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": f"User:{ADMIN};User:{MIRROR}",
        "log.dirs": broker.data,
        "auto.create.topics.enable": "false",
        "num.partitions": 1,
        "offsets.topic.num.partitions": 3,
        "offsets.topic.replication.factor": 1,
        "transaction.state.log.num.partitions": 1,
        "transaction.state.log.replication.factor": 1,
        "transaction.state.log.min.isr": 1,
        "group.initial.rebalance.delay.ms": 0,
        # After a SIGKILL it is registered again only once the session of the one before is over.
        "broker.session.timeout.ms": 4000,
        "broker.heartbeat.interval.ms": 500,
        "num.network.threads": 2,
        "num.io.threads": 2,
        "num.replica.fetchers": 1,
        "background.threads": 2,
        "log.cleaner.dedupe.buffer.size": 16777216,
        "log.segment.bytes": 16777216,
        # An index is as large as it may become from the first moment on: a copy of the data would be mostly holes.
        "log.index.size.max.bytes": 65536,
    }
    return "".join(f"{key}={value}\n" for key, value in rows.items())


def java_words(java: Path, archives: Path, folder: Path, heap_mib: int) -> list[str | Path]:
    """Give the beginning of every command that runs a part of Kafka."""
    logging = write(folder / "log4j.properties", LOGGING)
    return [java, *JVM, f"-Xmx{heap_mib}m", f"-Dlog4j.configuration=file:{logging}", "-cp", f"{archives}/*"]


def keystore(key: bytes, chain: bytes) -> bytes:
    """Give a server's key and certificates in one file, the key in the only form that Kafka reads."""
    loaded = serialization.load_pem_private_key(key, password=None)
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return loaded.private_bytes(*form) + chain


def passwords(state: State) -> dict[str, str]:
    """Give the password of each user, who is the same in every region."""
    return {user: state.secret(f"kafka-{user}") for user in (ADMIN, MIRROR, APPLICATION)}


def define(server: Server, layout: Topology, state: State, java: Path, archives: Path) -> None:
    """Configure a broker and tell the supervisor how to run it."""
    folder = state.server(server.region, server.kind)
    data = identity.make_folder(state.data(server.region, server.kind), mode=0o700)
    identity.own(data.parent)
    name = f"{server.region}-{server.kind}"
    key, chain = ((state.pki / f"{name}.{end}").read_bytes() for end in ("key", "crt"))
    store = write(folder / "keystore.pem", keystore(key, chain), mode=0o600)
    regions = [one.region for one in layout.of_kind("kafka")]
    broker = Broker(server.address, listeners(server.region, regions), passwords(state), data, store, state.ca)
    path = write(folder / "server.properties", broker_properties(broker), mode=0o600)
    words = [*java_words(java, archives, folder, heap_mib=112), "kafka.Kafka", path]
    identity.own(folder)
    supervisor.define(f"{server.target}/kafka", supervisor.Definition(words, stop_seconds=10), state)


def cluster_id() -> str:
    """Make up the id of a new cluster, in the form that Kafka wants.

    One in 64 begins with a dash, which Kafka's tools take for an option; Kafka makes none of these either.
    """
    while (made := urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")).startswith("-"):
        pass
    return made


def format_data(server: Server, state: State, java: Path, archives: Path) -> None:
    """Prepare the folder of a broker that has none of its own yet."""
    folder, data = state.server(server.region, server.kind), state.data(server.region, server.kind)
    if (data / "meta.properties").exists():
        return
    words = [*java_words(java, archives, folder, heap_mib=64), "kafka.tools.StorageTool", "format"]
    words += ["--cluster-id", cluster_id(), "--config", folder / "server.properties", "--ignore-formatted"]
    identity.own(folder)
    identity.run(words, cwd=state.root, what=f"the format of {server.target}")


def client_settings(bootstrap: str, password: str, ca: Path, user: str = ADMIN) -> dict[str, Any]:
    """Give what librdkafka needs to become a client."""
    return {
        "bootstrap.servers": bootstrap,
        "security.protocol": "SASL_SSL",
        "sasl.mechanism": "PLAIN",
        "sasl.username": user,
        "sasl.password": password,
        "ssl.ca.location": str(ca),
        # What goes wrong is told by the call; the library's own log is for nobody.
        "log_level": 0,
    }


def settings(server: Server, state: State) -> dict[str, Any]:
    """Give what a client of this machine needs to reach a broker directly."""
    return client_settings(f"{server.address}:{server.port}", passwords(state)[ADMIN], state.ca)


def asked(what: str, question: Callable[[], T]) -> T:
    """Ask a broker; one that does not answer is not there yet."""
    try:
        return question()
    except KafkaException as error:
        raise NotYet(f"{what}: {error.args[0].str()}") from error


def answers(server: Server, state: State) -> set[str]:
    """Probe: the broker answers; give its topics."""
    client = AdminClient(settings(server, state))
    return {*asked(server.target, lambda: client.list_topics(timeout=SECONDS)).topics}


def populate(server: Server, state: State) -> None:
    """Give a new broker the application's topics and rights; in the standby region it is closed to everybody."""
    client = AdminClient(settings(server, state))
    bindings = allowed() + ([] if server.region == topology.PRIMARY else closed())
    futures = list(client.create_acls(bindings).values())
    if server.region == topology.PRIMARY:
        # A service's events are in the topic named as its table. In the standby region the mirror makes them.
        topics = [NewTopic(service.table, PARTITIONS, 1) for service in topology.SERVICES.values()]
        futures += client.create_topics(topics).values()
    for future in futures:
        try:
            future.result(timeout=20)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise LabError(f"{server.target}: {error.args[0].str()}") from error


def allowed() -> list[AclBinding]:
    """List what the application may do."""
    topic = [AclOperation.READ, AclOperation.WRITE, AclOperation.CREATE]
    return [_binding(ResourceType.TOPIC, APPLICATION, one, AclPermissionType.ALLOW) for one in topic] + [
        _binding(ResourceType.GROUP, APPLICATION, AclOperation.READ, AclPermissionType.ALLOW)
    ]


def closed() -> list[AclBinding]:
    """List what nobody may do where records are only mirrored; a mirror is a super user and may."""
    return [
        _binding(ResourceType.TOPIC, "*", AclOperation.WRITE, AclPermissionType.DENY),
        _binding(ResourceType.GROUP, "*", AclOperation.READ, AclPermissionType.DENY),
    ]


def _binding(kind: ResourceType, user: str, operation: AclOperation, permission: AclPermissionType) -> AclBinding:
    return AclBinding(kind, "*", ResourcePatternType.LITERAL, f"User:{user}", "*", operation, permission)


def newest(server: Server, state: State, topic: str) -> float:
    """Give the time of the newest record of a topic of one partition, in seconds since 1970."""
    client = Consumer({**settings(server, state), "group.id": "recovery-lab", "enable.auto.commit": False})
    with closing(client):
        place = TopicPartition(topic, 0)
        low, high = asked(topic, lambda: client.get_watermark_offsets(place, timeout=SECONDS))
        if high <= low:
            raise NotYet(f"{topic} in {server.region} has no record")
        client.assign([TopicPartition(topic, 0, high - 1)])
        message = client.poll(SECONDS)
        if message is None or message.error():
            raise NotYet(f"the newest record of {topic} in {server.region} cannot be read")
        return float(message.timestamp()[1]) / 1000


def connect(server: Server, state: State) -> dict[str, str]:
    """Say what a client needs: the operator's way, and the region's own."""
    secrets = passwords(state)
    bootstrap = f"{server.link}:{addresses.kafka_port(addresses.OPERATOR)}"
    return {
        "url": f"kafka://{bootstrap}",
        "bootstrap": bootstrap,
        "direct_bootstrap": f"{server.address}:{server.port}",
        "security_protocol": "SASL_SSL",
        "mechanism": "PLAIN",
        "user": ADMIN,
        "password": secrets[ADMIN],
        "application_user": APPLICATION,
        "application_password": secrets[APPLICATION],
        "ca_file": str(state.ca),
    }
