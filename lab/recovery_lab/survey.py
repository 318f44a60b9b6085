# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""See how the lab is: what the supervisor, the kernel and the servers themselves say, all asked at once."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from . import (
    addresses,
    aws_api,
    dns_authority,
    dns_dynamic,
    dns_edge,
    kafka,
    mirror_maker,
    network,
    object_storage,
    pods,
    postgresql,
    provision,
    redis_servers,
    supervisor,
)
from .errors import LabError
from .provision import Lab
from .supervisor import Process
from .topology import INSTANCES, Server
from .wait import NotYet

# The worst of a server's processes stands for it.
SEVERITY = ("running", "slow", "isolated", "stopped", "frozen", "failed")


@dataclass(frozen=True)
class Row:
    """One server or pod, as `status` shows it."""

    target: str
    region: str
    kind: str
    instance: str | None
    address: str
    port: int
    state: str
    pid: int = 0
    resident_mib: float = 0
    role: str = ""
    masked: bool = False
    guarded: bool = False  # its guard has stopped it, a stale primary
    ready: bool = True  # of a pod: its readiness probe succeeds
    connect: dict[str, str] = field(default_factory=dict)
    instances: list[dict[str, Any]] = field(default_factory=list)

    @property
    def idle(self) -> bool:
        """Tell whether it is down as it should be: of two mirrors one is always masked."""
        return self.kind == "mirror_maker" and self.masked

    @property
    def fenced(self) -> bool:
        """Tell whether it is kept down on purpose, by its mask or its guard."""
        return (self.masked or self.guarded) and not self.idle


@dataclass(frozen=True)
class Survey:
    """The whole lab at one moment. It is healthy if nothing is wrong with it."""

    rows: list[Row]
    problems: list[str]

    @property
    def healthy(self) -> bool:
        """Tell whether everything is as after the first `up`, whoever is primary."""
        return not self.problems

    @property
    def may_recover(self) -> bool:
        """Tell whether every server runs, so that time alone may make the lab healthy."""
        return all(
            row.state == "running" and not row.fenced for row in self.rows if row.kind != "service" and not row.idle
        )

    @property
    def summary(self) -> str:
        """Say what is wrong in one line."""
        more = f" and {len(self.problems) - 3} more" if len(self.problems) > 3 else ""
        return "; ".join(self.problems[:3]) + more

    @property
    def fenced(self) -> list[str]:
        """List the servers that were fenced: they must not start by themselves."""
        return [row.target for row in self.rows if row.fenced]

    @property
    def healed(self) -> bool:
        """Tell whether nothing is wrong but what was fenced, which nothing but a rejoin may bring back."""
        return set(self.problems) <= {_wrong(row) for row in self.rows if row.fenced}


def survey(lab: Lab) -> Survey:
    """Look at everything. It takes as long as the slowest server, a few seconds at most."""
    known = _without_pods(supervisor.processes(memory=True))
    links = network.condition(lab.state)
    with ThreadPoolExecutor(max_workers=24) as pool:
        servers = [pool.submit(_server_row, lab, server, known, links) for server in lab.layout.servers]
        found = [
            pool.submit(pods.find, lab.cluster(server.region))
            for server in lab.layout.of_kind("kubernetes")
            if lab.layout.services
        ]
        checks = [pool.submit(_problem, check) for check in _checks(lab, known)]
        rows = [future.result() for future in servers]
        rows += [_pod_row(pod, links) for future in found for pod in future.result()]
        problems = [text for row in rows if (text := _wrong(row))]
        proxy = known.get(network.PROCESS, Process())
        problems += [] if proxy.state == "running" else [f"{network.PROCESS} is {proxy.state}: no link works"]
        problems += [text for future in checks if (text := future.result())]
    roles = [row.role for row in rows if row.kind == "postgresql"]
    if not problems and sorted(roles) != ["primary", "standby"]:
        problems.append(f"the databases are {' and '.join(role or 'unknown' for role in roles)}")
    stores = [row.role for row in rows if row.kind == "redis"]
    if not problems and stores and sorted(stores) != ["primary", "replica"]:
        problems.append(f"the Redis servers are {' and '.join(role or 'unknown' for role in stores)}")
    return Survey(rows, problems)


def require_health(lab: Lab) -> Survey:
    """Probe: all is well. LabError if a process has ended, for it does not come back by itself."""
    for name, process in supervisor.processes().items():
        if process.state == "failed":
            raise LabError(f"{name} ended (exit {process.exit_code}): {supervisor.log_tail(lab.state, name)}")
    found = survey(lab)
    if not found.healthy:
        raise NotYet(found.summary)
    return found


def stopped(lab: Lab) -> Survey:
    """Describe a lab that does not run."""
    rows = [_row(lab, server, "stopped") for server in lab.layout.servers]
    return Survey(rows, ["the lab does not run"])


def _without_pods(known: dict[str, Process]) -> dict[str, Process]:
    """Count a node agent without its pods, which have rows of their own."""
    agents = {name: process for name, process in known.items() if name.endswith("/node-agent")}
    return known | {name: replace(one, resident_kib=pods.resident_kib(one.pid)) for name, one in agents.items()}


def _wrong(row: Row) -> str:
    if row.idle:
        return ""
    if row.masked:
        return f"{row.target} is fenced"
    if row.guarded:
        return f"{row.target} was stopped by its guard, a stale primary"
    if row.state != "running":
        return f"{row.target} is {row.state}"
    return "" if row.ready else f"{row.target} is not ready"


def _server_row(lab: Lab, server: Server, known: dict[str, Process], links: network.Condition) -> Row:
    instances = [
        (name, known[f"{server.target}/{name}"])
        for name in INSTANCES[server.kind]
        if f"{server.target}/{name}" in known
    ]
    states = [process.state for _, process in instances]
    own = [link for link in lab.layout.links if link.target == server.target]
    if server.region in links.isolated or any(map(links.cuts, own)):
        states.append("isolated")
    elif server.region in links.slow or any(map(links.slows, own)):
        states.append("slow")
    state = max(states, key=SEVERITY.index, default="stopped")
    main = instances[0][1] if instances else Process()
    return _row(
        lab,
        server,
        state,
        pid=main.pid,
        resident_mib=round(sum(process.resident_kib for _, process in instances) / 1024, 1),
        role=_role(lab, server) if server.kind in ("postgresql", "redis") and main.state == "running" else "",
        masked=any(process.masked for _, process in instances),
        guarded=_guarded(dict(instances)),
        instances=[
            {
                "target": f"{server.target}/{name}",
                "instance": name,
                "state": process.state,
                "pid": process.pid,
                "resident_mib": round(process.resident_kib / 1024, 1),
            }
            for name, process in instances
        ],
    )


def _guarded(instances: dict[str, Process]) -> bool:
    """Tell whether a database was stopped by its guard, which then ends with success."""
    guard, server = instances.get("guard", Process()), instances.get("postgres", Process())
    return guard.exit_code == 0 and guard.state == "stopped" and server.state in ("stopped", "failed")


def _row(lab: Lab, server: Server, state: str, **more: Any) -> Row:
    return Row(
        target=server.target,
        region=server.region,
        kind=server.kind,
        instance=None,
        address=server.address,
        port=server.port,
        state=state,
        # Before the first `up` there is neither a key nor a password; looking makes none.
        connect=_connect(lab, server) if lab.state.ca.exists() else {},
        **more,
    )


def _connect(lab: Lab, server: Server) -> dict[str, str]:
    if server.kind == "postgresql":
        address = addresses.link_address(addresses.OPERATOR, server.region, "postgresql")
        member = lab.member(server.region)
        direct = member.url(postgresql.DATABASE, member.address)
        return {"url": member.url(postgresql.DATABASE, address), "direct_url": direct}
    if server.kind == "kubernetes":
        return {"kubeconfig": str(lab.state.kubeconfig(server.region)), "context": server.region}
    if server.kind == "edge":
        return {"url": dns_edge.edge_url(server.region), "direct_url": f"http://{server.address}:{server.port}"}
    if server.kind == "aws_api":
        return aws_api.connect(server)
    if server.kind == "dns_authority":
        return dns_authority.connect(server)
    if server.kind == "dns_dynamic":
        return dns_dynamic.connect(server, lab.state)
    if server.kind in ("redis", "sentinel"):
        return redis_servers.connect(server, lab.state)
    if server.kind == "kafka":
        return kafka.connect(server, lab.state)
    if server.kind == "mirror_maker":
        return mirror_maker.connect(server, lab.layout)
    if server.kind == "object_storage":
        return object_storage.connect(server, lab.state)
    return {"url": f"dns://{server.address}:{server.port}"}


def _role(lab: Lab, server: Server) -> str:
    try:
        if server.kind == "redis":
            return redis_servers.role(server, lab.state)
        return "standby" if lab.member(server.region).in_recovery() else "primary"
    except (OSError, LabError):
        return ""


def _pod_row(pod: pods.Pod, links: network.Condition) -> Row:
    state = pod.state
    if state == "running" and pod.region in links.isolated:
        state = "isolated"
    return Row(
        target=pod.target,
        region=pod.region,
        kind="service",
        instance=pod.name,
        address=pod.address,
        port=8080,
        state=state,
        pid=pod.pid,
        resident_mib=round(pods.resident_kib(pod.pid) / 1024, 1),
        role=pod.service,
        ready=pod.ready,
        connect={"url": f"http://{pod.address}:8080/v1/{pod.service}"},
    )


def _checks(lab: Lab, known: dict[str, Process]) -> list[Callable[[], object]]:
    """List what must hold beyond running processes."""
    checks: list[Callable[[], object]] = []
    for server in lab.layout.of_kind("edge"):
        for service in lab.layout.services:
            checks.append(partial(dns_edge.serves, server.region, service))
    for server in lab.layout.of_kind("kubernetes"):
        cluster = lab.cluster(server.region)
        checks.append(partial(provision.ready, cluster) if lab.layout.services else cluster.answers)
    for server in lab.layout.servers:
        # One that is down has its own line.
        if server.kind in provision.ALONE and known.get(server.processes[0], Process()).state == "running":
            checks.append(partial(provision.ALONE[server.kind], server))
    for server in lab.layout.of_kind("kafka"):
        if known.get(server.processes[0], Process()).state == "running":
            checks.append(partial(kafka.answers, server, lab.state))
    for server in lab.layout.of_kind("mirror_maker"):
        if known.get(server.processes[0], Process()).state == "running":
            checks.append(partial(mirror_maker.answers, server, lab.layout, lab.state))
    for server in lab.layout.of_kind("object_storage"):
        if known.get(f"{server.target}/minio", Process()).state == "running":
            checks.append(partial(object_storage.answers, server, lab.state))
    if lab.layout.of_kind("dns_authority"):
        checks.append(partial(dns_authority.answers, dns_authority.RESOLVER_ADDRESS))
    for server in lab.layout.of_kind("postgresql"):
        # One that is down has its own line.
        if known.get(f"{server.target}/postgres", Process()).state == "running":
            checks.append(partial(_streams, lab, server.region))
    return checks


def _streams(lab: Lab, region: str) -> None:
    member = lab.member(region)
    if member.in_recovery():
        member.receives()


def _problem(check: Callable[[], object]) -> str:
    try:
        check()
    except (NotYet, OSError, LabError) as error:
        return str(error).splitlines()[0] if str(error) else type(error).__name__
    return ""
