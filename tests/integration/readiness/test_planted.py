# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Twenty and more planted defects on the whole platform: each is found and named, and nothing else is."""

from __future__ import annotations

import time
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest

from tests.integration.checklists.test_readiness import readiness
from tests.integration.checklists.test_refusals import changed_inventory
from tests.integration.readiness import planted
from tests.support.platform import EAST, ROOT, WEST

pytestmark = pytest.mark.lab


def bad(report: dict[str, Any]) -> dict[str, str]:
    found = {f"{c['subject']}: {c['check']}": c for c in report["checks"] if c["verdict"] != "ready"}
    assert all(check["mend"] and check["observed"] and check["wanted"] for check in found.values())
    return {name: check["verdict"] for name, check in found.items()}


def test_the_whole_platform_is_ready_in_ten_seconds(tmp_path: Path) -> None:
    # Route 53's checkers begin to look when the lab does.
    planted.until(lambda: readiness(tmp_path, "--target", EAST)[0] == 0, "it is not ready")
    begin = time.monotonic()
    code, report = readiness(tmp_path, "--target", EAST)
    seconds = time.monotonic() - begin
    assert (code, bad(report)) == (0, {})
    assert {"dns_failover", "scale_cluster", "platform"} <= {check["role"] for check in report["checks"]}
    assert seconds < 10


def wrong_description(folder: Path, known: dict[str, Any]) -> None:
    """Describe the platform wrongly, as one that was copied from another, or has changed since."""
    platform = known["recovery_platform"]
    key = folder / "operator"
    key.write_text((ROOT / ".lab/ssh/operator").read_text())
    key.chmod(0o644)
    platform["databases"]["platform_db"]["members"][WEST]["fence"]["identity_file"] = str(key)
    platform["databases"]["platform_db"]["objectives"]["rto_seconds"] = 0
    platform["databases"]["platform_db"]["tables"].append("gone")
    platform["zones"]["dynamic.example"]["targets"] = {
        WEST: platform["zones"]["dynamic.example"]["targets"][WEST],
        EAST: {"values": ["127.102.0.80"], "probe": "http://127.102.0.80:8079/healthz"},
    }
    platform["zones"]["lab.example"]["records"].append({"name": "gone.lab.example"})
    known["recovery_credentials"]["canary"] = {"user": "canary", "password": ""}
    platform["canary"]["credentials"] = "canary"
    known["recovery_evidence_key"] = str(folder / "no-key")


def test_each_defect_of_a_description_is_found_and_named_and_nothing_else(tmp_path: Path) -> None:
    inventory = changed_inventory(tmp_path, lambda known: wrong_description(tmp_path, known))
    code, report = readiness(tmp_path / "runs", "--target", EAST, inventory=inventory)
    assert code == 4
    assert bad(report) == dict.fromkeys(
        [
            "evidence: key",
            "platform_db: objectives",
            "platform_db us-east-1: tables",
            "controller: account canary",
            "controller: databases.platform_db.members.us-west-2.fence.identity_file",
            # What ssh makes of such a key.
            "platform_db us-west-2: service manager",
            "dynamic.example: target us-east-1",
            # A name that does not exist: nobody knows it, and it cannot be moved.
            "lab.example: name server 127.101.0.54:5353",
            "lab.example: name server 127.102.0.54:5353",
            "lab.example: resolver 127.0.0.53:5353",
            "lab.example: API and plan",
        ],
        "not_ready",
    )


# The last one: the lab stays as broken as it is then.
def test_each_defect_of_a_server_is_found_and_named_and_nothing_else(tmp_path: Path) -> None:
    with planted.everything() as check:
        code, report = readiness(tmp_path, "--target", EAST)
    like, database = f"{EAST} like {WEST}", "platform_db"
    assert code == 4
    assert bad(report) == dict.fromkeys(
        [
            f"{like}: Deployment production/reports, image of app",
            f"{like}: Deployment production/billing, variables of app",
            f"{like}: Deployment production/search",
            f"{like}: ConfigMap production/features, key search",
            f"{like}: ConfigMap production/limits",
            f"{like}: Secret production/payments, key token",
            f"{like}: Secret production/mail",
            # Who needs it is told as well.
            f"{like}: Secret production/mail, key key needed",
            f"{EAST} cluster {EAST}: room quota tight of namespace production pods",
            f"{EAST} cluster {EAST}: room 0 nodes pods",
            f"{EAST}: memory of sizes",
            f"{database} {EAST}: standby follows",
            f"{database} {EAST}: schema",
            f"{database} {EAST}: extensions",
            f"{database} {EAST}: settings of the target",
            f"{database} {WEST}: archive",
            f"{database} {EAST}: guard",
            f"postgresql of {database} in {EAST}: certificate",
            "lab.example: TTL",
            f"lab.example: health check {check} of {WEST}",
            # A failover would have to force that check, and could not.
            "lab.example: API and plan",
        ],
        "not_ready",
    )
    for path in tmp_path.rglob("*"):
        text = path.read_text(errors="replace") if path.is_file() else ""
        for value in planted.VALUES.values():
            assert value not in text
            assert b64encode(value.encode()).decode() not in text
