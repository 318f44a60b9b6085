# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a control plane holds, object by object, whatever its kind: seen, compared with the first state, put back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

from . import addresses, pods
from .errors import LabError
from .kubernetes import Api, Cluster, Refused
from .wait import NotYet, until

Content = dict[str, Any]

DISCOVERY = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
# A view of the moment, and news that fade by themselves.
PASSING = ("componentstatuses", "events")
# What the servers themselves mark a silent node with, and take away again.
NODE_MARKS = "node.kubernetes.io/"
# Beyond this a new copy of the store is sooner there than an object after the other.
MANY = 200


@dataclass(frozen=True)
class Item:
    """One object: where it is, and what of it counts."""

    path: str
    content: Content
    uid: str = ""
    version: str = ""
    owner: str = ""  # whose controller made it and keeps it
    ending: bool = False  # it was deleted, and something is still to be done before it is gone

    @property
    def kind(self) -> str:
        """Name its kind."""
        return str(self.content["kind"])

    @property
    def namespace(self) -> str:
        """Name the namespace that it is in, or is."""
        metadata = self.content["metadata"]
        return str(metadata["name"] if self.kind == "Namespace" else metadata.get("namespace", ""))

    @property
    def finalizers(self) -> list[str]:
        """List what its deletion waits for."""
        return list(self.content["metadata"].get("finalizers", []))


@dataclass(frozen=True)
class Plan:
    """What has to be done for a control plane to hold what is wanted; in this order."""

    remove: list[Item] = field(default_factory=list)
    change: list[tuple[Item, Content]] = field(default_factory=list)
    make: list[tuple[str, Content]] = field(default_factory=list)

    @property
    def size(self) -> int:
        """Count the steps."""
        return len(self.remove) + len(self.change) + len(self.make)

    @property
    def summary(self) -> str:
        """Name what differs, shortly."""
        there = (*self.remove, *(one for one, _ in self.change))
        paths = [*(one.path for one in there), *(path for path, _ in self.make)]
        more = f" and {len(paths) - 3} more" if len(paths) > 3 else ""
        return ", ".join(paths[:3]) + more


def observe(api: Api) -> list[Item]:
    """Read all objects of all kinds that the control plane knows, those of custom resources too."""
    return [_item(root, plural, one) for root, plural, kind in _kinds(api) for one in _listed(api, root, plural, kind)]


def _kinds(api: Api) -> list[tuple[str, str, str]]:
    """List every kind by its preferred version: where it is, its plural, its name."""
    found: dict[tuple[str, str], tuple[str, str, str]] = {}
    for place in ("/api", "/apis"):
        for group in api.call("GET", place, accept=DISCOVERY)["items"]:
            name = group["metadata"].get("name", "")
            for version in group["versions"]:
                root = f"{place}/{name}/{version['version']}" if name else f"{place}/{version['version']}"
                for one in version["resources"]:
                    if "list" in one["verbs"] and one["resource"] not in PASSING:
                        found.setdefault((name, one["resource"]), (root, one["resource"], one["responseKind"]["kind"]))
    return list(found.values())


def _listed(api: Api, root: str, plural: str, kind: str) -> list[Content]:
    group_version = root.removeprefix("/apis/").removeprefix("/api/")
    try:
        items = api.call("GET", f"{root}/{plural}")["items"]
    except Refused as error:
        if error.status != 404:  # a kind goes with its definition
            raise
        items = []
    return [{**one, "apiVersion": group_version, "kind": kind} for one in items]


def _item(root: str, plural: str, one: Content) -> Item:
    metadata = one["metadata"]
    namespace = metadata.get("namespace")
    owners = [owner["uid"] for owner in metadata.get("ownerReferences", []) if owner.get("controller")]
    return Item(
        path=f"{root}/{f'namespaces/{namespace}/' if namespace else ''}{plural}/{metadata['name']}",
        content=essence(one),
        uid=metadata["uid"],
        version=metadata["resourceVersion"],
        owner=next(iter(owners), ""),
        ending="deletionTimestamp" in metadata,
    )


def essence(one: Mapping[str, Any]) -> Content:
    """Keep of an object what somebody wants of it, without what servers note about it."""
    kept = ("name", "namespace", "labels", "annotations", "finalizers")
    metadata = {key: one["metadata"][key] for key in kept if one["metadata"].get(key)}
    content = {key: value for key, value in one.items() if key not in ("metadata", "status")} | {"metadata": metadata}
    if one["kind"] == "Lease":
        del content["spec"]  # those of the first state are heartbeats
    if one["kind"] == "Node":
        taints = [taint for taint in one["spec"].get("taints", []) if not taint["key"].startswith(NODE_MARKS)]
        content["spec"] = {key: value for key, value in one["spec"].items() if key != "taints"}
        content["spec"] |= {"taints": taints} if taints else {}
    return content


def remember(cluster: Cluster) -> dict[str, Content]:
    """Give what to put back later: all that no other object keeps. It is read twice, for controllers take a moment."""

    def still() -> dict[str, Content]:
        first, second = ({one.path: one.content for one in observe(api) if not one.owner} for _ in range(2))
        if first != second:
            raise NotYet("its objects still change")
        return first

    with closing(Api(cluster)) as api:
        return until(still, seconds=20, what=f"{cluster.target} to come to rest")


def compare(wanted: Mapping[str, Content], seen: Iterable[Item]) -> Plan:
    """Say what to do. A workload that differs is made anew, with all that it owns: its history would differ as well."""
    items = {one.path: one for one in seen}
    owners = {one.uid: one for one in items.values()}
    ending = {one.namespace for one in items.values() if one.kind == "Namespace" and one.ending}

    def goes(one: Item) -> bool:
        if one.ending or one.namespace in ending:
            return True
        if one.path in wanted:
            return one.content != wanted[one.path] and one.content["apiVersion"].startswith("apps/")
        return one.owner not in owners or goes(owners[one.owner])

    def depth(one: Item) -> int:
        return 1 + depth(owners[one.owner]) if one.owner in owners else 0

    def rank(one: Item) -> tuple[bool, int]:
        # A namespace first, then nothing is made in it any more; an owner first, or it makes again what it owns.
        return one.kind != "Namespace", depth(one)

    removed = sorted((one for one in items.values() if goes(one)), key=rank)
    gone = {one.path for one in removed}
    return Plan(
        remove=removed,
        change=[
            (one, wanted[one.path])
            for one in items.values()
            if one.path in wanted and one.path not in gone and one.content != wanted[one.path]
        ],
        make=sorted(
            ((path, content) for path, content in wanted.items() if path not in items or path in gone),
            key=lambda pair: pair[1]["kind"] != "Namespace",
        ),
    )


def put_back(cluster: Cluster, wanted: Mapping[str, Content], seconds: float = 30) -> None:
    """Make the control plane hold what is wanted and nothing else, and see that it does."""

    def settled() -> None:
        seen = observe(api)
        plan = compare(wanted, seen)
        if plan.size > MANY:
            raise LabError(f"{plan.size} objects of {cluster.target} are not as at first")
        if plan.size:
            _carry_out(api, plan, seen)
            raise NotYet(plan.summary)

    with closing(Api(cluster)) as api:
        _replace_worn_pods(api, cluster)
        until(settled, seconds=seconds, what=f"{cluster.target} to hold what it did at first", interval=0.01)


def _replace_worn_pods(api: Api, cluster: Cluster) -> None:
    """End the pods that have crashed or stand still: their node would let the next crash wait longer than the first."""
    for pod in pods.find(cluster):
        if pod.crashed or pod.state != "running":
            _delete(api, f"/api/v1/namespaces/{addresses.NAMESPACE}/pods/{pod.name}")


def _carry_out(api: Api, plan: Plan, seen: Iterable[Item]) -> None:
    filled = {one.namespace for one in seen if one.kind != "Namespace"}
    for one in plan.remove:
        _remove(api, one, empty=one.namespace not in filled)
    for one, content in plan.change:
        body = {**content, "metadata": {**content["metadata"], "resourceVersion": one.version}}
        if not _done(api, "PUT", one.path, body):
            _delete(api, one.path)  # some of it cannot be changed: it is made anew
    for path, content in plan.make:
        _done(api, "POST", path.rpartition("/")[0], content)


def _remove(api: Api, one: Item, *, empty: bool) -> None:
    if not one.ending:
        _delete(api, one.path)
    elif one.kind == "Namespace" and empty:
        # The controller would wait some seconds before it looks.
        body = {**one.content, "spec": {"finalizers": []}}
        _done(api, "PUT", f"{one.path}/finalize", body)
    elif one.finalizers:
        metadata = {key: value for key, value in one.content["metadata"].items() if key != "finalizers"}
        _done(api, "PUT", one.path, {**one.content, "metadata": {**metadata, "resourceVersion": one.version}})


def _delete(api: Api, path: str) -> None:
    _done(api, "DELETE", f"{path}?gracePeriodSeconds=0&propagationPolicy=Background")


def _done(api: Api, method: str, path: str, body: Content | None = None) -> bool:
    """Make a call. Others act here too: what is gone, or has changed, is looked at again. False if it was invalid."""
    mark = "&" if "?" in path else "?"
    try:
        api.call(method, f"{path}{mark}fieldManager=recovery-lab" if body else path, body)
    except Refused as error:
        if error.status == 422:
            return False
        if error.status not in (404, 409):
            raise
    return True
