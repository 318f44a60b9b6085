# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role as a play, in ansible-playbook, against real servers: journalled, killed, and its readiness."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.platform.recovery.plugins.module_utils.journal import Journal
from ansible_collections.platform.recovery.plugins.module_utils.run import Run
from tests.integration.dns.world import (
    AUTHORITIES,
    DYNAMIC,
    EAST,
    EDGE_PORT,
    KNOT,
    MANY,
    VALUES,
    WEST,
    ZONE,
    World,
    ask,
    credentials,
    eventually,
    zones,
)
from tests.support.killer import below, send

CLONE = Path(__file__).resolve().parents[3]
APP, DYNAMIC_APP = f"app.{ZONE}", f"app.{DYNAMIC}"
ACCOUNTS = {"key": credentials()["key"], "tsig": credentials("rfc2136")["key"]}
SECRETS = [account["password"] for account in ACCOUNTS.values()]


def both(*names: str, **more: Any) -> dict[str, Any]:
    """Two zones of two kinds."""
    dynamic = zones(DYNAMIC_APP, provider="rfc2136", credentials="tsig")
    return {**zones(*(names or (APP,)), **more), **dynamic}


def book(folder: Path, *entries: str, **values: Any) -> list[str]:
    """Write a play that calls entry points of the role; give the command that runs it."""
    variables: dict[str, Any] = {
        "dns_failover_zones": both(),
        "dns_failover_credentials": ACCOUNTS,
        "dns_failover_target": EAST,
        "dns_failover_timeout_seconds": 20,
        **values,
    }
    role = "platform.recovery.dns_failover"
    tasks: list[dict[str, Any]] = [
        {"name": f"Call {entry}", "ansible.builtin.import_role": {"name": role, "tasks_from": entry}}
        for entry in entries
    ]
    keep = {"content": "{{ dns_failover_result | to_json }}", "dest": str(folder / "result.json"), "mode": "0600"}
    tasks.append({"name": "Keep the result", "ansible.builtin.copy": keep, "check_mode": False, "diff": False})
    path = folder / "play.yml"
    content = {"hosts": "localhost", "connection": "local", "gather_facts": False, "vars": variables, "tasks": tasks}
    path.write_text(yaml.safe_dump([content]))
    return [str(Path(sys.executable).parent / "ansible-playbook"), "-i", "localhost,", str(path), "--diff"]


def environment() -> dict[str, str]:
    return {
        **os.environ,
        "ANSIBLE_COLLECTIONS_PATH": str(CLONE / ".collections"),
        "ANSIBLE_STDOUT_CALLBACK": "ansible.builtin.default",
        "ANSIBLE_PYTHON_INTERPRETER": sys.executable,
    }


def play(folder: Path, *entries: str, words: tuple[str, ...] = (), **values: Any) -> tuple[int, Any, str]:
    """Run it; gives the exit code, the result, and what was printed."""
    command = [*book(folder, *entries, **values), *words]
    done = subprocess.run(command, env=environment(), cwd=folder, capture_output=True, text=True, check=False)
    kept = folder / "result.json"
    result = json.loads(kept.read_text()) if kept.exists() else None
    kept.unlink(missing_ok=True)
    text = done.stdout + done.stderr
    assert not any(secret in text for secret in SECRETS)
    return done.returncode, result, text


def test_the_role_there_and_back(world: World, tmp_path: Path) -> None:
    code, result, text = play(tmp_path, "main", words=("--check",))
    assert (code, result["changed"], result["tail"]["measured_seconds"]) == (0, True, None), text
    assert "+health check" in text
    assert f"+{DYNAMIC_APP} A: {VALUES[EAST]}" in text
    assert ask(KNOT, DYNAMIC_APP) == [VALUES[WEST]]
    code, result, text = play(tmp_path, "preflight", "main", "verify", words=("-vvv",))
    assert (code, result["changed"]) == (0, False), text
    for server, name in ((AUTHORITIES[WEST], APP), (AUTHORITIES[EAST], APP), (KNOT, DYNAMIC_APP)):
        assert ask(server, name) == [VALUES[EAST]]
    # The API has nothing left to be done, and still a server may tell clients something else.
    world.edges[EAST].status = 503
    eventually(lambda: ask(AUTHORITIES[EAST], APP) == [VALUES[WEST]])
    code, _result, text = play(tmp_path, "verify")
    assert code == 2, text
    world.edges[EAST].status = 200
    eventually(lambda: ask(AUTHORITIES[EAST], APP) == [VALUES[EAST]])
    code, result, text = play(tmp_path, "rollback", dns_failover_former_target=WEST)
    assert (code, result["changed"], result["target"]) == (0, True, WEST), text
    assert ask(AUTHORITIES[EAST], APP) == [VALUES[WEST]]


@pytest.mark.usefixtures("world")
def test_what_was_done_is_journalled_and_no_secret_is(tmp_path: Path) -> None:
    Journal.open(tmp_path / "run", "run")
    run = {"recovery_run": {"id": "run", "folder": str(tmp_path / "run")}}
    lost: dict[str, Any] = {"dns_failover_lost_regions": ["eu-west-1"], "dns_failover_reason": "no power there"}
    code, _result, text = play(tmp_path, "main", **run, **lost)
    assert code == 0, text
    records = [(record["event"], record["data"]) for record in Run.at("run", tmp_path / "run").journal.records()]
    told = [
        (event, data.get("gate") or data.get("target")) for event, data in records if event in ("decision", "action")
    ]
    assert told[0] == ("decision", "dns")
    assert sorted(told[1:3]) == [("decision", f"target of {DYNAMIC}"), ("decision", f"target of {ZONE}")]
    assert sorted(told[3:]) == [("action", DYNAMIC), ("action", ZONE)]
    content = (tmp_path / "run/journal.jsonl").read_text()
    assert "no power there" in content
    assert not any(secret in content for secret in SECRETS)


def test_a_wrong_key_is_told_in_words(world: World, tmp_path: Path) -> None:
    accounts = {**ACCOUNTS, "tsig": {"user": "operator", "password": "d3Jvbmcgd3Jvbmcgd3Jvbmc="}}
    code, result, text = play(tmp_path, "main", dns_failover_credentials=accounts)
    assert (code, result) == (2, None)
    assert "did not let us ask for the SOA" in text
    # It is known before anything is touched, in the other zone as well.
    assert ask(AUTHORITIES[EAST], APP) == [VALUES[WEST]]
    assert "d3Jvbmcgd3Jvbmcgd3Jvbmc=" not in text
    assert "Traceback" not in text
    del world


def beyond(world: World, requests: int, version: int) -> bool:
    return int(world.get("/lab/requests")["count"]) >= requests and world.version() >= version


SLOW = pytest.mark.slow  # the third of them is what CI needs: a change was made, and nobody has heard of it


@pytest.mark.parametrize(
    ("requests", "changes"), [pytest.param(2, 0, marks=SLOW), pytest.param(6, 0, marks=SLOW), (0, 1)]
)
def test_killed_in_the_middle_and_run_again(world: World, tmp_path: Path, requests: int, changes: int) -> None:
    """The API stands still after so many requests or changes, the run is killed, and the next does what is missing."""
    many = zones(*MANY, provider="route53_records")
    settings = {"dns_failover_zones": many}
    seen, version = int(world.get("/lab/requests")["count"]), world.version()
    with subprocess.Popen(
        book(tmp_path, "main", **settings),
        env=environment(),
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as running:
        reached = partial(beyond, world, seen + requests, version + changes)
        eventually(reached, seconds=60)
        world.freeze("api")
        for pid in below(running.pid):
            send(pid, signal.SIGKILL)
    world.thaw("api")
    code, result, text = play(tmp_path, "main", **settings)
    assert code == 0, text
    assert result["zones"][ZONE]["names"] == len(MANY)
    for name in MANY[::50]:
        assert {value for server in AUTHORITIES.values() for value in ask(server, name)} == {VALUES[EAST]}
    roles = {one["SetIdentifier"]: one["Failover"] for name in MANY for one in world.stored(name)}
    assert roles == {WEST: "SECONDARY", EAST: "PRIMARY"}
    code, result, text = play(tmp_path, "main", **settings)
    assert (code, result["changed"]) == (0, False), text


def verdicts(result: Any) -> dict[str, tuple[str, str]]:
    return {f"{one['subject']} {one['check']}": (one["verdict"], one["observed"]) for one in result["checks"]}


@pytest.mark.usefixtures("world")
def test_readiness_of_a_healthy_world(tmp_path: Path) -> None:
    code, result, text = play(tmp_path, "readiness")
    assert code == 0, text
    found = verdicts(result)
    assert {verdict for verdict, _ in found.values()} == {"ready"}, found
    assert len(found) >= 12


def test_readiness_names_each_defect(world: World, tmp_path: Path) -> None:
    world.edges[EAST].status = 503
    client, zone_id = world.route53(), world.zone_id()
    slow = {"Name": f"slow.{ZONE}", "Type": "A", "TTL": 900, "ResourceRecords": [{"Value": VALUES[WEST]}]}
    bare = [
        {
            **slow,
            "Name": f"bare.{ZONE}",
            "TTL": 2,
            "SetIdentifier": region,
            "Weight": 1,
            "ResourceRecords": [{"Value": value}],
        }
        for region, value in VALUES.items()
    ]
    rows = [{"Action": "CREATE", "ResourceRecordSet": row} for row in [slow, *bare]]
    client.change_resource_record_sets(HostedZoneId=zone_id, ChangeBatch={"Changes": rows})
    west = next(one["HealthCheckId"] for one in world.stored(APP) if one["Failover"] == "PRIMARY")
    client.update_health_check(HealthCheckId=west, IPAddress="127.5.9.9", Port=EDGE_PORT)
    given = both(APP, f"slow.{ZONE}", f"bare.{ZONE}", f"none.{ZONE}")
    given[ZONE]["servers"].append({"address": "127.5.3.54", "port": 5353})
    given[DYNAMIC]["targets"] = {WEST: given[DYNAMIC]["targets"][WEST]}
    eventually(lambda: "Failure" in str(client.get_health_check_status(HealthCheckId=west)["HealthCheckObservations"]))
    code, result, text = play(tmp_path, "readiness", dns_failover_zones=given)
    assert code == 0, text
    found = verdicts(result)
    for check, words in {
        f"{ZONE} target {EAST}": "it answers 503",
        f"{ZONE} TTL": f"up to 900 s, of 1 names, such as slow.{ZONE}",
        f"{ZONE} name server 127.5.3.54:5353": "4 without one",
        f"{ZONE} name server {AUTHORITIES[WEST]}:5353": f"1 without one, such as none.{ZONE}",
        f"{ZONE} API and plan": "cannot be moved",
        f"{ZONE} health checks of {EAST}": f"1 names have none, such as bare.{ZONE}",
        f"{ZONE} health check {west} of {WEST}": "0 of 2 checkers",
        f"{DYNAMIC} target": f"it knows {WEST} only",
    }.items():
        assert found[check][0] == "not_ready", (check, found[check])
        assert words in found[check][1], (check, found[check])
