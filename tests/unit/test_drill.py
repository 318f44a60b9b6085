# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A drill as data: what its scratch is, and what counts as a difference."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.platform.recovery.plugins.module_utils import drill, platform, schema
from tests.unit.test_platform import CALL, OPTIONS, inventory

TARGET = "us-east-1"


@pytest.fixture
def whole() -> dict[str, Any]:
    data = {**CALL, **inventory("lab")}
    options, problems = schema.Validator(maps=platform.MAPS).check(OPTIONS, data)
    assert problems == []
    found: dict[str, Any] = options["platform"]
    return found


def test_the_scratch_is_described_in_the_same_schema(whole: dict[str, Any]) -> None:
    scratch = drill.scratch_platform(whole, TARGET)
    wish = {**CALL, "target": drill.NEW, "platform": scratch, "credentials": inventory("lab")["credentials"]}
    options, problems = schema.Validator(maps=platform.MAPS).check(OPTIONS, wish)
    assert [str(problem) for problem in problems if "method" not in str(problem)] == []
    assert list(platform.cross_check(options["platform"], options["credentials"])) == []


def test_nothing_of_the_scratch_leads_to_production(whole: dict[str, Any]) -> None:
    selection = drill.select(whole, TARGET, reason=None)
    (database,) = selection.databases
    member = whole["databases"]["platform_db"]["members"][TARGET]
    assert set(database["members"]) == {drill.OLD, drill.NEW}
    for scratch in database["members"].values():
        assert scratch["port"] != member["port"]
        assert scratch["data_directory"].startswith(f"{member['data_directory']}.drill/")
        assert scratch["fence"]["unit"] == scratch["data_directory"]
        assert (scratch["fence"]["method"], scratch["fence"]["guard_unit"]) == ("process", None)
    assert {w["namespace"] for w in database["workloads"]} == {"recovery-drill"}
    assert {w["variable"] for w in database["workloads"]} == {"DB_PORT"}
    assert set(database["clusters"]) == {w["cluster"] for w in database["workloads"]} == {TARGET}
    assert database["target_host"] == "5434"
    assert selection.canary is not None
    assert selection.canary["url"] == whole["drill"]["url"]
    assert [edge["url"] for edge in database["edges"]] == [whole["drill"]["url"]]


@pytest.mark.parametrize("url", [None, ""])
def test_without_an_edge_of_its_own_a_drill_has_no_canary(whole: dict[str, Any], url: str | None) -> None:
    whole["drill"]["url"] = url
    selection = drill.select(whole, TARGET, reason=None)
    assert selection.canary is None
    assert selection.databases[0]["edges"] == []


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({}, []),
        ({"drill_ports": [5433]}, ["drill_ports"]),
        ({"drill_ports": [5433, 5433]}, ["drill_ports"]),
        ({"drill_ports": [5433, 99999]}, ["drill_ports"]),
        ({"data_directory": None}, ["data_directory"]),
        ({"fence": None}, ["fence"]),
        ({"provider": "patroni"}, ["provider"]),
        ({"namespace": "production"}, ["drill.namespace"]),
    ],
)
def test_what_keeps_a_drill_from_its_scratch_is_named(
    whole: dict[str, Any], change: dict[str, Any], named: list[str]
) -> None:
    database = whole["databases"]["platform_db"]
    database |= {k: v for k, v in change.items() if k in ("drill_ports", "provider")}
    database["members"][TARGET] |= {k: v for k, v in change.items() if k in ("data_directory", "fence")}
    whole["drill"] |= {k: v for k, v in change.items() if k == "namespace"}
    found = [str(problem) for problem in drill.problems(whole, TARGET)]
    assert len(found) == len(named)
    assert all(name in problem for name, problem in zip(named, found, strict=True))


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ({}, {}, []),
        ({"a": "1"}, {"a": "1"}, []),
        ({"a": "1"}, {"a": "2"}, ["a is changed"]),
        ({"a": "1"}, {}, ["a is gone"]),
        ({}, {"a": "1"}, ["a is new"]),
        ({"a": "1", "b": "1", "c": "1"}, {"b": "2", "c": "1", "d": "1"}, ["d is new", "a is gone", "b is changed"]),
    ],
)
def test_differences(before: dict[str, str], after: dict[str, str], told: list[str]) -> None:
    assert drill.differences(before, after) == told


def test_counts_are_by_place_and_kind() -> None:
    found = dict.fromkeys(("db west: slot a", "db west: slot b", "db west: role c", "cluster x: secret p/y"), "")
    assert drill.counts(found) == ["cluster x: 1 secret", "db west: 1 role, 2 slot"]


def test_many_differences_are_not_all_shown() -> None:
    assert drill.shown([str(n) for n in range(12)]).endswith("9; and 2 more")


def test_a_digest_shows_nothing_and_tells_everything() -> None:
    assert drill.digest({"a": "secret", "b": 1}) == drill.digest({"b": 1, "a": "secret"}) != drill.digest({"a": ""})
    assert "secret" not in drill.digest("secret")
