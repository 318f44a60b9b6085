# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Break servers on purpose, and heal them."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

from . import network, pods, ssh, supervisor
from .addresses import LINKED
from .errors import LabError, nearest, with_advice
from .provision import Lab
from .targets import Selection, select
from .topology import INSTANCES
from .wait import NotYet, until

FAULTS = ("kill", "stop", "freeze", "isolate", "slow", "corrupt", "fill")
LATER = {"corrupt": "the restore of databases", "fill": "disks of a limited size, which need root"}
SIGNALS = {"kill": signal.SIGKILL, "stop": signal.SIGTERM, "freeze": signal.SIGSTOP}


def choose(lab: Lab, target: str) -> Selection:
    """Read a target against what runs now."""
    found = []
    if lab.layout.services:
        for server in lab.layout.of_kind("kubernetes"):
            found += pods.find(lab.cluster(server.region))
    return select(target, lab.layout, found)


def inflict(lab: Lab, fault: str, target: str) -> None:
    """Do one fault to one target."""
    if fault not in FAULTS:
        raise LabError(f"There is no fault {fault!r}{nearest(fault, FAULTS)} Known: {', '.join(FAULTS)}.")
    if fault in LATER:
        raise LabError(f"The fault {fault!r} is not in this lab yet: it comes with {LATER[fault]}.")
    selection = choose(lab, target)
    if fault in ("isolate", "slow"):
        _require_links(fault, selection)
        (network.isolate if fault == "isolate" else network.slow)(lab.layout.links, lab.state, target)
        return
    for pod in selection.pods:
        pods.require_process(pod)
    for pod in selection.pods:
        pods.send(pod, SIGNALS[fault])
    wanted = ("running",) if fault == "freeze" else ("running", "frozen")
    seen = supervisor.processes()
    victims = [name for name in selection.processes if name in seen and seen[name].state in wanted]
    if not victims and not selection.pods:
        raise LabError(f"{target} cannot be hit by {fault}: {_states(selection, seen)}.")
    if selection.is_region:
        # The hosts themselves are gone or hang with all that runs on them.
        for server in _databases(selection):
            supervisor.close_host(server)
    at_once(lambda name: supervisor.act(name, fault), victims)


def _states(selection: Selection, seen: dict[str, supervisor.Process]) -> str:
    names = [name for name in selection.processes if name in seen]
    return ", ".join(f"{name} is {seen[name].state}" for name in names) or "it has no process"


def _require_links(fault: str, selection: Selection) -> None:
    if selection.is_region or (not selection.instance and any(one.kind in LINKED for one in selection.servers)):
        return
    raise LabError(
        f"{selection.target} cannot be hit by {fault}: nobody reaches it from outside its region. "
        f"Take the region, or one of its servers {', '.join(LINKED)}."
    )


def _databases(selection: Selection) -> list[str]:
    return [server.target for server in selection.servers if server.kind == "postgresql"]


def at_once(action: Callable[[str], None], names: Iterable[str]) -> None:
    """Do the same to many processes at the same moment."""
    names = list(names)
    with ThreadPoolExecutor(max_workers=max(1, len(names))) as pool:
        for future in [pool.submit(action, name) for name in names]:
            future.result()


def heal(lab: Lab, target: str | None) -> None:
    """Undo faults: start what is down, thaw what is frozen, reconnect. What was fenced stays down, and is named."""
    selections = [choose(lab, one) for one in ([target] if target else lab.layout.regions)]
    if supervisor.processes()[network.PROCESS].state in ("stopped", "failed"):
        network.start(lab.layout.links, lab.state)
    for selection in selections:
        _reopen_hosts(lab, selection)
    names = [name for selection in selections for name in _with_guards(selection)]
    seen = supervisor.processes()
    at_once(lambda name: supervisor.act(name, "thaw"), [name for name in names if _is(seen, name, "frozen")])
    _thaw_pods(lab, selections)
    fenced = [name for name in names if name in seen and seen[name].masked]
    down = [name for name in names if _is(seen, name, "stopped", "failed") and name not in fenced]
    _start(lab, down)
    network.heal(lab.layout.links, lab.state, target)
    for name in fenced:
        if name.endswith("/mirror-maker"):
            continue  # as all but one are
        lab.screen.say(f"  {name} is fenced (masked) and stays down until it is rejoined.")


def _is(seen: dict[str, supervisor.Process], name: str, *states: str) -> bool:
    return name in seen and seen[name].state in states


def _with_guards(selection: Selection) -> list[str]:
    """List what to heal: with a database also its guard, which has ended if it had to act."""
    names = selection.processes
    guards = [f"{one.target}/guard" for one in selection.servers if "guard" in INSTANCES[one.kind]]
    return names + [name for name in guards if name not in names and not selection.instance]


def _reopen_hosts(lab: Lab, selection: Selection) -> None:
    open_now = supervisor.hosts()
    for server in _databases(selection):
        if server not in open_now:
            ssh.open_host(lab.state, server.partition("/")[0])


def _thaw_pods(lab: Lab, selections: Iterable[Selection]) -> None:
    for selection in selections:
        everywhere = _of_region(lab, selection) if selection.is_region else selection.pods
        for pod in everywhere:
            if pod.state == "frozen":
                pods.send(pod, signal.SIGCONT)


def _of_region(lab: Lab, selection: Selection) -> tuple[pods.Pod, ...]:
    if not lab.layout.services:
        return ()
    regions = {server.region for server in selection.servers if server.kind == "kubernetes"}
    return tuple(pod for region in regions for pod in pods.find(lab.cluster(region)))


def _start(lab: Lab, names: list[str]) -> None:
    """Start what is down; what others need comes first."""
    first = [name for name in names if name.endswith(("/etcd", "/guard"))]
    at_once(lambda name: supervisor.act(name, "start"), first)
    second = [name for name in names if name.endswith(("/apiserver", "/postgres"))]
    at_once(lambda name: supervisor.act(name, "start"), second)
    for name in second:
        region = name.partition("/")[0]
        if name.endswith("/apiserver"):
            lab.cluster(region).wait_until_ready()
        else:
            _wait_for_database(lab, region, name)
    at_once(lambda name: supervisor.act(name, "start"), [name for name in names if name not in first + second])


def _wait_for_database(lab: Lab, region: str, name: str) -> None:
    """Wait until a database answers, or has ended again because its guard fenced it."""

    def settled() -> None:
        try:
            lab.member(region).answers()
        except OSError as error:
            if supervisor.processes()[name].state == "running":
                raise NotYet(str(error)) from error
            lab.screen.say(f"  {name} has ended again: {with_advice(supervisor.log_tail(lab.state, name))}")

    until(settled, seconds=30, what=f"{name} to accept connections")
