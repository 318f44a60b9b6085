# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make and start all servers of a lab, as much at once as their dependencies allow."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from . import (
    addresses,
    aws_api,
    certificates,
    dns_authority,
    dns_dynamic,
    dns_edge,
    identity,
    kafka,
    manifests,
    mirror_maker,
    network,
    object_storage,
    redis_servers,
    ssh,
    supervisor,
    topology,
)
from .errors import LabError
from .kubernetes import Cluster
from .postgresql import Member
from .postgresql_programs import PostgresqlPrograms
from .screen import Screen
from .state import State, write
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
    ssh.provide_environment(lab.state, lab.postgresql)
    for server in lab.layout.of_kind("postgresql"):
        lab.member(server.region).configure()
    for server in lab.layout.of_kind("kubernetes"):
        lab.cluster(server.region).configure()


def define(lab: Lab) -> None:
    """Tell a fresh supervisor how to run everything."""
    supervisor.define(network.PROCESS, network.definition(lab.programs["toxiproxy"]), lab.state)
    for server in lab.layout.servers:
        _definer(lab, server)()
    if lab.layout.of_kind("dns_authority"):
        dns_authority.define_resolver(lab.layout, lab.state, lab.programs["coredns"])


def _definer(lab: Lab, server: Server) -> Callable[[], None]:
    makers: dict[str, Callable[[], None]] = {
        "postgresql": lambda: lab.member(server.region).define(),
        "kubernetes": lambda: lab.cluster(server.region).define(),
        "dns": lambda: dns_edge.define_dns(server, lab.layout, lab.state, lab.programs["coredns"]),
        "edge": lambda: dns_edge.define_edge(server, lab.layout, lab.state, lab.programs["caddy"]),
        "aws_api": lambda: aws_api.define(server, lab.layout, lab.state, lab.programs["python"], lab.programs["moto"]),
        "dns_authority": lambda: dns_authority.define(server, lab.state, lab.programs["lab-authority"]),
        "dns_dynamic": lambda: dns_dynamic.define(server, lab.layout, lab.state, lab.programs["knotd"]),
        "redis": lambda: _define_redis(lab, server),
        "sentinel": lambda: _define_redis(lab, server),
        "kafka": lambda: kafka.define(server, lab.layout, lab.state, lab.programs["java"], lab.programs["kafka-libs"]),
        "mirror_maker": lambda: mirror_maker.define(
            server, lab.layout, lab.state, lab.programs["java"], lab.programs["kafka-libs"]
        ),
        "object_storage": lambda: object_storage.define(
            server, lab.layout, lab.state, lab.programs["minio"], lab.programs["python"]
        ),
    }
    return makers[server.kind]


def _define_redis(lab: Lab, server: Server) -> None:
    programs = lab.programs
    redis_servers.define(server, lab.layout, lab.state, programs["redis-server"], programs["libnss_wrapper"])


def start(lab: Lab, *, anew: bool) -> None:
    """Start all servers of a fresh supervisor; each line appears when its server answers.

    A lab made anew is whole or nothing. One that has data goes up as far as it can: what fails is said.
    """
    network.start(lab.layout.links, lab.state)
    for server in lab.layout.of_kind("postgresql"):
        ssh.open_host(lab.state, server.region)
    # Some of the steps wait for others: each needs a thread of its own.
    with ThreadPoolExecutor(max_workers=2 + len(lab.layout.servers)) as pool:
        databases = pool.submit(make_databases, lab) if anew else pool.submit(start_databases, lab, pool)
        clusters = {
            server.region: pool.submit(start_cluster, lab, server.region) for server in lab.layout.of_kind("kubernetes")
        }
        others = [pool.submit(start_dns, lab, server, clusters[server.region]) for server in lab.layout.of_kind("dns")]
        others += [pool.submit(start_edge, lab, server) for server in lab.layout.of_kind("edge")]
        others += [pool.submit(start_alone, lab, server) for server in lab.layout.servers if server.kind in ALONE]
        if lab.layout.of_kind("dns_authority"):
            others.append(pool.submit(start_resolver, lab))
        brokers = [pool.submit(start_broker, lab, server, anew=anew) for server in lab.layout.of_kind("kafka")]
        others += brokers
        others += [pool.submit(start_mirror, server, brokers) for server in lab.layout.of_kind("mirror_maker")]
        if lab.layout.of_kind("object_storage"):
            others.append(pool.submit(start_object_storage, lab, anew=anew))
        failures = [_failure(future) for future in (databases, *clusters.values(), *others)]
    # A region's DNS fails with its cluster: the same is said once.
    for failure in dict.fromkeys(filter(None, failures)):
        if anew:
            raise LabError(failure)
        lab.screen.say(f"  {failure}")


def _failure(future: Future[None]) -> str:
    try:
        future.result()
    except LabError as error:
        return str(error)
    return ""


def members(lab: Lab) -> list[Member]:
    """List the database servers, that of the first primary before its standby."""
    return [lab.member(topology.PRIMARY), lab.member(topology.STANDBY)]


def make_databases(lab: Lab) -> None:
    """Make the primary, and build the standby from it."""
    primary, standby = members(lab)
    with lab.screen.step(primary.target, f"primary, PostgreSQL {lab.postgresql.version}"):
        make_primary(primary)
        leave_identity(lab.state, primary)
    with lab.screen.step(standby.target, "standby, streaming"):
        make_standby(standby)
    for member in members(lab):
        member.start_guard()


def leave_identity(state: State, member: Member) -> None:
    """Write down which database this is, as initdb made it, for the operator's description of it."""
    [[identifier]] = member.execute("postgres", "select system_identifier::text from pg_control_system()")
    write(state.root / "system_identifier", f"{identifier}\n", mode=0o644)


def start_databases(lab: Lab, pool: ThreadPoolExecutor) -> None:
    """Start the databases that have data and are not fenced, whatever their roles are by now."""
    for member in members(lab):
        # Before its server: a stale primary must not be one for a moment.
        member.start_guard()
    masks = {name for name, process in supervisor.processes().items() if process.masked}
    free = [member for member in members(lab) if f"{member.target}/postgres" not in masks]
    for member in free:
        if not member.exists:
            lab.screen.say(
                f"  {member.target} has no data ({member.data}/PG_VERSION is missing) and stays down: rejoin it to the "
                f"other one, or go back to the first state by `recovery-lab reset`."
            )
    for future in [pool.submit(start_member, lab, member) for member in free if member.exists]:
        future.result()


def leave_mark(lab: Lab) -> None:
    """Commit something on whoever is primary: an idle lab's standby would seem to be as old as the last write."""
    for member in members(lab):
        try:
            if not member.in_recovery():
                member.leave_mark()
        except (OSError, LabError):
            continue  # it is down, or takes no writes: the survey tells


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
    """Start a control plane with its node and give it what it does not have of the application."""
    cluster = lab.cluster(region)
    with lab.screen.step(cluster.target, "control plane and node"):
        cluster.start()
        if lab.layout.node == "kwok":
            until(partial(cluster.create, manifests.kwok_node()), seconds=20, what="the node")
        for manifest in manifests.objects(lab.state, lab.layout, region):
            until(partial(cluster.create, manifest), seconds=20, what=manifest["metadata"]["name"])


def start_dns(lab: Lab, server: Server, cluster: Future[Any]) -> None:
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
    with lab.screen.step(server.target, dns_edge.edge_url(server.region)):
        process = f"{server.target}/caddy"
        supervisor.act(process, "start")
        supervisor.wait_for(
            lambda: dns_edge.get(server.address, "/healthz"),
            process=process,
            state=lab.state,
            seconds=20,
            what=server.target,
        )


# Servers that are one process, with a guard perhaps, and wait for nobody: what tells that each works.
ALONE: Mapping[str, Callable[[Server], None]] = {
    "aws_api": aws_api.answers,
    "dns_authority": lambda server: dns_authority.answers((server.address, server.port)),
    "dns_dynamic": dns_dynamic.answers,
    "redis": redis_servers.answers,
    "sentinel": redis_servers.answers,
}


def start_alone(lab: Lab, server: Server) -> None:
    """Start a server of one process and wait until it works. One that is fenced stays down."""
    if supervisor.processes()[server.processes[0]].masked:
        return
    with lab.screen.step(server.target, f"{server.link}:{server.port}"):
        process, *beside = server.processes
        for one in beside:
            # Before its server: a stale primary must not be one for a moment.
            supervisor.act(one, "start")
        start_process(lab, process, partial(ALONE[server.kind], server), server.target)


def start_broker(lab: Lab, server: Server, *, anew: bool) -> None:
    """Start a broker, unless it is fenced; a new one is given its first contents."""
    [process] = server.processes
    if supervisor.processes()[process].masked:
        return
    kafka.format_data(server, lab.state, lab.programs["java"], lab.programs["kafka-libs"])
    with lab.screen.step(server.target, f"{server.link}:{addresses.kafka_port(addresses.OPERATOR)}"):
        start_process(lab, process, partial(kafka.answers, server, lab.state), server.target, seconds=60)
        if anew:
            kafka.populate(server, lab.state)


def start_mirror(server: Server, brokers: list[Future[None]]) -> None:
    """Start a mirror, unless it is masked, as all but one are."""
    for broker in brokers:
        broker.exception()  # it says so itself; a mirror goes on asking for what is down
    [process] = server.processes
    if not supervisor.processes()[process].masked:
        supervisor.act(process, "start")


def start_resolver(lab: Lab) -> None:
    """Start the resolver of the world outside."""
    probe = partial(dns_authority.answers, dns_authority.RESOLVER_ADDRESS)
    start_process(lab, dns_authority.RESOLVER, probe, "the resolver")


def start_object_storage(lab: Lab, *, anew: bool) -> None:
    """Start both regions' servers; new ones need each other, for one replicates to the other."""
    servers = lab.layout.of_kind("object_storage")
    with lab.screen.step("object_storage", "in both regions"):
        for name in (name for server in servers for name in server.processes):
            supervisor.act(name, "start")
        for server in servers:
            probe = partial(object_storage.answers, server, lab.state)
            process = f"{server.target}/minio"
            supervisor.wait_for(probe, process=process, state=lab.state, seconds=30, what=server.target)
        if anew:
            object_storage.seed(servers, lab.state)


def start_process(lab: Lab, process: str, probe: Callable[[], object], what: str, seconds: float = 30) -> None:
    """Start a process and wait until its probe succeeds."""
    supervisor.act(process, "start")
    supervisor.wait_for(probe, process=process, state=lab.state, seconds=seconds, what=what)


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
