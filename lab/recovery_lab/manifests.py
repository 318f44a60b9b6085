# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The application's objects in each cluster: what a team would keep in its deployment repository."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

from . import addresses, topology
from .addresses import NAMESPACE
from .postgresql import DATABASE, OWNER
from .state import State

REPLICAS = 2
PORT = 8080


def objects(state: State, services: dict[str, topology.Service]) -> list[dict[str, Any]]:
    """List all objects of the application, in the order in which they can be made."""
    credentials = {"username": OWNER, "password": state.secret(OWNER)}
    return [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}},
        # The controller makes it a moment later; pods would be refused until then.
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": _metadata("default")},
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": _metadata("platform-db"),
            "data": {key: b64encode(value.encode()).decode() for key, value in credentials.items()},
        },
        *(_service(name) for name in services),
        *(_deployment(state, name, service) for name, service in services.items()),
    ]


def _metadata(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "namespace": NAMESPACE, **more}


def _service(name: str) -> dict[str, Any]:
    # Headless: there is no kube-proxy here; DNS gives the ready pods.
    spec = {"clusterIP": "None", "selector": {"app": name}, "ports": [{"name": "http", "port": PORT}]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": _metadata(name), "spec": spec}


def _deployment(state: State, name: str, service: topology.Service) -> dict[str, Any]:
    labels = {"app": name}
    spec = {
        "replicas": REPLICAS,
        "selector": {"matchLabels": labels},
        # All new pods at once, all old ones until then: a rollout costs no capacity and takes one start-up.
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "100%", "maxUnavailable": 0}},
        "template": {"metadata": {"labels": labels}, "spec": _pod(state, name, service)},
    }
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": _metadata(name, labels=labels), "spec": spec}


def _pod(state: State, name: str, service: topology.Service) -> dict[str, Any]:
    variables = {
        "SERVICE_NAME": name,
        "DB_HOST": addresses.host_name(topology.PRIMARY, "postgresql"),
        "DB_PORT": str(addresses.PLACES["postgresql"][1]),
        "DB_NAME": DATABASE,
        "DB_SSLMODE": "verify-full",
        "DB_SSLROOTCERT": str(state.ca),
        "DEPENDS_ON": ",".join(service.depends_on),
    }
    environment: list[dict[str, Any]] = [{"name": key, "value": value} for key, value in variables.items()]
    for variable, key in (("DB_USER", "username"), ("DB_PASSWORD", "password")):
        reference = {"secretKeyRef": {"name": "platform-db", "key": key}}
        environment.append({"name": variable, "valueFrom": reference})
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
