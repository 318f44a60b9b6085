# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Everything that can be seen of a lab, with nothing of the lab's own code: by it two of its states are compared."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import ssl
import urllib.request
from collections import Counter
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg2
import yaml

REGIONS = ("us-west-2", "us-east-1")
PROXIES = "http://127.0.0.20:8474/proxies"
TABLES = ("users", "tenants", "plugins", "ai_requests")

CLUSTER = (  # of a whole server
    "SELECT pg_is_in_recovery()",
    "SELECT system_identifier::text FROM pg_control_system()",
    "SELECT name, setting, source, pending_restart FROM pg_settings ORDER BY name",
    "SELECT slot_name::text, slot_type, active FROM pg_replication_slots ORDER BY 1",
    "SELECT datname::text, datdba, datconnlimit, datallowconn FROM pg_database ORDER BY 1",
    "SELECT rolname::text, rolsuper, rolcanlogin, rolreplication, rolpassword FROM pg_authid ORDER BY 1",
    "SELECT setdatabase, setrole, setconfig FROM pg_db_role_setting ORDER BY 1, 2",
    "SELECT application_name, state FROM pg_stat_replication ORDER BY 1",
    "SELECT status FROM pg_stat_wal_receiver",
    "SELECT count(*) FROM pg_prepared_xacts",
    "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'",
    "SELECT count(*) FROM pg_stat_activity WHERE state LIKE 'idle in transaction%'",
)
CONTENT = (  # of the application's database
    "SELECT nspname::text, relname::text, relkind::text FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace"
    " WHERE nspname NOT LIKE 'pg_%' AND nspname <> 'information_schema' ORDER BY 1, 2",
    "SELECT sequencename::text, last_value FROM pg_sequences ORDER BY 1",
    "SELECT extname::text FROM pg_extension ORDER BY 1",
    *(f"SELECT count(*), md5(string_agg(t::text, '' ORDER BY id)) FROM {table} t" for table in TABLES),
)
TIMELINE = (
    "SELECT CASE WHEN pg_is_in_recovery() THEN lpad(to_hex(timeline_id), 8, '0')"
    " ELSE left(pg_walfile_name(pg_current_wal_lsn()), 8) END FROM pg_control_checkpoint()"
)
# Of an object: what is another at each making, though nobody wants it so.
NOISE = ("uid", "resourceVersion", "creationTimestamp", "managedFields", "generateName", "selfLink")
PASSING = ("events", "componentstatuses")


def whole(status: dict[str, Any]) -> dict[str, Any]:
    """Look at everything of the lab of which this is the status."""
    folder, rows = Path(status["state_folder"]), {row["target"]: row for row in status["servers"]}
    return {
        "healthy": status["healthy"],
        "servers": {name: row["state"] for name, row in rows.items() if row["kind"] != "service"},
        "pods": Counter(row["role"] for row in rows.values() if row["kind"] == "service"),
        "databases": {region: database(rows[f"{region}/postgresql"], folder, region) for region in REGIONS},
        "clusters": {region: cluster(rows[f"{region}/kubernetes"]["connect"]["kubeconfig"]) for region in REGIONS},
        "links": links(),
        "folders": {name: names(folder / name) for name in ("data", "archive", "memory", "masked")},
        "programs": programs(folder),
    }


def database(row: dict[str, Any], folder: Path, region: str) -> dict[str, Any]:
    """Look at one server and at its files."""
    data, configuration = folder / "data" / region / "postgresql", folder / region / "postgresql"
    found: dict[str, Any] = {
        "files": {path.name for path in data.iterdir()},
        "settings": digests([data / "postgresql.auto.conf", *configuration.iterdir()]),
        "limits": Path(f"/proc/{row['pid']}/limits").read_text(),
    }
    with closing(psycopg2.connect(row["connect"]["direct_url"], connect_timeout=3)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            for question in (TIMELINE, *CLUSTER, *CONTENT):
                cursor.execute(question)
                found[question] = cursor.fetchall()
    return found


def digests(paths: Iterable[Path]) -> dict[str, str]:
    """Give what is in files, by name."""
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in paths if path.is_file()}


def names(folder: Path) -> list[str]:
    """Name what lies in a folder and in the folders in it."""
    return sorted(str(path.relative_to(folder)) for glob in ("*", "*/*") for path in folder.glob(glob))


class Kubernetes:
    """The API of one region's cluster, as its operator."""

    def __init__(self, kubeconfig: str) -> None:
        document = yaml.safe_load(Path(kubeconfig).read_text())
        place, user = document["clusters"][0]["cluster"], document["users"][0]["user"]
        host, _, port = place["server"].removeprefix("https://").partition(":")
        context = ssl.create_default_context(cafile=place["certificate-authority"])
        self._connection = http.client.HTTPSConnection(host, int(port), timeout=10, context=context)
        self._token = user["token"]

    def close(self) -> None:
        self._connection.close()

    def call(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """Make one call; a patch is a merge patch."""
        headers = {
            "Authorization": f"Bearer {self._token}",
            "Content-Type": "application/merge-patch+json" if method == "PATCH" else "application/json",
        }
        self._connection.request(method, path, None if body is None else json.dumps(body), headers)
        answer = self._connection.getresponse()
        content = answer.read()
        return answer.status, json.loads(content) if content.startswith(b"{") else None

    def get(self, path: str) -> Any:
        status, content = self.call("GET", path)
        assert status == 200, (path, status, content)
        return content


def cluster(kubeconfig: str) -> dict[str, Any]:
    """Look at every object of every kind."""
    with closing(Kubernetes(kubeconfig)) as api:
        versions = ["/api/v1"]
        versions += [f"/apis/{group['preferredVersion']['groupVersion']}" for group in api.get("/apis")["groups"]]
        found = {}
        for version in versions:
            for one in api.get(version)["resources"]:
                if "list" in one["verbs"] and "/" not in one["name"] and one["name"] not in PASSING:
                    items = api.get(f"{version}/{one['name']}")["items"]
                    found[f"{version}/{one['name']}"] = sorted(map(plain, items), key=lambda item: json.dumps(item))
        return found


def plain(item: dict[str, Any]) -> dict[str, Any]:
    """Keep of an object what is the same whenever it is made; of a pod, which has a name of chance, what it is for."""
    metadata = {key: value for key, value in item["metadata"].items() if key not in NOISE}
    metadata["ownerReferences"] = [(owner["kind"], owner["name"]) for owner in metadata.get("ownerReferences", [])]
    kept = {key: value for key, value in item.items() if key not in ("metadata", "status")}
    if "containers" in kept.get("spec", {}):
        status, [container] = item["status"], kept["spec"]["containers"]
        return {
            "labels": metadata["labels"],
            "container": {key: value for key, value in container.items() if key != "volumeMounts"},
            "crashed": [crashed(one.get("lastState", {})) for one in status["containerStatuses"]],
            "ready": [one["ready"] for one in status["containerStatuses"]],
        }
    if "holderIdentity" in kept.get("spec", {}):
        kept = {}  # a heartbeat; who has a lease that is none is told by its name
    if "podCIDR" in kept.get("spec", {}) or "nodeInfo" in item.get("status", {}):
        kept["spec"] = {**kept["spec"], "conditions": [c["status"] for c in item["status"]["conditions"]]}
    if "replicas" in kept.get("spec", {}):
        kept["status"] = {key: item["status"].get(key) for key in ("replicas", "readyReplicas", "observedGeneration")}
    return {"metadata": metadata, **kept}


def crashed(last: dict[str, Any]) -> bool:
    """Tell whether a container has ended other than with its node, from which it starts as if for the first time."""
    return "terminated" in last and last["terminated"].get("message") != "the node agent ended"


def links() -> dict[str, Any]:
    """Look at the proxied ways between the places."""
    with urllib.request.urlopen(PROXIES, timeout=5) as answer:
        rows = json.loads(answer.read())
    return {name: (row["listen"], row["upstream"], row["enabled"], row["toxics"]) for name, row in rows.items()}


def programs(folder: Path) -> Counter[str]:
    """Count what works below the lab's folder as a child of its supervisor: the servers, and what nobody claims.

    A server's own children come and go: a guard's `sleep`, an archiver's `cp`.
    """
    found: Counter[str] = Counter()
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            below = Path(os.readlink(entry / "cwd").removesuffix(" (deleted)")).is_relative_to(folder)
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            if below and Path(os.readlink(f"/proc/{parent}/exe")).name == "lab-supervisor":
                found[Path(os.readlink(entry / "exe")).name] += 1
        except OSError:
            continue
    return found


def differences(wanted: Any, seen: Any, where: str = "") -> list[str]:
    """Name every place at which two states differ."""
    if isinstance(wanted, dict) and isinstance(seen, dict):
        keys = sorted({*wanted, *seen}, key=str)
        return [line for key in keys for line in differences(wanted.get(key), seen.get(key), f"{where}/{key}")]
    if wanted == seen:
        return []
    if isinstance(wanted, list) and isinstance(seen, list):
        more, less = [one for one in seen if one not in wanted], [one for one in wanted if one not in seen]
        return [f"{where}: {len(more)} new {str(more)[:600]}, {len(less)} missing {str(less)[:600]}"]
    return [f"{where}: {str(wanted)[:300]} was expected, {str(seen)[:300]} is there"]
