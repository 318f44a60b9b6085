# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report of a run: computed from its journal and nothing else, whole even if the run died in the middle."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from . import report_databases as each
from .approvals import GATE
from .clock import parse
from .journal import REPAIR_EVENT, Journal
from .report_html import html
from .report_metrics import prometheus
from .report_objectives import later_look, measured, rpo, settled, unmeasured
from .report_path import STEP_EVENT, critical_path
from .report_text import text
from .report_words import (
    CHECK_EVENT,
    HEAD_EVENT,
    OUTCOMES,
    READY,
    UNSIGNED_EVENT,
    VALIDATED_EVENT,
    counted,
    duration,
    missed,
    outlook,
)
from .sink import ASIDE, DOWN, UP

__all__ = ["SCHEMA", "build", "exit_code", "load", "render", "text"]

SCHEMA = 1
OBJECTIVES = ("rto", "rpo")
# What an observation's name begins with that tells what would be done.
PLAN = "plan: "
# The phase at whose end the platform is known to serve again, where no probe says when it first did.
# Nothing is lost in these until they take it away themselves.
PLANNED = frozenset({"switchover", "drill"})
VERIFYING = ("verif", "integrity")

Record = Mapping[str, Any]


@dataclass
class _Story:
    """What has been read of the journal so far."""

    start: dict[str, Any] = field(default_factory=dict)
    run_id: str = ""
    started_at: str | None = None
    last_at: str | None = None
    ended_at: str | None = None
    outcome: str | None = None
    interrupted: bool = False
    attempt: int = 0
    changed: bool = False
    changes: list[str] = field(default_factory=list)
    would_do: list[str] = field(default_factory=list)
    records: int = 0
    last_hash: str = ""
    goals: dict[str, float] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    phases: list[dict[str, Any]] = field(default_factory=list)
    steps: list[dict[str, Any]] = field(default_factory=list)
    decisions: list[dict[str, Any]] = field(default_factory=list)
    checks: list[dict[str, Any]] = field(default_factory=list)
    # The newest word on each thing that was validated.
    validations: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    failures: list[dict[str, Any]] = field(default_factory=list)
    advice: list[tuple[int, str]] = field(default_factory=list)
    canary: dict[str, Any] = field(default_factory=dict)
    # What those databases came to of which no step failed.
    reached: str = each.UNFINISHED
    unsigned: str | None = None
    sink: dict[str, Any] | None = None
    forecast: dict[str, Any] | None = None
    timeline: list[dict[str, Any]] = field(default_factory=list)

    def read(self, record: Record) -> None:
        """Take in one record; what is not known is told in the timeline only."""
        event, data, at = str(record["event"]), record["data"], str(record["time"])
        self.records += 1
        self.last_hash = str(record["hash"])
        self.run_id = str(record["run_id"])
        self.last_at = at
        # Also of a journal whose first record is lost: then this is when the run was first heard of.
        self.started_at = self.started_at or at
        reader = READERS.get(event)
        if reader:
            reader(self, data, at)
        line = _told(event, data)
        if line:
            self.timeline.append({"at": at, "event": event, "text": line})

    def failures_now(self) -> list[dict[str, Any]]:
        """Return the failures of the latest attempt."""
        return [failure for failure in self.failures if failure["attempt"] == self.attempt]

    def databases(self) -> list[str]:
        """Name the databases that the run works on."""
        return [str(name) for name in self.facts.get("databases") or self.start.get("databases") or []]

    def _run_started(self, data: Record, at: str) -> None:
        if self.attempt == 0:
            self.start = dict(data)
            self._objectives(data, at)
        self._sink_named(data)
        self._begin_attempt()

    def _run_resumed(self, data: Record, at: str) -> None:
        self._close_phase(at, "failed")
        self.start.update({key: data[key] for key in ("versions", "controller", "evidence_key") if data.get(key)})
        self._sink_named(data)
        self._begin_attempt()

    def _sink_named(self, data: Record) -> None:
        if data.get("sink"):
            self.sink = {"url": data["sink"], "state": "up", "why": None, "since": None}

    def _sink_down(self, data: Record, at: str) -> None:
        self.sink = {"url": data.get("sink"), "state": "down", "why": data.get("why"), "since": at}

    def _sink_up(self, data: Record, at: str) -> None:
        self.sink = {"url": data.get("sink"), "state": "up", "why": None, "since": at}

    def _begin_attempt(self) -> None:
        self.attempt += 1
        self.ended_at = self.outcome = None
        self.interrupted = False
        self.unsigned = None
        self.would_do = []
        self.checks = []
        self.validations = {}
        self.reached = each.UNFINISHED

    def _objectives(self, data: Record, at: str) -> None:
        del at
        for objective in data.get("objectives") or []:
            self.goals[str(objective["name"])] = float(objective["target_seconds"])
        self.facts.update({key: data[key] for key in ("platform", "databases", "target") if data.get(key)})

    def _phase_started(self, data: Record, at: str) -> None:
        phase = self._open_phase()
        if phase and phase["name"] == data["phase"]:
            return  # several databases side by side enter a phase together
        self._close_phase(at)
        self.phases.append(
            {
                "name": str(data["phase"]),
                "title": str(data.get("title") or data["phase"]),
                "started_at": at,
                "ended_at": None,
                "seconds": None,
                "budget_seconds": data.get("budget_seconds"),
                "outcome": "running",
                "attempt": self.attempt,
            }
        )

    def _phase_ended(self, data: Record, at: str) -> None:
        phase = self._open_phase()
        if phase and phase["name"] == data.get("phase"):
            self._close_phase(at, data.get("outcome"), data.get("seconds"))

    def _close_phase(self, at: str, outcome: str | None = None, seconds: float | None = None) -> None:
        phase = self._open_phase()
        if phase is None:
            return
        phase["ended_at"] = at
        phase["seconds"] = _between(phase["started_at"], at) if seconds is None else seconds
        changed, bad = phase.pop("changed", False), phase.pop("bad", None)
        phase["outcome"] = bad or outcome or ("changed" if changed else "ok")

    def _open_phase(self) -> dict[str, Any] | None:
        return self.phases[-1] if self.phases and self.phases[-1]["ended_at"] is None else None

    def _action(self, data: Record, at: str) -> None:
        del at
        phase = self._open_phase()
        if data.get("changed"):
            self.changed = True
            self.changes.append(" ".join(str(data[key]) for key in ("what", "target") if data.get(key)))
            if phase:
                phase["changed"] = True

    def _decision(self, data: Record, at: str) -> None:
        self.decisions.append(
            {"at": at, **{key: data.get(key) for key in ("gate", "observed", "wanted", "verdict", "by")}}
        )

    def _check(self, data: Record, at: str) -> None:
        fields = ("role", "subject", "check", "verdict", "observed", "wanted", "mend")
        self.checks.append({"at": at, **{key: data.get(key) for key in fields}})

    def _validated(self, data: Record, at: str) -> None:
        fields = ("kind", "name", "verdict", "observed", "wanted", "by", "seconds", "share")
        self.validations[str(data["kind"]), str(data["name"])] = {"at": at, **{key: data.get(key) for key in fields}}

    def _step_failed(self, data: Record, at: str) -> None:
        phase = self._open_phase()
        kind = str(data.get("kind") or "failed")
        failure = {key: data.get(key) for key in ("task", "action", "host", "msg", "wanted", "observed", "next_action")}
        self.failures.append(
            {"at": at, "kind": kind, "phase": phase and phase["name"], "attempt": self.attempt, **failure}
        )
        if phase and len(self.databases()) > 1:
            phase["bad"] = each.BAD_STEP.get(kind, "failed")  # the other databases are still in it
        else:
            self._close_phase(at, each.BAD_STEP.get(kind, "failed"))

    def _step_ended(self, data: Record, at: str) -> None:
        del at
        step = {key: data.get(key) for key in ("phase", "host", "task")}
        self.steps.append({**step, "seconds": float(data.get("seconds") or 0), "attempt": self.attempt})

    def _canary_measured(self, data: Record, at: str) -> None:
        del at
        self.canary = later_look(self.canary, data)

    def _observation(self, data: Record, at: str) -> None:
        del at
        what = str(data.get("what") or "")
        if what.startswith(PLAN):
            self.would_do += [str(line) for line in data.get("lines") or [what.removeprefix(PLAN)]]

    def _next_action(self, data: Record, at: str) -> None:
        del at
        self.advice.append((self.attempt, str(data.get("text") or "")))

    def _forecast(self, data: Record, at: str) -> None:
        del at
        self.forecast = {**data, "outlook": []}

    def _outlook(self, data: Record, at: str) -> None:
        if self.forecast is not None:
            self.forecast["outlook"].append({"at": at, **data})

    def _evidence_unsigned(self, data: Record, at: str) -> None:
        del at
        self.unsigned = str(data.get("why"))

    def _run_interrupted(self, data: Record, at: str) -> None:
        del data
        self.interrupted = True
        self._close_phase(at, "cancelled")

    def _run_ended(self, data: Record, at: str) -> None:
        self.ended_at = at
        self.outcome = str(data.get("outcome") or "failed")
        self.reached = self.outcome if self.outcome in each.GOOD else str(data.get("reached") or each.UNFINISHED)
        self._close_phase(at, None if self.outcome in ("recovered", "planned", "ready") else self.outcome)


READERS = {
    "run_started": _Story._run_started,
    "run_resumed": _Story._run_resumed,
    "run_interrupted": _Story._run_interrupted,
    "run_ended": _Story._run_ended,
    "objectives": _Story._objectives,
    "phase_started": _Story._phase_started,
    "phase_ended": _Story._phase_ended,
    "action": _Story._action,
    "decision": _Story._decision,
    CHECK_EVENT: _Story._check,
    VALIDATED_EVENT: _Story._validated,
    "step_failed": _Story._step_failed,
    STEP_EVENT: _Story._step_ended,
    "canary_measured": _Story._canary_measured,
    "next_action": _Story._next_action,
    "observation": _Story._observation,
    DOWN: _Story._sink_down,
    UP: _Story._sink_up,
    UNSIGNED_EVENT: _Story._evidence_unsigned,
    "forecast": _Story._forecast,
    "outlook": _Story._outlook,
}


def build(records: Iterable[Record]) -> dict[str, Any]:
    """Compute report.json from the journal's records."""
    story = _Story()
    for record in records:
        story.read(record)
    start = story.start
    finished = story.ended_at is not None
    outcome = _outcome(story)
    outage = _outage(story)
    began, how = _clock(story, outage)
    planning = _is_plan(start)
    report: dict[str, Any] = {
        "schema": SCHEMA,
        "run_id": story.run_id,
        "state": "finished" if finished else "unfinished",
        "outcome": outcome,
        "playbook": start.get("playbook"),
        "scenario": start.get("scenario"),
        "mode": start.get("mode"),
        "check": bool(start.get("check")),
        "target": start.get("target") or story.facts.get("target"),
        "initiator": start.get("initiator"),
        "controller": start.get("controller"),
        "reason": start.get("reason"),
        "marks": marks(story.decisions, story.sink),
        "platform": story.facts.get("platform"),
        "databases": story.databases(),
        # Readiness brings no database anywhere: its checks say what there is to say.
        "database_results": []
        if start.get("mode") == "readiness"
        else each.results(story.databases(), story.failures_now(), story.reached),
        "versions": start.get("versions") or {},
        "attempts": story.attempt,
        "changed": story.changed,
        "started_at": story.started_at,
        "ended_at": story.ended_at,
        "last_record_at": story.last_at,
        "seconds": _between(story.started_at, story.ended_at or story.last_at),
        "detected_at": start.get("detected_at"),
        "clock": {"started_at": began, "how": how},
        "objectives": [] if planning else _measures(story, outage, began, how),
        "outage": outage,
        "lost": list(story.canary.get("lost") or []),
        "phases": story.phases,
        "critical_path": critical_path(story.phases, story.steps),
        "decisions": story.decisions,
        "checks": story.checks,
        "validations": list(story.validations.values()),
        "failures": story.failures,
        # A real run foretells too, before it acts: what became of that stands in its phases.
        "would_do": list(dict.fromkeys(story.would_do)) if planning else [],
        "next_actions": _next_actions(story, outcome),
        "forecast": story.forecast,
        "evidence": {"key": start.get("evidence_key"), "unsigned": story.unsigned},
        "timeline": story.timeline,
        "journal": {"records": story.records, "last_hash": story.last_hash, "sink": story.sink},
    }
    if planning:
        word = "check of readiness" if start.get("mode") == "readiness" else "plan"
        report["objectives"] = [
            unmeasured(name, story.goals.get(name), f"nothing was done: this is a {word}") for name in OBJECTIVES
        ]
    report["exit_code"] = exit_code(report)
    return report


def marks(decisions: Iterable[Mapping[str, Any]], sink: Mapping[str, Any] | None = None) -> list[str]:
    """Say what nobody may overlook in any rendering: who was not asked, and that the journal may not survive."""
    glass = (entry for entry in decisions if entry["gate"] == GATE and entry["verdict"] == "override")
    said = [f"BREAK-GLASS: this run was not approved as it should be; {e['by']}" for e in glass]
    if sink and sink["state"] == "down":
        said.append(f"JOURNAL: its sink {sink['url']} is down since {sink['since']} ({sink['why']}); keep this folder")
    return list(dict.fromkeys(said))


def exit_code(report: Mapping[str, Any]) -> int:
    """Map a report to the exit code that it stands for."""
    outcome = report["outcome"]
    if outcome in ("refused", "not_ready"):
        return 4
    if outcome == "cancelled":
        return 5
    if outcome == "failed":
        now = [failure for failure in report["failures"] if failure["attempt"] == report["attempts"]]
        # Exit 1 promises that nothing was touched, which is not the news where other databases are recovered.
        touched = report["changed"] or each.recovered(report["database_results"])
        return 1 if now and now[-1]["kind"] == "bad_input" and not touched else 2
    if outcome == "recovered" and missed(report):
        return 3
    return 0 if outcome in OUTCOMES else 2


def load(folder: Path | str) -> dict[str, Any]:
    """Compute the report of the run in this folder, with what an audit of its journal says."""
    folder = Path(folder)
    journal = Journal(folder, folder.name)
    report = build(journal.records())
    journal.run_id = report["run_id"] or folder.name
    audit = journal.audit()
    report["journal"].update({"first_bad": audit.first_bad, "flaw": audit.reason or None})
    return report


def render(folder: Path | str) -> dict[str, Any]:
    """Write report.json, report.html and metrics.prom beside the journal. Returns the report."""
    folder = Path(folder)
    report = load(folder)
    _replace(folder / "report.json", json.dumps(report, indent=1, ensure_ascii=False) + "\n")
    _replace(folder / "report.html", html(report))
    _replace(folder / "metrics.prom", prometheus(report))
    return report


def _replace(path: Path, content: str) -> None:
    """Write so that a reader sees the old file or the new one, never half of one."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        draft.write_text(content, encoding="utf-8")
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def _outcome(story: _Story) -> str:
    if story.outcome:
        return story.outcome
    if story.interrupted:
        return "cancelled"
    now = story.failures_now()
    return each.outcome(now)


def _is_plan(start: Mapping[str, Any]) -> bool:
    return bool(start.get("check")) or start.get("mode") in ("plan", "readiness")


def _outage(story: _Story) -> dict[str, Any] | None:
    outage = story.canary.get("outage")
    if not outage:
        return None
    result = dict(outage)
    for count in ("acknowledged_writes", "lost_writes"):
        if result.get(count) is None:
            result[count] = story.canary.get(count)
    return result


def _clock(story: _Story, outage: Mapping[str, Any] | None) -> tuple[str | None, str]:
    """Say from when the recovery time counts: the alert, else the first failure clients saw, else the start."""
    detected = story.start.get("detected_at")
    if detected and (not story.started_at or parse(detected) <= parse(story.started_at)):
        return str(detected), "the alert"
    failed = (outage or {}).get("first_failed_at")
    if failed and (
        # What is planned has nothing to recover from before it interrupts the writes itself.
        story.start.get("mode") in PLANNED or not story.started_at or parse(failed) <= parse(story.started_at)
    ):
        return str(failed), "the first write that failed"
    fence = next((phase for phase in story.phases if phase["name"] == "fence"), None)
    if fence and story.start.get("mode") in PLANNED:
        return str(fence["started_at"]), "the beginning of the fence"
    return story.started_at, "the start of the run"


def _measures(story: _Story, outage: Mapping[str, Any] | None, began: str | None, how: str) -> list[dict[str, Any]]:
    recovered = story.outcome == "recovered"
    canary = {**story.canary, "outage": outage}
    return [
        settled(_rto(story, outage, began, how), recovered=recovered),
        rpo(story.goals.get("rpo"), canary, story.decisions, recovered=recovered, changed=story.changed),
    ]


def _rto(story: _Story, outage: Mapping[str, Any] | None, began: str | None, how: str) -> dict[str, Any]:
    goal = story.goals.get("rto")
    if (
        outage
        and not outage.get("first_failed_at")
        and outage.get("seconds") == 0
        and not story.start.get("detected_at")
    ):
        return measured("rto", goal, 0.0, "no write of the canary failed")
    acknowledged = (outage or {}).get("first_acknowledged_after")
    if began and acknowledged:
        return _lasted(goal, began, acknowledged, f"from {how} to the first acknowledged write after it")
    verified = next((phase for phase in story.phases if _verifies(phase)), None)
    if began and verified:
        words = f"from {how} to the end of “{verified['title']}”; no probe saw the first write"
        return _lasted(goal, began, verified["ended_at"], words)
    if outage and outage.get("first_failed_at"):
        return unmeasured("rto", goal, "no write was acknowledged again")
    if began and story.outcome == "recovered" and story.ended_at:
        return _lasted(goal, began, story.ended_at, f"from {how} to the end of the run; no probe ran")
    return unmeasured("rto", goal, "the run has not reached its verification")


def _lasted(goal: float | None, begin: str, end: str, how: str) -> dict[str, Any]:
    """Give a recovery time; a negative one would count as met."""
    seconds = _between(begin, end)
    if seconds is None:
        return unmeasured("rto", goal, f"the clock was set back {how}, so its length is not known")
    return measured("rto", goal, seconds, how)


def _verifies(phase: Mapping[str, Any]) -> bool:
    return phase["outcome"] in ("ok", "changed") and any(word in phase["name"] for word in VERIFYING)


def _next_actions(story: _Story, outcome: str) -> list[str]:
    """Collect what to do next, what concerns the failure first, each once."""
    several = len(story.databases()) > 1
    advice = [
        f"{failure['host']}: {failure['next_action']}" if several and failure["host"] else failure["next_action"]
        for failure in story.failures_now()
        if failure["next_action"]
    ]
    advice += _mends(story.checks)
    if story.start.get("mode") != "drill":  # what its roles advise is for a scratch that is gone
        advice += [text for attempt, text in story.advice if attempt == story.attempt]
    halfway = outcome == "refused" and story.changed
    if halfway:
        # A refusal promises that nothing was changed, or names what was.
        advice.insert(0, f"Already changed: {', '.join(dict.fromkeys(story.changes))}.")
    if (halfway or outcome in ("failed", "cancelled")) and story.run_id:
        advice.append(f"Run it again with recovery_run_id={story.run_id}: re-running resumes.")
    return list(dict.fromkeys(line for line in advice if line))


def _mends(checks: Iterable[Mapping[str, Any]]) -> list[str]:
    """Say what is to be mended. What cannot be told mostly follows from that, and counts where nothing is."""
    told = [
        (check["verdict"], f"{check['subject']}, {check['check']}: {check['mend']}")
        for check in checks
        if check["verdict"] != "ready"
    ]
    return [line for verdict, line in told if verdict == "not_ready"] or [line for _, line in told]


def _between(start: str | None, end: str | None) -> float | None:
    """Give the seconds between two stamps. None where the clock was set back meanwhile: nobody knows then."""
    seconds = round(parse(end) - parse(start), 3) if start and end else 0.0
    return seconds if start and end and seconds >= 0 else None


def _told(event: str, data: Record) -> str:
    """Tell an event in one line for the timeline."""
    teller = TELLERS.get(event)
    return teller(data) if teller else ""


def _tell_start(data: Record) -> str:
    how = f" in mode {data['mode']}" if data.get("mode") else ""
    return f"{data.get('initiator') or 'somebody'} started {data.get('playbook') or 'the run'}{how}"


def _tell_decision(data: Record) -> str:
    wanted = f" (wanted {_brief(data['wanted'])})" if data.get("wanted") is not None else ""
    return f"{data.get('gate')}: {data.get('verdict')}; observed {_brief(data.get('observed'))}{wanted}"


def _tell_check(data: Record) -> str:
    verdict = READY.get(str(data.get("verdict")), data.get("verdict"))
    return f"{data.get('subject')}, {data.get('check')}: {verdict}; observed {_brief(data.get('observed'))}"


def _tell_validated(data: Record) -> str:
    return f"{data.get('kind')} {data.get('name')}: {data.get('verdict')}; {_brief(data.get('observed'))}"


def _tell_action(data: Record) -> str:
    what = " ".join(str(data[key]) for key in ("what", "target") if data.get(key))
    told = "; ".join(str(line) for line in data.get("lines") or [])
    return what + ("" if data.get("changed") else " (nothing to change)") + (f": {told}" if told else "")


def _tell_observation(data: Record) -> str:
    lines = data.get("lines")
    told = "; ".join(str(line) for line in lines) if isinstance(lines, list) else data.get("text")
    return ": ".join(str(part) for part in (data.get("what"), told) if part)


def _tell_canary(data: Record) -> str:
    outage = data.get("outage") or {}
    lost = outage.get("lost_writes", data.get("lost_writes"))
    loss = "" if lost is None else f", {counted(int(lost), 'lost write')}"
    return f"Canary: outage of {duration(outage.get('seconds'))}{loss}"


def _tell_unsigned(data: Record) -> str:
    return f"The evidence could not be signed: {data.get('why')}"


def _tell_repair(data: Record) -> str:
    return f"A record was torn by a crash ({data.get('bytes')} bytes are kept unread)"


TELLERS = {
    "run_started": _tell_start,
    "run_resumed": lambda data: f"{data.get('initiator') or 'somebody'} resumed the run",
    "run_interrupted": lambda data: f"Interrupted by {data.get('signal') or 'the operator'}",
    "run_ended": lambda data: f"The run ended: {data.get('outcome')}",
    "phase_started": lambda data: f"Phase: {data.get('title') or data.get('phase')}",
    "decision": _tell_decision,
    CHECK_EVENT: _tell_check,
    VALIDATED_EVENT: _tell_validated,
    "action": _tell_action,
    "observation": _tell_observation,
    "step_failed": lambda data: f"{data.get('task') or data.get('action')}: {data.get('msg')}",
    "incident_activated": lambda data: f"Incident: {'; '.join(data.get('lines') or [])}",
    "notification_due": lambda data: f"To be told to {data.get('audience')}: {'; '.join(data.get('lines') or [])}",
    "canary_measured": _tell_canary,
    REPAIR_EVENT: _tell_repair,
    UNSIGNED_EVENT: _tell_unsigned,
    DOWN: lambda data: f"The journal's sink is down: {data.get('why')}; it holds {data.get('holds')} records",
    UP: lambda data: f"The journal's sink is there again after {duration(data.get('seconds'))} and holds all of it",
    ASIDE: lambda data: f"What was only on this disk is set aside in {data.get('file')}; the sink's history goes on",
    HEAD_EVENT: lambda data: f"The journal is signed up to record {data.get('record')}",
    "outlook": outlook,
}


def _brief(value: Any) -> str:
    shown = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return shown if len(shown) <= 200 else shown[:197] + "..."
