# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.platform.recovery.plugins.module_utils import platform, schema
from ansible_collections.platform.recovery.plugins.module_utils.errors import PreconditionFailed
from ansible_collections.platform.recovery.plugins.modules.platform_description import DOCUMENTATION

ROOT = Path(__file__).resolve().parents[2]
OPTIONS = yaml.safe_load(DOCUMENTATION)["options"]
CALL = {
    "playbook": "database-failover",
    "modes": ["plan", "switchover", "failover"],
    "mode": "failover",
    "target": "us-east-1",
}


def inventory(name: str) -> dict[str, Any]:
    text = (ROOT / f"inventories/{name}/group_vars/all/platform.yml").read_text()
    # The lab's folder is found by a filter; nothing else in it is checked for what it is.
    variables: dict[str, Any] = yaml.safe_load(text.replace("{{ lab_folder | realpath }}", "/lab"))
    return {"platform": variables["recovery_platform"], "credentials": variables["recovery_credentials"]}


def examine(**changes: Any) -> tuple[dict[str, Any], list[str]]:
    data = {**CALL, **inventory("example"), **changes}
    options, problems = schema.Validator(maps=platform.MAPS).check(OPTIONS, data)
    if not problems:
        problems += platform.cross_check(options["platform"], options["credentials"])
        problems += platform.check_wish(platform.Wish.of(options), options["platform"])
    return options, [str(problem) for problem in problems]


@pytest.mark.parametrize("name", ["lab", "example"])
def test_both_inventories_are_valid(name: str) -> None:
    assert examine(**inventory(name))[1] == []


@pytest.mark.parametrize("key", ["data_directory", "bin_directory", "config_file"])
@pytest.mark.parametrize(("path", "valid"), [("/srv/pg", True), ("srv/pg", False), ("/", False), ("", False)])
def test_paths_on_a_host_are_absolute(key: str, path: str, valid: bool) -> None:
    data = inventory("example")
    data["platform"]["databases"]["platform_db"]["members"]["us-west-2"][key] = path
    problems = examine(**data)[1]
    assert bool(problems) is not valid
    assert all(f"members.us-west-2.{key}" in problem for problem in problems)


@pytest.mark.parametrize("name", ["lab", "example"])
def test_no_description_says_who_is_primary_now(name: str) -> None:
    for database in inventory(name)["platform"]["databases"].values():
        for member in database["members"].values():
            assert not {"primary", "role", "leader", "standby"} & set(member)


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        (
            "services.user-service.database",
            "platfrm_db",
            "services.user-service.database: got 'platfrm_db'.*did you mean 'platform_db'",
        ),
        (
            "services.user-service.clusters",
            ["us-west-1"],
            "services.user-service.clusters: got 'us-west-1'.*did you mean 'us-west-2'",
        ),
        ("services.plugin-service.depends_on", ["tenant-servce"], "did you mean 'tenant-service'"),
        (
            "services.tenant-service.depends_on",
            ["plugin-service"],
            "depends_on: got 'tenant-service -> plugin-service -> tenant-service', expected services that do not",
        ),
        ("clusters.us-west-2.region", "us-wst-2", "clusters.us-west-2.region.*did you mean 'us-west-2'"),
        ("edges.us-west-2.url", None, "edges.us-west-2.url: got nothing, expected a text"),
        ("databases.platform_db.credentials", "postgres_admin", "did you mean 'postgresql_admin'"),
        (
            "databases.platform_db.objectives.rto_seconds",
            "half an hour",
            "rto_seconds: got 'half an hour', expected a number",
        ),
        ("databases.platform_db.provider", "streming", "did you mean 'streaming'"),
        ("databases.platform_db.members.us-east-1.sslmode", "prefer", "expected one of disable, require"),
        ("databases.platform_db.objectives.rpo_seconds", -1, "rpo_seconds: got '?-1.*0 or more"),
        ("databases.platform_db.members.us-east-1.port", 70000, "port: got '?70000.*1 to 65535"),
        ("services.user-service.database", None, "canary.service: got 'user-service'.*a service with a database"),
        ("canary.credentials", "postgres_admin", "canary.credentials.*did you mean 'postgresql_admin'"),
        ("canary.edge", "us-west", "canary.edge.*did you mean 'us-west-2'"),
        ("lease", {"clusters": ["us-wst-2"]}, "platform.lease.clusters.*did you mean 'us-west-2'"),
        ("lease", {"seconds": 1}, "platform.lease.seconds: got '?1.*5 to 3600 seconds"),
        ("lease", {"provider": "etcd"}, "platform.lease.provider.*one of kubernetes, file"),
        ("people", {"alice": {"keys": ["-----BEGIN"]}}, "platform.people.alice.keys.*a public SSH key"),
        ("people", {"a b": {}}, "platform.people.a b: got 'a b'.*a name of letters"),
        (
            "people",
            {"alice": {"keys": ["ssh-ed25519 AAAA a"]}, "bob": {"keys": ["ssh-ed25519 AAAA b"]}},
            "platform.people.bob.keys: got 'a key of alice'",
        ),
        ("regoins", {}, "platform.regoins.*did you mean 'regions'"),
    ],
)
def test_an_error_names_key_value_and_nearest(path: str, value: Any, expected: str) -> None:
    changed = copy.deepcopy(inventory("example"))
    *parents, last = path.split(".")
    place = changed["platform"]
    for name in parents:
        place = place[name]
    place[last] = value
    _options, problems = examine(**changed)
    assert len(problems) == 1
    assert re.search(expected, problems[0])


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("provider", "bind", "platform.zones.example.com.provider.*one of route53_health_checks"),
        ("provider", "rfc2136", "platform.zones.example.com.rfc2136: got nothing"),
        ("arc", {"endpoints": [], "controls": {}}, "example.com.arc: got 'something'"),
        ("credentials", "aws", "platform.zones.example.com.credentials: got 'aws'"),
        ("servers", [{"address": "::1", "region": "mars"}], "example.com.servers.region: got 'mars'"),
        ("records", [{"name": "app.example.org"}], "example.com.records.name.*a name in example.com"),
    ],
)
def test_a_zone_is_one_that_can_be_moved(key: str, value: Any, expected: str) -> None:
    changed = copy.deepcopy(inventory("example"))
    changed["platform"]["zones"]["example.com"][key] = value
    _options, problems = examine(**changed)
    assert len(problems) == 1
    assert re.search(expected, problems[0])


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"target": "us-est-1"}, "recovery_target: got 'us-est-1'.*did you mean 'us-east-1'"),
        ({"target": None}, "recovery_target: got nothing"),
        ({"target": "eu-west-1"}, "recovery_target: got 'eu-west-1', expected a region that holds a member"),
        ({"mode": "readiness"}, "recovery_mode: got 'readiness'.*a playbook of its own: platform.recovery.readiness"),
        ({"mode": "drill"}, "recovery_mode: got 'drill'.*a playbook of its own: platform.recovery.drill"),
        ({"mode": "failovr"}, "recovery_mode: got 'failovr'.*did you mean 'failover'"),
        ({"detected_at": "just now"}, "recovery_detected_at: got 'just now'"),
        ({"allow_data_loss": True}, "recovery_reason: got nothing"),
        ({"fence_statement": "switched off", "reason": " "}, "recovery_reason"),
        ({"lost_clusters": ["us-west-2"]}, "recovery_reason"),
        ({"lost_clusters": ["us-wst-2"], "reason": "fire"}, "recovery_lost_clusters.*did you mean 'us-west-2'"),
    ],
)
def test_what_the_operator_wants_is_checked(changes: dict[str, Any], expected: str) -> None:
    _options, problems = examine(**changes)
    assert len(problems) == 1
    assert re.search(expected, problems[0])


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ({}, None),
        ({"needed": 3}, "platform.approvals.needed: got '?3.*1 to 2, the number of approvers"),
        ({"needed": 0}, "platform.approvals.needed"),
        ({"approvers": ["alise"], "needed": 1}, "platform.approvals.approvers.*did you mean 'alice'"),
        ({"approvers": ["alice", "carol"]}, "platform.people.carol.keys: got nothing"),
        ({"valid_seconds": 1e9}, "platform.approvals.valid_seconds"),
    ],
)
def test_who_must_agree_can_agree(rule: dict[str, Any], expected: str | None) -> None:
    changed = copy.deepcopy(inventory("example"))
    people = {name: {"keys": [f"ssh-ed25519 {name} x"]} for name in ("alice", "bob")}
    if rule.get("approvers"):
        people["carol"] = {"keys": []}
    changed["platform"] |= {"people": people, "approvals": rule}
    options, problems = examine(**changed, allow_data_loss=True, lost_clusters=["us-west-2"], reason="fire")
    if expected:
        assert [p for p in problems if re.search(expected, p)] == problems
        assert len(problems) == 1
        return
    given = platform.approval_inputs(platform.Wish.of(options), options["platform"])
    assert given is not None
    assert (given["needed"], given["approvers"]) == (2, ["alice", "bob"])
    assert given["overrides"] == ["allow_data_loss", "lost cluster us-west-2"]
    assert given["description"].startswith("sha256:")


@pytest.mark.parametrize("confirm", [None, "us-west-2", "us-east-1 "])
def test_an_unconfirmed_change_is_refused(confirm: str | None) -> None:
    options, _problems = examine(confirm=confirm)
    with pytest.raises(PreconditionFailed, match="recovery_confirm=us-east-1"):
        platform.require_confirmation(platform.Wish.of(options))


@pytest.mark.parametrize("changes", [{"confirm": "us-east-1"}, {"mode": "plan"}])
def test_a_confirmed_change_and_a_plan_pass(changes: dict[str, Any]) -> None:
    options, _problems = examine(**changes)
    decision = platform.require_confirmation(platform.Wish.of(options))
    assert (decision is None) is ("mode" in changes), "a plan decides nothing"
    assert decision is None or (decision["verdict"], decision["observed"]) == ("pass", "recovery_confirm=us-east-1")


def test_an_edge_is_asked_for_the_services_of_its_region() -> None:
    changed = copy.deepcopy(inventory("example"))["platform"]
    changed["services"]["user-service"] |= {"clusters": ["us-east-1"], "health_path": "/health/users"}
    changed["canary"] |= {"ca_file": "/etc/recovery/edge-ca.crt"}
    options, _problems = examine(platform=changed)
    [database] = platform.select(platform.Wish.of(options), options["platform"])
    others = ["/v1/tenant-service/healthz", "/v1/plugin-service/healthz", "/v1/ai-service/healthz"]
    paths = {edge["name"]: edge["paths"] for edge in database["edges"]}
    assert paths == {"us-west-2": others, "us-east-1": ["/health/users", *others]}
    assert {edge["ca_file"] for edge in database["edges"]} == {"/etc/recovery/edge-ca.crt"}


def test_a_services_own_variable_and_the_lost_clusters_reach_the_roles() -> None:
    changed = copy.deepcopy(inventory("example"))
    changed["platform"]["services"]["user-service"]["variable"] = "DATABASE_HOST"
    options, _problems = examine(**changed, lost_clusters=["us-west-2"], reason="fire")
    [database] = platform.select(platform.Wish.of(options), options["platform"])
    assert {w["variable"] for w in database["workloads"] if w["name"] == "user-service"} == {"DATABASE_HOST"}
    assert {w["variable"] for w in database["workloads"] if w["name"] != "user-service"} == {"DB_HOST"}
    assert database["lost_clusters"] == ["us-west-2"]


def test_the_selection_holds_what_roles_need_and_no_secret() -> None:
    options, _problems = examine()
    [database] = platform.select(platform.Wish.of(options), options["platform"])
    assert database["target_host"] == "db.us-east-1.example.com"
    assert len(database["workloads"]) == 8
    assert database["applications"] == ["ai-service", "plugin-service", "tenant-service", "user-service"]
    assert set(database["clusters"]) == {"us-west-2", "us-east-1"}
    assert database["credentials"] == "postgresql_admin"
    assert "password" not in str(database)


@pytest.mark.parametrize(
    ("wish", "roles", "target"),
    [
        ({}, {}, "us-east-1"),
        ({"target": "us-west-2"}, {}, "us-west-2"),
        ({"mode": "plan"}, {}, ""),
        ({}, {"us-west-2": "secondary"}, ""),
    ],
)
def test_readiness_without_a_target_is_of_the_one_region_that_stands_by(
    wish: dict[str, Any], roles: dict[str, str], target: str
) -> None:
    options, _problems = examine(**{"modes": ["readiness", "plan"], "mode": "readiness", "target": None, **wish})
    described = copy.deepcopy(options["platform"])
    for name, role in roles.items():
        described["regions"][name]["role"] = role
    assert platform.aimed(platform.Wish.of(options), described).target == target


STORE = {
    "kind": "redis",
    "credentials": "postgresql_admin",
    "members": {"us-west-2": {"sentinels": ["a:1"]}, "us-east-1": {"sentinels": ["b:1"]}},
    "settings": {"master": "sessions"},
}


def test_stores_reach_the_role_of_their_kind() -> None:
    data = inventory("example")
    data["platform"]["stores"] = {
        "sessions": STORE,
        "elsewhere": {**STORE, "kind": "kafka", "members": {"us-west-2": {}, "eu-west-1": {}}},
    }
    options, problems = examine(**data)
    assert problems == []
    found = platform.store_inputs(platform.Wish.of(options), options["platform"])
    assert found == {
        "redis": {
            "sessions": {
                "master": "sessions",
                "credentials": "postgresql_admin",
                "objectives": {"rto_seconds": 14400.0, "rpo_seconds": 3600.0},
                "members": STORE["members"],
            }
        }
    }


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"kind": "redsi"}, "stores.sessions.kind.*did you mean 'redis'"),
        ({"credentials": "postgres_admin"}, "stores.sessions.credentials.*did you mean 'postgresql_admin'"),
        ({"members": {"us-west-2": {}, "us-est-1": {}}}, "stores.sessions.members.us-est-1.*did you mean 'us-east-1'"),
        ({"members": {"us-west-2": {}}}, "stores.sessions.members: got 'us-west-2'.*at least two regions"),
        ({"members": {"us-west-2": {}, "us-east-1": "b:1"}}, "stores.sessions.members.us-east-1: got 'b:1'.*a mapping"),
        ({"objectives": {"rpo_seconds": -1}}, "stores.sessions.objectives.rpo_seconds: got '?-1"),
    ],
)
def test_a_store_that_nobody_could_take_over_is_named(change: dict[str, Any], expected: str) -> None:
    data = inventory("example")
    data["platform"]["stores"] = {"sessions": {**STORE, **change}}
    [problem] = examine(**data)[1]
    assert re.search(expected, problem)


def test_a_checklist_on_a_region_gets_its_doors_and_its_own_objectives() -> None:
    data = inventory("lab")
    options, problems = examine(**data, playbook="region-failover")
    assert problems == []
    wish, described = platform.Wish.of(options), options["platform"]
    region = platform.region_inputs(wish, described)
    assert region
    assert set(region["regions"]["us-west-2"]["clusters"]) == {"us-west-2"}
    assert region["regions"]["us-east-1"]["edges"]["us-east-1"]["url"] == "http://127.102.0.80:8080"
    assert region["namespaces"] == [{"cluster": "us-east-1", "namespace": "production"}]
    assert region["other_namespaces"] == [{"cluster": "us-west-2", "namespace": "production"}]
    assert "password" not in str(region)
    canary = platform.canary_inputs(wish, described)
    assert canary
    assert (canary["url"], canary["resolver"]) == ("http://app.lab.example:8080", "127.0.0.53:5353")
    databases = platform.select(wish, described)
    wanted = platform.objectives(wish, described, databases)["objectives"]
    assert wanted == [{"name": "rto", "target_seconds": 14400.0}, {"name": "rpo", "target_seconds": 3600.0}]


def test_other_checklists_are_about_no_region() -> None:
    options, _problems = examine(**inventory("lab"))
    wish = platform.Wish.of(options)
    assert platform.region_inputs(wish, options["platform"]) is None
    canary = platform.canary_inputs(wish, options["platform"])
    assert canary
    assert (canary["url"], canary["resolver"]) == ("http://127.101.0.80:8080", None)
