# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What Patroni's REST API says, and what follows from it. Pure functions: nothing here asks or changes anything."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..service_manager import UnitStatus
from .model import Member, PatroniPlace
from .provided import Hindrance

Document = Mapping[str, Any]

LEADER = "leader"
STANDBY_LEADER = "standby_leader"
# How Patroni calls a node whose PostgreSQL works: as leader, as its standby, as one fed from an archive.
WORKING = frozenset({"running", "streaming", "in archive recovery"})
SECTION = "standby_cluster"
# Patroni's own words for a standby cluster to follow somebody; one of these makes it one.
FOLLOWING = ("host", "port", "restore_command")
# What Patroni answers when it has done it, when it will not (nothing was begun), and when it does not know.
DONE = frozenset({200, 202})
REFUSED = frozenset({400, 401, 403, 412})
UNKNOWN = "status unknown"
# Removing what is not there changes nothing, and is only done for whoever may write.
NOTHING: Document = {"platform.recovery": None}


@dataclass(frozen=True)
class Node:
    """A node as its cluster knows it."""

    name: str
    role: str
    state: str
    lag: int | None = None
    nofailover: bool = False

    @property
    def words(self) -> str:
        """Say what it is."""
        return f"{self.name} ({self.role}, {self.state})"

    @property
    def works_as_leader(self) -> bool:
        """Say whether it is the leader of a cluster that takes writes."""
        return self.role == LEADER and self.state in WORKING


@dataclass(frozen=True)
class Cluster:
    """A Patroni cluster as its DCS has it."""

    scope: str
    nodes: tuple[Node, ...]
    paused: bool = False

    @property
    def leader(self) -> Node | None:
        """Give who holds the leader's lock. It is held until its time is up, by a node that is lost as well."""
        return next((node for node in self.nodes if node.role in {LEADER, STANDBY_LEADER}), None)

    @property
    def words(self) -> str:
        """Say who is in it."""
        paused = ", paused" if self.paused else ""
        return f"{self.scope}{paused}: {', '.join(node.words for node in self.nodes) or 'nobody'}"


@dataclass(frozen=True)
class Server:
    """A node as it says itself: positions are bytes."""

    standby: bool = False
    position: int | None = None


@dataclass(frozen=True)
class Outcome:
    """How what Patroni was told has ended: with a leader that was wanted, or with none and why."""

    leader: str | None = None
    observed: str = ""
    refused: bool = False
    """Nothing was begun."""


@dataclass(frozen=True)
class AtHost:
    """What the host of a node shows: its unit, and whether its PostgreSQL's port refuses."""

    node: str
    unit: UnitStatus
    refuses: bool = False
    port: str = ""

    @property
    def words(self) -> str:
        """Say it."""
        return f"{self.node}: {self.unit.observed}" + (f", {self.port}" if self.unit.answered else "")


@dataclass(frozen=True)
class Region:
    """What was read through the nodes of one member."""

    cluster: Cluster
    config: Document = field(default_factory=dict)
    through: str = ""
    """The node that answered."""


def read_cluster(document: Document) -> Cluster:
    """Read the answer to GET /cluster."""
    nodes = tuple(
        Node(
            name=str(row["name"]),
            # Before Patroni 4 some answers still say master.
            role=LEADER if row.get("role") == "master" else str(row.get("role")),
            state=str(row.get("state") or "unknown"),
            lag=_bytes(row.get("receive_lag", row.get("lag"))),
            nofailover=bool((row.get("tags") or {}).get("nofailover")),
        )
        for row in document.get("members") or []
    )
    return Cluster(str(document.get("scope") or "the cluster"), nodes, bool(document.get("pause")))


def _bytes(value: Any) -> int | None:
    return value if isinstance(value, int) else None


def read_server(document: Document) -> Server:
    """Read the answer to GET /patroni. A standby's position is what it replayed: that is what it surely holds."""
    log = document.get("xlog") or {}
    return Server(
        standby="replayed_location" in log,
        position=_bytes(log.get("location", log.get("replayed_location"))),
    )


def follows(config: Document) -> Document | None:
    """Give what a standby cluster follows, or None where the configuration is that of no standby cluster."""
    section = config.get(SECTION)
    usable = isinstance(section, Mapping) and any(section.get(key) for key in FOLLOWING)
    return section if usable else None


def following_words(section: Document) -> str:
    """Say whom a standby cluster follows."""
    place = ":".join(str(section[key]) for key in ("host", "port") if section.get(key))
    return place or "an archive"


def standby_section(source: Member) -> dict[str, Any]:
    """Write what a cluster needs to follow a member."""
    place = source.patroni
    given = dict(place.source) if place else {}
    return {"host": source.host, "port": source.port, **given}


def demotion(config: Document, source: Member) -> dict[str, Any] | None:
    """Plan the change that makes a cluster the standby of a member; None where it follows that already."""
    wanted = standby_section(source)
    section = follows(config)
    if section and all(str(section.get(key)) == str(value) for key, value in wanted.items()):
        return None
    return {SECTION: wanted}


def promotion(config: Document) -> dict[str, Any] | None:
    """Plan the change that makes a cluster one of its own; None where it is."""
    return None if follows(config) is None else {SECTION: None}


def own_nodes(place: PatroniPlace) -> tuple[str, ...]:
    """Name the nodes of a member."""
    return tuple(node.name for node in place.nodes)


def unfit(node: Node | None, name: str) -> str | None:
    """Say why a node cannot become the leader, if it cannot."""
    if node is None:
        return f"Patroni knows no node {name}"
    if node.nofailover:
        return f"{name} has the tag nofailover"
    if node.state not in WORKING:
        return f"{name} is {node.state}"
    return None


def candidate(cluster: Cluster, names: Sequence[str]) -> Node | str:
    """Choose who of these nodes is to become the leader: the one that is nearest. Gives why nobody, if so."""
    known = {node.name: node for node in cluster.nodes}
    reasons = {name: unfit(known.get(name), name) for name in names}
    fit = [known[name] for name in names if reasons[name] is None]
    if not fit:
        return "; ".join(reason for reason in reasons.values() if reason)
    return min(fit, key=lambda node: (node.lag is None, node.lag or 0))


def strangers(cluster: Cluster, described: Collection[str]) -> list[str]:
    """Name the nodes that could become leader and that nobody describes: they could not be fenced."""
    return [node.name for node in cluster.nodes if node.name not in described and not node.nofailover]


def hindrance(region: Region, place: PatroniPlace, described: Collection[str]) -> Hindrance | None:
    """Say what would keep a member from being made the primary."""
    cluster, config = region.cluster, region.config
    section = follows(config)
    one_cluster = place.topology == "one_cluster"
    if cluster.paused:
        return Hindrance(
            f"{cluster.words}: it is in maintenance mode, in which Patroni does not act",
            "Patroni acts: its cluster is not paused",
            "see who paused it and why; end it with patronictl resume, then run again",
        )
    unknown = strangers(cluster, described)
    if unknown:
        return Hindrance(
            f"{cluster.words}: nobody describes {', '.join(unknown)}",
            "every node that may become leader is described, so that it can be fenced",
            "add it to patroni.nodes of its region, or give it the tag nofailover, then run again",
        )
    if one_cluster and section is not None:
        return Hindrance(
            f"{cluster.scope} is a standby cluster that follows {following_words(section)}",
            "one cluster over all regions, as patroni.topology says",
            "correct patroni.topology of the platform description",
        )
    leader = cluster.leader
    promoted = leader is not None and leader.works_as_leader and leader.name in own_nodes(place)
    if not one_cluster and section is None and not promoted:
        return Hindrance(
            f"{cluster.words}, and its configuration has no {SECTION}",
            "a standby cluster that follows the primary's region",
            "see what became of it: patronictl list and show-config",
        )
    if one_cluster:
        chosen = candidate(cluster, own_nodes(place))
        if isinstance(chosen, str):
            return Hindrance(
                f"{cluster.words}: {chosen}",
                "a node of the region that Patroni may make the leader",
                "let the node catch up, or take the tag away, then run again",
            )
    elif section is not None and (leader is None or leader.state not in WORKING):
        return Hindrance(
            f"{cluster.words}: no standby leader works",
            "a standby leader that works: Patroni promotes that one",
            "see the log of Patroni there, then run again",
        )
    return None


def outcome(
    cluster: Cluster, names: Collection[str], former: str | None, status: int | None, text: str
) -> Outcome | None:
    """Say how a switchover or failover to one of these nodes has ended, given what Patroni said; None while it goes on.

    What its cluster shows counts more than its answer. No answer, or that it does not know, ends nothing.
    """
    leader = cluster.leader
    if leader and leader.name in names:
        return Outcome(leader.name) if leader.works_as_leader else None
    if status is None:
        return None
    if status in REFUSED:
        return Outcome(observed=f"status {status}: {text}; {cluster.words}", refused=True)
    elsewhere = status in DONE and leader is not None and leader.name != former and leader.works_as_leader
    failed = status not in DONE and UNKNOWN not in text
    return Outcome(observed=f"status {status}: {text}; {cluster.words}") if elsewhere or failed else None


def merged(hosts: Sequence[AtHost]) -> UnitStatus:
    """Join what the hosts of a member's nodes show. It is fenced when every one is.

    A unit that has ended may have left its PostgreSQL behind, and a port that is merely silent may be that of a frozen
    one: only a port that refuses says that nobody listens.
    """
    words = "; ".join(host.words for host in hosts)
    if not hosts or not all(host.unit.answered for host in hosts):
        return UnitStatus(words or "no node is described", answered=False)
    stopped = all(host.unit.stopped and host.refuses for host in hosts)
    masked = all(host.unit.unit_file in {"masked", "masked-runtime"} for host in hosts)
    return UnitStatus(words, True, "inactive" if stopped else "active", "masked" if masked else "enabled")
