# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the application's pods are told of the stores beside the database."""

from __future__ import annotations

from base64 import b64decode
from pathlib import Path
from typing import Any

import pytest

from recovery_lab import addresses, manifests, topology
from recovery_lab.state import State
from recovery_lab.topology import PRIMARY, STANDBY, Server, Topology

PLACES = {"redis": (60, 6379), "sentinel": (61, 26379), "kafka": (62, 9092), "object_storage": (64, 9000)}


def environments(objects: list[dict[str, Any]]) -> dict[str, dict[str, str]]:
    """Give each service's environment as its pods see it."""
    secrets = {one["metadata"]["name"]: one["data"] for one in objects if one["kind"] == "Secret"}
    found = {}
    for one in objects:
        if one["kind"] == "Deployment":
            rows = one["spec"]["template"]["spec"]["containers"][0]["env"]
            found[one["metadata"]["name"]] = {row["name"]: value(row, secrets) for row in rows}
    return found


def value(row: dict[str, Any], secrets: dict[str, dict[str, str]]) -> str:
    if "value" in row:
        return str(row["value"])
    reference = row["valueFrom"]["secretKeyRef"]
    return b64decode(secrets[reference["name"]][reference["key"]]).decode()


def test_a_lab_without_stores_names_none(tmp_path: Path) -> None:
    found = environments(manifests.objects(State(tmp_path), topology.build("small"), PRIMARY))
    assert set(found) == set(topology.SERVICES)
    assert not any(name.startswith(("SESSIONS", "EVENTS", "FILES")) for one in found.values() for name in one)


def test_each_region_is_told_its_own_stores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(addresses, "PLACES", {**addresses.PLACES, **PLACES})
    state = State(tmp_path)
    servers = [Server(region, kind) for region in (PRIMARY, STANDBY) for kind in ("postgresql", *PLACES)]
    layout = Topology("full", servers, services=topology.SERVICES)
    told = environments(manifests.objects(state, layout, STANDBY))["user-service"]
    assert told["SESSIONS_SENTINELS"] == ("sentinel.us-east-1.lab.internal:26379,sentinel.us-west-2.lab.internal:26379")
    assert told["SESSIONS_PASSWORD"] == state.secret("redis")
    assert told["EVENTS_BROKERS"] == "kafka.us-east-1.lab.internal:9092"
    assert told["EVENTS_PASSWORD"] == state.secret("kafka-events")
    assert (told["FILES_ENDPOINT"], told["FILES_BUCKET"]) == (
        "https://object-storage.us-east-1.lab.internal:9000",
        "files-us-east-1",
    )
    assert told["FILES_SECRET_KEY"] == state.secret("object-storage-app")
    assert told["SESSIONS_CA"] == told["EVENTS_CA"] == told["FILES_CA"] == str(state.ca)
