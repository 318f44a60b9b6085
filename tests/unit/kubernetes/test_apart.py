# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The workloads of many databases in one task: one that fails stops no other."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.platform.recovery.plugins.module_utils.errors import (
    BadInput,
    PreconditionFailed,
    RecoveryError,
    StepFailed,
    StepTimeout,
)
from ansible_collections.platform.recovery.plugins.module_utils.kubernetes.apart import Options, apart
from ansible_collections.platform.recovery.plugins.module_utils.kubernetes.fleet import opened
from ansible_collections.platform.recovery.plugins.module_utils.kubernetes.repoint import repoint

from .conftest import FakeApi, Reply, Request, deployment, listing

NAMES = ["users", "tenants", "plugins"]


def options(*databases: str, **values: str) -> dict[str, Any]:
    entries = [
        {
            "name": name,
            "value": values.get(name),
            "clusters": {"c": {}},
            "workloads": [{"cluster": "c", "namespace": "n", "name": f"{name}-service"}] if name in NAMES else [],
            "lost_clusters": [],
        }
        for name in databases
    ]
    workloads = [{"cluster": "c", "namespace": "n", "name": "only-service"}]
    return {"databases": entries, "clusters": {}, "workloads": [] if entries else workloads, "value": "west"}


def counting(given: Options, database: str) -> dict[str, Any]:
    number = len(given["workloads"])
    return {
        "changed": bool(number),
        "total": number,
        "patch_seconds": number / 4,
        "value": str(given["value"]),
        "workloads": {entry["name"]: {"database": database} for entry in given["workloads"]},
        "lost_clusters": ["west"],
        "vantages": [{"vantage": database or "all"}],
        "lines": [f"{number} workloads"] if number else ["no workload depends on it"],
        "diff": {"before": f"{database} old\n", "after": f"{database} new\n"},
    }


def failing(**errors: RecoveryError) -> Any:
    def work(given: Options, database: str) -> dict[str, Any]:
        name = database or str(given["workloads"][0]["name"]).removesuffix("-service")
        if name in errors:
            raise errors[name]
        return counting(given, database)

    return work


def test_without_databases_all_workloads_are_one_whole() -> None:
    result, failures = apart(options(), counting)
    assert (result["total"], result["value"], result["vantages"]) == (1, "west", [{"vantage": "all"}])
    assert (result["failures"], failures) == ({}, {})
    assert "vantages_of" not in result


def test_several_give_one_result_that_still_tells_them_apart() -> None:
    result, failures = apart(options(*NAMES, "idle", users="a", tenants="b", plugins="a"), counting)
    assert failures == {}
    assert (result["changed"], result["total"], result["patch_seconds"]) == (True, 3, 0.25)
    assert result["value"] == "a, b, west"
    assert list(result["workloads"]) == ["users-service", "tenants-service", "plugins-service"]
    assert result["lost_clusters"] == ["west"]
    assert result["vantages_of"]["tenants"] == [{"vantage": "tenants"}]
    assert result["diff"]["after"] == "users new\ntenants new\nplugins new\nidle new\n"
    assert result["lines"] == [
        "users: 1 workloads",
        "tenants: 1 workloads",
        "plugins: 1 workloads",
        "no workload depends on 1 database",
    ]


def test_one_that_fails_is_named_and_the_others_are_done() -> None:
    refused = PreconditionFailed("no answer")
    result, failures = apart(options(*NAMES), failing(tenants=refused))
    assert failures == {"tenants": refused}
    assert (result["total"], list(result["vantages_of"])) == (2, ["users", "plugins"])


def test_they_are_worked_on_at_the_same_time() -> None:
    together = threading.Barrier(len(NAMES), timeout=5)

    def work(given: Options, database: str) -> dict[str, Any]:
        together.wait()
        return counting(given, database)

    result, _ = apart(options(*NAMES), work)
    assert result["total"] == 3


def test_the_error_of_an_only_database_is_raised_as_it_is() -> None:
    timeout = StepTimeout("not ready")
    with pytest.raises(StepTimeout, match="not ready") as raised:
        apart(options("users"), failing(users=timeout))
    assert raised.value.each == {}
    result, _ = apart(options("idle"), counting)
    assert result["vantages_of"] == {"idle": [{"vantage": "all"}]}
    assert result["lines"] == ["no workload depends on it"]


@pytest.mark.parametrize(
    ("errors", "kind"),
    [
        ((PreconditionFailed("a"), PreconditionFailed("b")), PreconditionFailed),
        ((BadInput("a"), BadInput("b")), BadInput),
        ((PreconditionFailed("a"), StepTimeout("b", changed=True)), StepFailed),
        ((BadInput("a"), PreconditionFailed("b")), StepFailed),
    ],
)
def test_where_all_fail_the_error_names_each(errors: tuple[RecoveryError, ...], kind: type[RecoveryError]) -> None:
    each = dict(zip(NAMES, errors, strict=False))
    with pytest.raises(kind, match="none of 2 databases") as raised:
        apart(options("users", "tenants"), failing(**each))
    assert type(raised.value) is kind
    assert raised.value.each == each
    assert raised.value.observed == "users: a; tenants: b"
    assert raised.value.fields["changed"] is any(error.fields.get("changed") for error in errors)


def test_a_defect_is_nobodys_failure() -> None:
    def work(given: Options, database: str) -> dict[str, Any]:
        del given
        raise ZeroDivisionError(database)

    with pytest.raises(ZeroDivisionError):
        apart(options(*NAMES), work)


def test_a_cluster_that_is_silent_costs_only_the_databases_behind_it(fake: FakeApi, tmp_path: Path) -> None:
    def answer(request: Request) -> Reply:
        if request.method == "PATCH":
            return Reply(body={"metadata": {"generation": 2}})
        return listing(deployment("users-service"), deployment("tenants-service"))

    fake.script = answer
    clusters = {"fake": {"kubeconfig": fake.kubeconfig()}, "lost": {"kubeconfig": str(tmp_path / "missing")}}
    places = {"users": ["fake"], "tenants": ["fake", "lost"]}
    entries = [
        {
            "name": name,
            "value": f"{name}.east",
            "clusters": {cluster: clusters[cluster] for cluster in places[name]},
            "workloads": [
                {"cluster": cluster, "namespace": "production", "kind": "Deployment", "name": f"{name}-service"}
                for cluster in places[name]
            ],
            "lost_clusters": [],
        }
        for name in places
    ]
    given = {"databases": entries, "timeout_seconds": 5.0, "request_timeout_seconds": 1.0}

    def work(own: Options, _: str) -> dict[str, Any]:
        with opened(own, check=False) as (fleet, targets):
            return repoint(fleet, targets, "DB_HOST", own["value"])

    result, failures = apart(given, work)
    assert list(failures) == ["tenants"]
    assert (result["patched"], result["value"]) == (1, "users.east")
    assert [request.path.rpartition("/")[2] for request in fake.asked("PATCH")] == ["users-service"]
