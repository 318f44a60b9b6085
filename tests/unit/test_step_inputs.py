# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a task on many databases is given of each."""

from __future__ import annotations

from typing import Any

from ansible_collections.platform.recovery.plugins.module_utils.step_inputs import inputs, known

CREDENTIALS = {"admin": {"user": "postgres", "password": "p"}, "rest": {"user": "patroni"}}


def database(name: str, **more: Any) -> dict[str, Any]:
    usual = {
        "name": name,
        "credentials": "admin",
        "api_credentials": None,
        "identity": [],
        "objectives": {"rpo_seconds": 60.0},
    }
    return {**usual, **more}


def known_of(*databases: dict[str, Any], **more: Any) -> list[dict[str, Any]]:
    usual: dict[str, Any] = {
        "names": [one["name"] for one in databases],
        "credentials": CREDENTIALS,
        "memories": "/runs",
        "left_out": {},
        "vantages": {},
        "results": {},
    }
    return known(databases, **{**usual, **more})


def test_each_has_its_account_its_memory_and_what_was_found_of_it() -> None:
    said = {"vantage": "kubernetes"}
    one, two = known_of(
        database("one", identity=[{"vantage": "description"}]),
        database("two", api_credentials="rest"),
        vantages={"one": [said]},
        left_out={"two": {"what": "it failed"}},
        results={"fence": {"databases": {"one": {"final_lsn": "0/1"}}}, "observe": {"skipped": True}},
    )
    assert (one["account"], one["credentials"]) == (CREDENTIALS["admin"], CREDENTIALS["admin"])
    assert two["credentials"] == {**CREDENTIALS["admin"], "api": CREDENTIALS["rest"]}
    assert two["account"] == CREDENTIALS["admin"]
    assert (one["memory"], two["memory"]) == ("/runs/one.seen.json", "/runs/two.seen.json")
    assert one["evidence"] == [said, {"vantage": "description"}]
    assert (one["fence"], one["observe"], two["fence"]) == ({"final_lsn": "0/1"}, {}, {})
    assert (one["left_out"], two["left_out"]) == (None, {"what": "it failed"})


def test_only_those_of_the_play_are_given() -> None:
    assert [one["name"] for one in known_of(database("one"), database("two"), names=["two"])] == ["two"]


def test_an_objective_of_nothing_is_not_judged() -> None:
    spans = [
        known_of(database("one", objectives={"rpo_seconds": span}))[0]["rpo_seconds"] for span in (60.0, 0.0, -1.0)
    ]
    assert spans == [60.0, None, None]


def test_options_are_taken_by_name_and_by_place_and_what_is_missing_is_nothing() -> None:
    """Nothing, and not left out: else the value that the task has for all would count for it."""
    found = [{"name": "one", "left_out": None, "target": "east", "fence": {"final_lsn": "0/1"}, "promote": {}}]
    assert inputs(found, "target", final_lsn="fence.final_lsn", lsn="promote.lsn", deep="target.no.mapping") == [
        {"name": "one", "left_out": None, "target": "east", "final_lsn": "0/1", "lsn": None, "deep": None}
    ]
