# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Databases that a Kubernetes operator runs: fenced and promoted through their resources, never behind its back.

The operator does the work when it sees the resource; whether it did is asked by SQL, and of the pods.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from ..errors import BadInput, StepTimeout
from ..kubernetes.client import MERGE_PATCH, ApiError, Client
from ..kubernetes.kubeconfig import load
from ..kubernetes.transport import Deadline
from ..service_manager import UnitStatus
from ..waiting import wait_until
from .client import REFUSES, port_refuses
from .model import Member
from .operators import FLAVOURS, Demotion, Flavour, Item, Patch, condition, is_astray, is_empty, is_unready
from .places import ResourcePlace
from .provided import HandedOver, Provider

POLL_SECONDS = 0.1
REQUEST_SECONDS = 5.0
PORT_SECONDS = 0.3
# The operator writes into its resource while we plan: each change of its costs one more look.
CONFLICT_ATTEMPTS = 8


@dataclass(frozen=True)
class Seen:
    """A resource as it was read, or why it could not be."""

    item: Item | None
    trouble: str | None = None


@dataclass
class Resource:
    """The resource of one member, patched under its resourceVersion."""

    member: str
    place: ResourcePlace
    guard: Callable[[], None] = field(default=lambda: None, repr=False)
    _client: Client | None = field(default=None, repr=False)

    @property
    def flavour(self) -> Flavour:
        """Give what its operator documents."""
        return FLAVOURS[self.place.flavour]

    @property
    def words(self) -> str:
        """Name it as kubectl would be told to."""
        return f"{self.flavour.plural}.{self.flavour.group} {self.place.namespace}/{self.place.name}"

    @property
    def client(self) -> Client:
        """Give the way to its cluster."""
        if self._client is None:
            endpoint = load(self.place.kubeconfig, self.place.context)
            self._client = Client(self.place.cluster, endpoint, request_seconds=REQUEST_SECONDS)
        return self._client

    def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            self._client.close()

    def read(self, seconds: float) -> Item:
        """Read it. Raises ApiError; BadInput where the description names what is not there."""
        try:
            found: Item = self.client.request(
                "GET", self._path, deadline=Deadline.after(seconds), doing=f"read {self.words}"
            )
        except ApiError as error:
            if error.reason == "not_found":
                raise self._absent() from None
            raise
        return found

    def look(self, seconds: float) -> Seen:
        """Read it; an API that cannot be asked is an answer too."""
        try:
            return Seen(self.read(seconds))
        except ApiError as error:
            return Seen(None, f"{error.what}: {error.text}")

    def patch(self, plan: Callable[[Item], Patch | None], seconds: float, doing: str) -> bool:
        """Plan on what is there and write it; plan again where somebody wrote in between. Gives whether it changed."""
        deadline = Deadline.after(seconds)
        uncertain = False
        for attempt in range(1, CONFLICT_ATTEMPTS + 1):
            item = self.read(deadline.remaining())
            body = plan(item)
            if body is None:
                return uncertain
            self.guard()
            metadata = {**body.get("metadata", {}), "resourceVersion": item["metadata"]["resourceVersion"]}
            try:
                self.client.request(
                    "PATCH",
                    self._path,
                    deadline=deadline,
                    doing=f"{doing} {self.words}",
                    body={**body, "metadata": metadata},
                    content_type=MERGE_PATCH,
                )
                return True
            except ApiError as error:
                if error.reason != "conflict" or attempt == CONFLICT_ATTEMPTS:
                    raise
                uncertain = uncertain or error.retried
        raise AssertionError("unreachable code: the last attempt returns or raises")

    def stopped(self, refused: bool, seconds: float) -> str | None:
        """Say how it shows that no PostgreSQL of it runs, given whether its port refuses; None where it does not."""
        deadline = Deadline.after(seconds)
        try:
            if self.flavour.pod_label is None:
                return "its StatefulSet has no pod left" if is_empty(self._stateful_set(deadline)) else None
            pods, living = self._pods(deadline)
        except ApiError:
            return None
        if pods and all(is_unready(pod, living) for pod in pods):
            return "its nodes live and say that none of its pods is ready"
        # A Service refuses for a pod whose node is cut off as well, and there its PostgreSQL may live.
        return REFUSES if refused and not any(is_astray(pod, living) for pod in pods) else None

    def _stateful_set(self, deadline: Deadline) -> Item:
        path = f"/apis/apps/v1/namespaces/{self.place.namespace}/statefulsets/{self.place.name}"
        found: Item = self.client.request("GET", path, deadline=deadline, doing="read its StatefulSet")
        return found

    def _pods(self, deadline: Deadline) -> tuple[Sequence[Item], set[str]]:
        """List its pods, and the names of the nodes that live."""
        query = {"labelSelector": f"{self.flavour.pod_label}={self.place.name}"}
        path = f"/api/v1/namespaces/{self.place.namespace}/pods"
        pods, _ = self.client.list(path, lambda item: item, deadline=deadline, doing="list its pods", query=query)
        nodes, _ = self.client.list(
            "/api/v1/nodes",
            lambda item: (str(item["metadata"]["name"]), condition(item, "Ready")),
            deadline=deadline,
            doing="list the nodes",
        )
        return pods, {name for name, ready in nodes if ready}

    @property
    def _path(self) -> str:
        at = f"/apis/{self.flavour.group}/{self.flavour.version}/namespaces/{self.place.namespace}"
        return f"{at}/{self.flavour.plural}/{self.place.name}"

    def _absent(self) -> BadInput:
        return BadInput(
            f"There is no {self.words} in cluster {self.place.cluster}",
            wanted=f"the resource that runs the member {self.member}",
            observed="not found",
            next_action=f"correct members.{self.member}.resource in the platform description; nothing was touched",
        )


def status(resource: Resource, member: Member, *, seconds: float) -> UnitStatus:
    """Say what the operator's side shows of a member, in the terms of any channel that can stop a server for good."""
    seen = resource.look(seconds)
    if seen.item is None:
        return UnitStatus(observed=seen.trouble or "no answer", answered=False)
    fenced = resource.flavour.fence(seen.item) is None
    proof = prove(resource, member) if fenced else None
    observed = f"{resource.words} is {'fenced' if fenced else 'not fenced'}" + (f", {proof}" if proof else "")
    return UnitStatus(observed, True, "inactive" if proof else "active", "masked" if fenced else "enabled")


def prove(resource: Resource, member: Member) -> str | None:
    """Say how a fenced member shows that its PostgreSQL is stopped."""
    silent, port = port_refuses(member, PORT_SECONDS)
    return resource.stopped(port == REFUSES, REQUEST_SECONDS) if silent else None


def stop_for_good(resource: Resource, member: Member, *, seconds: float) -> UnitStatus:
    """Have the operator stop a member for good, and wait for the proof until the deadline. Raises ApiError."""
    resource.patch(resource.flavour.fence, seconds, "fence")
    with contextlib.suppress(StepTimeout):
        wait_until(
            lambda: prove(resource, member), seconds=seconds, interval=POLL_SECONDS, describe=f"{member.name} to stop"
        )
    return status(resource, member, seconds=REQUEST_SECONDS)


def demote(source: Resource, target: Resource, *, seconds: float) -> tuple[Demotion, bool]:
    """Have the operator make a living primary a standby without loss; give its token. Raises PreconditionFailed."""
    successor = target.read(seconds)
    changed = source.patch(lambda item: source.flavour.demote(item, successor), seconds, "demote")
    flavour = source.flavour
    try:
        waited = wait_until(
            lambda: flavour.demotion(source.read(REQUEST_SECONDS)),
            seconds=seconds,
            interval=POLL_SECONDS,
            describe=f"the demotion token of {source.words}",
        )
    except StepTimeout as error:
        raise StepTimeout(
            f"{source.words} was told to step down and gives no demotion token after {seconds:g} s",
            wanted="status.demotionToken, and no transition in progress",
            observed=error.observed or "no token",
            next_action="look at the operator and its resource. The same run goes on where it stopped; to take the "
            f"demotion back, set spec.replica.primary of {source.words} to itself",
            changed=changed,
        ) from error
    assert waited.value is not None
    return waited.value, changed


def promote(target: Resource, stepped_down: Sequence[Resource], *, seconds: float) -> bool:
    """Tell the operator to make a standby the primary. Gives whether anything was left to say.

    The token of a clean demotion spares the old primary its rebuild; the operator waits for all that it stands for.
    """
    items = [resource.read(seconds) for resource in stepped_down if resource.flavour.demotes]
    handed = next(((item, left) for item in items if (left := target.flavour.demotion(item))), None)
    source, token = (handed[0], handed[1].token) if handed else (None, None)
    return target.patch(lambda item: target.flavour.promote(item, source, token), seconds, "promote")


@dataclass
class KubernetesResource(Provider):
    """The provider `kubernetes_resource`: the members of one database, each behind its resource."""

    members: Mapping[str, Member]
    guard: Callable[[], None] = field(default=lambda: None, repr=False)
    _resources: dict[str, Resource] = field(default_factory=dict, repr=False)

    def close(self) -> None:
        """Close all connections."""
        for resource in self._resources.values():
            resource.close()

    def status(self, name: str, *, seconds: float) -> UnitStatus:
        """Say what the operator's side shows of a member."""
        return status(self._resource(name), self.members[name], seconds=seconds)

    def stepped_down(self, name: str, *, seconds: float) -> str | None:
        """Look for the token of its demotion."""
        resource = self._resource(name)
        item = resource.look(seconds).item
        complete = item is not None and resource.flavour.demotion(item) is not None
        return f"{resource.words} stepped down and holds its demotion token" if complete else None

    def stop_for_good(self, name: str, *, seconds: float) -> UnitStatus:
        """Have a member stopped so that it stays stopped."""
        return stop_for_good(self._resource(name), self.members[name], seconds=seconds)

    def hand_over(self, source: str, target: str, *, seconds: float) -> HandedOver | None:
        """Take a living primary out of service as its operator does; None where that is left to SQL and a stop."""
        old = self._resource(source)
        if not old.flavour.demotes:
            return None
        left, changed = demote(old, self._resource(target), seconds=seconds)
        observed = f"{old.words} stepped down and gave its demotion token"
        return HandedOver(observed, changed, left.lsn)

    def promote(self, target: str, *, stepped_down: Sequence[str], seconds: float) -> bool:
        """Tell the operator of the target."""
        return promote(self._resource(target), [self._resource(name) for name in stepped_down], seconds=seconds)

    def _resource(self, name: str) -> Resource:
        place = self.members[name].resource
        if place is None:
            raise BadInput(
                f"The member {name} has no resource",
                wanted=f"members.{name}.resource",
                next_action="describe it and run again; nothing was touched",
            )
        return self._resources.setdefault(name, Resource(name, place, self.guard))
