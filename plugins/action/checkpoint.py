# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Open, time, annotate and close a recovery run."""

from __future__ import annotations

import json
import platform
import re
import time
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from ansible import context
from ansible.release import __version__ as core_version

from ansible_collections.platform.recovery.plugins.module_utils import clock, forecast, phases, provenance, sink
from ansible_collections.platform.recovery.plugins.module_utils import report_databases as each
from ansible_collections.platform.recovery.plugins.module_utils import run as runs
from ansible_collections.platform.recovery.plugins.module_utils.errors import BadInput, PreconditionFailed, StepFailed
from ansible_collections.platform.recovery.plugins.module_utils.evidence import PROVENANCE_EVENT, conclude
from ansible_collections.platform.recovery.plugins.module_utils.journal import JournalError
from ansible_collections.platform.recovery.plugins.module_utils.report_words import forecasts
from ansible_collections.platform.recovery.plugins.plugin_utils.action import Call, RecoveryAction

# By how much the clock that stamped an alert may be ahead of this one.
CLOCK_SKEW_SECONDS = 60
# The collection, as it is installed.
ROOT = Path(__file__).resolve().parents[2]
# What each state cannot do without.
REQUIRED = {
    "begin": "playbook",
    "phase": "phase",
    "decision": "gate",
    "observation": "what",
    "event": "event",
    "next_action": "next_actions",
}


class ActionModule(RecoveryAction):
    """See the module of the same name."""

    MODULE = "checkpoint"

    def act(self, call: Call) -> dict[str, Any]:
        """Write one milestone."""
        state = str(call.options["state"])
        needed = REQUIRED.get(state)
        if needed and not call.options[needed]:
            raise BadInput(
                f"checkpoint with state {state} needs {needed}",
                wanted=needed,
                observed="nothing",
                next_action=f"give {needed} and run again",
            )
        if state == "begin":
            return _begin(call)
        if call.run is None:
            raise BadInput(
                f"checkpoint with state {state} found no open run",
                wanted="a run opened by state begin in an earlier task of this playbook",
                observed="no registered result recovery_run",
                next_action="open the run first: the role platform.recovery.recovery_run does it",
            )
        return STATES[state](call, call.run)

    def opened(self, variables: Mapping[str, Any]) -> runs.Run | None:
        """No run is open before one is begun; what an earlier run may have left behind is not this one's."""
        return None if self._task.args.get("state") == "begin" else super().opened(variables)


def _begin(call: Call) -> dict[str, Any]:
    options = call.options
    detected = _stamp(options["detected_at"]) if options["detected_at"] else None
    # Absolute, because the run may be closed from elsewhere.
    key = str(Path(options["evidence_key"]).expanduser().absolute()) if options["evidence_key"] else None
    run, resumed = runs.open_run(
        options["run_id"],
        options["journal"],
        {
            "playbook": runs.dashed(options["playbook"]),
            "scenario": options["scenario"],
            "mode": options["mode"],
            "check": call.check,
            "target": options["target"],
            "reason": options["reason"],
            "initiator": options["initiator"] or runs.initiator(call.task_vars),
            "detected_at": detected,
            "evidence_key": key,
            "objectives": options["objectives"] or [],
            "versions": {
                "platform.recovery": _collection_version(),
                "ansible-core": core_version,
                "python": platform.python_version(),
            },
        },
    )
    run.journal.append(PROVENANCE_EVENT, **_provenance())
    if not resumed and options["mode"] != "readiness":
        run.journal.append(forecast.FORECAST, **_forecast(call, run))
    report, lines = phases.rendered(run)
    lines += [f"Forecast: {line}" for line in forecasts(report)] + sink.loud(run.folder)
    if key and not Path(key).is_file():
        lines.append(f"The evidence will not be signed: there is no key {key}")
    return {
        "id": run.id,
        "folder": str(run.folder),
        "resumed": resumed,
        # The check mode of the run, for a task can be told otherwise.
        **{key: report[key] for key in ("playbook", "mode", "target", "check", "started_at", "clock", "objectives")},
        "lines": lines,
    }


def _phase(call: Call, run: runs.Run) -> dict[str, Any]:
    """Begin a phase in which none of our steps works; a play that has some declares it instead."""
    title = call.options["title"] or call.task_vars.get("ansible_play_name") or call.options["phase"]
    phase = phases.Phase(call.options["phase"], str(title), call.options["budget_seconds"] or None)
    return phases.enter(run, phase) or phases.standing(run.report())


def _decision(call: Call, run: runs.Run) -> dict[str, Any]:
    options = call.options
    decision = {key: options[key] for key in ("gate", "observed", "wanted", "verdict")}
    by = options["by"] or (runs.initiator(call.task_vars) if options["verdict"] == "override" else "checkpoint")
    run.journal.append("decision", **decision, by=by)
    wanted = f", wanted {options['wanted']}" if options["wanted"] is not None else ""
    return {"lines": [f"{options['gate']}: {options['verdict']}; observed {options['observed']}{wanted}"]}


def _observation(call: Call, run: runs.Run) -> dict[str, Any]:
    lines = call.options["lines"] or []
    run.journal.append("observation", what=call.options["what"], lines=lines, facts=call.options["facts"] or {})
    return {"lines": lines or [str(call.options["what"])]}


def _event(call: Call, run: runs.Run) -> dict[str, Any]:
    """Tell whoever listens to the journal. A plan activates nobody and notifies nobody."""
    lines = call.options["lines"] or []
    if not call.check:
        run.journal.append(call.options["event"], lines=lines, **(call.options["facts"] or {}))
    return {"lines": lines}


def _next_action(call: Call, run: runs.Run) -> dict[str, Any]:
    for text in call.options["next_actions"] or []:
        run.journal.append("next_action", text=text)
    return {"lines": [f"next: {text}" for text in call.options["next_actions"] or []]}


def _end(call: Call, run: runs.Run) -> dict[str, Any]:
    _next_action(call, run)
    before = run.report()
    ended = ("run_ended", {"outcome": call.options["outcome"] or _outcome(before), "reached": _reached(before)})
    run.journal.append_all(lambda: [*phases.closing(phases.open_phase(before)), ended])
    sink.secure_end(run.folder, run.journal)
    try:
        report = run.render()
    except (JournalError, OSError) as error:
        raise StepFailed(
            f"the run is over and journalled, but its report could not be written: {error}",
            wanted=f"report.json, report.html and metrics.prom in {run.folder}",
            observed=str(error),
            next_action=f"free space or correct the permissions of {run.folder}, then: recovery report {run.id}",
        ) from error
    return {
        "outcome": report["outcome"],
        "exit_code": report["exit_code"],
        "objectives": report["objectives"],
        "report": str(run.folder / "report.html"),
        "lines": [*conclude(run.folder), *sink.finish(run.folder, run.journal)],
        **(_not_ready(report) if report["outcome"] == "not_ready" else _left(report)),
    }


def _not_ready(report: Mapping[str, Any]) -> dict[str, Any]:
    """Fail the task where something is not ready, so that ansible-playbook does not end well. All is journalled."""
    bad = [f"{check['subject']}, {check['check']}" for check in report["checks"] if check["verdict"] != "ready"]
    error = PreconditionFailed(
        f"{len(bad)} of {len(report['checks'])} checks are not ready" if report["checks"] else "Nothing was checked",
        wanted="every check ready",
        observed="; ".join(bad) or "no check",
        next_action="mend what the report names, and check again",
    )
    return {**error.as_result(), "msg": str(error), "failed": True}


def _left(report: Mapping[str, Any]) -> dict[str, Any]:
    """Fail the task where a database dropped out on the way, so that ansible-playbook does not end well."""
    databases = report["database_results"]
    left = each.bad(databases)
    if not left:
        return {}
    error = StepFailed(
        f"{len(left)} of {len(databases)} databases did not come to the end of the checklist",
        wanted="every database at the end of the checklist",
        observed="; ".join(each.summary(left)),
        next_action=f"mend what the report names and run again with recovery_run_id={report['run_id']}: "
        "it does only what is missing",
    )
    return {**error.as_result(), "msg": str(error), "failed": True}


def _forecast(call: Call, run: runs.Run) -> dict[str, Any]:
    """Ask the runs before this one how long it will take. A plan stands for whatever it may be made for."""
    mode = str(call.options["mode"])
    playbook = runs.dashed(call.options["playbook"])
    modes = forecast.REAL_MODES if mode == "plan" else (mode,)
    found = forecast.predict(run.folder.parent, playbook, modes, call.options["target"], without=run.id)
    return forecast.as_record(found)


def _provenance() -> dict[str, Any]:
    """Say what this run is made of, while it is still what runs."""
    arguments = context.CLIARGS
    return {
        "versions": provenance.versions(),
        "programs": provenance.programs(),
        "collection": {"version": _collection_version(), **provenance.collection(ROOT)},
        "playbooks": [provenance.source(str(name)) for name in arguments.get("args") or ()],
        "inventory": [provenance.source(str(name)) for name in arguments.get("inventory") or ()],
    }


def _failures(report: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [failure for failure in report["failures"] if failure["attempt"] == report["attempts"]]


def _reached(report: Mapping[str, Any]) -> str:
    """Say what a database came to that is at the end of the checklist."""
    if report["mode"] == "readiness":
        return each.UNFINISHED
    return "planned" if report["check"] or report["mode"] == "plan" else "recovered"


def _outcome(report: Mapping[str, Any]) -> str:
    """Say how a run ended that has come to its end: well, unless a step failed on the way."""
    if failures := _failures(report):
        return each.outcome(failures, each.results(report["databases"], failures, _reached(report)))
    if report["mode"] != "readiness":
        return _reached(report)
    checks = report["checks"]
    return "ready" if checks and all(check["verdict"] == "ready" for check in checks) else "not_ready"


def _stamp(text: str) -> str:
    try:
        moment = clock.parse(text)
    except ValueError as error:
        raise BadInput(
            f"recovery_detected_at {text!r} is no time",
            wanted="an RFC 3339 stamp such as 2026-11-23T10:29:41Z",
            observed=text,
            next_action="copy the stamp of the alert, or leave it out",
        ) from error
    now = time.time()
    if moment > now + CLOCK_SKEW_SECONDS:
        raise BadInput(
            f"recovery_detected_at {text!r} lies in the future",
            wanted=f"a stamp in UTC, or with its offset, not after {clock.stamp(now)}, which is now",
            observed=f"{text}, which is {clock.stamp(moment)} in UTC",
            next_action="write the offset of a local time behind it (+01:00), or copy the stamp of the alert",
        )
    return clock.stamp(moment)


@lru_cache(maxsize=1)
def _collection_version() -> str:
    """Read the version from what the collection is installed with, or built from."""
    manifest = ROOT / "MANIFEST.json"
    if manifest.exists():
        return str(json.loads(manifest.read_text(encoding="utf-8"))["collection_info"]["version"])
    source = ROOT / "galaxy.yml"
    match = (
        re.search(r"^version:\s*(\S+)", source.read_text(encoding="utf-8"), re.MULTILINE) if source.exists() else None
    )
    return match.group(1) if match else "unknown"


STATES: dict[str, Callable[[Call, runs.Run], dict[str, Any]]] = {
    "phase": _phase,
    "decision": _decision,
    "observation": _observation,
    "event": _event,
    "next_action": _next_action,
    "end": _end,
}
