# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bring a running lab back to its first state by putting back what differs from it, and nothing else.

What is left running was asked: its process, its files, what it holds. Whatever this cannot judge or put back is a
LabError, and the whole lab is then made anew from the kept copy of its data.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from . import contents, copies, databases, dns_edge, faults, leftovers, network, pods, provision, ssh, supervisor
from .errors import LabError
from .kubernetes import HEALTH_PORTS
from .provision import Lab
from .state import State, write
from .supervisor import Process
from .survey import Survey, require_health
from .topology import Server
from .wait import NotYet, until

# What can be judged here. Where there is another kind of server, all of them start anew.
KINDS = {"postgresql", "kubernetes", "dns", "edge"}
# What runs writes beside its configuration, and under a name of the moment at first.
WRITTEN = ("pods.json", "pods.json.new")
# By these servers know each other: all of them would have to learn what is new.
COMMON = ("pki", "ssh", "secrets")


def remember(lab: Lab) -> None:
    """Write down what a healthy lab in its first state holds. Until it is whole there is nothing to come back to."""
    part = lab.state.root / "first.part"
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(mode=0o700)
    clusters = [lab.cluster(server.region) for server in lab.layout.of_kind("kubernetes")]
    with ThreadPoolExecutor(max_workers=len(clusters)) as pool:
        for cluster, found in zip(clusters, pool.map(contents.remember, clusters), strict=True):
            write(part / f"{cluster.region}.json", json.dumps(found, sort_keys=True), mode=0o600)
    databases.remember(lab, part)
    forget(lab.state)
    part.rename(lab.state.first)


def forget(state: State) -> None:
    """Forget the first state's contents: another is to come."""
    shutil.rmtree(state.first, ignore_errors=True)


def renew(lab: Lab) -> Survey:
    """Put back what differs from the first state, see that nothing does any more, and that all is well."""
    altered = _configure(lab)
    seen = supervisor.processes()
    _end_strangers(lab, seen)
    with ThreadPoolExecutor(max_workers=1 + len(lab.layout.servers)) as pool:
        jobs: list[Future[Any]] = [pool.submit(_renew_databases, lab)]
        clusters = {
            server.region: pool.submit(_renew_cluster, lab, server, seen, altered)
            for server in lab.layout.of_kind("kubernetes")
        }
        for server in lab.layout.of_kind("dns"):
            jobs.append(pool.submit(_renew_dns, lab, server, seen, altered, clusters[server.region]))
        for server in lab.layout.of_kind("edge"):
            jobs.append(pool.submit(_renew_edge, lab, server, seen, altered))
    for job in [*jobs, *clusters.values()]:
        job.result()
    _ask_pods(lab)
    return until(partial(require_health, lab), seconds=60, what="a healthy lab", interval=0.02)


def _configure(lab: Lab) -> set[str]:
    """Write all files and definitions as this checkout has them; name the servers of which a file was another."""
    unknown = sorted({server.kind for server in lab.layout.servers} - KINDS)
    if unknown:
        raise LabError(f"Nothing here can judge {', '.join(unknown)}.")
    if not lab.state.first.exists():
        raise LabError("It is not known what the servers held at first.")
    if not _runs(lab.programs["lab-supervisor"], (supervisor.lab() or {}).get("pid", 0)):
        raise LabError("The supervisor is not the one of this checkout.")
    before = {name: _files(folder) for name, folder in _folders(lab).items()}
    provision.configure(lab)
    # It refuses another definition of what runs.
    provision.define(lab)
    altered = {name for name, folder in _folders(lab).items() if _files(folder) != before[name]}
    if altered.intersection(COMMON):
        raise LabError(f"Files were another: {', '.join(sorted(altered))}.")
    expected = {network.PROCESS, *(name for server in lab.layout.servers for name in server.processes)}
    strange = sorted(set(supervisor.processes()) ^ expected)
    if strange:
        raise LabError(f"The supervisor does not run what it should: {', '.join(strange)}.")
    return altered


def _runs(program: Path, pid: int) -> bool:
    try:
        return Path(os.readlink(f"/proc/{pid}/exe")) == program.resolve()
    except OSError:
        return False


def _folders(lab: Lab) -> dict[str, Path]:
    servers = {server.target: lab.state.server(server.region, server.kind) for server in lab.layout.servers}
    return servers | {name: lab.state.root / name for name in COMMON}


def _files(folder: Path) -> dict[str, str]:
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in (folder.iterdir() if folder.exists() else ())
        if path.is_file() and path.name not in WRITTEN
    }


def _end_strangers(lab: Lab, seen: dict[str, Process]) -> None:
    """End what works in the lab and belongs to none of its servers, such as what a killed drill has left."""
    own = (supervisor.lab() or {}).get("pid", 0)
    count = leftovers.end(lab.state.root, {process.pid for process in seen.values() if process.pid}, {own})
    if count:
        lab.screen.say(f"  {count} processes of nobody's were ended.")
    shutil.rmtree(lab.state.root / "memory", ignore_errors=True)


def _renew_databases(lab: Lab) -> None:
    """The network's faults end in between: no stale primary meets anybody, and a new standby needs its link."""
    touched = databases.touched(lab)
    if touched:
        databases.end(lab)
    _renew_network(lab)
    for server in lab.layout.of_kind("postgresql"):
        _clear(lab, server)
    if touched:
        with lab.screen.step("both databases", f"put back: {touched[0].partition('/')[2]}"):
            databases.put_back(lab)
    databases.confirm(lab)


def _renew_network(lab: Lab) -> None:
    process = supervisor.processes()[network.PROCESS]
    network.remember(lab.state, network.Condition())
    if process.state != "running":
        supervisor.act(network.PROCESS, "kill")
        network.start(lab.layout.links, lab.state)
    network.open_all(lab.layout.links)
    for server in lab.layout.of_kind("postgresql"):
        if server.target not in supervisor.hosts():
            ssh.open_host(lab.state, server.region)


def _clear(lab: Lab, server: Server) -> None:
    """Remove what lies beside the servers' data, such as what a rejoin has saved."""
    kept = State(lab.state.snapshot).data(server.region, server.kind).parent
    for path in lab.state.data(server.region, server.kind).parent.iterdir():
        if not (kept / path.name).exists():
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def _renew_cluster(lab: Lab, server: Server, seen: dict[str, Process], altered: set[str]) -> bool:
    """Put back what a control plane holds; make it anew where it is broken. Tell whether it was."""
    cluster = lab.cluster(server.region)
    wanted = json.loads((lab.state.first / f"{server.region}.json").read_text())
    if _intact(server, seen, altered):
        try:
            for part in HEALTH_PORTS:
                cluster.healthy(part)
            cluster.answers()
            contents.put_back(cluster, wanted)
            return False
        except (LabError, NotYet, OSError) as error:
            lab.screen.say(f"  {server.target} is made anew: {error}")
    faults.at_once(lambda name: supervisor.act(name, "kill"), server.processes)
    for name in server.processes:
        supervisor.act(name, "unmask")
    copies.bring_back(State(lab.state.snapshot).data(server.region, server.kind), cluster.data)
    provision.start_cluster(lab, server.region)
    contents.put_back(cluster, wanted)
    return True


def _intact(server: Server, seen: dict[str, Process], altered: set[str]) -> bool:
    own = [seen[name] for name in server.processes]
    return server.target not in altered and all(one.state == "running" and not one.masked for one in own)


def _renew_dns(lab: Lab, server: Server, seen: dict[str, Process], altered: set[str], cluster: Future[bool]) -> None:
    # One that has seen a later state of the cluster would wait for it to come again.
    if cluster.result() or not _intact(server, seen, altered):
        faults.at_once(lambda name: supervisor.act(name, "kill"), server.processes)
        provision.start_dns(lab, server, cluster)


def _renew_edge(lab: Lab, server: Server, seen: dict[str, Process], altered: set[str]) -> None:
    if not _intact(server, seen, altered):
        faults.at_once(lambda name: supervisor.act(name, "kill"), server.processes)
        provision.start_edge(lab, server)


def _ask_pods(lab: Lab) -> None:
    """Ask every pod itself: one may still hold a connection to a database that is gone, and learns of it so."""
    clusters = [lab.cluster(server.region) for server in lab.layout.of_kind("kubernetes") if lab.layout.services]

    def found() -> list[pods.Pod]:
        every = [pod for cluster in clusters for pod in pods.find(cluster)]
        for pod in every:
            if not pod.address:
                raise NotYet(f"{pod.target} has no address")
        return every

    def ask(pod: pods.Pod) -> None:
        def answers() -> None:
            status, _ = dns_edge.get(pod.address, f"/v1/{pod.service}/healthz")
            if status != 200:
                raise NotYet(f"{pod.target} answers {status}")

        until(answers, seconds=20, what=pod.target)

    # In a cluster that was just made anew some are not on their node yet.
    every = until(found, seconds=20, what="every pod to be on its node")
    with ThreadPoolExecutor(max_workers=max(1, len(every))) as pool:
        for future in [pool.submit(ask, pod) for pod in every]:
            future.result()
