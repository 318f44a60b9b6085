# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A drill as data: its scratch platform, and what must be the same before and after. Pure functions."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from . import platform as description
from .schema import Problem

OLD, NEW = "scratch-old", "scratch-new"
"""The members of a scratch database: the pretended old primary, and the standby that is promoted."""
EDGE = "scratch"
MODE = "failover"
"""A drill is a failover of the scratch: its primary is killed while the canary writes."""
SHOWN = 10

Inventory = Mapping[str, str]
"""A digest of everything that a drill could have touched, by where and what it is."""


@dataclass(frozen=True)
class Selection:
    """What the plays work on: the shape of what platform_description gives, of the scratch."""

    databases: list[dict[str, Any]]
    canary: dict[str, Any] | None


def folder(member: Mapping[str, Any]) -> str:
    """Give the folder beside a member's data in which its scratch lies."""
    return f"{str(member['data_directory']).rstrip('/')}.drill"


def problems(platform: Mapping[str, Any], target: str) -> Iterator[Problem]:
    """Find what keeps a drill from having a scratch."""
    for name, database in selected(platform, target).items():
        key = f"platform.databases.{name}"
        if database["provider"] != "streaming":
            yield Problem(
                f"{key}.provider", database["provider"], "streaming: a drill copies a standby on its own host"
            )
            continue
        ports = database["drill_ports"]
        if len(set(ports)) != 2 or not all(0 < port < 65536 for port in ports):
            yield Problem(f"{key}.drill_ports", ports, "two different ports from 1 to 65535")
        member = database["members"][target]
        if not member["data_directory"]:
            yield Problem(f"{key}.members.{target}.data_directory", None, "a folder: the scratch is made beside it")
        if (member["fence"] or {}).get("method", "none") == "none":
            yield Problem(f"{key}.members.{target}.fence", None, "a way to the host, on which the scratch is made")
    used = {service["namespace"] for service in platform["services"].values()}
    if platform["drill"]["namespace"] in used:
        yield Problem(
            "platform.drill.namespace",
            platform["drill"]["namespace"],
            "a namespace that no service is in: it is removed",
        )


def selected(platform: Mapping[str, Any], target: str) -> dict[str, Any]:
    """Give the databases that have a member in the target."""
    return {n: database for n, database in platform["databases"].items() if target in database["members"]}


def services_of(platform: Mapping[str, Any], target: str) -> dict[str, Any]:
    """Give the services that are copied, each with the target's clusters alone."""
    near = clusters_of(platform, target)
    databases = selected(platform, target)
    copied = {}
    for name, service in platform["services"].items():
        clusters = [cluster for cluster in service["clusters"] if cluster in near]
        if clusters and service["database"] in databases:
            copied[name] = {**service, "clusters": clusters}
    return copied


def clusters_of(platform: Mapping[str, Any], target: str) -> dict[str, Any]:
    """Give the clusters of the target's region."""
    return {name: cluster for name, cluster in platform["clusters"].items() if cluster["region"] == target}


def scratch_platform(platform: Mapping[str, Any], target: str) -> dict[str, Any]:
    """Describe the scratch in the schema of a platform description: the roles need not know that it is one."""
    where = platform["drill"]
    services = services_of(platform, target)
    canary = platform["canary"]
    watched = bool(canary and where["url"] and canary["service"] in services)
    return {
        **platform,
        "name": f"{platform['name']} (drill)",
        "regions": {OLD: {"role": "primary"}, NEW: {"role": "secondary"}},
        "databases": {
            name: {**database, "members": scratch_members(database, target)}
            for name, database in selected(platform, target).items()
        },
        "clusters": {n: {**cluster, "region": NEW} for n, cluster in clusters_of(platform, target).items()},
        # The scratch's servers differ by their port, and by nothing else.
        "services": {
            name: {**service, "namespace": where["namespace"], "variable": service["port_variable"]}
            for name, service in services.items()
        },
        "edges": {EDGE: {"region": NEW, "url": where["url"]}} if where["url"] else {},
        "canary": {**canary, "edge": EDGE} if canary and watched else None,
        # No name leads to the scratch, and it keeps nothing in another store.
        "zones": {},
        "stores": {},
    }


def scratch_members(database: Mapping[str, Any], target: str) -> dict[str, Any]:
    """Describe the two servers of a scratch, which are processes on the standby's host and no units of it."""
    member = database["members"][target]
    made = {}
    for name, port in zip((OLD, NEW), database["drill_ports"], strict=True):
        data = f"{folder(member)}/{name}"
        fence = {**member["fence"], "method": "process", "unit": data, "guard_unit": None}
        made[name] = {
            **member,
            "port": port,
            "data_directory": data,
            "config_file": f"{data}.conf",
            "fence": fence,
        }
    return made


def select(platform: Mapping[str, Any], target: str, *, reason: str | None) -> Selection:
    """Give what the plays after the first work on."""
    scratch = scratch_platform(platform, target)
    wish = description.Wish(
        playbook="database-failover",
        modes=(MODE,),
        mode=MODE,
        target=NEW,
        confirm=None,
        reason=reason,
        allow_data_loss=False,
        fence_statement=None,
        detected_at=None,
    )
    databases = [
        {**database, "target_host": str(scratch["databases"][database["name"]]["members"][NEW]["port"])}
        for database in description.select(wish, scratch)
    ]
    return Selection(databases, description.canary_inputs(wish, scratch))


def digest(value: object) -> str:
    """Give what tells a value from every other, and shows nothing of it."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def differences(before: Inventory, after: Inventory) -> list[str]:
    """Name what is not as it was."""
    return [
        *(f"{name} is new" for name in sorted(after.keys() - before.keys())),
        *(f"{name} is gone" for name in sorted(before.keys() - after.keys())),
        *(f"{name} is changed" for name in sorted(before.keys() & after.keys()) if before[name] != after[name]),
    ]


def counts(inventory: Inventory) -> list[str]:
    """Say how much was compared, a line a place: `place: kind name` is what an entry is called."""
    kinds: dict[str, Counter[str]] = {}
    for name in inventory:
        place, _, what = name.partition(": ")
        kinds.setdefault(place, Counter())[what.partition(" ")[0]] += 1
    return [
        f"{place}: " + ", ".join(f"{number} {kind}" for kind, number in sorted(found.items()))
        for place, found in sorted(kinds.items())
    ]


def shown(names: list[str]) -> str:
    """Name the first of many."""
    more = len(names) - SHOWN
    return "; ".join(names[:SHOWN]) + (f"; and {more} more" if more > 0 else "")
