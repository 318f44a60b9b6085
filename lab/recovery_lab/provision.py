# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make and start all servers of a lab, as much at once as their dependencies allow."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from . import addresses, certificates, dns_edge, identity, manifests, network, platform, ssh, supervisor, topology
from .kubernetes import Cluster
from .postgresql import Member
from .postgresql_programs import PostgresqlPrograms
from .screen import Screen
from .state import State
from .topology import Server, Topology
from .wait import NotYet, until


@dataclass(frozen=True)
class Lab:
    """Everything that the steps need."""

    state: State
    layout: Topology
    programs: Mapping[str, Path]
    postgresql: PostgresqlPrograms
    screen: Screen

    def member(self, region: str) -> Member:
        """Give a region's database server."""
        peer = topology.STANDBY if region == topology.PRIMARY else topology.PRIMARY
        return Member(self.state, self.postgresql, region, peer)

    def cluster(self, region: str) -> Cluster:
        """Give a region's control plane."""
        return Cluster(self.state, self.programs, region, self.layout.node)


def configure(lab: Lab) -> None:
    """Write all files: keys, certificates, configurations, the operator's access."""
    identity.make_folder(lab.state.secrets, mode=0o700)
    for folder in ("data", "archive", "logs", *lab.layout.regions):
        identity.make_folder(lab.state.root / folder)
    certificates.provide(lab.state, lab.layout)
    ssh.provide_keys(lab.state, lab.layout.regions)
    for server in lab.layout.of_kind("postgresql"):
        lab.member(server.region).configure()
    for server in lab.layout.of_kind("kubernetes"):
        lab.cluster(server.region).configure()
    platform.leave(lab.state, lab.layout)


def define(lab: Lab) -> None:
    """Tell a fresh supervisor how to run everything."""
    supervisor.define(network.PROCESS, network.definition(lab.programs["toxiproxy"]), lab.state)
    for server in lab.layout.servers:
        _definer(lab, server)()


def _definer(lab: Lab, server: Server) -> Callable[[], None]:
    makers: dict[str, Callable[[], None]] = {
        "postgresql": lambda: lab.member(server.region).define(),
        "kubernetes": lambda: lab.cluster(server.region).define(),
        "dns": lambda: dns_edge.define_dns(server, lab.layout, lab.state, lab.programs["coredns"]),
        "edge": lambda: dns_edge.define_edge(server, lab.layout, lab.state, lab.programs["caddy"]),
    }
    return makers[server.kind]


def start(lab: Lab) -> None:
    """Start all servers of a fresh supervisor; each line appears when its server answers."""
    supervisor.act(network.PROCESS, "start")
    until(network.answers, seconds=10, what="the network proxy", interval=0.02)
    network.establish(lab.layout.links, lab.state)
    for server in lab.layout.of_kind("postgresql"):
        ssh.open_host(lab.state, server.region)
    with ThreadPoolExecutor(max_workers=12) as pool:
        databases = pool.submit(start_databases, lab, pool)
        clusters = {
            server.region: pool.submit(start_cluster, lab, server.region) for server in lab.layout.of_kind("kubernetes")
        }
        others = [pool.submit(start_dns, lab, server, clusters[server.region]) for server in lab.layout.of_kind("dns")]
        others += [pool.submit(start_edge, lab, server) for server in lab.layout.of_kind("edge")]
        for future in (databases, *clusters.values(), *others):
            future.result()


def start_databases(lab: Lab, pool: ThreadPoolExecutor) -> None:
    """Start the databases; the first time, make the primary and build the standby from it."""
    primary, standby = lab.member(topology.PRIMARY), lab.member(topology.STANDBY)
    if not (standby.data / "PG_VERSION").exists() or not (primary.data / "PG_VERSION").exists():
        with lab.screen.step(primary.target, f"primary, PostgreSQL {lab.postgresql.version}"):
            make_primary(primary)
            platform.leave_identity(lab.state, primary)
        with lab.screen.step(standby.target, "standby, streaming"):
            make_standby(standby)
    else:
        masks = {name for name, process in supervisor.processes().items() if process.masked}
        free = [member for member in (primary, standby) if f"{member.target}/postgres" not in masks]
        for future in [pool.submit(start_member, lab, member) for member in free]:
            future.result()
    for member in (primary, standby):
        member.start_guard()


def make_primary(primary: Member) -> None:
    """Make the primary from nothing. What a torn attempt left is thrown away."""
    primary.discard()
    primary.initialise()
    primary.start()
    primary.populate()


def make_standby(standby: Member) -> None:
    """Build the standby from the primary and wait until it streams."""
    standby.clone_from_peer()
    standby.start()
    until(standby.receives, seconds=30, what=f"{standby.target} to stream")


def start_member(lab: Lab, member: Member) -> None:
    """Start a database that exists, whatever its role is by now."""
    with lab.screen.step(member.target, f"PostgreSQL {lab.postgresql.version}"):
        member.start()


def start_cluster(lab: Lab, region: str) -> None:
    """Start a control plane with its node and give it the application."""
    cluster = lab.cluster(region)
    with lab.screen.step(cluster.target, "control plane and node"):
        cluster.start()
        if lab.layout.node == "kwok":
            until(lambda: cluster.call("POST", "/api/v1/nodes", manifests.kwok_node()), seconds=20, what="the node")
        for manifest in manifests.objects(lab.state, lab.layout.services):
            until(partial(cluster.apply, manifest), seconds=20, what=manifest["metadata"]["name"])


def start_dns(lab: Lab, server: Server, cluster: Future[None]) -> None:
    """Start a region's DNS, which needs the cluster's API."""
    cluster.result()
    with lab.screen.step(server.target):
        supervisor.act(f"{server.target}/coredns", "start")
        name = addresses.host_name(server.region, "postgresql")
        process = f"{server.target}/coredns"
        supervisor.wait_for(
            lambda: dns_edge.resolves(server.region, name), process=process, state=lab.state, seconds=20, what=name
        )


def start_edge(lab: Lab, server: Server) -> None:
    """Start a region's edge."""
    with lab.screen.step(server.target, platform.edge_url(server.region)):
        process = f"{server.target}/caddy"
        supervisor.act(process, "start")
        supervisor.wait_for(
            lambda: dns_edge.get(server.address, "/healthz"),
            process=process,
            state=lab.state,
            seconds=20,
            what=server.target,
        )


def wait_for_services(lab: Lab, seconds: float = 60) -> None:
    """Wait until every service answers at every edge with its database and every pod is ready."""
    for server in lab.layout.of_kind("edge"):
        for service in lab.layout.services:
            what = f"{service} at the edge of {server.region}"
            until(partial(dns_edge.serves, server.region, service), seconds=seconds, what=what)
        until(partial(ready, lab.cluster(server.region)), seconds=seconds, what=f"the pods of {server.region}")


def ready(cluster: Cluster) -> int:
    """Probe: every Deployment is rolled out; give the number of its pods."""
    path = f"/apis/apps/v1/namespaces/{addresses.NAMESPACE}/deployments"
    total = 0
    for item in cluster.call("GET", path)["items"]:
        wanted, status = item["spec"]["replicas"], item.get("status", {})
        counts = [status.get(key, 0) for key in ("replicas", "updatedReplicas", "availableReplicas")]
        if counts != [wanted] * 3 or status.get("observedGeneration", 0) < item["metadata"]["generation"]:
            name = item["metadata"]["name"]
            raise NotYet(f"{name} in {cluster.region} has {counts[2]} of {wanted} pods available")
        total += wanted
    return total
