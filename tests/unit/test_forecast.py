# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What past runs say of the next: from made-up journals, by the real Journal and the real report."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.platform.recovery.plugins.module_utils import clock, forecast, journal, report
from ansible_collections.platform.recovery.plugins.module_utils.forecast import Outlook, Span, changes, outlook, predict
from ansible_collections.platform.recovery.plugins.module_utils.journal import Journal
from ansible_collections.platform.recovery.plugins.module_utils.report_words import forecasts

ZERO = 1795516200.0
PHASES = (("confirm", 1.0), ("promote", 3.0), ("verify", 2.0))
Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Give a writer of run folders; each later one is a newer one."""

    def record(
        name: str,
        *,
        factor: float = 1.0,
        mode: str = "failover",
        target: str = "us-east-1",
        playbook: str = "database-failover",
        check: bool = False,
        changed: bool = True,
        outcome: str | None = "recovered",
        resumed: bool = False,
        until: str | None = None,
        more: tuple[tuple[str, dict[str, Any]], ...] = (),
    ) -> Path:
        folder = tmp_path / name
        target_journal = Journal.open(folder, name)
        now = ZERO

        def append(event: str, **data: Any) -> None:
            monkeypatch.setattr(journal, "timestamp", lambda: clock.stamp(now))
            target_journal.append(event, **data)

        append(
            "run_started",
            playbook=playbook,
            mode=mode,
            target=target,
            check=check,
            objectives=[{"name": "rto", "target_seconds": 60}],
        )
        for event, data in more:
            append(event, **data)
        for phase, seconds in PHASES:
            append("phase_started", phase=phase, title=phase.title())
            append("action", what=phase, changed=changed)
            if phase == until:
                break
            now += seconds * factor
            append("phase_ended", phase=phase, seconds=seconds * factor, outcome="ok")
            if resumed and phase == "promote":
                append("run_resumed")
        if outcome:
            append("run_ended", outcome=outcome)
        report.render(folder)
        stamp = ZERO + len(list(tmp_path.iterdir()))
        os.utime(folder, (stamp, stamp))
        return folder

    return record


def of(sink: Path, mode: str = "failover", target: str = "us-east-1", **wish: Any) -> Any:
    found = predict(sink, "database-failover", (mode,), target, **wish)
    return found[0] if found else None


@pytest.mark.parametrize(
    ("values", "median", "high"),
    [
        ([3.0], 3.0, 3.0),
        ([1.0, 3.0], 2.0, 3.0),
        ([float(n) for n in range(10, 0, -1)], 5.5, 9.0),
        ([1.0] * 19 + [100.0], 1.0, 1.0),
        ([-2.0, -1.0, 0.0], -1.0, 0.0),
    ],
)
def test_spans(values: list[float], median: float, high: float) -> None:
    assert Span.of(values) == Span(median, high)


def test_no_history_is_said(tmp_path: Path) -> None:
    assert predict(tmp_path / "nowhere", "database-failover", ("failover",), None) == []
    assert predict(tmp_path, "database-failover", ("failover",), None) == []
    [line] = forecasts({"forecast": forecast.as_record([])})
    assert line.startswith("none: no run")


def test_phases_and_the_whole_are_predicted(write: Write, tmp_path: Path) -> None:
    for number in range(10):
        write(f"r{number}", factor=1 + number / 10)
    found = of(tmp_path)
    assert (found.runs, found.same_target) == (10, True)
    assert found.seconds == Span(8.7, 10.8)  # 6 s times 1.45, and times 1.8
    assert {phase.name: phase.seconds.median for phase in found.phases} == {
        "confirm": 1.45,
        "promote": 4.35,
        "verify": 2.9,
    }
    # No probe ran, so that the recovery is the end of the verification.
    assert found.to_recovery == found.seconds
    assert found.phases[1].to_recovery == Span(7.25, 9.0)


def test_ten_runs_predict_the_next_within_thirty_percent(write: Write, tmp_path: Path) -> None:
    chance = random.Random(4)
    for number in range(10):
        write(f"r{number}", factor=chance.uniform(0.85, 1.15))
    write("slow", factor=9)  # one that something held up
    found = of(tmp_path)
    for _ in range(20):
        took = 6 * chance.uniform(0.85, 1.15)
        assert abs(found.seconds.median - took) / took <= 0.3


@pytest.mark.parametrize(
    "poison",
    [
        {"outcome": "failed"},
        {"outcome": "refused"},
        {"outcome": "cancelled"},
        {"outcome": "planned"},
        {"outcome": None},
        {"outcome": None, "until": "promote"},
        {"resumed": True},
        {"changed": False},
        {"check": True},
        {"mode": "plan"},
        {"mode": "switchover"},
        {"playbook": "region-failover"},
    ],
)
def test_what_did_not_do_the_whole_work_does_not_count(write: Write, tmp_path: Path, poison: dict[str, Any]) -> None:
    write("good")
    write("bad", factor=100, **poison)
    found = of(tmp_path)
    assert (found.runs, found.seconds.median) == (1, 6.0)


def broken(folder: Path, **change: Any) -> None:
    path = folder / "report.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda folder: (folder / "report.json").unlink(),
        lambda folder: (folder / "report.json").write_text("{"),
        lambda folder: (folder / "report.json").write_text("[]"),
        lambda folder: broken(folder, schema=9),
        lambda folder: broken(folder, seconds=-4.0),
        lambda folder: broken(folder, seconds=None),
        lambda folder: broken(folder, started_at=None),
        lambda folder: broken(folder, journal={"first_bad": 3}),
        lambda folder: broken(folder, filling="x" * forecast.LARGEST),
    ],
)
def test_a_report_that_cannot_be_trusted_does_not_count(write: Write, tmp_path: Path, spoil: Any) -> None:
    write("good")
    spoil(write("bad", factor=100))
    (tmp_path / "no folder").write_text("")
    assert of(tmp_path).runs == 1


def test_the_run_itself_is_no_past(write: Write, tmp_path: Path) -> None:
    write("r1")
    assert of(tmp_path, without="r1") is None


def test_runs_to_the_same_target_say_more_once_there_are_enough(write: Write, tmp_path: Path) -> None:
    for number in range(4):
        write(f"west{number}", target="us-west-2", factor=2)
    for number in range(2):
        write(f"east{number}")
    few = of(tmp_path)
    assert (few.runs, few.same_target) == (6, False)
    assert "some to other targets" in forecasts({"forecast": forecast.as_record([few])})[0]
    write("east2")
    enough = of(tmp_path)
    assert (enough.runs, enough.same_target, enough.seconds.median) == (3, True, 6.0)


def test_the_newest_count_and_no_more_than_those_are_read(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forecast, "HISTORY_SECONDS", 60)  # what is counted here are folders
    text = (write("old", factor=50) / "report.json").read_text()
    for number in range(3000):
        folder = tmp_path / f"old-{number}"
        folder.mkdir()
        (folder / "report.json").write_text(text)
        os.utime(folder, (ZERO - number, ZERO - number))
    for number in range(forecast.NEWEST):
        write(f"new{number}")
    read: list[Path] = []
    real = Path.read_bytes

    def counted(path: Path) -> bytes:
        read.append(path)
        return real(path)

    monkeypatch.setattr(Path, "read_bytes", counted)
    assert of(tmp_path).seconds == Span(6.0, 6.0)
    assert len(read) == forecast.NEWEST
    read.clear()
    assert of(tmp_path, mode="drill") is None
    assert len(read) == forecast.LOOKED


def test_a_sink_of_many_reports_keeps_nobody_waiting(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write("a")
    monkeypatch.setattr(forecast, "HISTORY_SECONDS", -1)
    assert of(tmp_path) is None


def test_a_plan_predicts_each_mode_that_it_may_stand_for(write: Write, tmp_path: Path) -> None:
    write("f")
    write("s", mode="switchover", factor=0.5)
    found = predict(tmp_path, "database-failover", forecast.REAL_MODES, "us-east-1")
    assert [(entry.mode, entry.seconds.median) for entry in found] == [("failover", 6.0), ("switchover", 3.0)]
    lines = forecasts({"forecast": forecast.as_record(found)})
    assert lines == [
        "failover 6 s, 9 of 10 within 6 s (1 run)",
        "switchover 3 s, 9 of 10 within 3 s (1 run)",
    ]


def running(write: Write, sink: Path, until: str = "promote", factor: float = 1.0, past: int = 3) -> Path:
    """Give a run that stands at the start of a phase, with its forecast in its journal."""
    for number in range(past):
        write(f"past{number}", factor=factor)
    record = forecast.as_record(predict(sink, "database-failover", ("failover",), "us-east-1"))
    return write("now", until=until, outcome=None, more=(("forecast", record),))


@pytest.mark.parametrize(
    ("factor", "after", "verdict", "predicted"),
    [
        (1.0, 1.0, "on_time", 6.0),
        (1.0, 4.0, "on_time", 6.0),
        (1.0, 30.0, "on_time", 30.0),  # late, but there is time for as much again
        (1.0, 56.0, "at_risk", 56.0),
        (1.0, 60.5, "missed", None),
        (11.0, 6.0, "on_time", 56.0),  # 1 s in confirm, then 55 s by the past
        (12.0, 6.0, "at_risk", 61.0),
    ],
)
def test_the_outlook_by_the_phase_that_is_open(
    write: Write, tmp_path: Path, factor: float, after: float, verdict: str, predicted: float | None
) -> None:
    folder = running(write, tmp_path, factor=factor)
    looks = outlook(report.load(folder), ZERO + after)
    assert looks is not None
    assert (looks.verdict, looks.predicted_seconds) == (verdict, predicted)
    assert looks.left_seconds == pytest.approx(60 - after)


def test_without_history_the_outlook_is_not_known_until_it_is_missed(write: Write, tmp_path: Path) -> None:
    folder = running(write, tmp_path, past=0)
    loaded = report.load(folder)
    assert outlook(loaded, ZERO + 5) == Outlook("unknown", 55.0)
    assert changes(loaded, ZERO + 5) == []
    assert outlook(loaded, ZERO + 61) == Outlook("missed", -1.0)


def test_only_a_change_is_journalled(write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = running(write, tmp_path)
    current = Journal(folder, "now")
    for now in (2.0, 3.0, 57.0, 58.0, 61.0, 62.0):
        monkeypatch.setattr(forecast.time, "time", lambda now=now: ZERO + now)
        forecast.note(current)
    said = report.load(folder)["forecast"]["outlook"]
    assert [entry["verdict"] for entry in said] == ["on_time", "at_risk", "missed"]
    assert said[0]["phase"] == "promote"
    report.render(folder)
    page = (folder / "report.html").read_text()
    assert "RTO at risk, 3 s left; predicted 57 s" in page
    assert "<h2>Forecast</h2>" in page
    assert 'recovery_forecast_seconds{playbook="database-failover"' in (folder / "metrics.prom").read_text()


@pytest.mark.parametrize("change", [{"check": True}, {"mode": "plan"}, {"state": "finished"}, {"objectives": []}])
def test_where_there_is_nothing_to_be_late_for(write: Write, tmp_path: Path, change: dict[str, Any]) -> None:
    loaded = {**report.load(running(write, tmp_path)), **change}
    assert outlook(loaded, ZERO + 1) is None
    assert changes(loaded, ZERO + 100) == []


def test_the_clock_starts_at_the_alert(write: Write, tmp_path: Path) -> None:
    loaded = report.load(running(write, tmp_path))
    loaded["clock"]["started_at"] = clock.stamp(ZERO - 55)
    looks = outlook(loaded, ZERO + 1)
    assert looks == Outlook("at_risk", 4.0, 61.0, 61.0)
