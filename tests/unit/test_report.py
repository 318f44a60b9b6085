# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report: computed from recorded journals, whole wherever a run died."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from ansible_collections.platform.recovery.plugins.module_utils import clock, journal, report
from ansible_collections.platform.recovery.plugins.module_utils.journal import Journal

ZERO = 1795516200.0
Story = list[tuple[float, str, dict[str, Any]]]


def at(seconds: float) -> str:
    return clock.stamp(ZERO + seconds)


START = {
    "playbook": "database-failover",
    "scenario": "Scenario 2",
    "mode": "failover",
    "target": "us-east-1",
    "initiator": "maria@bastion",
    "reason": "disk <lost> & \"gone\" 'now'",
    "objectives": [{"name": "rto", "target_seconds": 1800}, {"name": "rpo", "target_seconds": 3600}],
    "versions": {"python": "3.11"},
}
OUTAGE = {
    "first_failed_at": at(-2),
    "last_acknowledged_before": at(-2.02),
    "first_acknowledged_after": at(1.5),
    "seconds": 3.52,
    "acknowledged_writes": 900,
    "lost_writes": 0,
    "probe": "user-service",
}
LOSS = "up to 1.2 s of writes, 64 B of log; basis: age of the newest change"
GOOD: Story = [
    (0.0, "run_started", START),
    (0.1, "phase_started", {"phase": "confirm", "title": "Confirm the failure", "budget_seconds": 120}),
    (0.3, "decision", {"gate": "expected loss", "observed": LOSS, "wanted": "1 h", "verdict": "pass", "by": "x"}),
    (0.5, "phase_ended", {"phase": "confirm", "seconds": 0.4, "outcome": "ok"}),
    (0.5, "phase_started", {"phase": "promote", "title": "Promote", "budget_seconds": 0.5}),
    (0.9, "action", {"what": "promote", "target": "us-east-1", "changed": True}),
    (1.2, "phase_started", {"phase": "verify", "title": "Verify", "budget_seconds": None}),
    (2.0, "canary_measured", {"outage": OUTAGE, "lost": [], "lost_writes": 0, "acknowledged_writes": 900}),
    (2.2, "next_action", {"text": "Rejoin us-west-2"}),
    (2.5, "run_ended", {"outcome": "recovered"}),
]
FAILURE = {"kind": "failed", "task": "Promote", "action": "pg", "msg": "it did not", "next_action": "look"}


@pytest.fixture
def record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Story], Path]:
    def write(story: Story) -> Path:
        folder = tmp_path / "run-1"
        target = Journal.open(folder, "run-1")
        for seconds, event, data in story:
            monkeypatch.setattr(journal, "timestamp", lambda seconds=seconds: at(seconds))
            target.append(event, **data)
        return folder

    return write


def without(story: Story, *events: str) -> Story:
    return [entry for entry in story if entry[1] not in events]


def swapped(story: Story, event: str, **data: Any) -> Story:
    return [(when, name, {**old, **data} if name == event else old) for when, name, old in story]


def objective(result: dict[str, Any], name: str) -> dict[str, Any]:
    return next(entry for entry in result["objectives"] if entry["name"] == name)


def test_holds_every_field_of_the_interface(record: Callable[[Story], Path]) -> None:
    result = report.load(record(GOOD))
    wanted = "schema run_id playbook scenario mode target initiator reason outcome objectives outage phases decisions"
    assert set(wanted.split()) | {"next_actions", "failures", "state", "timeline", "versions", "databases"} <= set(
        result
    )
    assert (result["outcome"], result["state"], result["exit_code"]) == ("recovered", "finished", 0)
    assert (result["started_at"], result["ended_at"]) == (at(0), at(2.5))
    for phase in result["phases"]:
        assert {"name", "started_at", "ended_at", "seconds", "budget_seconds", "outcome"} <= set(phase)
    assert [(p["name"], p["seconds"], p["outcome"]) for p in result["phases"]] == [
        ("confirm", 0.4, "ok"),
        ("promote", 0.7, "changed"),
        ("verify", 1.3, "ok"),
    ]
    assert set(result["decisions"][0]) == {"at", "gate", "observed", "wanted", "verdict", "by"}
    assert result["outage"]["lost_writes"] == 0
    assert result["next_actions"] == ["Rejoin us-west-2"]
    assert json.loads(json.dumps(result)) == result


NO_CANARY = without(GOOD, "canary_measured")
LATE = {**OUTAGE, "first_failed_at": at(0.8), "last_acknowledged_before": at(0.7)}
BLIND = {**OUTAGE, "last_acknowledged_before": None}
NO_OUTAGE = {**OUTAGE, "first_failed_at": None, "first_acknowledged_after": None, "seconds": 0.0}


@pytest.mark.parametrize(
    ("story", "seconds", "how"),
    [
        (GOOD, 3.5, "from the first write that failed to the first acknowledged write"),
        (swapped(GOOD, "run_started", detected_at=at(-10)), 11.5, "from the alert to the first acknowledged"),
        (swapped(GOOD, "run_started", detected_at=at(9)), 3.5, "from the first write that failed to the first"),
        (swapped(NO_CANARY, "run_started", detected_at=at(9)), 2.5, "from the start of the run to the end of"),
        (swapped(GOOD, "canary_measured", outage=LATE), 1.5, "from the start of the run to the first acknowledged"),
        (
            swapped(swapped(GOOD, "canary_measured", outage=LATE), "run_started", mode="switchover"),
            0.7,
            "first write that",
        ),
        (swapped(GOOD, "canary_measured", outage=NO_OUTAGE), 0.0, "no write of the canary failed"),
        (NO_CANARY, 2.5, "to the end of “Verify”; no probe saw"),
        (without(NO_CANARY, "phase_started", "phase_ended"), 2.5, "to the end of the run; no probe ran"),
        (NO_CANARY[:5], None, "has not reached its verification"),
        (
            swapped(GOOD, "canary_measured", outage={**OUTAGE, "first_acknowledged_after": None})[:6],
            None,
            "not reached",
        ),
    ],
)
def test_recovery_time(record: Callable[[Story], Path], story: Story, seconds: float | None, how: str) -> None:
    measured = objective(report.load(record(story)), "rto")
    assert measured["measured_seconds"] == seconds
    assert how in measured["how"]
    assert measured["met"] is (None if seconds is None else True)


LOST = {
    "outage": {**OUTAGE, "lost_writes": 2},
    "lost": [{"key": "a-2", "acknowledged_at": at(-2.1)}, {"key": "a-1", "acknowledged_at": at(-2.5)}],
}


@pytest.mark.parametrize(
    ("story", "seconds", "how"),
    [
        (GOOD, 0.0, "none of 900 acknowledged writes is missing"),
        (swapped(GOOD, "canary_measured", **LOST), 0.5, "2 of 900 acknowledged writes missing"),
        (swapped(GOOD, "canary_measured", **LOST, rpo_seconds=0.7), 0.7, "2 of 900"),
        (swapped(GOOD, "canary_measured", outage=LOST["outage"], lost=["a", "b"]), None, "when they were written"),
        (
            swapped(GOOD, "canary_measured", outage={**OUTAGE, "lost_writes": None}, lost_writes=None),
            None,
            "not read back",
        ),
        (NO_CANARY, None, "no probe ran; the bound read from the standby before the promotion is up to 1.25 s"),
        (without(NO_CANARY, "decision"), None, "no probe ran"),
        (swapped(GOOD, "canary_measured", outage=BLIND), None, "no client watched before the failure; the bound"),
    ],
)
def test_data_loss(record: Callable[[Story], Path], story: Story, seconds: float | None, how: str) -> None:
    measured = objective(report.load(record(story)), "rpo")
    assert measured["measured_seconds"] == seconds
    assert how in measured["how"]


def test_objectives_that_the_description_gives_later_count(record: Callable[[Story], Path]) -> None:
    story = swapped(GOOD, "run_started", objectives=[])
    later = {"platform": "lab", "databases": ["platform_db"], "objectives": [{"name": "rto", "target_seconds": 3}]}
    story.insert(1, (0.05, "objectives", later))
    result = report.load(record(story))
    assert objective(result, "rto")["met"] is False
    assert objective(result, "rpo")["target_seconds"] is None
    assert (result["databases"], result["platform"], result["exit_code"]) == (["platform_db"], "lab", 3)


def failing(kind: str, *, touched: bool = True, ended: str | None = None) -> Story:
    story = [*GOOD[: 6 if touched else 5], (1.0, "step_failed", {**FAILURE, "kind": kind})]
    return [*story, (1.1, "run_ended", {"outcome": ended})] if ended else story


@pytest.mark.parametrize(
    ("story", "outcome", "state", "code"),
    [
        (GOOD, "recovered", "finished", 0),
        (swapped(GOOD, "run_started", objectives=[{"name": "rto", "target_seconds": 1}]), "recovered", "finished", 3),
        (NO_CANARY, "recovered", "finished", 0),
        (without(NO_CANARY, "decision"), "recovered", "finished", 3),
        (without(NO_CANARY, "decision", "action"), "recovered", "finished", 0),
        (swapped(GOOD, "canary_measured", outage=BLIND), "recovered", "finished", 0),
        (
            swapped(swapped(GOOD, "canary_measured", outage=BLIND), "decision", verdict="override"),
            "recovered",
            "finished",
            3,
        ),
        (swapped(GOOD, "run_ended", outcome="planned"), "planned", "finished", 0),
        (swapped(GOOD, "run_ended", outcome="ready"), "ready", "finished", 0),
        (swapped(GOOD, "run_ended", outcome="not_ready"), "not_ready", "finished", 4),
        (swapped(GOOD, "run_ended", outcome="cancelled"), "cancelled", "finished", 5),
        (failing("failed"), "failed", "unfinished", 2),
        (failing("timeout", ended="failed"), "failed", "finished", 2),
        (failing("refused"), "refused", "unfinished", 4),
        (failing("refused", ended="refused"), "refused", "finished", 4),
        (failing("bad_input", touched=False), "failed", "unfinished", 1),
        (failing("bad_input", touched=True), "failed", "unfinished", 2),
        ([*GOOD[:6], (1.0, "run_interrupted", {"signal": "SIGTERM"})], "cancelled", "unfinished", 5),
        (GOOD[:1], "failed", "unfinished", 2),
    ],
)
def test_outcome_and_exit_code(
    record: Callable[[Story], Path], story: Story, outcome: str, state: str, code: int
) -> None:
    result = report.load(record(story))
    assert (result["outcome"], result["state"], result["exit_code"]) == (outcome, state, code)
    assert report.exit_code(result) == code


@pytest.mark.parametrize("length", range(1, len(GOOD)))
def test_a_run_that_died_anywhere_leaves_a_whole_report(record: Callable[[Story], Path], length: int) -> None:
    folder = record(GOOD[:length])
    result = report.render(folder)
    assert (result["state"], result["outcome"]) == ("unfinished", "failed")
    assert any("recovery_run_id=run-1" in action for action in result["next_actions"])
    ElementTree.fromstring(html_of(folder))
    assert "run-1" in report.text(result)


def test_the_failed_phase_says_so_and_the_failure_comes_first(record: Callable[[Story], Path]) -> None:
    result = report.load(record(failing("refused")))
    assert result["phases"][-1]["outcome"] == "refused"
    assert result["failures"][0]["phase"] == "promote"
    assert result["next_actions"] == [
        "Already changed: promote us-east-1.",
        "look",
        "Run it again with recovery_run_id=run-1: re-running resumes.",
    ]


def test_a_refusal_before_anything_was_changed_names_nothing(record: Callable[[Story], Path]) -> None:
    assert report.load(record(failing("refused", touched=False)))["next_actions"] == ["look"]


def test_a_resumed_run_keeps_its_clock_and_forgives_what_it_mended(record: Callable[[Story], Path]) -> None:
    again = [(when + 100, event, data) for when, event, data in NO_CANARY[1:]]
    result = report.load(record([*failing("failed"), (100.0, "run_resumed", {"initiator": "bob"}), *again]))
    assert (result["outcome"], result["attempts"], result["exit_code"]) == ("recovered", 2, 0)
    assert objective(result, "rto")["measured_seconds"] == 102.5
    assert [failure["attempt"] for failure in result["failures"]] == [1]
    assert result["next_actions"] == ["Rejoin us-west-2"]


def test_side_by_side_databases_share_their_phases(record: Callable[[Story], Path]) -> None:
    start = [(0.1 + n / 10, "phase_started", {"phase": name}) for n, name in enumerate(("confirm", "fence"))]
    end = {"phase": "confirm", "seconds": 0.05, "outcome": "ok"}
    # The second host says everything that the first has said already, a moment later.
    story = [GOOD[0], start[0], (0.11, *start[0][1:]), (0.19, "phase_ended", end), start[1], (0.21, "phase_ended", end)]
    result = report.load(record([*story, (0.22, *start[1][1:]), (0.9, "run_ended", {"outcome": "recovered"})]))
    assert [(p["name"], p["started_at"], p["seconds"]) for p in result["phases"]] == [
        ("confirm", at(0.1), 0.05),
        ("fence", at(0.2), 0.7),
    ]


def test_a_database_that_fails_leaves_the_phase_to_the_others(record: Callable[[Story], Path]) -> None:
    known = (0.05, "objectives", {"databases": ["a", "b"]})
    story = [*GOOD[:6], (0.95, "step_failed", {**FAILURE, "host": "b"}), *GOOD[6:-1]]
    story.insert(1, known)
    dead = report.load(record(story))
    assert [entry["outcome"] for entry in dead["database_results"]] == ["unfinished", "failed"]
    ended: Story = [
        (2.4, "phase_ended", {"phase": "verify", "seconds": 1.2, "outcome": "ok"}),
        (2.5, "run_ended", {"outcome": "failed", "reached": "recovered"}),
    ]
    result = report.load(record(ended))  # the same journal goes on
    assert [(entry["name"], entry["outcome"]) for entry in result["database_results"]] == [
        ("a", "recovered"),
        ("b", "failed"),
    ]
    assert [(phase["name"], phase["outcome"]) for phase in result["phases"]][1:] == [
        ("promote", "failed"),
        ("verify", "ok"),
    ]
    assert (result["exit_code"], result["next_actions"][0]) == (2, "b: look")


def test_a_journal_without_its_first_record_still_renders(record: Callable[[Story], Path]) -> None:
    folder = record(GOOD)
    path = folder / "journal.jsonl"
    path.write_bytes(path.read_bytes().partition(b"\n")[2])
    result = report.render(folder)
    assert (result["started_at"], result["clock"]["started_at"], result["outcome"]) == (at(0.1), at(-2), "recovered")
    assert "broken at record 1" in html_of(folder)
    assert report.build([])["phases"] == []


def test_what_a_clock_that_was_set_back_makes_of_a_duration_is_no_duration(record: Callable[[Story], Path]) -> None:
    """A negative recovery time would count as met."""
    story = [
        (when if when < 0.5 else when - 3600, event, data) for when, event, data in without(GOOD, "canary_measured")
    ]
    result = report.load(record(story))
    assert result["seconds"] is None
    assert [phase["seconds"] for phase in result["phases"]][1:] == [0.7, 1.3]
    rto = objective(result, "rto")
    assert (rto["measured_seconds"], rto["met"]) == (None, False)
    assert "the clock was set back" in rto["how"]


def test_a_second_look_does_not_forget_the_outage(record: Callable[[Story], Path]) -> None:
    again = [(100.0, "run_resumed", {}), (101.0, "canary_measured", {"outage": NO_OUTAGE, "lost_writes": 0})]
    assert report.load(record([*GOOD, *again]))["outage"]["seconds"] == 3.52


@pytest.mark.parametrize("start", [{"mode": "plan"}, {"check": True}])
def test_a_plan_measures_nothing(record: Callable[[Story], Path], start: dict[str, Any]) -> None:
    result = report.load(record(swapped(swapped(GOOD, "run_started", **start), "run_ended", outcome="planned")))
    assert [entry["measured_seconds"] for entry in result["objectives"]] == [None, None]
    assert result["exit_code"] == 0


def test_what_a_real_run_foretells_is_no_news_after_it(record: Callable[[Story], Path]) -> None:
    plan: Story = [(0.6, "observation", {"what": "plan: promote", "lines": ["us-east-1 would be promoted"]})]
    assert report.load(record([*GOOD[:5], *plan, *GOOD[5:]]))["would_do"] == []


def test_a_plan_tells_what_would_be_done(record: Callable[[Story], Path]) -> None:
    plans: Story = [
        (0.6, "observation", {"what": "plan: promote", "lines": ["us-east-1 would be promoted"]}),
        (0.7, "observation", {"what": "plan: rollout 4 services", "lines": []}),
        (0.8, "observation", {"what": "vantage points", "lines": ["us-west-2 is silent"]}),
    ]
    story = [*swapped(GOOD, "run_started", mode="plan")[:5], *plans, (0.9, "run_ended", {"outcome": "planned"})]
    folder = record(story)
    result = report.render(folder)
    assert result["would_do"] == ["us-east-1 would be promoted", "rollout 4 services"]
    shown = report.text(result)
    assert (
        shown.index("Would do") < shown.index("1. us-east-1 would be promoted") < shown.index("2. rollout 4 services")
    )
    assert "What would be done" in html_of(folder)


def test_the_timeline_tells_what_an_action_did(record: Callable[[Story], Path]) -> None:
    story = swapped(GOOD, "action", lines=["timeline 2", "first commit after 80 ms"])
    told = [entry["text"] for entry in report.load(record(story))["timeline"]]
    assert "promote us-east-1: timeline 2; first commit after 80 ms" in told


def test_a_bounded_loss_is_shown_as_such(record: Callable[[Story], Path]) -> None:
    folder = record(swapped(GOOD, "canary_measured", outage=BLIND))
    shown = report.text(report.render(folder))
    assert re.search(r"^RPO +at most 1.25 s of 1 h +bounded$", shown, re.MULTILINE)
    assert "at most 1.25 s" in html_of(folder)
    metrics = (folder / "metrics.prom").read_text()
    assert "recovery_rpo_seconds" not in metrics
    assert re.search(r"^recovery_rpo_bound_seconds\{.*\} 1.25$", metrics, re.MULTILINE)


def test_an_event_nobody_knows_harms_nothing(record: Callable[[Story], Path]) -> None:
    strange = [(0.2, name, {"x": 1}) for name in ("begin_attempt", "close_phase", "read", "whatever")]
    assert report.load(record([GOOD[0], *strange, *GOOD[1:]]))["outcome"] == "recovered"


def test_a_broken_chain_is_shown(record: Callable[[Story], Path]) -> None:
    folder = record(GOOD)
    path = folder / "journal.jsonl"
    path.write_text(path.read_text().replace("64 B of", "63 B of"))
    result = report.render(folder)
    assert result["journal"]["first_bad"] == 3
    assert "broken at record 3" in html_of(folder)


def html_of(folder: Path) -> str:
    content = (folder / "report.html").read_text(encoding="utf-8")
    assert content.startswith("<!DOCTYPE html>")
    return content.removeprefix("<!DOCTYPE html>").strip()


def test_html_is_well_formed_self_contained_and_escaped(record: Callable[[Story], Path]) -> None:
    evil = "<script>alert('x')</script>\"&\x01"
    story = swapped(
        swapped(GOOD, "run_started", reason=evil, initiator=evil, target=evil), "decision", gate=evil, observed=[evil]
    )
    story.insert(3, (0.4, "step_failed", {**FAILURE, "msg": evil, "task": evil}))
    keys = [{"key": f"{evil}-{number}", "acknowledged_at": at(-3)} for number in range(150)]
    story = swapped(story, "canary_measured", outage={**OUTAGE, "lost_writes": 150}, lost=keys)
    story = swapped(story, "phase_started", title=evil)
    folder = record(story)
    report.render(folder)
    content = html_of(folder)
    tree = ElementTree.fromstring(content)
    assert not list(tree.iter("script"))
    assert not re.search(r"<script|(src|href)=|url\(|@import", content.replace("&lt;script", ""))
    assert len(tree.findall(".//ul[@class='lost']/li")) == 100
    assert "50 more" in content


def test_prometheus_format(record: Callable[[Story], Path]) -> None:
    folder = record(swapped(GOOD, "run_started", target='a "quoted"\\ name\nwith lines'))
    report.render(folder)
    content = (folder / "metrics.prom").read_text()
    seen: set[str] = set()
    label = r'[a-z_]+="(?:[^"\\\n]|\\[\\n"])*"'
    for line in content.splitlines():
        assert re.fullmatch(
            rf"# (HELP|TYPE) recovery_\w+ .+|recovery_\w+\{{{label}(,{label})*\}} -?[0-9.e+-]+", line
        ), line
        assert line not in seen
        seen.add(line)
    values = dict(re.findall(r"^(\w+)\{[^\n]*\} (\S+)$", content, re.MULTILINE))
    assert values["recovery_rto_seconds"] == "3.5"
    assert values["recovery_rpo_seconds"] == "0.0"
    assert values["recovery_lost_writes"] == "0"
    assert 'outcome="recovered"} 1' in content
    assert 'objective="rto"} 1' in content


def test_what_was_not_measured_is_no_metric(record: Callable[[Story], Path]) -> None:
    folder = record(NO_CANARY[:5])
    report.render(folder)
    content = (folder / "metrics.prom").read_text()
    assert "recovery_rto_seconds" not in content
    assert "recovery_lost_writes" not in content
    assert "recovery_run_finished{" in content


@pytest.mark.parametrize("width", [40, 80, 200])
@pytest.mark.parametrize("color", [False, True])
def test_text_fits_the_screen(record: Callable[[Story], Path], width: int, color: bool) -> None:
    phases: Story = [
        (0.1 + n / 100, "phase_started", {"phase": f"p{n}", "title": f"Long title of phase {n} " * 5})
        for n in range(30)
    ]
    advice: Story = [(1.0, "next_action", {"text": f"advice {n} " * 30}) for n in range(10)]
    failures: Story = [
        (1.1, "step_failed", {**FAILURE, "msg": f"bad {n} " * 50, "observed": "o " * 90}) for n in range(5)
    ]
    result = report.load(record([GOOD[0], *phases, *advice, *failures]))
    text = report.text(result, folder="/r", color=color, width=width)
    plain = re.sub(r"\033\[\d+m", "", text)
    assert (plain != text) is color
    assert len(text.splitlines()) <= 40
    assert max(len(line) for line in plain.splitlines()) <= width
    assert plain.splitlines()[-1].endswith("/r/report.html")
    assert "{" not in plain


def test_rendering_again_leaves_no_drafts(record: Callable[[Story], Path]) -> None:
    folder = record(GOOD)
    report.render(folder)
    report.render(folder)
    assert sorted(path.name for path in folder.iterdir()) == [
        "journal.jsonl",
        "metrics.prom",
        "report.html",
        "report.json",
    ]
    assert json.loads((folder / "report.json").read_text())["run_id"] == "run-1"
