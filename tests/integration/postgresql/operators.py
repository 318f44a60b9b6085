# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Test doubles of two operators, at the edge: they act on real servers as the operators' documents say.

The resources are real, in a real API server that holds them against the operators' own definitions. What a double
decides is written anew here, from the documents, so that it cannot agree with our code by sharing it.
"""

from __future__ import annotations

import base64
import contextlib
import json
import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ansible_collections.platform.recovery.plugins.module_utils.kubernetes.client import MERGE_PATCH, ApiError
from ansible_collections.platform.recovery.plugins.module_utils.postgresql.client import ServerError
from tests.integration.kubernetes.plane import Plane, wait_for
from tests.integration.postgresql.servers import Server

DEFINITIONS = Path(__file__).parents[2] / "support/operators"
CLUSTERS = "/apis/postgresql.cnpg.io/v1/namespaces/{}/clusters"
POSTGRESQLS = "/apis/acid.zalan.do/v1/namespaces/{}/postgresqls"
POLL_SECONDS = 0.02


def define(plane: Plane, file: str) -> None:
    """Have the API server serve an operator's resources."""
    definition = json.loads((DEFINITIONS / file).read_text())
    name = definition["metadata"]["name"]
    path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    plane.call("POST", path, definition)

    def established() -> bool:
        found = plane.call("GET", f"{path}/{name}")["status"]["conditions"] or []
        return any(entry["type"] == "Established" and entry["status"] == "True" for entry in found)

    wait_for(established, f"{name} to be served")


@dataclass
class Operator:
    """One operator with one resource, and the real server that stands for its pods."""

    plane: Plane
    namespace: str
    server: Server
    peers: Mapping[str, Server]
    told: list[str] = field(default_factory=list)
    asleep: threading.Event = field(default_factory=threading.Event)
    over: threading.Event = field(default_factory=threading.Event)
    thread: threading.Thread | None = None

    collection = ""

    @property
    def path(self) -> str:
        return f"{self.collection.format(self.namespace)}/database"

    def item(self) -> dict[str, Any]:
        found: dict[str, Any] = self.plane.call("GET", self.path)
        return found

    def start(self, body: dict[str, Any]) -> Operator:
        with contextlib.suppress(ApiError):
            self.plane.call("POST", "/api/v1/namespaces", {"metadata": {"name": self.namespace}})
        body["metadata"] = {"name": "database", "namespace": self.namespace, **body.get("metadata", {})}
        self.plane.call("POST", self.collection.format(self.namespace), body)
        self.make_pods()
        self.thread = threading.Thread(target=self.work, daemon=True)
        self.thread.start()
        return self

    def stop(self) -> None:
        self.over.set()
        if self.thread:
            self.thread.join()
        self.plane.call("DELETE", self.path)
        self.remove_pods()

    def make_pods(self) -> None:
        """Make what the operator would. Nobody runs the pods: the real server stands for them."""

    def remove_pods(self) -> None:
        """Remove it."""

    def work(self) -> None:
        """Compare what is declared with what is, again and again."""
        while not self.over.wait(POLL_SECONDS):
            if not self.asleep.is_set():
                with contextlib.suppress(ApiError, ServerError):
                    self.reconcile(self.item())

    def reconcile(self, item: dict[str, Any]) -> None:
        raise NotImplementedError

    def report(self, status: dict[str, Any]) -> None:
        self.plane.call("PATCH", f"{self.path}/status", {"status": status}, MERGE_PATCH)

    @property
    def running(self) -> bool:
        return self.server.process is not None and self.server.process.poll() is None

    def promote(self) -> None:
        self.told.append("promote")
        self.server.sql("SELECT pg_promote(true, 30)")


class CloudNativePG(Operator):
    """Its documents: Fencing; Replica clusters, Demoting a Primary, Promoting a Replica."""

    collection = CLUSTERS

    def reconcile(self, item: dict[str, Any]) -> None:
        """Fencing first: a fenced instance is shut down and not started."""
        replica = item["spec"]["replica"]
        own = replica.get("self", item["metadata"]["name"])
        if json.loads(item["metadata"].get("annotations", {}).get("cnpg.io/fencedInstances", "[]")) == ["*"]:
            if self.running:
                self.told.append("fence")
                self.server.stop()
            return
        if not self.running:
            return
        in_recovery = self.server.sql("SELECT pg_is_in_recovery()")
        if replica["primary"] != own and not in_recovery:
            self.demote(str(replica["source"]))
        elif replica["primary"] == own and in_recovery:
            self.promote_with(replica.get("promotionToken"))
        elif replica["primary"] == own and item.get("status", {}).get("demotionToken"):
            self.report({"demotionToken": None})

    def demote(self, source: str) -> None:
        self.told.append("demote")
        self.report({"switchReplicaClusterStatus": {"inProgress": True}})
        self.server.stop()
        shown = self.server.tool("pg_controldata", "-D", str(self.server.data))
        names = {
            "latestCheckpointTimelineID": "Latest checkpoint's TimeLineID",
            "redoWalFile": "Latest checkpoint's REDO WAL file",
            "databaseSystemIdentifier": "Database system identifier",
            "latestCheckpointREDOLocation": "Latest checkpoint's REDO location",
        }
        content = {key: re.search(rf"^{name}: +(.+)$", shown, re.MULTILINE) for key, name in names.items()}
        token = json.dumps({key: found.group(1) for key, found in content.items() if found})
        self.report({"demotionToken": base64.b64encode(token.encode()).decode()})
        self.server.turn_standby(self.peers[source])
        self.server.start()
        self.report({"switchReplicaClusterStatus": {"inProgress": False}})

    def promote_with(self, token: str | None) -> None:
        """With a token, wait until everything that it stands for has been replayed."""
        if token:
            lsn = json.loads(base64.b64decode(token))["latestCheckpointREDOLocation"]
            if not self.server.sql(f"SELECT pg_last_wal_replay_lsn() >= '{lsn}'::pg_lsn"):
                return
            self.told.append("token")
        self.promote()


class Zalando(Operator):
    """Its documents: Promote the standby; numberOfInstances."""

    collection = POSTGRESQLS

    @property
    def stateful_set(self) -> str:
        return f"/apis/apps/v1/namespaces/{self.namespace}/statefulsets"

    def make_pods(self) -> None:
        labels = {"cluster-name": "database"}
        containers = [{"name": "postgres", "image": "none"}]
        spec = {
            "replicas": 1,
            "serviceName": "database",
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": containers}},
        }
        body = {"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "database"}, "spec": spec}
        self.plane.call("POST", self.stateful_set, body)
        self.count(1)

    def remove_pods(self) -> None:
        # No garbage is collected here: pods of a StatefulSet that is deleted would stay.
        self.scale(0)
        self.count(0)
        self.plane.call("DELETE", f"{self.stateful_set}/database")

    def scale(self, replicas: int) -> None:
        self.plane.call("PATCH", f"{self.stateful_set}/database", {"spec": {"replicas": replicas}}, MERGE_PATCH)

    def count(self, wanted: int) -> None:
        path = f"{self.stateful_set}/database"
        wait_for(lambda: self.plane.call("GET", path)["status"].get("replicas", 0) == wanted, f"{wanted} pods")

    def reconcile(self, item: dict[str, Any]) -> None:
        """No instances, no pods; no section, no standby."""
        if item["spec"]["numberOfInstances"] == 0:
            if not self.told:
                self.told.append("scale to zero")
                self.server.stop()
                self.scale(0)
            return
        if self.running and "standby" not in item["spec"] and self.server.sql("SELECT pg_is_in_recovery()"):
            self.promote()


def cluster(name: str, primary: str, source: str) -> dict[str, Any]:
    """Write a Cluster of a distributed topology."""
    return {
        "apiVersion": "postgresql.cnpg.io/v1",
        "kind": "Cluster",
        "spec": {
            "instances": 1,
            "storage": {"size": "1Gi"},
            "externalClusters": [{"name": "west"}, {"name": "east"}],
            "replica": {"self": name, "primary": primary, "source": source},
        },
    }


def pod(name: str, *, node: str) -> dict[str, Any]:
    """Write a pod of a Cluster that a node holds."""
    return {
        "metadata": {"name": name, "labels": {"cnpg.io/cluster": "database"}},
        "spec": {"nodeName": node, "containers": [{"name": "postgres", "image": "none"}]},
    }


def postgresql(standby_host: str | None) -> dict[str, Any]:
    """Write a resource of Zalando's operator."""
    return {
        "apiVersion": "acid.zalan.do/v1",
        "kind": "postgresql",
        "spec": {
            "teamId": "acid",
            "numberOfInstances": 1,
            "postgresql": {"version": "17"},
            "volume": {"size": "1Gi"},
            **({"standby": {"standby_host": standby_host}} if standby_host else {}),
        },
    }
