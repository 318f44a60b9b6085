# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make, strike and remove the scratch platform that a drill works on."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, TypeVar

from ansible_collections.platform.recovery.plugins.module_utils import canary, drill, schema
from ansible_collections.platform.recovery.plugins.module_utils import platform as description
from ansible_collections.platform.recovery.plugins.module_utils.kubernetes.client import Client
from ansible_collections.platform.recovery.plugins.module_utils.kubernetes.kubeconfig import load
from ansible_collections.platform.recovery.plugins.module_utils.kubernetes.scratch import Copied, Namespace
from ansible_collections.platform.recovery.plugins.module_utils.postgresql.model import Credentials, members_from
from ansible_collections.platform.recovery.plugins.module_utils.postgresql.scratch import Limits, Scratch
from ansible_collections.platform.recovery.plugins.plugin_utils.action import Call, RecoveryAction

R = TypeVar("R")
CANARY = "canary"
"""The folder of a run's own canary."""


class ActionModule(RecoveryAction):
    """See the module of the same name."""

    MODULE = "drill_scratch"
    MAPS = frozenset({"credentials"})

    def act(self, call: Call) -> dict[str, Any]:
        """Do what the state asks for, in all places at once."""
        platform, target = call.options["platform"], call.options["target"]
        found = drill.problems(platform, target)
        schema.refuse(list(found), "The platform description", "correct the keys named here; nothing was touched")
        begin = time.monotonic()
        with namespaces(call) as places:
            work = {"present": create, "struck": strike, "absent": remove}[call.options["state"]]
            lines = work(call, scratches(call), places)
        changed = bool(lines)
        if call.run and changed and not call.check:
            state = call.options["state"]
            what = {"present": "scratch made", "struck": "scratch primary killed", "absent": "scratch removed"}[state]
            call.run.journal.append("observation", what=what, lines=lines)
        took = f"{time.monotonic() - begin:.1f} s"
        told = {"changed": changed, "lines": [f"{line} ({took})" for line in lines] or ["no scratch was left"]}
        if call.options["state"] != "present":
            return told
        selection = drill.select(platform, target, reason=call.options["reason"])
        return {
            **told,
            "mode": drill.MODE,
            "databases": selection.databases,
            "services": description.service_inputs(selection.databases),
            "canary": selection.canary,
        }


def scratches(call: Call) -> list[Scratch]:
    """Give the scratch of every database in the target."""
    options = call.options
    platform, target = options["platform"], options["target"]
    limits = Limits(
        options["connect_seconds"], options["statement_seconds"], options["copy_seconds"], options["start_seconds"]
    )
    made = []
    for name, database in drill.selected(platform, target).items():
        account = options["credentials"][database["credentials"]]
        standby = members_from({target: database["members"][target]})[target]
        servers = members_from(drill.scratch_members(database, target))
        made.append(Scratch(standby, servers, name, Credentials(account["user"], account["password"]), limits))
    return made


@contextmanager
def namespaces(call: Call) -> Iterator[dict[str, Namespace]]:
    """Open the scratch namespace of every cluster in the target."""
    platform = call.options["platform"]
    name = platform["drill"]["namespace"]
    with ExitStack() as stack:
        opened = {}
        for cluster, entry in drill.clusters_of(platform, call.options["target"]).items():
            client = Client(cluster, load(entry["kubeconfig"], entry["context"]))
            stack.callback(client.close)
            opened[cluster] = Namespace(client, name, seconds=call.options["start_seconds"])
        yield opened


def create(call: Call, scratches: list[Scratch], places: Mapping[str, Namespace]) -> list[str]:
    """Make the servers, and then the workloads that point to them."""
    run_id = call.run.id if call.run else "alone"
    told = [f"{one.database}: two copies of {one.standby.name} on its host" for one in scratches]
    if call.check:
        return told
    if call.run:
        set_aside(call.run.folder / CANARY)
    call.guard()
    each(scratches, lambda one: one.create(run_id))
    call.guard()
    copied = workloads(call)
    made = each(
        places.items(), lambda item: item[1].create(run_id, copied[item[0]], [one.address for one in scratches])
    )
    return told + [
        f"{cluster}: namespace {place.name} with {len(names)} objects"
        for (cluster, place), names in zip(places.items(), made, strict=True)
    ]


def set_aside(folder: Path) -> None:
    """Keep what an earlier attempt's canary wrote out of what is measured: its rows went with its scratch."""
    canary.stop(folder)
    number = itertools.count(1)
    if folder.exists():
        folder.rename(next(place for n in number if not (place := folder.with_name(f"{folder.name}.{n}")).exists()))


def workloads(call: Call) -> dict[str, list[Copied]]:
    """Say what is copied in each cluster, and where the copies find their database."""
    platform, target = call.options["platform"], call.options["target"]
    found: dict[str, list[Copied]] = {name: [] for name in drill.clusters_of(platform, target)}
    for name, service in drill.services_of(platform, target).items():
        database = platform["databases"][service["database"]]
        old = drill.scratch_members(database, target)[drill.OLD]
        variables = {service["variable"]: old["host"], service["port_variable"]: str(old["port"])}
        for cluster in service["clusters"]:
            found[cluster].append(Copied(service["namespace"], service["kind"], name, variables))
    return found


def await_client(call: Call) -> None:
    """Wait until the canary, where there is one, writes to what is to be struck: else nobody sees the outage begin."""
    found = canary.find(call.run.folder / CANARY) if call.run else None
    if found and found.running:
        now = canary.microseconds(time.time())
        limit = call.options["start_seconds"]
        canary.await_recovery(found, after=now, since=now, until=None, deadline=limit, quiet=0.0)


def strike(call: Call, scratches: list[Scratch], _places: Mapping[str, Namespace]) -> list[str]:
    """Kill every pretended old primary."""
    if not call.check:
        await_client(call)
        call.guard()
        each(scratches, lambda one: one.strike())
    return [f"{one.database}: {drill.OLD} was killed" for one in scratches]


def remove(call: Call, scratches: list[Scratch], places: Mapping[str, Namespace]) -> list[str]:
    """Remove what is left of any drill, the pods first: they would only log that their database is gone."""
    if call.check:
        owners = each(places.values(), lambda place: place.find())
        marks = each(scratches, lambda one: one.find())
    else:
        call.guard()
        owners = each(places.values(), lambda place: place.remove())
        marks = each(scratches, lambda one: one.remove())
    if call.run and not call.check:
        for run_id in {owner for owner in (*owners, *marks) if owner}:
            canary.stop(call.run.folder.parent / run_id / CANARY)
    told = [
        f"{cluster}: namespace {place.name} of run {owner}"
        for (cluster, place), owner in zip(places.items(), owners, strict=True)
        if owner
    ]
    return told + [
        f"{one.database}: servers of run {mark} on the host of {one.standby.name}"
        for one, mark in zip(scratches, marks, strict=True)
        if mark
    ]


def each(things: Any, work: Callable[[Any], R]) -> list[R]:
    """Work on all at once, and wait for all, whatever becomes of one."""
    things = list(things)
    if not things:
        return []
    with ThreadPoolExecutor(max_workers=len(things)) as pool:
        return list(pool.map(work, things))
