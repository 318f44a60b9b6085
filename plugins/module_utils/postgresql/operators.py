# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What operators of PostgreSQL document for their resources: pure functions from a resource to a patch or a fact.

A patch is a JSON merge patch. None instead of one says that the resource holds it already.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from ..errors import PreconditionFailed
from .model import parse_lsn

Item = Mapping[str, Any]
Patch = dict[str, Any]

FENCED_INSTANCES = "cnpg.io/fencedInstances"
ALL_INSTANCES = '["*"]'
FORMER_INSTANCES = "platform.recovery/former-number-of-instances"


@dataclass(frozen=True)
class Demotion:
    """What a clean demotion left: the token for the next primary, and the position that it must hold."""

    token: str
    lsn: int


class Flavour(Protocol):
    """One operator: where its resources are served, and what is written into them."""

    name: str
    group: str
    version: str
    plural: str
    # The label by which its pods are known; None where a StatefulSet of the resource's name holds them and proves.
    pod_label: str | None
    # Whether the operator itself takes a living primary out of service without loss.
    demotes: bool

    def fence(self, item: Item) -> Patch | None:
        """Give the patch after which the operator stops PostgreSQL and keeps it stopped."""

    def is_standby(self, item: Item) -> bool:
        """Say whether the resource declares a standby."""

    def demote(self, item: Item, target: Item) -> Patch | None:
        """Give the patch that makes a primary follow the target. Raises PreconditionFailed."""

    def demotion(self, item: Item) -> Demotion | None:
        """Give what a complete demotion left, if there was one."""

    def promote(self, item: Item, source: Item | None, token: str | None) -> Patch | None:
        """Give the patch that makes a standby the primary. Raises PreconditionFailed."""


class CloudNativePG:
    """A `Cluster` in CloudNativePG's distributed topology (its documentation: Replica clusters, Fencing)."""

    name = "cloudnativepg"
    group = "postgresql.cnpg.io"
    version = "v1"
    plural = "clusters"
    pod_label: str | None = "cnpg.io/cluster"
    demotes = True

    def fence(self, item: Item) -> Patch | None:
        """Fence every instance: the postmaster is shut down and not started until the annotation goes."""
        if FENCED_INSTANCES in annotations_of(item) and "*" in fenced_instances(item):
            return None
        return {"metadata": {"annotations": {FENCED_INSTANCES: ALL_INSTANCES}}}

    def is_standby(self, item: Item) -> bool:
        """Decide as the operator does: `enabled` of older standalone replicas outranks the topology."""
        replica = replica_of(item)
        if not replica:
            return False
        if replica.get("enabled") is not None:
            return bool(replica["enabled"])
        return topology_name(item) != str(replica.get("primary") or "")

    def demote(self, item: Item, target: Item) -> Patch | None:
        """Name the other one as the primary of the topology."""
        self._require_topology(item)
        new = topology_name(target)
        self._require_source(item, new)
        replica = replica_of(item)
        if replica.get("primary") == new and replica.get("source") == new:
            return None
        # A token that once promoted this one would be taken for a promotion to come.
        return {"spec": {"replica": {"primary": new, "source": new, "promotionToken": None}}}

    def demotion(self, item: Item) -> Demotion | None:
        """Read the token, once the transition is over and as long as the resource declares a standby."""
        status = item.get("status") or {}
        token = status.get("demotionToken")
        moving = (status.get("switchReplicaClusterStatus") or {}).get("inProgress")
        if not token or moving or not self.is_standby(item):
            return None
        return read_token(str(token))

    def promote(self, item: Item, source: Item | None, token: str | None) -> Patch | None:
        """Name this one as the primary, and give the token in the same patch.

        Without a token the operator promotes at once, and the former primary has to be rebuilt.
        """
        if not self.is_standby(item):
            return None
        replica = replica_of(item)
        if replica.get("enabled") is not None:
            return {"spec": {"replica": {"enabled": False}}}
        own = topology_name(item)
        patch: dict[str, Any] = {"primary": own, "promotionToken": token}
        if source is not None:
            old = topology_name(source)
            if old in external_clusters(item):
                patch["source"] = old
        return {"spec": {"replica": patch}}

    def _require_topology(self, item: Item) -> None:
        replica = replica_of(item)
        if replica.get("primary") and replica.get("enabled") is None:
            return
        raise PreconditionFailed(
            f"Cluster {full_name(item)} is in no distributed topology, and CloudNativePG demotes no other",
            wanted="spec.replica with primary and source, in every Cluster of the database, without enabled",
            observed=f"spec.replica holds {', '.join(sorted(replica)) or 'nothing'}",
            next_action="describe the topology in both resources as CloudNativePG documents it; a standalone replica "
            "can only be promoted, with recovery_mode=failover",
            gate="operator",
        )

    def _require_source(self, item: Item, name: str) -> None:
        known = external_clusters(item)
        if name in known:
            return
        raise PreconditionFailed(
            f"Cluster {full_name(item)} could not follow {name}, so it cannot be demoted",
            wanted=f"{name} among spec.externalClusters",
            observed=f"spec.externalClusters names {', '.join(known) or 'nothing'}",
            next_action=f"add {name} to spec.externalClusters of {full_name(item)}, then run again",
            gate="operator",
        )


class Zalando:
    """A `postgresql` of Zalando's operator (its documentation: Setting up a standby cluster, Promote the standby)."""

    name = "zalando"
    group = "acid.zalan.do"
    version = "v1"
    plural = "postgresqls"
    # The operator's label of pods can be configured: a list by it may be empty for the wrong reason. And a port that
    # refuses proves nothing here: Patroni in a pod that is still there starts PostgreSQL again.
    pod_label: str | None = None
    demotes = False

    def fence(self, item: Item) -> Patch | None:
        """Scale to no instance, and remember how many there were."""
        count = (item.get("spec") or {}).get("numberOfInstances")
        if count == 0:
            return None
        return {
            "metadata": {"annotations": {FORMER_INSTANCES: str(count)}},
            "spec": {"numberOfInstances": 0},
        }

    def is_standby(self, item: Item) -> bool:
        """Its section says so."""
        return bool((item.get("spec") or {}).get("standby"))

    def demote(self, item: Item, target: Item) -> Patch | None:
        """Stop it: the operator documents that a running cluster is not to be turned into a standby."""
        del target
        return self.fence(item)

    def demotion(self, item: Item) -> Demotion | None:
        """There is no token: what the standby must hold is read by SQL before the stop."""
        del item
        return None

    def promote(self, item: Item, source: Item | None, token: str | None) -> Patch | None:
        """Remove the section `standby`."""
        del source, token
        return {"spec": {"standby": None}} if self.is_standby(item) else None


FLAVOURS: dict[str, Flavour] = {flavour.name: flavour for flavour in (CloudNativePG(), Zalando())}


def full_name(item: Item) -> str:
    """Name a resource."""
    metadata = item.get("metadata") or {}
    return f"{metadata.get('namespace')}/{metadata.get('name')}"


def annotations_of(item: Item) -> Mapping[str, str]:
    """Give a resource's annotations."""
    return (item.get("metadata") or {}).get("annotations") or {}


def fenced_instances(item: Item) -> Sequence[str]:
    """Read the annotation; what cannot be read fences nobody."""
    try:
        found = json.loads(annotations_of(item).get(FENCED_INSTANCES) or "[]")
    except ValueError:
        return []
    return [str(name) for name in found] if isinstance(found, list) else []


def replica_of(item: Item) -> Mapping[str, Any]:
    """Give the stanza of the topology."""
    return (item.get("spec") or {}).get("replica") or {}


def topology_name(item: Item) -> str:
    """Give the name of a Cluster in its topology."""
    return str(replica_of(item).get("self") or (item.get("metadata") or {}).get("name"))


def external_clusters(item: Item) -> list[str]:
    """Name whom a Cluster could follow."""
    return [str(entry.get("name")) for entry in (item.get("spec") or {}).get("externalClusters") or []]


def condition(item: Item, kind: str) -> bool:
    """Say whether a condition holds."""
    found = (item.get("status") or {}).get("conditions") or []
    return any(entry.get("type") == kind and entry.get("status") == "True" for entry in found)


def is_unready(pod: Item, living: Collection[str]) -> bool:
    """Say whether a kubelet that lives tells that a pod is not ready. For a node that is lost, others tell it."""
    return str((pod.get("spec") or {}).get("nodeName")) in living and not condition(pod, "Ready")


def is_astray(pod: Item, living: Collection[str]) -> bool:
    """Say whether a pod is bound to a node that nobody hears of."""
    node = (pod.get("spec") or {}).get("nodeName")
    return bool(node) and str(node) not in living


def is_empty(stateful_set: Item) -> bool:
    """Say whether a StatefulSet was scaled to nothing, and nothing of it is left."""
    status, metadata = stateful_set.get("status") or {}, stateful_set["metadata"]
    seen = int(status.get("observedGeneration") or 0) >= int(metadata.get("generation") or 0)
    return seen and stateful_set["spec"].get("replicas") == 0 and not status.get("replicas")


def read_token(token: str) -> Demotion | None:
    """Read a demotion token: base64 of JSON from pg_controldata. What cannot be read is none."""
    try:
        content = json.loads(base64.b64decode(token, validate=True))
        lsn = parse_lsn(content["latestCheckpointREDOLocation"])
        return Demotion(token, lsn) if lsn else None
    except (binascii.Error, ValueError, KeyError, TypeError):
        return None
