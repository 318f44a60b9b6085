# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab's Route 53 and its name servers' configuration: tables, no server."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from recovery_lab import aws_api, aws_server, dns_authority, dns_dynamic, identity, python_programs, topology
from recovery_lab.errors import LabError

FULL = topology.build("full")
ROW = {"Name": "app.lab.example.", "Type": "A", "TTL": 5, "ResourceRecords": [{"Value": "127.101.0.80"}]}
EAST = {**ROW, "ResourceRecords": [{"Value": "127.102.0.80"}]}


def held(*rows: dict[str, Any]) -> dict[Any, Any]:
    return {aws_server.key_of(row): aws_server.plain(row) for row in rows}


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        pytest.param([("DELETE", ROW), ("CREATE", EAST)], "", id="what was seen goes, what is wanted comes"),
        pytest.param([("UPSERT", EAST)], "", id="over whatever is there"),
        pytest.param([("DELETE", EAST), ("CREATE", EAST)], "do not match the current values", id="other values"),
        pytest.param([("DELETE", {**ROW, "TTL": 6})], "do not match the current values", id="another TTL"),
        pytest.param([("DELETE", {**ROW, "Type": "AAAA"})], "not found", id="not there"),
        pytest.param([("CREATE", EAST)], "already exists", id="there already"),
        pytest.param([("UPSERT", EAST), ("DELETE", ROW)], "do not match", id="none of a batch if one of it fails"),
    ],
)
def test_a_batch_is_made_whole_or_not_at_all(changes: list[tuple[str, Any]], problem: str) -> None:
    before = held(ROW)
    rows = [{"Action": action, "ResourceRecordSet": row} for action, row in changes]
    after, said = aws_server.changed(before, rows)
    assert before == held(ROW)
    if problem:
        assert (after, problem in said) == ({}, True)
    else:
        assert (after, said) == (held(EAST), "")


def test_sets_of_one_name_are_told_apart() -> None:
    west, east = ({**ROW, "SetIdentifier": name, "Weight": 1} for name in ("west", "east"))
    after, said = aws_server.changed(held(west, east), [{"Action": "DELETE", "ResourceRecordSet": west}])
    assert (after, said) == (held(east), "")


def test_the_version_of_a_health_check_is_read() -> None:
    body = b"<UpdateHealthCheckRequest><HealthCheckVersion>12</HealthCheckVersion></UpdateHealthCheckRequest>"
    assert (aws_server.version_in(body), aws_server.version_in(b"<UpdateHealthCheckRequest/>")) == (12, 0)


def test_five_requests_a_second_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(aws_server.time, "monotonic", lambda: now[0])
    rate = aws_server.Rate()
    assert [rate.allows() for _ in range(7)] == [True] * 5 + [False] * 2
    now[0] += 0.4
    assert [rate.allows() for _ in range(3)] == [True, True, False]
    rate.none_until = now[0] + 60
    now[0] += 30
    assert not rate.allows()


def test_a_new_account_has_a_name_for_each_service_and_a_check_for_each_region() -> None:
    wanted = aws_api.seed(FULL)
    assert {name: check["IPAddress"] for name, check in wanted["health_checks"].items()} == {
        "us-west-2": "127.101.0.80",
        "us-east-1": "127.102.0.80",
    }
    names = {row["Name"] for row in wanted["zones"]["lab.example"]}
    assert {f"{name}.lab.example." for name in ("app", "api", *FULL.services)} <= names


def test_the_resolver_asks_every_name_server_by_the_operators_links() -> None:
    text = dns_authority.corefile(FULL)
    assert "relay 127.101.0.54:5353 127.102.0.54:5353" in text
    assert "relay 127.102.0.56:5353" in text


def test_the_dynamic_zone_leads_to_the_primary_region() -> None:
    [server] = FULL.of_kind("dns_dynamic")
    assert "app.dynamic.example. 5 A 127.101.0.80" in dns_dynamic.zone_file(FULL, server)


def test_packages_that_the_labs_user_cannot_reach_are_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECOVERY_LAB_CACHE", str(tmp_path))
    monkeypatch.setattr(identity, "reachable", lambda _: False)
    folder = python_programs.packages("flask")
    assert folder.is_relative_to(tmp_path)
    code = f"import sys; sys.path.insert(0, {str(folder)!r}); import flask, werkzeug; print(flask.__file__)"
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith(str(folder))


def test_a_package_that_is_missing_is_named() -> None:
    with pytest.raises(LabError, match="no-such-package is missing"):
        python_programs.closure("no-such-package")


def test_no_python_at_all_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(identity, "reachable", lambda _: False)
    with pytest.raises(LabError, match="Install python3 where everybody may read"):
        python_programs.interpreter()
