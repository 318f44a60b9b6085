# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""MirrorMaker 2: in each region one that brings the other region's records there. One runs, the other is masked.

Topics keep their names, so both at once would send every record around for ever.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import addresses, identity, kafka, supervisor, topology
from .kafka import MIRROR
from .state import State, write
from .topology import Server, Topology
from .wait import NotYet

INSTANCE = "mirror-maker"
PROGRAM = "org.apache.kafka.connect.mirror.MirrorMaker"
# How old the newest heartbeat of the source may be where it arrives.
FRESH_SECONDS = 10.0
SECOND = 1


@dataclass(frozen=True)
class End:
    """One cluster as a mirror sees it."""

    alias: str
    bootstrap: str


def mirror_properties(source: End, target: End, password: str, ca: Path) -> str:
    """Write a mirror's configuration. The syncs of offsets lie in the target, which is there when they are needed."""
    way = f"{source.alias}->{target.alias}"
    rows: dict[str, Any] = {
        "clusters": f"{source.alias},{target.alias}",
        f"{way}.enabled": "true",
        f"{target.alias}->{source.alias}.enabled": "false",
        f"{way}.topics": ".*",
        f"{way}.groups": ".*",
        "replication.policy.class": "org.apache.kafka.connect.mirror.IdentityReplicationPolicy",
        "offset-syncs.topic.location": "target",
        "tasks.max": 1,
        # Every record's offset is known on both sides: a group resumes where it was, not somewhere before.
        "offset.lag.max": 0,
        "sync.group.offsets.enabled": "true",
        "sync.group.offsets.interval.seconds": SECOND,
        "emit.checkpoints.interval.seconds": SECOND,
        "emit.heartbeats.interval.seconds": SECOND,
        # How far it has read is told as often; by that is seen whether all was brought.
        f"{target.alias}.offset.flush.interval.ms": 1000 * SECOND,
        "refresh.topics.interval.seconds": 5,
        "refresh.groups.interval.seconds": 2,
        # The rights are each cluster's own: by them the target is closed.
        "sync.topic.acls.enabled": "false",
        "offset.storage.partitions": 1,
        "status.storage.partitions": 1,
        "plugin.discovery": "service_load",
    }
    topics = ("checkpoints.topic", "heartbeats.topic", "offset-syncs.topic", "offset.storage", "status.storage")
    rows |= {f"{name}.replication.factor": 1 for name in (*topics, "config.storage")} | {"replication.factor": 1}
    for end in (source, target):
        # What a killed one was about is taken up by the next one at once.
        rows |= {f"{end.alias}.scheduled.rebalance.max.delay.ms": 0, f"{end.alias}.session.timeout.ms": 6000}
        rows |= {f"{end.alias}.{key}": value for key, value in _client(end, password, ca).items()}
    return "".join(f"{key}={value}\n" for key, value in rows.items())


def _client(end: End, password: str, ca: Path) -> Mapping[str, Any]:
    return {
        "bootstrap.servers": end.bootstrap,
        "security.protocol": "SASL_SSL",
        "sasl.mechanism": "PLAIN",
        "sasl.jaas.config": kafka.jaas(MIRROR, password),
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": ca,
    }


def source_of(server: Server, layout: Topology) -> str:
    """Name the region whose records a mirror brings."""
    return next(one.region for one in layout.of_kind("kafka") if one.region != server.region)


def define(server: Server, layout: Topology, state: State, java: Path, archives: Path) -> None:
    """Configure a mirror and tell the supervisor how to run it; at first nothing comes into the primary region."""
    folder = state.server(server.region, server.kind)
    source = source_of(server, layout)
    port = addresses.kafka_port(server.region)
    far = End(source, f"{addresses.link_address(server.region, source, 'kafka')}:{port}")
    near = End(server.region, addresses.endpoint(server.region, "kafka"))
    text = mirror_properties(far, near, kafka.passwords(state)[MIRROR], state.ca)
    path = write(folder / "mirror.properties", text, mode=0o600)
    words = [
        *kafka.java_words(java, archives, folder, heap_mib=128),
        PROGRAM,
        path,
    ]
    identity.own(folder)
    # One whose source is gone would go on asking for it rather than end.
    definition = supervisor.Definition(words, stop_seconds=3)
    supervisor.define(process(server), definition, state)
    if server.region == topology.PRIMARY and not (state.root / "masked").exists():
        supervisor.act(process(server), "mask")


def process(server: Server) -> str:
    """Name its process."""
    return f"{server.target}/{INSTANCE}"


def answers(server: Server, layout: Topology, state: State) -> None:
    """Probe: heartbeats of the source arrive."""
    source = source_of(server, layout)
    topic = f"{source}.heartbeats"
    age = time.time() - kafka.newest(Server(server.region, "kafka"), state, topic)
    if age > FRESH_SECONDS:
        raise NotYet(f"{server.target}: the newest heartbeat from {source} is {age:.1f} s old")


def connect(server: Server, layout: Topology) -> dict[str, str]:
    """Say what it does, and by which unit of the region's host."""
    return {"source": source_of(server, layout), "target": server.region, "unit": "kafka-mirror-maker"}
