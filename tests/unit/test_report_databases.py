# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Several databases in one run: which of them recovered, and how the run ends when some did not."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.platform.recovery.plugins.module_utils import report_databases as module


def failure(host: str | None, kind: str = "failed", msg: str = "it did not") -> dict[str, Any]:
    return {"host": host, "kind": kind, "phase": "promote", "task": "Promote", "msg": msg, "next_action": "look"}


@pytest.mark.parametrize(
    ("failures", "outcomes"),
    [
        ([], ["recovered", "recovered"]),
        ([failure("a")], ["failed", "recovered"]),
        ([failure("b", "refused")], ["recovered", "refused"]),
        ([failure("b", "timeout")], ["recovered", "failed"]),
        ([failure("a", "bad_input"), failure("b", "refused")], ["failed", "refused"]),
        ([failure("localhost"), failure(None)], ["recovered", "recovered"]),
    ],
)
def test_each_database_has_an_outcome_of_its_own(failures: list[dict[str, Any]], outcomes: list[str]) -> None:
    assert [entry["outcome"] for entry in module.results(["a", "b"], failures, "recovered")] == outcomes


def test_the_first_failure_of_a_database_is_why_it_dropped_out() -> None:
    failures = [failure("a", msg="the cause"), failure("a", msg="what came of it")]
    (found,) = module.results(["a"], failures, "recovered")
    assert (found["why"], found["phase"], found["next_action"]) == ("the cause", "promote", "look")


@pytest.mark.parametrize(
    ("kinds", "recovered", "outcome"),
    [
        (["refused"], False, "refused"),
        (["refused", "refused"], False, "refused"),
        (["refused"], True, "failed"),
        (["failed", "refused"], False, "failed"),
        (["refused", "bad_input"], False, "failed"),
        (["failed", "cancelled"], True, "cancelled"),
        ([], False, "failed"),
    ],
)
def test_how_the_run_ends(kinds: list[str], recovered: bool, outcome: str) -> None:
    others = [{"outcome": "recovered"}] if recovered else []
    assert module.outcome([failure("a", kind) for kind in kinds], others) == outcome


def test_those_that_went_wrong_are_told_first() -> None:
    names = [f"db{number}" for number in range(3)]
    lines = module.summary(module.results(names, [failure("db1", "refused", "no standby")], "recovered"))
    assert lines == ["db1: refused in phase promote: no standby", "2 databases recovered: db0, db2"]
