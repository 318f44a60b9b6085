# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""(f) 500 names led to another region and back, proof included, against the floor: the bare requests and one answer."""

from __future__ import annotations

import shutil
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from ansible_collections.platform.recovery.plugins.module_utils.dns import failover
from ansible_collections.platform.recovery.plugins.module_utils.dns.failover import Request
from ansible_collections.platform.recovery.plugins.module_utils.dns.model import zones_of
from ansible_collections.platform.recovery.plugins.module_utils.schema import Validator
from ansible_collections.platform.recovery.plugins.plugin_utils.action import documented_options
from tests.integration.dns.world import (
    AUTHORITIES,
    EAST,
    MANY,
    PORT,
    VALUES,
    WEST,
    World,
    ask,
    credentials,
    eventually,
    running,
    zones,
)

ROUNDS = 3
MAPS = frozenset({"zones", "zones.targets", "credentials"})
ROLES = {"PRIMARY": "SECONDARY", "SECONDARY": "PRIMARY"}
# A name server in the place of a cache: what a TTL adds is nobody's work.
NO_CACHE = {"resolvers": [{"address": AUTHORITIES[EAST], "port": PORT}]}


def bench() -> dict[str, Any]:
    """Move the same names over and over, raw and ours in turn."""
    folder = Path(tempfile.mkdtemp())
    raw: list[float] = []
    ours: list[float] = []
    try:
        with running(folder) as world:
            for _ in range(ROUNDS):
                for times, move in ((raw, move_raw), (ours, move_ours)):
                    times += [timed(world, move, target) for target in (EAST, WEST)]
    finally:
        shutil.rmtree(folder)
    ratio = statistics.median(ours) / statistics.median(raw)
    return {
        "rows": [
            ("way", "median s", "all s"),
            ("raw floor", f"{statistics.median(raw):.2f}", " ".join(f"{s:.2f}" for s in raw)),
            ("dns_failover", f"{statistics.median(ours):.2f}", " ".join(f"{s:.2f}" for s in ours)),
            ("ratio", f"{ratio:.2f}", ""),
        ],
        # Every name is asked for at every server, before and after; the floor asks for one at one.
        "claims": [("500 names against the raw floor", ratio, 2.0), ("slowest move, s", max(ours), 10.0)],
    }


def timed(world: World, move: Any, target: str) -> float:
    """Let the account's allowance be full again first, for both ways alike."""
    time.sleep(2)
    begin = time.monotonic()
    move(world, target)
    return time.monotonic() - begin


def move_raw(world: World, target: str) -> None:
    """Read the zone, exchange all roles, and wait for one answer."""
    client, zone_id = world.route53(), world.zone_id()
    pages = client.get_paginator("list_resource_record_sets").paginate(HostedZoneId=zone_id)
    names = {f"{name}." for name in MANY}
    sets = {(row["Name"], row.get("SetIdentifier")): row for page in pages for row in page["ResourceRecordSets"]}
    rows = [row for (name, _), row in sets.items() if name in names]
    for at in range(0, len(rows), 500):
        part = rows[at : at + 500]
        changes = [{"Action": "DELETE", "ResourceRecordSet": row} for row in part]
        changes += [
            {"Action": "CREATE", "ResourceRecordSet": {**row, "Failover": ROLES[row["Failover"]]}} for row in part
        ]
        client.change_resource_record_sets(HostedZoneId=zone_id, ChangeBatch={"Changes": changes})
    eventually(lambda: ask(AUTHORITIES[EAST], MANY[-1]) == [VALUES[target]])


def move_ours(world: World, target: str) -> None:
    """Call the verb as its action does."""
    del world
    given = {"zones": zones(*MANY, provider="route53_records", **NO_CACHE), "credentials": credentials()}
    options, _ = Validator(maps=MAPS).check(documented_options("dns_failover"), {**given, "target": target})
    failover.move(zones_of(options), Request(target))
