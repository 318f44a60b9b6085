# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a cluster answers, and what the checks make of it; nothing is ever written."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from ansible_collections.platform.recovery.plugins.module_utils.kubernetes.fleet import opened
from ansible_collections.platform.recovery.plugins.module_utils.kubernetes.readiness import REVIEW, checks
from ansible_collections.platform.recovery.plugins.module_utils.readiness import Check

from .conftest import FakeApi, Reply, Request, deployment, listing

NAMES = ("user-service", "ai-service")


def judge(fake: FakeApi, *items: Any, denied: Callable[[dict[str, str]], bool] = lambda _: False) -> list[Check]:
    def script(request: Request) -> Reply:
        if request.path == REVIEW:
            allowed = not denied(request.body["spec"]["resourceAttributes"])
            return Reply(201, {"status": {"allowed": allowed}})
        return listing(*items)

    fake.script = script
    workloads = [{"cluster": "c", "namespace": "production", "kind": "Deployment", "name": name} for name in NAMES]
    options = {
        "clusters": {"c": {"kubeconfig": fake.kubeconfig()}},
        "workloads": workloads,
        "timeout_seconds": 10,
        "request_timeout_seconds": 5,
        "lost_clusters": [],
    }
    with opened(options, check=True) as (fleet, targets):
        return checks("db", fleet, targets, "DB_HOST", "db.east")


def bad(found: list[Check]) -> dict[str, str]:
    return {check.check: check.verdict for check in found if check.verdict != "ready"}


def test_a_cluster_in_order_is_ready_and_was_only_read(fake: FakeApi) -> None:
    found = judge(fake, *map(deployment, NAMES))
    assert bad(found) == {}
    assert [check.check for check in found] == ["API", "rights", "workloads", "services"]
    assert {check.subject for check in found} == {"db cluster c"}
    assert fake.asked("PATCH") == fake.asked("PUT") == []
    assert {request.path for request in fake.asked("POST")} == {REVIEW}
    asked = {
        (spec["group"], spec["resource"], spec["verb"])
        for spec in (request.body["spec"]["resourceAttributes"] for request in fake.asked("POST"))
    }
    assert {("apps", "deployments", "patch"), ("", "pods", "watch")} <= asked


@pytest.mark.parametrize(
    ("items", "expected"),
    [
        ([deployment("user-service")], {"workload production/ai-service": "not_ready", "workloads": "not_ready"}),
        (
            [deployment("user-service"), deployment("ai-service", env=[{"name": "SERVICE", "value": "x"}])],
            {"workload production/ai-service": "not_ready", "workloads": "not_ready"},
        ),
        (
            [deployment("user-service"), deployment("ai-service", spec={"paused": True})],
            {"workload production/ai-service": "not_ready", "workloads": "not_ready"},
        ),
        (
            [deployment("user-service"), deployment("ai-service", status={"readyReplicas": 1})],
            {"services": "not_ready"},
        ),
        ([deployment("user-service"), deployment("ai-service", replicas=0)], {}),
    ],
)
def test_each_workload_that_could_not_be_repointed_is_named(
    fake: FakeApi, items: list[Any], expected: dict[str, str]
) -> None:
    found = judge(fake, *items)
    assert bad(found) == expected
    assert all(check.mend for check in found if check.verdict != "ready")


def test_a_right_that_is_missing_is_named(fake: FakeApi) -> None:
    found = judge(fake, *map(deployment, NAMES), denied=lambda spec: spec["verb"] == "patch")
    assert bad(found) == {"rights": "not_ready"}
    [rights] = [check for check in found if check.check == "rights"]
    assert rights.observed == "may not patch deployments in production"


def test_a_cluster_that_turns_us_away_hides_no_other_check(fake: FakeApi) -> None:
    fake.script = lambda _: Reply(403, {"message": "no"})
    options = {
        "clusters": {"c": {"kubeconfig": fake.kubeconfig()}},
        "workloads": [{"cluster": "c", "namespace": "production", "kind": "Deployment", "name": "user-service"}],
        "timeout_seconds": 10,
        "request_timeout_seconds": 5,
        "lost_clusters": [],
    }
    with opened(options, check=True) as (fleet, targets):
        found = checks("db", fleet, targets, "DB_HOST", "db.east")
    assert bad(found) == {"API": "not_ready", "rights": "unknown", "workloads": "unknown", "services": "unknown"}
