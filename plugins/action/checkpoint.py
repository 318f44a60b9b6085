# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Open, time, annotate and close a recovery run."""

from __future__ import annotations

import json
import platform
import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from ansible.release import __version__ as core_version

from ansible_collections.platform.recovery.plugins.module_utils import clock
from ansible_collections.platform.recovery.plugins.module_utils import run as runs
from ansible_collections.platform.recovery.plugins.module_utils.errors import BadInput, StepFailed
from ansible_collections.platform.recovery.plugins.module_utils.report import build
from ansible_collections.platform.recovery.plugins.plugin_utils.action import Call, RecoveryAction

# What each state cannot do without.
REQUIRED = {
    "begin": "playbook",
    "phase": "phase",
    "decision": "gate",
    "observation": "what",
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
                observed="no fact recovery_run",
                next_action="open the run first: the role platform.recovery.recovery_run does it",
            )
        return STATES[state](call, call.run)


def _begin(call: Call) -> dict[str, Any]:
    options = call.options
    detected = options["detected_at"]
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
            "detected_at": _stamp(detected) if detected else None,
            "objectives": options["objectives"] or [],
            "versions": {
                "platform.recovery": _collection_version(),
                "ansible-core": core_version,
                "python": platform.python_version(),
            },
        },
    )
    report = run.render()
    # The check mode stands in the fact, for a task can be told otherwise than its run.
    fact = run.fact(resumed=resumed, mode=options["mode"], check=call.check, started_at=report["started_at"])
    return {
        "ansible_facts": {runs.FACT: fact},
        "clock": report["clock"],
        "objectives": report["objectives"],
        "run": {key: report[key] for key in ("playbook", "mode", "target", "check")},
    }


def _phase(call: Call, run: runs.Run) -> dict[str, Any]:
    before = _report(run)
    if before["phases"] and before["phases"][-1]["ended_at"] is None:
        _close(run, before["phases"][-1])
    title = call.options["title"] or call.task_vars.get("ansible_play_name") or call.options["phase"]
    # 0 stands for none, because a role's input cannot be left out.
    phase = {"phase": call.options["phase"], "title": title, "budget_seconds": call.options["budget_seconds"] or None}
    record = run.journal.append("phase_started", **phase)
    report = run.render()
    opened = {
        "name": phase["phase"],
        "title": title,
        "budget_seconds": phase["budget_seconds"],
        "started_at": record["time"],
    }
    return {"phase": opened, "clock": report["clock"], "objectives": report["objectives"]}


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


def _next_action(call: Call, run: runs.Run) -> dict[str, Any]:
    for text in call.options["next_actions"] or []:
        run.journal.append("next_action", text=text)
    return {"lines": [f"next: {text}" for text in call.options["next_actions"] or []]}


def _end(call: Call, run: runs.Run) -> dict[str, Any]:
    _next_action(call, run)
    before = _report(run)
    if before["phases"] and before["phases"][-1]["ended_at"] is None:
        _close(run, before["phases"][-1])
    run.journal.append("run_ended", outcome=call.options["outcome"] or _outcome(before))
    report = run.render()
    return {
        "outcome": report["outcome"],
        "exit_code": report["exit_code"],
        "objectives": report["objectives"],
        "report": str(run.folder / "report.html"),
    }


def _close(run: runs.Run, phase: Mapping[str, Any]) -> None:
    seconds = round(clock.parse(clock.utc_now()) - clock.parse(phase["started_at"]), 3)
    outcome = "changed" if phase.get("changed") else "ok"
    run.journal.append("phase_ended", phase=phase["name"], seconds=seconds, outcome=outcome)


def _outcome(report: Mapping[str, Any]) -> str:
    """Say how a run ended that has come to its end: well, unless a step failed on the way."""
    if any(failure["attempt"] == report["attempts"] for failure in report["failures"]):
        return str(report["outcome"])
    if report["check"] or report["mode"] == "plan":
        return "planned"
    return "ready" if report["mode"] == "readiness" else "recovered"


def _report(run: runs.Run) -> dict[str, Any]:
    if not run.journal.path.exists():
        raise StepFailed(
            f"the journal of run {run.id} is gone",
            wanted=str(run.journal.path),
            observed="no such file",
            next_action=f"find out who removed {run.folder}, then start a new run",
        )
    return build(run.journal.records())


def _stamp(text: str) -> str:
    try:
        return clock.stamp(clock.parse(text))
    except ValueError as error:
        raise BadInput(
            f"recovery_detected_at {text!r} is no time",
            wanted="an RFC 3339 stamp such as 2026-11-23T10:29:41Z",
            observed=text,
            next_action="copy the stamp of the alert, or leave it out",
        ) from error


@lru_cache(maxsize=1)
def _collection_version() -> str:
    """Read the version from what the collection is installed with, or built from."""
    root = Path(__file__).resolve().parents[2]
    manifest = root / "MANIFEST.json"
    if manifest.exists():
        return str(json.loads(manifest.read_text(encoding="utf-8"))["collection_info"]["version"])
    source = root / "galaxy.yml"
    match = (
        re.search(r"^version:\s*(\S+)", source.read_text(encoding="utf-8"), re.MULTILINE) if source.exists() else None
    )
    return match.group(1) if match else "unknown"


STATES: dict[str, Callable[[Call, runs.Run], dict[str, Any]]] = {
    "phase": _phase,
    "decision": _decision,
    "observation": _observation,
    "next_action": _next_action,
    "end": _end,
}
