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


def options(*databases: str, **more: Any) -> dict[str, Any]:
    workloads = [{"cluster": "c", "namespace": "n", "name": f"{name}-service", "database": name} for name in NAMES]
    return {"databases": list(databases), "workloads": workloads, "value": None, **more}


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


def failing(*errors: tuple[str, RecoveryError]) -> Any:
    def work(given: Options, database: str) -> dict[str, Any]:
        name = database or given["databases"][0]
        if name in dict(errors):
            raise dict(errors)[name]
        return counting(given, database)

    return work


def test_without_databases_all_workloads_are_one_whole() -> None:
    result, failures = apart(options(value="east"), counting)
    assert (result["total"], result["value"], result["vantages"]) == (3, "east", [{"vantage": "all"}])
    assert (result["failures"], failures) == ({}, {})
    assert "vantages_of" not in result


def test_several_give_one_result_that_still_tells_them_apart() -> None:
    result, failures = apart(options(*NAMES, "idle", values={"users": "a", "tenants": "b", "plugins": "a"}), counting)
    assert failures == {}
    assert (result["changed"], result["total"], result["patch_seconds"]) == (True, 3, 0.25)
    assert result["value"] == "a, b, None"
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
    result, failures = apart(options(*NAMES), failing(("tenants", refused)))
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
    one = options("users", workloads=[])
    with pytest.raises(StepTimeout, match="not ready") as raised:
        apart(one, failing(("users", timeout)))
    assert raised.value.each == {}
    result, _ = apart(one, counting)
    assert result["vantages_of"] == {"users": [{"vantage": "all"}]}
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
    given = options("users", "tenants")
    given["workloads"] = given["workloads"][:2]
    with pytest.raises(kind, match="none of 2 databases") as raised:
        apart(given, failing(*each.items()))
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


@pytest.mark.parametrize("database", [None, "orders"])
def test_a_workload_of_none_of_them_is_not_passed_over(database: str | None) -> None:
    given = options(*NAMES)
    given["workloads"].append({"cluster": "c", "namespace": "n", "name": "stray", "database": database})
    with pytest.raises(BadInput, match=f"Workload n/stray in cluster c depends on {database or 'no database'}"):
        apart(given, counting)


def test_a_cluster_that_is_silent_costs_only_the_databases_behind_it(fake: FakeApi, tmp_path: Path) -> None:
    def answer(request: Request) -> Reply:
        if request.method == "PATCH":
            return Reply(body={"metadata": {"generation": 2}})
        return listing(deployment("users-service"), deployment("tenants-service"))

    fake.script = answer
    more = {"namespace": "production", "kind": "Deployment"}
    places = (("users", "fake"), ("tenants", "fake"), ("tenants", "lost"))
    given = options("users", "tenants", values={"users": "a", "tenants": "b"})
    given |= {
        "workloads": [{**more, "database": name, "name": f"{name}-service", "cluster": c} for name, c in places],
        "clusters": {"fake": {"kubeconfig": fake.kubeconfig()}, "lost": {"kubeconfig": str(tmp_path / "missing")}},
        "timeout_seconds": 5.0,
        "request_timeout_seconds": 1.0,
        "lost_clusters": [],
    }

    def work(own: Options, _: str) -> dict[str, Any]:
        with opened(own, check=False) as (fleet, targets):
            return repoint(fleet, targets, "DB_HOST", own["value"])

    result, failures = apart(given, work)
    assert list(failures) == ["tenants"]
    assert (result["patched"], result["value"]) == (1, "a")
    assert [request.path.rpartition("/")[2] for request in fake.asked("PATCH")] == ["users-service"]
