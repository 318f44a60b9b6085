# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A lease in a cluster: a coordination.k8s.io/v1 Lease, written under its resourceVersion, as kubectl shows it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any

from ..clock import parse, stamp
from ..errors import PreconditionFailed
from ..lease import GATE, Holder, HomeSilent, Record
from .client import ApiError, Client
from .fleet import SILENT
from .transport import Deadline

HOLDER = "platform.recovery/holder"
SECONDS = "platform.recovery/seconds"
FIELDS = tuple(field.name for field in fields(Holder))


class LeaseStore:
    """One Lease object. The version is the object as it was read, so that what others put into it stays."""

    def __init__(self, client: Client, namespace: str, name: str, seconds: float) -> None:
        self.client = client
        self.namespace = namespace
        self.object = name
        self._seconds = seconds

    @property
    def name(self) -> str:
        """Name the place."""
        return f"cluster {self.client.name}, Lease {self.namespace}/{self.object}"

    def read(self) -> tuple[Record, dict[str, Any] | None]:
        """Give what the API server holds now: a GET without a version is answered from the quorum."""
        try:
            item = self._call("GET", self._path(self.object), "read the lease")
        except ApiError as error:
            if error.reason == "not_found":
                return Record(), None
            raise self._failed(error) from error
        return parsed(item), item

    def write(self, record: Record, version: dict[str, Any] | None) -> bool:
        """Create or replace it; whoever wrote in between wins."""
        body = manifest(self.namespace, self.object, record, version)
        try:
            if version is None:
                self._call("POST", self._path(), "create the lease", body)
            else:
                self._call("PUT", self._path(self.object), "write the lease", body)
        except ApiError as error:
            # Gone in between counts as changed. Without a version it is the namespace that is missing.
            if error.reason == "conflict" or (error.reason == "not_found" and version is not None):
                return False
            raise self._failed(error) from error
        return True

    def close(self) -> None:
        """Close the connections."""
        self.client.close()

    def _path(self, name: str = "") -> str:
        return f"/apis/coordination.k8s.io/v1/namespaces/{self.namespace}/leases" + (f"/{name}" if name else "")

    def _call(self, method: str, path: str, doing: str, body: Any = None) -> dict[str, Any]:
        answer: dict[str, Any] = self.client.request(
            method, path, deadline=Deadline.after(self._seconds), doing=doing, body=body
        )
        return answer

    def _failed(self, error: ApiError) -> PreconditionFailed:
        kind = HomeSilent if error.reason in SILENT else PreconditionFailed
        actions = {
            "not_found": f"create the namespace {self.namespace} there, or name another one in lease.namespace",
            "forbidden": "allow get, create and update on leases.coordination.k8s.io there",
        }
        lost = (
            f"if cluster {self.client.name} is lost with its region, name it in recovery_lost_clusters with a "
            "recovery_reason: the lease is then kept in the next cluster"
        )
        action = actions.get(error.reason, error.next_action or "run it again")
        return kind(
            f"The platform's lease cannot be kept: {error.what[0].lower()}{error.what[1:]}",
            wanted=f"an answer about the lease in {self.name}",
            observed=error.text,
            next_action=f"{action}; {lost}" if kind is HomeSilent else action,
            gate=GATE,
            cluster=self.client.name,
        )


def manifest(namespace: str, name: str, record: Record, version: Mapping[str, Any] | None) -> dict[str, Any]:
    """Write a record down as a Lease, over the object that was read."""
    before = version or {"metadata": {"namespace": namespace, "name": name}}
    metadata = dict(before["metadata"])
    annotations = dict(metadata.get("annotations") or {})
    annotations[SECONDS] = repr(record.seconds)
    annotations[HOLDER] = json.dumps(asdict(record.holder)) if record.holder else ""
    return {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {**metadata, "annotations": annotations},
        "spec": {
            **(before.get("spec") or {}),
            "holderIdentity": record.holder.run_id if record.holder else "",
            "leaseDurationSeconds": max(1, round(record.seconds)),
            "acquireTime": micro(record.since),
            "renewTime": micro(record.renewed),
            "leaseTransitions": record.term,
        },
    }


def parsed(item: Mapping[str, Any]) -> Record:
    """Read a Lease. One that another program holds is somebody's too."""
    spec, metadata = item.get("spec") or {}, item["metadata"]
    annotations = metadata.get("annotations") or {}
    identity = str(spec.get("holderIdentity") or "")
    holder: Holder | None = None
    if identity:
        holder = Holder(who="", host="", run_id=identity)
        try:
            told = json.loads(annotations.get(HOLDER) or "{}")
            if told.get("run_id") == identity:
                holder = Holder(**{name: told[name] for name in FIELDS if name in told})
        except (ValueError, TypeError, AttributeError):
            pass  # a hand-written annotation takes nothing from what the Lease itself says
    return Record(
        term=int(spec.get("leaseTransitions") or 0),
        holder=holder,
        since=moment(spec.get("acquireTime")),
        renewed=moment(spec.get("renewTime")),
        seconds=duration(annotations.get(SECONDS), spec.get("leaseDurationSeconds")),
    )


def duration(exact: str | None, whole: int | None) -> float:
    """Give how long it lasts without a renewal."""
    try:
        return float(exact or whole or 0)
    except ValueError:
        return float(whole or 0)


def micro(epoch: float) -> str:
    """Write a moment as the API's MicroTime wants it: exactly six digits."""
    return stamp(epoch)[:-1] + "000Z"


def moment(text: str | None) -> float:
    """Read one; nothing counts as long ago."""
    return parse(text) if text else 0.0
