# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How the whole platform stands, without what differs from run to run: by it two ways to the same end are compared."""

from __future__ import annotations

import json
import os
import re
import ssl
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import psycopg2
import yaml

from recovery_lab import supervisor
from tests.support.platform import EAST, ROOT, WEST, servers

REGIONS = (WEST, EAST)
DEPLOYMENTS = "/apis/apps/v1/deployments"
LEASES = "/apis/coordination.k8s.io/v1/leases"
OUR_LEASE = "recovery-lab"
# What a server keeps only for its own last start, and what must be gone when a recovery is over.
MARKS = ("*.signal", "backup_label", "tablespace_map", "recovery*")
SETTINGS = (
    "SELECT name, setting FROM pg_settings WHERE setting IS DISTINCT FROM boot_val"
    " AND source NOT IN ('default', 'client', 'session', 'override', 'dynamic default') ORDER BY name"
)
STANDBY = "SELECT pg_is_in_recovery()"
SLOTS = "SELECT slot_name::text, slot_type, active FROM pg_replication_slots ORDER BY 1"
STAMP = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+Z?")
# What a run starts beside Ansible, by which a forgotten one is found.
WORDS = (b"canary_client", b"ansible-playbook")


def standing() -> dict[str, Any]:
    """Look at everything that a recovery may touch."""
    seen = servers()
    return {
        "databases": {region: database(region, seen[f"{region}/postgresql"]) for region in REGIONS},
        "processes": {
            name: (process.state == "running", process.masked) for name, process in supervisor.processes().items()
        },
        "clusters": {region: cluster(region) for region in REGIONS},
        "leftovers": leftovers(),
    }


def database(region: str, row: dict[str, Any]) -> dict[str, Any]:
    """Look at one server and at the files beside its data."""
    data = (ROOT / ".lab").resolve() / "data" / region / "postgresql"
    beside = data.with_name("postgresql.recovery")
    found: dict[str, Any] = {
        "marks": sorted({path.name for mark in MARKS for path in data.glob(mark)}),
        "beside": sorted(path.name for path in beside.iterdir() if path.name != "saved") if beside.exists() else [],
    }
    if row["state"] != "running":
        return found
    with session(row) as ask:
        return found | {
            "standby": ask(STANDBY)[0][0],
            "slots": ask(SLOTS),
            "settings": [f"{name}={setting}" for name, setting in ask(SETTINGS)],
        }


@contextmanager
def session(row: dict[str, Any]) -> Iterator[Callable[[str], list[tuple[Any, ...]]]]:
    """Ask one server from inside its region, over one connection."""
    with closing(psycopg2.connect(row["connect"]["direct_url"], connect_timeout=3)) as connection:
        connection.autocommit = True

        def ask(statement: str) -> list[tuple[Any, ...]]:
            with connection.cursor() as cursor:
                cursor.execute(statement)
                return list(cursor.fetchall())

        yield ask


def timeline() -> int:
    """Give the primary's timeline: it grows by one with each promotion, and only with one."""
    rows = servers()
    for region in writers(rows):
        with session(rows[f"{region}/postgresql"]) as ask:
            return int(str(ask("SELECT pg_walfile_name(pg_current_wal_lsn())")[0][0])[:8], 16)
    raise AssertionError("there is no primary")


def cluster(region: str) -> dict[str, Any]:
    """Look at one cluster's workloads and leases."""
    ask = reader(ROOT / f".lab/kubeconfig/{region}.yml")
    workloads = {item["metadata"]["name"]: workload(item) for item in ask(DEPLOYMENTS)["items"]}
    leases = [
        item["spec"]["holderIdentity"]
        for item in ask(LEASES)["items"]
        if item["metadata"]["name"] == OUR_LEASE and item["spec"].get("holderIdentity")
    ]
    return {"workloads": workloads, "leases": leases}


def workload(item: dict[str, Any]) -> dict[str, Any]:
    """Keep of a Deployment what a recovery sets."""
    [container] = item["spec"]["template"]["spec"]["containers"]
    notes = item["metadata"].get("annotations", {}) | item["spec"]["template"]["metadata"].get("annotations", {})
    return {
        "replicas": item["spec"]["replicas"],
        "environment": sorted((one["name"], one.get("value")) for one in container.get("env", [])),
        "annotations": {
            name: STAMP.sub("STAMP", value)
            for name, value in sorted(notes.items())
            if name != "deployment.kubernetes.io/revision"
        },
    }


def reader(kubeconfig: Path) -> Callable[[str], dict[str, Any]]:
    """Give a way to read one cluster's API with nothing of ours in between."""
    document = yaml.safe_load(kubeconfig.read_text())
    place, user = document["clusters"][0]["cluster"], document["users"][0]["user"]
    context = ssl.create_default_context(cafile=place["certificate-authority"])

    def ask(path: str) -> dict[str, Any]:
        request = urllib.request.Request(place["server"] + path, headers={"Authorization": f"Bearer {user['token']}"})
        with urllib.request.urlopen(request, timeout=10, context=context) as answer:
            content: dict[str, Any] = json.loads(answer.read())
        return content

    return ask


def leftovers() -> list[str]:
    """Name the processes of runs that are still there, in this network only: other labs may be beside it."""
    ours = os.stat("/proc/self/ns/net").st_ino
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            line = (entry / "cmdline").read_bytes()
            if any(word in line for word in WORDS) and (entry / "ns/net").stat().st_ino == ours:
                found.append(line.replace(b"\0", b" ").decode(errors="replace")[:200])
        except OSError:
            continue
    return sorted(found)


def writers(rows: dict[str, dict[str, Any]] | None = None) -> list[str]:
    """Name the regions whose server would take a write now, asked from inside."""
    rows = rows or servers()
    found = []
    for region in REGIONS:
        row = rows[f"{region}/postgresql"]
        if row["state"] not in ("running", "isolated", "slow"):
            continue
        with suppress(psycopg2.OperationalError), session(row) as ask:
            if ask(STANDBY) == [(False,)]:
                found.append(region)
    return found


def differences(wanted: Any, seen: Any, where: str = "") -> list[str]:
    """Name every place at which two states differ."""
    if isinstance(wanted, dict) and isinstance(seen, dict):
        names = sorted(set(wanted) | set(seen))
        return [line for name in names for line in differences(wanted.get(name), seen.get(name), f"{where}/{name}")]
    return [] if wanted == seen else [f"{where}: {wanted!r} was expected, {seen!r} is there"]


def wait_for_standing(wanted: dict[str, Any], seconds: float = 20) -> list[str]:
    """Wait until everything stands as wanted, for a standby's connection takes a moment; say what still differs."""
    deadline = time.monotonic() + seconds
    while left := differences(wanted, standing()):
        if time.monotonic() > deadline:
            return left
        time.sleep(0.2)
    return []
