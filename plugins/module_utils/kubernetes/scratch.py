# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A drill's namespace: copies of the platform's workloads with what they refer to, and what must be as it was after."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..drill import digest
from ..errors import PreconditionFailed
from ..waiting import wait_until
from .client import ApiError, Client
from .transport import Deadline
from .workloads import collection

LABEL = "platform.recovery/drill"
RUN = "platform.recovery/run"
NAMESPACES = "/api/v1/namespaces"
REFERRED = {"ConfigMap": "configmaps", "Secret": "secrets"}
COMPARED = {
    "deployment": "/apis/apps/v1/namespaces/{}/deployments",
    "statefulset": "/apis/apps/v1/namespaces/{}/statefulsets",
    "daemonset": "/apis/apps/v1/namespaces/{}/daemonsets",
    "cronjob": "/apis/batch/v1/namespaces/{}/cronjobs",
    "service": "/api/v1/namespaces/{}/services",
    "configmap": "/api/v1/namespaces/{}/configmaps",
    "secret": "/api/v1/namespaces/{}/secrets",
    "serviceaccount": "/api/v1/namespaces/{}/serviceaccounts",
    "claim": "/api/v1/namespaces/{}/persistentvolumeclaims",
    "networkpolicy": "/apis/networking.k8s.io/v1/namespaces/{}/networkpolicies",
}
# What changes by itself, or with every write.
PASSING = frozenset({"status", "metadata", "kind", "apiVersion"})


@dataclass(frozen=True)
class Copied:
    """A workload that is copied, and the variables by which its copy finds the scratch."""

    namespace: str
    kind: str
    name: str
    variables: Mapping[str, str]


class Namespace:
    """The scratch namespace in one cluster."""

    def __init__(self, client: Client, name: str, *, seconds: float) -> None:
        self.client = client
        self.name = name
        self.seconds = seconds

    def find(self) -> str | None:
        """Give the run that left the namespace, if it is there. Raises PreconditionFailed if it is nobody's we know."""
        seen = self._get(f"{NAMESPACES}/{self.name}")
        if seen is None:
            return None
        if LABEL not in (seen["metadata"].get("labels") or {}):
            raise PreconditionFailed(
                f"Namespace {self.name} in cluster {self.client.name} is no drill's: it is not touched",
                wanted=f"a namespace with the label {LABEL}, or none",
                observed="it has no such label",
                next_action="name another one as drill.namespace in the platform description",
                gate="drill namespace",
            )
        return str((seen["metadata"].get("annotations") or {}).get(RUN, "unknown"))

    def remove(self) -> str | None:
        """Remove the namespace with all in it, and wait until it is gone. Gives whose it was."""
        owner = self.find()
        if owner is None:
            return None
        try:
            self._call("DELETE", f"{NAMESPACES}/{self.name}")
        except ApiError as error:
            if error.reason not in ("not_found", "conflict"):  # a conflict: it is being removed already
                raise
        wait_until(
            lambda: self._get(f"{NAMESPACES}/{self.name}") is None,
            seconds=self.seconds,
            interval=0.2,
            describe=f"namespace {self.name} in cluster {self.client.name} to be gone",
            next_action="see what holds it (kubectl get namespace -o yaml), then run the drill again",
        )
        return owner

    def create(self, run_id: str, workloads: Sequence[Copied], database_addresses: Sequence[str]) -> list[str]:
        """Make it, and copy the workloads with all that they refer to. Gives the names of what was made."""
        metadata = {"name": self.name, "labels": {LABEL: "true"}, "annotations": {RUN: run_id}}
        self._call("POST", NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
        self._await_account()
        self._call(
            "POST",
            f"/apis/networking.k8s.io/v1/namespaces/{self.name}/networkpolicies",
            network_policy(database_addresses),
        )
        made: list[str] = []
        templates = []
        for workload in workloads:
            source = self._call("GET", f"{collection(workload.namespace, workload.kind)}/{workload.name}")
            copy = workload_copy(source, workload)
            templates.append((workload.namespace, copy["spec"]["template"]))
            made.append(self._copy(collection(self.name, workload.kind), copy))
        for kind, namespace, name in sorted({entry for where, t in templates for entry in references(where, t)}):
            made += self._refer(kind, namespace, name)
        for namespace in sorted({workload.namespace for workload in workloads}):
            here = [template for where, template in templates if where == namespace]
            for service in self._call("GET", f"{NAMESPACES}/{namespace}/services")["items"]:
                if any(selects(service, template) for template in here):
                    made.append(self._copy(f"{NAMESPACES}/{self.name}/services", service_copy(service)))
        return made

    def _await_account(self) -> None:
        # Pods are refused until a controller has made it.
        path = f"{NAMESPACES}/{self.name}/serviceaccounts/default"
        wait_until(
            lambda: self._get(path) is not None,
            seconds=self.seconds,
            describe=f"the service account of namespace {self.name}",
        )

    def _refer(self, kind: str, namespace: str, name: str) -> list[str]:
        plural = REFERRED[kind]
        source = self._get(f"{NAMESPACES}/{namespace}/{plural}/{name}")
        if source is None:  # an optional reference; one that is needed shows in the pods
            return []
        return [self._copy(f"{NAMESPACES}/{self.name}/{plural}", plain_copy(source, kind))]

    def _copy(self, path: str, body: Mapping[str, Any]) -> str:
        self._call("POST", path, body)
        return f"{body['kind']} {body['metadata']['name']}"

    def _get(self, path: str) -> dict[str, Any] | None:
        try:
            found: dict[str, Any] = self._call("GET", path)
        except ApiError as error:
            if error.reason == "not_found":
                return None
            raise
        return found

    def _call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        verb = {"GET": "read", "POST": "make", "DELETE": "remove"}[method]
        deadline = Deadline.after(self.seconds)
        return self.client.request(method, path, deadline=deadline, doing=f"{verb} the scratch of a drill", body=body)


def network_policy(database_addresses: Sequence[str]) -> dict[str, Any]:
    """Let the copies reach each other, DNS and the scratch's database servers: nothing else may hear of a drill."""
    dns = [{"protocol": protocol, "port": 53} for protocol in ("UDP", "TCP")]
    places = [{"ipBlock": {"cidr": f"{ip}/{128 if ':' in ip else 32}"}} for ip in database_addresses]
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": "recovery-drill"},
        "spec": {
            "podSelector": {},
            "policyTypes": ["Egress"],
            "egress": [{"ports": dns}, {"to": [{"podSelector": {}}]}, *([{"to": places}] if places else [])],
        },
    }


def workload_copy(source: Mapping[str, Any], workload: Copied) -> dict[str, Any]:
    """Copy a workload as one pod, without what ties it to its own place. Raises PreconditionFailed."""
    spec = {k: v for k, v in source["spec"].items() if k not in ("replicas", "paused", "volumeClaimTemplates")}
    template = spec["template"]
    claims = [v["name"] for v in template["spec"].get("volumes") or [] if "persistentVolumeClaim" in v]
    if claims or source["spec"].get("volumeClaimTemplates"):
        raise PreconditionFailed(
            f"{workload.kind} {workload.name} keeps data of its own: its copy would need a copy of that",
            wanted="services whose data is in the database",
            observed=f"it has volumes that are claimed ({', '.join(claims) or 'volumeClaimTemplates'})",
            next_action="leave it out of the platform description's services, or move its data",
            gate="drill workloads",
        )
    pod = {k: v for k, v in template["spec"].items() if k not in ("serviceAccountName", "serviceAccount", "nodeName")}
    pod["automountServiceAccountToken"] = False
    for section in ("initContainers", "containers"):
        if section in pod:
            pod[section] = [pointed(container, workload.variables) for container in pod[section]]
    labels = template.get("metadata", {}).get("labels") or {}
    return {
        "apiVersion": "apps/v1",
        "kind": workload.kind,
        "metadata": {"name": workload.name, "labels": source["metadata"].get("labels") or {}},
        "spec": {**spec, "replicas": 1, "template": {"metadata": {"labels": labels}, "spec": pod}},
    }


def pointed(container: Mapping[str, Any], variables: Mapping[str, str]) -> dict[str, Any]:
    """Turn a container's variables to the scratch, those that it has."""
    entries = container.get("env") or []
    turned = [
        {"name": entry["name"], "value": variables[entry["name"]]} if entry["name"] in variables else entry
        for entry in entries
    ]
    return {**container, "env": turned} if entries else dict(container)


def plain_copy(source: Mapping[str, Any], kind: str) -> dict[str, Any]:
    """Copy what has data and no spec."""
    content = {key: source[key] for key in ("data", "binaryData", "type", "immutable") if key in source}
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": source["metadata"]["name"]}, **content}


def service_copy(source: Mapping[str, Any]) -> dict[str, Any]:
    """Copy a service as one that is reached from within the cluster only."""
    spec = source["spec"]
    ports = [{k: v for k, v in port.items() if k != "nodePort"} for port in spec.get("ports") or []]
    headless = {"clusterIP": "None"} if spec.get("clusterIP") == "None" else {}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": source["metadata"]["name"], "labels": source["metadata"].get("labels") or {}},
        "spec": {"type": "ClusterIP", "selector": spec["selector"], "ports": ports, **headless},
    }


def selects(service: Mapping[str, Any], template: Mapping[str, Any]) -> bool:
    """Say whether a service leads to the pods of a template."""
    selector = service["spec"].get("selector") or {}
    labels = (template.get("metadata") or {}).get("labels") or {}
    return bool(selector) and all(labels.get(key) == value for key, value in selector.items())


def references(namespace: str, template: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Find the ConfigMaps and Secrets that pods of a template need."""
    pod = template["spec"]
    for entry in pod.get("imagePullSecrets") or []:
        yield "Secret", namespace, entry["name"]
    for section in ("initContainers", "containers"):
        for container in pod.get(section) or []:
            for entry in (
                *(container.get("envFrom") or []),
                *(v.get("valueFrom") or {} for v in container.get("env") or []),
            ):
                yield from named(namespace, entry)
    for volume in pod.get("volumes") or []:
        sources = [volume, *((volume.get("projected") or {}).get("sources") or [])]
        for source in sources:
            yield from named(namespace, source)


def named(namespace: str, entry: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Read one reference, however it is written."""
    for kind, keys in (
        ("ConfigMap", ("configMapRef", "configMapKeyRef", "configMap")),
        ("Secret", ("secretRef", "secretKeyRef", "secret")),
    ):
        for key in keys:
            name = (entry.get(key) or {}).get("name") or (entry.get(key) or {}).get("secretName")
            if name:
                yield kind, namespace, name


def inventory(client: Client, namespaces: Sequence[str], scratch: str, *, seconds: float) -> dict[str, str]:
    """Give a digest of every object that a drill could have touched. Raises PreconditionFailed."""
    place = f"cluster {client.name}"
    try:
        found = {
            f"{place}: namespace {name}": ""
            for name in listed(client, NAMESPACES, seconds, lambda item: str(item["metadata"]["name"]))
            if name != scratch
        }
        for namespace in namespaces:
            for kind, path in COMPARED.items():
                for name, seen in listed(client, path.format(namespace), seconds, object_digest):
                    found[f"{place}: {kind} {namespace}/{name}"] = seen
    except ApiError as error:
        raise PreconditionFailed(
            f"Cluster {client.name} cannot be asked: whether the drill leaves it as it was could not be shown",
            wanted="every cluster answers before and after a drill",
            observed=error.text,
            next_action=error.next_action,
            gate="production unchanged",
        ) from error
    return found


def listed(client: Client, path: str, seconds: float, parse: Any) -> list[Any]:
    """List what is at a path."""
    items, _ = client.list(path, parse, deadline=Deadline.after(seconds), doing="list what a drill must not touch")
    return items


def object_digest(item: Mapping[str, Any]) -> tuple[str, str]:
    """Tell an object's content from every other, whatever version it has and however its pods stand."""
    metadata = item["metadata"]
    content = {key: value for key, value in item.items() if key not in PASSING}
    named = {key: metadata.get(key) for key in ("labels", "annotations", "uid")}
    return metadata["name"], digest([content, named])
