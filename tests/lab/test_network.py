# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is cut and slow follows from which places are isolated and slowed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from recovery_lab import addresses, network
from recovery_lab.network import Condition
from recovery_lab.state import State

LINKS = addresses.links(["us-west-2", "us-east-1"], {"postgresql", "kubernetes", "edge"})
OUT = "us-west-2.postgresql-to-us-east-1.postgresql-5432"
BACK = "us-east-1.postgresql-to-us-west-2.postgresql-5432"


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str, Any]]:
    made: list[tuple[str, str, Any]] = []
    monkeypatch.setattr(network, "call", lambda method, path, body=None, **_: made.append((method, path, body)))
    monkeypatch.setattr("time.sleep", lambda seconds: made.append(("sleep", "", seconds)))
    return made


def cut(condition: Condition) -> set[str]:
    return {link.name for link in LINKS if condition.cuts(link)}


def test_healing_one_of_two_overlapping_isolations_leaves_the_other() -> None:
    both = Condition(isolated=frozenset({"us-west-2", "us-west-2/postgresql"}))
    assert cut(both.without("us-west-2/postgresql")) == cut(Condition(isolated=frozenset({"us-west-2"})))


def test_healing_a_region_heals_all_within_it() -> None:
    both = Condition(isolated=frozenset({"us-west-2", "us-west-2/postgresql"}), slow=frozenset({"us-east-1"}))
    assert both.without("us-west-2") == Condition(slow=frozenset({"us-east-1"}))
    assert both.without(None) == Condition()


def test_isolate_cuts_and_remembers(tmp_path: Path, calls: list[tuple[str, str, Any]]) -> None:
    state = State(tmp_path)
    network.isolate(LINKS, state, "us-west-2/edge")
    assert {path for _, path, _ in calls} == {
        "/proxies/operator-to-us-west-2.edge-8080",
        "/proxies/operator-to-us-west-2.edge-8081",
        "/proxies/us-east-1-to-us-west-2.edge-8080",
    }
    assert all(body == {"enabled": False} for _, _, body in calls)
    assert network.condition(state).isolated == {"us-west-2/edge"}


def test_isolating_again_does_nothing(tmp_path: Path, calls: list[tuple[str, str, Any]]) -> None:
    state = State(tmp_path)
    network.isolate(LINKS, state, "us-west-2/edge")
    calls.clear()
    network.isolate(LINKS, state, "us-west-2/edge")
    assert calls == []


def test_a_healed_place_reaches_others_before_they_reach_it(tmp_path: Path, calls: list[tuple[str, str, Any]]) -> None:
    state = State(tmp_path)
    network.isolate(LINKS, state, "us-west-2")
    calls.clear()
    network.heal(LINKS, state, "us-west-2")
    order = [path.removeprefix("/proxies/") if path else "pause" for _, path, _ in calls]
    assert order.index(OUT) < order.index("pause") < order.index(BACK)
    assert len(order) == len(cut(Condition(isolated=frozenset({"us-west-2"})))) + 1


def test_slowness_is_added_both_ways_and_taken_away(tmp_path: Path, calls: list[tuple[str, str, Any]]) -> None:
    state = State(tmp_path)
    network.slow(LINKS, state, "us-west-2/edge")
    assert sorted(body["stream"] for _, _, body in calls) == ["downstream"] * 3 + ["upstream"] * 3
    calls.clear()
    network.heal(LINKS, state, None)
    assert [method for method, _, _ in calls] == ["DELETE"] * 6


def test_what_was_broken_off_is_not_remembered_as_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ConnectionError("the proxy is gone")

    monkeypatch.setattr(network, "call", fail)
    with pytest.raises(ConnectionError):
        network.isolate(LINKS, State(tmp_path), "us-west-2/edge")
    assert network.condition(State(tmp_path)) == Condition()


def test_a_fresh_proxy_gets_the_remembered_condition(tmp_path: Path, calls: list[tuple[str, str, Any]]) -> None:
    state = State(tmp_path)
    network.remember(state, Condition(isolated=frozenset({"us-west-2/edge"})))
    network.establish(LINKS, state)
    [(_, path, rows)] = calls
    assert path == "/populate"
    assert {row["name"] for row in rows if not row["enabled"]} == cut(network.condition(state))
