# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pods as the node agents run them: processes, so that faults and memory can be asked of the kernel."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import addresses
from .errors import LabError
from .kubernetes import Cluster
from .leftovers import process_state
from .state import read_list
from .wait import NotYet

# What an agent says of the containers of the one before it.
AGENT_ENDED = "the node agent ended"


@dataclass(frozen=True)
class Pod:
    """One pod of the application."""

    region: str
    service: str
    name: str
    address: str = ""
    pid: int = 0
    ready: bool = False
    crashed: bool = False  # under this agent, which lets it wait longer the next time

    @property
    def target(self) -> str:
        """Name the pod for the command line."""
        return f"{self.region}/{self.service}/{self.name}"

    @property
    def state(self) -> str:
        """Say what its process does."""
        letter = process_state(self.pid)
        if letter == "T":
            return "frozen"
        return "running" if letter else "failed"


def find(cluster: Cluster) -> list[Pod]:
    """List the application's pods by the API, or those known to run if the API is not there."""
    known = read_list(cluster.folder / "pods.json")
    running = {row["name"]: row for row in known if alive(row, cluster.folder / "pods")}
    try:
        listed = cluster.call("GET", f"/api/v1/namespaces/{addresses.NAMESPACE}/pods")["items"]
    except (OSError, NotYet):
        return [_known(cluster.region, name, row) for name, row in running.items()]
    items = [item for item in listed if "deletionTimestamp" not in item["metadata"]]
    return [_listed(cluster.region, item, running.get(item["metadata"]["name"], {})) for item in items]


def alive(row: dict[str, Any], folder: Path) -> bool:
    """Tell whether a row of the agent's list still stands for a process: its number may be another's by now."""
    own = folder / f"{row['namespace']}_{row['name']}_{row['uid']}"
    try:
        works_in = os.readlink(f"/proc/{row['pid']}/cwd").removesuffix(" (deleted)")
    except OSError:
        return False
    return row["namespace"] == addresses.NAMESPACE and Path(works_in) == own


def _known(region: str, name: str, row: dict[str, Any]) -> Pod:
    # A Deployment's pod is named after it, with the hash of its template and a suffix.
    return Pod(region, name.rsplit("-", 2)[0], name, row["ip"], row["pid"], ready=True)


def _listed(region: str, item: dict[str, Any], row: dict[str, Any]) -> Pod:
    name, status = item["metadata"]["name"], item.get("status", {})
    ready = any(one["type"] == "Ready" and one["status"] == "True" for one in status.get("conditions", []))
    service = item["metadata"].get("labels", {}).get("app", name.rsplit("-", 2)[0])
    ends = [one.get("lastState", {}).get("terminated") for one in status.get("containerStatuses", [])]
    crashed = any(end and end.get("message") != AGENT_ENDED for end in ends)
    return Pod(region, service, name, status.get("podIP", ""), row.get("pid", 0), ready, crashed)


def resident_kib(pid: int) -> int:
    """Give a process's resident memory, its share of what it shares with others; 0 if it is gone."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)


def require_process(pod: Pod) -> None:
    """Refuse a pod that has nothing to break."""
    if not pod.pid:
        raise LabError(f"{pod.target} has no process to break: it is {pod.state}. `recovery-lab logs` tells why.")


def send(pod: Pod, number: signal.Signals) -> None:
    """Send a signal to a pod's process."""
    try:
        os.kill(pod.pid, number)
    except ProcessLookupError:
        raise LabError(f"{pod.target} ended meanwhile; `recovery-lab status` shows its successor.") from None
