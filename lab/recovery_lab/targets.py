# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a target on the command line names. Pure: it only needs to know what there is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .errors import LabError, nearest
from .pods import Pod
from .topology import INSTANCES, Server, Topology


@dataclass(frozen=True)
class Selection:
    """The processes and pods behind a target."""

    target: str
    servers: tuple[Server, ...] = ()  # whole servers
    instance: str | None = None  # one process of the only server
    pods: tuple[Pod, ...] = ()
    is_region: bool = False

    @property
    def processes(self) -> list[str]:
        """List the ids of the processes that a fault on this target hits.

        The guard belongs to the database's host: only a fault on the region or on the guard itself hits it.
        """
        if self.instance:
            return [f"{self.servers[0].target}/{self.instance}"]
        found = [name for server in self.servers for name in server.processes]
        return found if self.is_region else [name for name in found if not name.endswith("/guard")]


def known(layout: Topology, pods: Sequence[Pod]) -> list[str]:
    """List every valid target."""
    found = list(layout.regions)
    for server in layout.servers:
        found += [server.target, *server.processes]
    found += [
        f"{region}/{service}" for region in dict.fromkeys(pod.region for pod in pods) for service in layout.services
    ]
    return found + [pod.target for pod in pods]


def select(target: str, layout: Topology, pods: Sequence[Pod]) -> Selection:
    """Read a target: region, region/server or region/server/instance. LabError names the nearest one."""
    valid = known(layout, pods)
    if target not in valid:
        raise LabError(
            f"There is no target {target!r}{nearest(target, valid)} "
            f"A target is a region, region/server or region/server/instance, as `recovery-lab status` prints them."
        )
    region, _, rest = target.partition("/")
    kind, _, instance = rest.partition("/")
    if not kind:
        servers = tuple(server for server in layout.servers if server.region == region)
        return Selection(target, servers, is_region=True)
    if kind in INSTANCES:
        servers = tuple(server for server in layout.servers if server.target == f"{region}/{kind}")
        return Selection(target, servers, instance=instance or None)
    chosen = [pod for pod in pods if pod.region == region and pod.service == kind]
    return Selection(target, pods=tuple(pod for pod in chosen if instance in ("", pod.name)))
