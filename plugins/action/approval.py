# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""See that the people who must agree to a run have agreed."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ansible_collections.platform.recovery.plugins.module_utils import approvals, clock, evidence
from ansible_collections.platform.recovery.plugins.module_utils import run as runs
from ansible_collections.platform.recovery.plugins.module_utils.approvals import Decision, Request, Rule
from ansible_collections.platform.recovery.plugins.module_utils.errors import BadInput, StepFailed
from ansible_collections.platform.recovery.plugins.plugin_utils.action import Call, RecoveryAction

# What the observation is called that keeps a request in the journal.
ASKED = "approval request"
STARTS = ("run_started", "run_resumed")


class ActionModule(RecoveryAction):
    """See the module of the same name."""

    MODULE = "approval"
    MAPS = frozenset({"people"})

    def act(self, call: Call) -> dict[str, Any]:
        """Judge every approval that is there; say in check mode what would be missing."""
        if call.run is None:
            raise BadInput(
                "approval found no open run",
                wanted="a run opened by checkpoint in an earlier task of this playbook",
                observed="no registered result recovery_run",
                next_action="open the run first: the role platform.recovery.recovery_run does it",
            )
        rule = Rule.of(call.options)
        records = list(call.run.journal.records())
        names = initiators(records, call.task_vars)
        by_awx = workflow(rule, call.task_vars)
        if by_awx:
            return passed(call, call.run, rule, by_awx)
        request, known = request_of(call, call.run, records, names)
        persons = approvals.persons(names, rule)
        given = [Path(path).expanduser() for path in call.options["approvals"]]
        own = call.run.folder / approvals.FOLDER
        judged = [
            approvals.judge(source, content, rule, request, persons, time.time(), approvals.verify)
            for source, content in approvals.collect([*given, *([own] if own.is_dir() else [])])
        ]
        decision = approvals.decide(judged, rule, persons)
        if call.check:
            return {"approvers": list(decision.approvers), "lines": [f"approvals: {decision.observed}"]}
        if decision.verdict != "refuse":
            return passed(call, call.run, rule, decision)
        if not known:
            call.run.journal.append("observation", what=ASKED, facts=asdict(request), lines=[rule.wanted])
        file = ask(call.run, rule, request)
        raise approvals.refusal(decision, judged, rule, request, file)


def initiators(records: Iterable[Mapping[str, Any]], variables: Mapping[str, Any]) -> tuple[str, ...]:
    """Give everybody who had a part in starting this run: whom callers named, and whose account it really was."""
    told = [str(r["data"].get("initiator") or "") for r in records if r["event"] in STARTS]
    unnamed = {name: value for name, value in variables.items() if name.endswith(("_job_id", "_user_name"))}
    found = [*told, runs.initiator(variables), runs.initiator(unnamed), *runs.accounts()]
    return tuple(dict.fromkeys(name for name in found if name))


def request_of(
    call: Call, run: runs.Run, records: Iterable[Mapping[str, Any]], names: tuple[str, ...]
) -> tuple[Request, bool]:
    """Give the request that this run's journal holds, or a new one; tells which.

    What was approved once is used up when the run has recovered: the same name again is a new request.
    """
    options = call.options
    nonce = secrets.token_hex(16)
    while run.journal.redacted(nonce) != nonce:  # a short password can be in it by chance
        nonce = secrets.token_hex(16)
    fresh = Request(
        platform=options["platform"],
        playbook=options["playbook"],
        mode=options["mode"],
        target=options["target"],
        description=options["description"],
        overrides=tuple(options["overrides"]),
        run_id=run.id,
        nonce=nonce,
        requested_at=clock.utc_now(),
        initiators=names,
    )
    kept: Request | None = None
    for record in records:
        data = record["data"]
        if record["event"] == "observation" and data.get("what") == ASKED:
            kept = Request.of(data["facts"])
        elif record["event"] == "run_ended" and data.get("outcome") == "recovered":
            kept = None
    # The journal hides whatever looks like a password of this platform, also where a name holds it by chance.
    if kept is None or Request.of(run.journal.redacted(asdict(fresh))).outside(kept):
        return fresh, False
    return Request(**{**asdict(fresh), "nonce": kept.nonce, "requested_at": kept.requested_at}), True


def ask(run: runs.Run, rule: Rule, request: Request) -> Path:
    """Leave the request where people find it."""
    file = run.folder / approvals.REQUEST_FILE
    limits = {"valid_seconds": rule.valid_seconds, "break_glass_seconds": rule.break_glass_seconds}
    content = {"request": asdict(request), "needed": rule.needed, "approvers": list(rule.approvers), **limits}
    try:
        (run.folder / approvals.FOLDER).mkdir(exist_ok=True)
        file.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise StepFailed(
            f"The request for approvals could not be written: {error.strerror}",
            wanted=str(file),
            observed=error.strerror,
            next_action=f"free space or correct the permissions of {run.folder}, then run again",
        ) from error
    return file


def workflow(rule: Rule, variables: Mapping[str, Any]) -> Decision | None:
    """Let an approval node of AWX stand in, where the description names its workflow.

    AWX sets these variables itself and overrides what a job's caller gives. Outside of AWX anybody can set them: it is
    worth as much as the guarantee that the platform's keys are nowhere but in AWX.
    """
    if not rule.awx_workflow:
        return None
    for prefix in ("awx", "tower"):
        job, name = variables.get(f"{prefix}_workflow_job_id"), variables.get(f"{prefix}_workflow_job_name")
        if job and name == rule.awx_workflow:
            said = (
                f"AWX says that this is a job of workflow {name!r}, workflow job {job}; who approved is in its record"
            )
            return Decision("pass", said, f"AWX workflow job {job}")
    return None


def passed(call: Call, run: runs.Run, rule: Rule, decision: Decision) -> dict[str, Any]:
    """Journal by whom the gate was passed."""
    lines = [f"approvals: {decision.observed}"]
    if decision.verdict == "override":
        lines.insert(0, f"BREAK-GLASS: {decision.by}")
    if not call.check:
        record = run.journal.append(
            "decision",
            gate=approvals.GATE,
            observed=decision.observed,
            wanted=rule.wanted,
            verdict=decision.verdict,
            by=decision.by,
        )
        lines += evidence.sign_head(run.journal, record)
    return {"approvers": list(decision.approvers), "lines": lines}
