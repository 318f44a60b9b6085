# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Start, measure and stop the client that watches a recovery from outside."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from ansible_collections.platform.recovery.plugins.module_utils import canary, clock
from ansible_collections.platform.recovery.plugins.module_utils.errors import BadInput, RecoveryError, StepFailed
from ansible_collections.platform.recovery.plugins.module_utils.postgresql.client import Session
from ansible_collections.platform.recovery.plugins.module_utils.postgresql.model import Credentials, Member
from ansible_collections.platform.recovery.plugins.module_utils.run import Run
from ansible_collections.platform.recovery.plugins.plugin_utils.action import Call, RecoveryAction


class ActionModule(RecoveryAction):
    """See the module of the same name."""

    MODULE = "canary"

    def act(self, call: Call) -> dict[str, Any]:
        """Do what the state asks for."""
        folder = self._folder(call)
        state = call.options["state"]
        if state == "started":
            return self._start(call, folder)
        if state == "measured":
            return self._measure(call, folder)
        return self._stop(call, folder)

    def _folder(self, call: Call) -> Path:
        wish = call.options["folder"]
        if wish:
            return Path(wish).expanduser().absolute()
        if call.run:
            return call.run.folder.absolute() / "canary"
        raise BadInput(
            "No run is open and no folder is given",
            wanted="folder, or a run opened by checkpoint",
            next_action="give folder, or open a run first (checkpoint with state: begin)",
        )

    def _start(self, call: Call, folder: Path) -> dict[str, Any]:
        options = call.options
        for name in ("url", "service"):
            if not options[name]:
                raise BadInput(
                    f"{name} is missing",
                    wanted=f"{name}, to start a canary",
                    next_action=f"give {name}, as the platform's description has it",
                )
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        wish = canary.Wish(
            folder=folder,
            url=options["url"],
            service=options["service"],
            # The time makes keys new even where an old run's rows are still there.
            prefix=options["prefix"] or f"canary-{call.run.id if call.run else 'alone'}-{stamp}",
            path=options["path"],
            interval=options["interval_seconds"],
            timeout=options["timeout_seconds"],
            workers=options["workers"],
            max_seconds=options["max_seconds"],
            forever=options["forever"],
            ca_file=options["ca_file"],
            resolver=options["resolver"],
            authorization=options["authorization"],
        )
        if call.check:
            found = canary.find(folder)
            attached = bool(found and found.running)
            return {"attached": attached, "folder": str(folder)}
        found, attached = canary.start(wish)
        if call.run and not attached:
            call.run.journal.append("observation", what="Canary started", lines=[found.probe], facts={"pid": found.pid})
        return {
            "attached": attached,
            "folder": str(folder),
            "pid": found.pid,
            "prefix": found.prefix,
            "probe": found.probe,
            "lines": [f"Canary {'found running' if attached else 'started'}: {found.probe}"],
        }

    def _measure(self, call: Call, folder: Path) -> dict[str, Any]:
        options = call.options
        found = canary.find(folder)
        if found is None and call.check:
            return {"outage": None, "lines": ["Nothing to measure: no canary was started"]}
        if found is None:
            raise StepFailed(
                f"No canary ever ran in {folder}",
                next_action="start one (state: started) before the change that is to be measured",
            )
        since = _moment("since", options["since"]) or _run_start(call.run)
        until = _moment("until", options["until"])
        after = _moment("after", options["after"]) or canary.microseconds(time.time())
        if call.check:
            # Nothing was changed that could end an outage, and the member that is to be primary is not yet.
            result = canary.measure_so_far(found, since, until).as_result(found.probe)
            return {**result, "waited_seconds": 0.0, "lines": _lines(result)}
        try:
            outage, waited = canary.await_recovery(
                found,
                after=after,
                since=since,
                until=until,
                deadline=options["deadline_seconds"],
                quiet=options["quiet_seconds"],
            )
        except RecoveryError as error:
            # The report is to show the open outage as well as the failure.
            result = canary.measure_so_far(found, since, until).as_result(found.probe)
            _journal(call, result)
            error.fields["outage"] = result["outage"]
            raise
        loss = None
        if options["member"]:
            with _session(options) as session:
                present = canary.read_back(session, options["table"] or "", options["key_column"])
                lookback = canary.microseconds(options["lookback_seconds"])
                loss = canary.measure_loss(found, outage, since, lookback, present)
        result = canary.Measurement(outage, loss).as_result(found.probe)
        _journal(call, result)
        return {**result, "waited_seconds": round(waited, 3), "lines": _lines(result)}

    def _stop(self, call: Call, folder: Path) -> dict[str, Any]:
        if call.check:
            found = canary.find(folder)
            return {"stopped": bool(found and found.running), "folder": str(folder)}
        stopped = canary.stop(folder)
        return {"stopped": stopped is not None, "folder": str(folder), "pid": stopped.pid if stopped else None}


def _session(options: Mapping[str, Any]) -> Session:
    member, credentials = options["member"], options["credentials"]
    for name in ("credentials", "database", "table"):
        if not options[name]:
            raise BadInput(
                f"{name} is missing",
                wanted=f"{name}, to read the canary's rows back from {member['name']}",
                next_action=f"give {name}, or leave member out to measure the outage alone",
            )
    return Session(
        Member(**{key: value for key, value in member.items() if value is not None}),
        Credentials(credentials["user"], credentials["password"]),
        options["database"],
    )


def _moment(name: str, text: str | None) -> int | None:
    if not text:
        return None
    try:
        return canary.microseconds(clock.parse(text))
    except ValueError:
        raise BadInput(
            f"{name} {text!r} is no time",
            wanted="an RFC 3339 stamp such as 2026-11-23T10:30:00.000Z",
            next_action=f"correct {name} and measure again",
        ) from None


def _run_start(run: Run | None) -> int | None:
    """A canary that runs for ever has seen other outages: this one is looked for from the run's begin on."""
    if run is None:
        return None
    with suppress(OSError, RecoveryError, ValueError):
        for record in run.journal.records():
            return canary.microseconds(clock.parse(record["time"]))
    return None


def _journal(call: Call, measured: Mapping[str, Any]) -> None:
    if call.run:
        call.run.journal.append("canary_measured", **measured)


def _lines(result: Mapping[str, Any]) -> list[str]:
    outage = result["outage"]
    seconds, lost = outage["seconds"], result["lost_writes"]
    lines = ["No write acknowledged yet" if seconds is None else f"Outage {seconds:.2f} s, {outage['how']}"]
    if lost is not None:
        lines.append(f"{lost} of {result['checked_writes']} acknowledged writes lost: {result['rpo_how']}")
        lines.extend(f"Lost: {entry['key']}, acknowledged {entry['acknowledged_at']}" for entry in result["lost"][:10])
    return lines
