# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The application's objects in each cluster: what a team would keep in its deployment repository."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from . import addresses, topology
from .addresses import NAMESPACE
from .postgresql import DATABASE, OWNER
from .state import State
from .topology import Topology

REPLICAS = 2
PORT = 8080
# The names by which the stores know the application and what it keeps there.
SESSIONS, EVENTS_USER, FILES_USER = "sessions", "events", "app"


@dataclass(frozen=True)
class Stores:
    """How a region's pods reach the stores beside the database; a store that the lab does not have is not named."""

    state: State
    layout: Topology
    region: str

    @cached_property
    def variables(self) -> dict[str, str]:
        """Give what everybody may read."""
        found: dict[str, str] = {}
        ca = str(self.state.ca)
        # Those of the own region first: the others are as good, but farther away.
        sentinels = sorted(self.layout.of_kind("sentinel"), key=lambda one: one.region != self.region)
        if sentinels:
            places = [f"{addresses.host_name(one.region, one.kind)}:{one.port}" for one in sentinels]
            found |= {"SESSIONS_SENTINELS": ",".join(places), "SESSIONS_MASTER": SESSIONS, "SESSIONS_CA": ca}
        for broker in self._own("kafka"):
            place = f"{addresses.host_name(broker.region, broker.kind)}:{broker.port}"
            found |= {"EVENTS_BROKERS": place, "EVENTS_USER": EVENTS_USER, "EVENTS_CA": ca}
        for server in self._own("object_storage"):
            endpoint = f"https://{addresses.host_name(server.region, server.kind)}:{server.port}"
            found |= {"FILES_ENDPOINT": endpoint, "FILES_BUCKET": f"files-{self.region}", "FILES_CA": ca}
        return found

    @cached_property
    def secret(self) -> dict[str, str]:
        """Give what belongs into a Secret, by the variable that takes it."""
        found: dict[str, str] = {}
        if self.layout.of_kind("sentinel"):
            found["SESSIONS_PASSWORD"] = self.state.secret("redis")
        if self._own("kafka"):
            found["EVENTS_PASSWORD"] = self.state.secret(f"kafka-{EVENTS_USER}")
        if self._own("object_storage"):
            found["FILES_ACCESS_KEY"] = FILES_USER
            found["FILES_SECRET_KEY"] = self.state.secret(f"object-storage-{FILES_USER}")
        return found

    def _own(self, kind: str) -> list[topology.Server]:
        return [server for server in self.layout.of_kind(kind) if server.region == self.region]


def objects(state: State, layout: Topology, region: str) -> list[dict[str, Any]]:
    """List all objects of the application in a region's cluster, in the order in which they can be made."""
    stores = Stores(state, layout, region)
    secrets = {"platform-db": {"username": OWNER, "password": state.secret(OWNER)}}
    if stores.secret:
        secrets["platform-stores"] = stores.secret
    return [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}},
        # The controller makes it a moment later; pods would be refused until then.
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": _metadata("default")},
        *(_secret(name, values) for name, values in secrets.items()),
        *(_service(name) for name in layout.services),
        *(_deployment(state, name, service, stores) for name, service in layout.services.items()),
    ]


def _metadata(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "namespace": NAMESPACE, **more}


def _secret(name: str, values: Mapping[str, str]) -> dict[str, Any]:
    data = {key: b64encode(value.encode()).decode() for key, value in values.items()}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": _metadata(name), "data": data}


def _service(name: str) -> dict[str, Any]:
    # Headless: there is no kube-proxy here; DNS gives the ready pods.
    spec = {"clusterIP": "None", "selector": {"app": name}, "ports": [{"name": "http", "port": PORT}]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": _metadata(name), "spec": spec}


def _deployment(state: State, name: str, service: topology.Service, stores: Stores) -> dict[str, Any]:
    labels = {"app": name}
    spec = {
        "replicas": REPLICAS,
        "selector": {"matchLabels": labels},
        # All new pods at once, all old ones until then: a rollout costs no capacity and takes one start-up.
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "100%", "maxUnavailable": 0}},
        "template": {"metadata": {"labels": labels}, "spec": _pod(state, name, service, stores)},
    }
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": _metadata(name, labels=labels), "spec": spec}


def _pod(state: State, name: str, service: topology.Service, stores: Stores) -> dict[str, Any]:
    variables = {
        "SERVICE_NAME": name,
        "DB_HOST": addresses.host_name(topology.PRIMARY, "postgresql"),
        "DB_PORT": str(addresses.PLACES["postgresql"][1]),
        "DB_NAME": DATABASE,
        "DB_SSLMODE": "verify-full",
        "DB_SSLROOTCERT": str(state.ca),
        "DEPENDS_ON": ",".join(service.depends_on),
        **stores.variables,
    }
    environment: list[dict[str, Any]] = [{"name": key, "value": value} for key, value in variables.items()]
    references = [("DB_USER", "platform-db", "username"), ("DB_PASSWORD", "platform-db", "password")]
    references += [(variable, "platform-stores", variable) for variable in stores.secret]
    for variable, secret, key in references:
        environment.append({"name": variable, "valueFrom": {"secretKeyRef": {"name": secret, "key": key}}})
    container = {
        "name": "app",
        "image": "lab-app",
        "ports": [{"containerPort": PORT}],
        "env": environment,
        "readinessProbe": {**_probe("/readyz"), "failureThreshold": 2},
        "livenessProbe": {**_probe("/healthz"), "failureThreshold": 5, "initialDelaySeconds": 2},
    }
    return {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": 3,
        "containers": [container],
    }


def _probe(path: str) -> dict[str, Any]:
    return {"httpGet": {"path": path, "port": PORT}, "periodSeconds": 1, "timeoutSeconds": 1}


def kwok_node() -> dict[str, Any]:
    """Give the node of the scale profile, with room for everything."""
    room = {"cpu": "10000", "memory": "10000Gi", "pods": "100000"}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": "kwok-0", "annotations": {"kwok.x-k8s.io/node": "fake"}, "labels": {"type": "kwok"}},
        "status": {"allocatable": room, "capacity": room, "nodeInfo": {"kubeletVersion": "fake"}},
    }
