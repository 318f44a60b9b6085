# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bring the lab up, take it down, and set it back to its first healthy state."""

from __future__ import annotations

import fcntl
import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

from . import (
    copies,
    faults,
    fetched,
    identity,
    leftovers,
    network,
    postgresql_programs,
    provision,
    renewal,
    supervisor,
    topology,
)
from .errors import LabError
from .postgresql_programs import PostgresqlPrograms
from .provision import Lab
from .screen import Screen
from .state import State, clone_folder, default_folder, state_folder, write
from .survey import Survey, require_health, survey
from .topology import Topology
from .wait import NotYet, until

DEFAULT_PROFILE, DEFAULT_POSTGRESQL = "small", "18"
# What a snapshot holds, and whose processes stand still while it is taken.
KEPT = ("data", "archive")
# What turning back the time undoes: fences, and what an operator's tools remember of the platform (inventories/lab).
UNDONE = ("masked", "memory")
WRITERS = {
    "postgresql": "postgres",
    "kubernetes": "etcd",
    "aws_api": "moto",
    "dns_dynamic": "knot",
    "redis": "redis",
    "sentinel": "sentinel",
    "kafka": "kafka",
    "object_storage": "minio",
}


def load(screen: Screen) -> Lab:
    """Give the lab as its last `up` made it, without looking for programs: whoever runs is already defined."""
    state = State(state_folder())
    settings = state.settings()
    version = str(settings.get("postgresql", DEFAULT_POSTGRESQL))
    layout = topology.build(str(settings.get("profile", DEFAULT_PROFILE)))
    return Lab(state, layout, {}, PostgresqlPrograms(version, Path()), screen)


def running(screen: Screen) -> Lab:
    """Give the running lab. LabError if none runs."""
    lab = load(screen)
    if not supervisor.running_here(lab.state):
        raise LabError("The lab does not run. Start it: `recovery-lab up`.")
    return lab


@contextmanager
def acting(screen: Screen) -> Iterator[Lab]:
    """Give the running lab to one command alone: two faults at once would forget each other."""
    with exclusive(running(screen).state):
        yield running(screen)  # it may have ended while we waited


def settle(lab: Lab, seconds: float = 30) -> Survey:
    """After healing: give the servers some time to become healthy, and tell how it is then.

    What is down or cut off by now does not come back by itself: there is nothing to wait for.
    """
    deadline = time.monotonic() + seconds
    found = survey(lab)
    while not found.healthy and found.may_recover and time.monotonic() < deadline:
        time.sleep(0.2)
        found = survey(lab)
    return _report(lab, found)


@contextmanager
def exclusive(state: State) -> Iterator[None]:
    """Let one command at a time start or end servers."""
    identity.prepare_root(state.root, certainly_ours=state.root == default_folder())
    with (state.root / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def up(screen: Screen, profile: str | None = None, version: str | None = None, *, fresh: bool = False) -> Survey:
    """Bring the lab up. A running one is completed, a healthy one left alone; `fresh` wants the first state."""
    state = State(state_folder())
    with exclusive(state):
        profile, version = _wanted(state, profile, version)
        if not fresh:
            return _up(state, screen, profile, version)
        running = supervisor.running_here(state)
        old = state.settings()
        if old.get("provisioned") and (old["profile"], old["postgresql"]) == (profile, version):
            return _reset(state, screen)
        if running:
            _end(state)  # it is made anew
        return _up(state, screen, profile, version)


def _wanted(state: State, profile: str | None, version: str | None) -> tuple[str, str]:
    old = state.settings()
    return (
        profile or str(old.get("profile", DEFAULT_PROFILE)),
        version or str(old.get("postgresql", DEFAULT_POSTGRESQL)),
    )


def _up(state: State, screen: Screen, profile: str, version: str) -> Survey:
    old = state.settings()
    layout = topology.build(profile)
    if supervisor.running_here(state):
        if old.get("provisioned"):
            _refuse_change(old, profile, version)
            return _complete(load(screen))
        _end(state)  # a first `up` was broken off
    made_anew = not old.get("provisioned") or (old["profile"], old["postgresql"]) != (profile, version)
    lab = _whole(state, layout, version, screen)
    count = leftovers.end(state.root)
    if count:
        screen.say(f"Ended {count} processes that a killed lab had left behind.")
    if made_anew:
        _forget(state, profile, version)
    screen.say(f"Lab in {state.root} (profile {profile}, PostgreSQL {version})")
    _start(lab, anew=made_anew)
    if not made_anew:
        return settle(lab, seconds=60)
    with screen.step("snapshot", "of the first healthy state"):
        take_snapshot(lab)
        # The servers stood still for it, and pods that missed their database are unready for a moment.
        until(partial(require_health, lab), seconds=60, what="a healthy lab")
        renewal.remember(lab)
    _remember(state, profile, version, provisioned=True)
    return _report(lab, survey(lab))


def _whole(state: State, layout: Topology, version: str, screen: Screen) -> Lab:
    """Give a lab with all of its programs, built if need be."""
    found = fetched.find(layout.profile, screen.progress)
    return Lab(state, layout, found, postgresql_programs.find(version), screen)


def _refuse_change(old: dict[str, object], profile: str, version: str) -> None:
    if (old["profile"], old["postgresql"]) != (profile, version):
        raise LabError(
            f"The lab runs with profile {old['profile']} and PostgreSQL {old['postgresql']}, not {profile} and "
            f"{version}. End it first: `recovery-lab down`. It is then made anew; its data is lost."
        )


def _complete(lab: Lab) -> Survey:
    provision.leave_mark(lab)
    found = survey(lab)
    if found.healthy:
        lab.screen.say(f"The lab is up and healthy ({lab.state.root}).")
        return found
    lab.screen.say(f"The lab runs, but {found.summary}. Healing it.")
    faults.heal(lab, None)
    return settle(lab)


def _forget(state: State, profile: str, version: str) -> None:
    for name in (*KEPT, *UNDONE, "snapshot"):
        shutil.rmtree(state.root / name, ignore_errors=True)
    renewal.forget(state)
    _remember(state, profile, version, provisioned=False)


def _remember(state: State, profile: str, version: str, *, provisioned: bool) -> None:
    content = {"profile": profile, "postgresql": version, "provisioned": provisioned}
    write(state.settings_file, json.dumps(content))


def _start(lab: Lab, *, anew: bool) -> None:
    """Start everything from nothing running, in a network without faults. A lab made anew must become healthy."""
    network.remember(lab.state, network.Condition())
    _put_logs_away(lab.state)
    provision.configure(lab)
    _link_clone(lab.state)
    for server in lab.layout.of_kind("postgresql"):
        # Nothing runs here, whatever process has that number by now.
        (lab.member(server.region).data / "postmaster.pid").unlink(missing_ok=True)
    supervisor.start(lab.programs["lab-supervisor"], lab.state)
    try:
        provision.define(lab)
        provision.start(lab, anew=anew)
        provision.leave_mark(lab)
        if anew:
            with lab.screen.step("health", "of every server and service"):
                until(partial(require_health, lab), seconds=60, what="a healthy lab")
    except BaseException:
        # Half a lab serves nobody and would be taken for one.
        _end(lab.state)
        raise


def _put_logs_away(state: State) -> None:
    """Keep the logs of the last run and no older ones: a lab that is used for months must not fill the disk."""
    previous = state.root / "logs.previous"
    shutil.rmtree(previous, ignore_errors=True)
    if state.logs.exists():
        state.logs.rename(previous)


def _link_clone(state: State) -> None:
    link = clone_folder() / ".lab"
    if link.is_symlink() and link.readlink() == state.root:
        return
    try:
        link.unlink(missing_ok=True)
        link.symlink_to(state.root)
    except OSError as error:
        raise LabError(f"{link} must be a link to {state.root} for the lab's inventory: {error}") from error


def _report(lab: Lab, found: Survey) -> Survey:
    resident = sum(row.resident_mib for row in found.rows) / 1024
    verdict = "Healthy" if found.healthy else "Up, but not healthy"
    lab.screen.say(f"{verdict} after {lab.screen.elapsed:.1f} s, {resident:.1f} GiB resident.")
    for problem in found.problems:
        lab.screen.say(f"  {problem}")
    if found.fenced:
        lab.screen.say(
            "A fenced server stays down until it is rejoined; `recovery-lab reset` gives the first state back."
        )
    return found


def down(screen: Screen) -> None:
    """End every process of the lab; its data stays."""
    state = State(state_folder())
    with exclusive(state):
        count = _end(state) if supervisor.running_here(state) else leftovers.end(state.root)
    screen.say(
        f"The lab is down{f' ({count} leftovers were killed)' if count else ''}; its data stays in {state.root}."
    )


def _end(state: State) -> int:
    """End every process, politely as far as the supervisor can; say how many were left for a SIGKILL."""
    with suppress(LabError, OSError):
        supervisor.shut_down()
    return leftovers.end(state.root)


def reset(screen: Screen) -> Survey:
    """Give the first healthy state back, data included."""
    state = State(state_folder())
    with exclusive(state):
        supervisor.running_here(state)  # refuses another clone's lab
        return _reset(state, screen)


def _reset(state: State, screen: Screen) -> Survey:
    """Put back what differs where the lab runs; all of it where that cannot be done."""
    old = state.settings()
    if not old.get("provisioned"):
        raise LabError("There is no first state to go back to: the lab was never up. Run `recovery-lab up`.")
    if supervisor.running_here(state):
        lab = _whole(state, topology.build(str(old["profile"])), str(old["postgresql"]), screen)
        try:
            return _report(lab, renewal.renew(lab))
        except (LabError, OSError, NotYet) as error:
            screen.say(f"Everything is made anew: {error}")
    return _reset_all(state, screen)


def _reset_all(state: State, screen: Screen) -> Survey:
    # No polite end: what runs now is thrown away.
    leftovers.end(state.root)
    if supervisor.lab():
        raise LabError(f"A supervisor still answers; nothing was deleted in {state.root}. End it and try again.")
    for name in UNDONE:
        shutil.rmtree(state.root / name, ignore_errors=True)
    for name in KEPT:
        copies.bring_back(state.snapshot / name, state.root / name)
    renewal.forget(state)
    found = _up(state, screen, *_wanted(state, None, None))
    if found.healthy:
        renewal.remember(load(screen))
    return found


def take_snapshot(lab: Lab) -> None:
    """Copy the data of all servers while they stand still: what a power cut at this moment would leave."""
    writers = [f"{server.target}/{WRITERS[server.kind]}" for server in lab.layout.servers if server.kind in WRITERS]
    shutil.rmtree(lab.state.snapshot, ignore_errors=True)
    for server in lab.layout.of_kind("postgresql"):
        lab.member(server.region).execute("postgres", "checkpoint")
    with ThreadPoolExecutor(max_workers=len(writers)) as pool:
        try:
            list(pool.map(lambda name: supervisor.act(name, "freeze"), writers))
            part = lab.state.root / "snapshot.part"
            shutil.rmtree(part, ignore_errors=True)
            part.mkdir(mode=0o700)
            _copy(lab.state.root, part)
            part.rename(lab.state.snapshot)
        finally:
            list(pool.map(lambda name: supervisor.act(name, "thaw"), writers))


def _copy(source: Path, target: Path) -> None:
    words = ["cp", "--archive", "--reflink=auto", *(str(source / name) for name in KEPT), str(target)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise LabError(f"The data could not be copied to {target}: {identity.last_lines(done.stderr)}")
