# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The action with a real canary, a patched database, and a real journal."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.platform.recovery.plugins.action import canary as action
from ansible_collections.platform.recovery.plugins.module_utils import canary, clock, schema
from ansible_collections.platform.recovery.plugins.module_utils import canary_client as client
from ansible_collections.platform.recovery.plugins.module_utils.errors import (
    BadInput,
    PreconditionFailed,
    StepFailed,
    StepTimeout,
)
from ansible_collections.platform.recovery.plugins.module_utils.postgresql.model import Member
from ansible_collections.platform.recovery.plugins.module_utils.run import Run
from ansible_collections.platform.recovery.plugins.plugin_utils.action import Call

from .conftest import Edge

READ_BACK: dict[str, Any] = {
    "member": {"name": "us-east-1", "host": "pg"},
    "credentials": {"user": "reader", "password": "planted"},
    "database": "platform_db",
    "table": "app.users",
}


class Database:
    """Stands for the session with the primary; holds what the edge holds."""

    def __init__(self, edge: Edge) -> None:
        self.edge = edge
        self.standby = False
        self.statements: list[str] = []
        self.member = Member(name="us-east-1", host="pg")

    def __enter__(self) -> Database:
        return self

    def __exit__(self, *_error: object) -> None:
        pass

    def value(self, statement: str) -> Any:
        self.statements.append(statement)
        return self.standby

    def run(self, statement: str) -> None:
        self.statements.append(statement)

    def rows(self, statement: str, values: Sequence[Any], *, seconds: float) -> list[tuple[str]]:
        self.statements.append(statement)
        assert seconds > 0
        return [(key,) for key in values[0] if key in self.edge.rows]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    run = Run.at("r1", tmp_path / "r1")
    run.folder.mkdir()
    run.journal.append("run_started", playbook="database_failover")
    return run


@pytest.fixture
def database(edge: Edge, monkeypatch: pytest.MonkeyPatch) -> Database:
    database = Database(edge)
    monkeypatch.setattr(action, "Session", lambda *_arguments: database)
    return database


def act(run: Run | None, check: bool = False, **options: Any) -> dict[str, Any]:
    validated, problems = schema.Validator().check(action.ActionModule.OPTIONS, options)
    schema.refuse(problems, "the test", "")
    call = Call(options=validated, check=check, diff=False, run=run, task_vars={}, template=lambda value: value)
    return action.ActionModule.__new__(action.ActionModule).act(call)


def events(run: Run, name: str) -> list[dict[str, Any]]:
    return [record["data"] for record in run.journal.records() if record["event"] == name]


def forget(edge: Edge, closed: float) -> list[str]:
    """Delete the last three rows that were surely answered before the edge was closed."""
    lost = sorted(key for key, at in edge.rows.items() if at < closed - 0.1)[-3:]
    for key in lost:
        del edge.rows[key]
    assert len(lost) == 3
    return lost


def test_a_run_is_watched_measured_and_left(edge: Edge, run: Run, database: Database) -> None:
    start: dict[str, Any] = {"url": edge.url, "service": "user-service"}
    assert act(run, check=True, **start) == {"attached": False, "folder": str(run.folder / "canary")}
    assert act(run, check=True, state="measured")["outage"] is None
    assert not (run.folder / "canary").exists()
    started = act(run, **start)
    assert started["attached"] is False
    assert started["folder"] == str(run.folder / "canary")
    assert act(run, **start)["attached"] is True

    act(run, state="measured")
    time.sleep(0.3)
    edge.close()
    closed = time.time()
    time.sleep(0.3)
    lost = forget(edge, closed)
    edge.open()
    measured = act(run, state="measured", **READ_BACK)
    assert act(run, state="stopped", check=True)["stopped"] is True
    assert act(run, state="stopped")["stopped"] is True

    assert sorted(entry["key"] for entry in measured["lost"]) == lost
    assert (measured["lost_writes"], measured["outage"]["lost_writes"]) == (3, 3)
    assert measured["outage"]["seconds"] == pytest.approx(0.3, abs=0.1)
    assert 0.1 < measured["rpo_seconds"] < 1
    assert "changed" not in measured  # the base says false: an instrument changes nothing
    assert 'FROM "app"."users" WHERE "key" = ANY(%s)' in database.statements[-1]
    records = events(run, "canary_measured")
    assert records[-1]["lost"] == measured["lost"]
    assert records[0]["lost_writes"] is None
    assert "planted" not in run.journal.path.read_text()
    assert act(run, state="stopped")["stopped"] is False


def test_nothing_lost_is_zero_and_an_unread_database_is_unknown(edge: Edge, run: Run, database: Database) -> None:
    act(run, url=edge.url, service="user-service")
    measured = act(run, state="measured", **READ_BACK)
    assert (measured["rpo_seconds"], measured["lost_writes"], measured["outage"]["seconds"]) == (0.0, 0, 0.0)
    assert act(run, state="measured")["rpo_seconds"] is None
    database.standby = True
    with pytest.raises(PreconditionFailed, match="standby"):
        act(run, state="measured", **READ_BACK)
    act(run, state="stopped")


def test_an_application_that_stays_down_is_a_time_out_with_the_outage_in_the_journal(edge: Edge, run: Run) -> None:
    act(run, url=edge.url, service="user-service")
    act(run, state="measured")
    edge.status = 503
    after = clock.stamp(time.time() + 0.2)
    with pytest.raises(StepTimeout) as caught:
        act(run, state="measured", after=after, deadline_seconds=0.6)
    assert caught.value.fields["outage"]["first_acknowledged_after"] is None
    assert events(run, "canary_measured")[-1]["outage"]["seconds"] is None
    act(run, state="stopped")


@pytest.mark.usefixtures("database")
def test_after_the_failure_only_a_lower_bound_is_known(edge: Edge, run: Run) -> None:
    edge.status = 503
    act(run, url=edge.url, service="user-service")
    time.sleep(0.3)
    edge.status = 201
    measured = act(run, state="measured", **READ_BACK)
    assert measured["outage"]["last_acknowledged_before"] is None
    assert measured["outage"]["seconds"] > 0.2
    assert measured["rpo_seconds"] is None
    assert "no acknowledged write before" in measured["rpo_how"]
    assert measured["outage"]["how"].startswith("a lower bound: ")
    act(run, state="stopped")


@pytest.mark.usefixtures("database")
def test_a_canary_of_ones_own_is_attached_to_and_older_outages_are_not_this_one(edge: Edge, tmp_path: Path) -> None:
    folder = tmp_path / "ever"
    own = canary.start(canary.Wish(folder=folder, url=edge.url, service="user-service", prefix="ever", forever=True))[0]
    time.sleep(0.2)
    edge.status = 503
    time.sleep(0.3)
    edge.status = 201
    time.sleep(0.1)
    run = Run.at("r2", tmp_path / "r2")
    run.folder.mkdir()
    run.journal.append("run_started", playbook="database_failover")
    started = act(run, url=edge.url, service="user-service", folder=str(folder))
    assert (started["attached"], started["pid"]) == (True, own.pid)
    measured = act(run, state="measured", folder=str(folder), **READ_BACK)
    assert measured["outage"]["seconds"] == 0.0
    assert measured["checked_writes"] >= 10
    everything = act(run, state="measured", folder=str(folder), since="2020-01-01T00:00:00Z")
    assert everything["outage"]["seconds"] == pytest.approx(0.3, abs=0.1)
    canary.stop(folder)


def age(folder: Path, seconds: float) -> None:
    """Make a canary's log older."""
    older = int(seconds * 1e6)
    log = folder / "writes.log"
    lines = [log.read_bytes()[at : at + client.LINE_BYTES] for at in range(0, log.stat().st_size, client.LINE_BYTES)]
    log.write_bytes(
        b"".join(
            client.LINE % (int(line[:12]), int(line[13:29]) - older, int(line[30:46]) - older, line[47:55])
            for line in lines
        )
    )


@pytest.mark.usefixtures("database")
def test_what_was_lost_hours_before_the_run_is_found(edge: Edge, run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "ever"
    wish = canary.Wish(folder=folder, url=edge.url, service="user-service", prefix="ever")
    canary.start(wish)
    time.sleep(0.4)
    edge.close()
    closed = time.time()
    time.sleep(0.2)
    canary.stop(folder)
    lost = forget(edge, closed)
    age(folder, 3 * 3600)
    edge.open()
    canary.start(wish)
    measured = act(run, state="measured", folder=str(folder), **READ_BACK)
    canary.stop(folder)
    assert measured["outage"]["seconds"] == pytest.approx(3 * 3600, abs=2)
    assert "nobody watched for 10" in measured["outage"]["how"]
    assert sorted(entry["key"] for entry in measured["lost"]) == lost
    assert 0.1 < measured["rpo_seconds"] < 1
    assert clock.parse(measured["checked_since"]) < time.time() - 3 * 3600
    assert measured["unchecked_writes"] == 0


@pytest.mark.usefixtures("database")
def test_what_was_rotated_away_is_never_called_read_back(edge: Edge, run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "ever"
    wish = canary.Wish(folder=folder, url=edge.url, service="user-service", prefix="ever", forever=True)
    arguments = [*wish.arguments(), "--rotate-bytes", str(40 * client.LINE_BYTES)]
    subprocess.run([sys.executable, client.__file__, *arguments], check=True, capture_output=True)
    time.sleep(3.5)
    measured = act(run, state="measured", folder=str(folder), since="2020-01-01T00:00:00Z", **READ_BACK)
    canary.stop(folder)
    assert measured["lost_writes"] == 0
    assert measured["unchecked_writes"] > 20
    assert measured["rpo_seconds"] is None
    assert measured["rpo_how"].startswith(f"0 of {measured['checked_writes']} acknowledged writes from ")
    assert f"{measured['unchecked_writes']} older ones could not be checked" in measured["rpo_how"]
    assert measured["rpo_how"] in measured["lines"][-1]


def test_a_plan_measures_so_far_and_never_waits(edge: Edge, run: Run, database: Database) -> None:
    act(run, url=edge.url, service="user-service")
    act(run, state="measured")
    edge.status = 503
    time.sleep(0.2)
    before = events(run, "canary_measured")
    begin = time.monotonic()
    database.standby = True  # what is to be promoted is not yet
    planned = act(run, check=True, state="measured", **READ_BACK)
    assert time.monotonic() - begin < 4
    assert (planned["outage"]["seconds"], planned["waited_seconds"], planned["rpo_seconds"]) == (None, 0.0, None)
    assert planned["lines"] == ["No write acknowledged yet"]
    assert events(run, "canary_measured") == before
    act(run, state="stopped")


def test_wrong_calls(edge: Edge, run: Run, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"url is missing.*Next: give url"):
        act(run)
    with pytest.raises(BadInput, match=r"no folder.*Next: give folder"):
        act(None)
    with pytest.raises(StepFailed, match="No canary ever ran"):
        act(run, state="measured", folder=str(tmp_path / "nothing"))
    with pytest.raises(BadInput, match=r"interval.*Next: correct"):
        act(run, url=edge.url, service="s", interval_seconds=0.0)
    act(run, url=edge.url, service="user-service")
    with pytest.raises(BadInput, match=r"no time.*Next: correct after"):
        act(run, state="measured", after="soon")
    with pytest.raises(BadInput, match=r"table is missing.*Next: give table"):
        act(run, state="measured", **{**READ_BACK, "table": None})
    act(run, state="stopped")
