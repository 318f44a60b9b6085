# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How durations, outcomes and names are said, the same in every rendering of a report."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

# Journalled where a key was configured and could not sign.
UNSIGNED_EVENT, HEAD_EVENT = "evidence_unsigned", "head_signed"
NO_KEY = "no key is configured (recovery_evidence_key)"
# A check of readiness in the journal, and its verdicts in words.
CHECK_EVENT = "check"
READY = {"ready": "ready", "not_ready": "not ready", "unknown": "cannot tell"}
# What was validated, in the journal, and the verdicts from what settles a validation to what leaves it open.
VALIDATED_EVENT = "validated"
OPEN_VERDICTS = {"failed": "validation failed", "unknown": "validation not proven", "pending": "acceptance pending"}
OUTCOMES = ("recovered", "failed", "refused", "cancelled", "planned", "ready", "not_ready")


def duration(seconds: float | None) -> str:
    """Say a duration as a person would: 0.42 s, 12.3 s, 3 min 12 s, 30 min, 4 h."""
    if seconds is None:
        return "unknown"
    if seconds < 0:
        return "-" + duration(-seconds)
    if seconds < 10:
        return f"{seconds:.2f}".rstrip("0").rstrip(".") + " s"
    if seconds < 60:
        return f"{seconds:.1f}".rstrip("0").rstrip(".") + " s"
    whole = round(seconds)
    hours, minutes, rest = whole // 3600, whole // 60 % 60, whole % 60
    if hours:
        return f"{hours} h" + (f" {minutes} min" if minutes else "")
    return f"{minutes} min" + (f" {rest} s" if rest else "")


def clock(seconds: float) -> str:
    """Show a running clock: 00:03.2, 12:40.0, 1:02:03."""
    tenths = int(max(0.0, seconds) * 10 + 0.5)
    hours, minutes, rest = tenths // 36000, tenths // 600 % 60, tenths % 600
    if hours:
        return f"{hours}:{minutes:02d}:{rest // 10:02d}"
    return f"{minutes:02d}:{rest / 10:04.1f}"


def budget(seconds: float) -> str:
    """Show a budget or objective shortly beside a clock: 0:30, 2:00, 30:00, 4:00:00."""
    whole = round(seconds)
    hours, minutes, rest = whole // 3600, whole // 60 % 60, whole % 60
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def title(report: Mapping[str, Any]) -> str:
    """Name the run for a headline: what is done, and where to."""
    name = str(report.get("playbook") or "recovery run").rpartition(".")[2].replace("_", " ").replace("-", " ")
    name = name[:1].upper() + name[1:]
    return f"{name} to {report['target']}" if report.get("target") else name


def headline(report: Mapping[str, Any]) -> str:
    """Say how it ended, in a word or two."""
    outcome = str(report["outcome"])
    if report["state"] == "unfinished" and outcome == "failed" and not report["failures"]:
        return "Unfinished"
    if outcome == "recovered" and missed(report):
        unmet = [objective for objective in report["objectives"] if objective["met"] is False]
        if not unmet:
            return f"Recovered, {_open(report)}"
        return f"Recovered, objective {'missed' if any(map(_known, unmet)) else 'not proven'}"
    return outcome.replace("_", " ").capitalize()


def tone(report: Mapping[str, Any]) -> str:
    """Return good, warn, bad or info: the colour of the run as a whole."""
    outcome = str(report["outcome"])
    if outcome == "recovered":
        return "warn" if missed(report) else "good"
    if outcome == "failed":
        return "warn" if headline(report) == "Unfinished" else "bad"
    return {"refused": "warn", "cancelled": "warn", "not_ready": "warn", "planned": "info"}.get(outcome, "good")


def missed(report: Mapping[str, Any]) -> bool:
    """Tell whether any objective was missed or is not shown to be met, or the platform was not found to be well."""
    return any(objective["met"] is False for objective in report["objectives"]) or bool(_open(report))


def _open(report: Mapping[str, Any]) -> str:
    """Say what the validations leave to be wished for; nothing if all passed, or there were none."""
    seen = {found["verdict"] for found in report.get("validations") or ()}
    return next((words for verdict, words in OPEN_VERDICTS.items() if verdict in seen), "")


def _known(objective: Mapping[str, Any]) -> bool:
    return objective["measured_seconds"] is not None


def achieved(objective: Mapping[str, Any]) -> str:
    """Say what was measured, else the most that it can have been."""
    if _known(objective):
        return duration(objective["measured_seconds"])
    bound = objective["bound_seconds"]
    return "—" if bound is None else f"at most {duration(bound)}"


def verdict(objective: Mapping[str, Any]) -> str:
    """Say what became of one objective."""
    if _known(objective):
        return {None: "no objective", True: "met", False: "missed"}[objective["met"]]
    return {None: "not measured", True: "bounded", False: "not proven"}[objective["met"]]


def evidence(report: Mapping[str, Any]) -> str:
    """Say whether the evidence is signed. The report is part of it, so that it can only name the key."""
    key, unsigned = report["evidence"]["key"], report["evidence"]["unsigned"]
    if unsigned or not key:
        return f"NOT SIGNED: {unsigned or NO_KEY}"
    return f"to be signed at the end of the run with {key}; recovery verify-evidence tells whether it is"


def forecasts(report: Mapping[str, Any]) -> list[str]:
    """Say how long a run takes by the runs before it, for each mode of which there were any."""
    if report["forecast"] is None:
        return []
    told = [_forecast(entry) for entry in report["forecast"]["modes"]]
    return told or ["none: no run like this that went through at once is kept here yet"]


def _forecast(entry: Mapping[str, Any]) -> str:
    seconds = entry["seconds"]
    targets = "" if entry["same_target"] else ", some to other targets"
    runs = counted(entry["runs"], "run")
    return (
        f"{entry['mode']} {duration(seconds['median'])}, 9 of 10 within {duration(seconds['high'])} ({runs}{targets})"
    )


def outlook(data: Mapping[str, Any]) -> str:
    """Say how a run stands against its objective."""
    verdict, left = str(data["verdict"]).replace("_", " "), data["left_seconds"]
    name = str(data.get("objective") or "rto").upper()
    if left < 0:
        return f"{name} {verdict}"
    predicted = data.get("predicted_seconds")
    likely = (
        "" if predicted is None else f"; predicted {duration(predicted)}, at worst {duration(data['high_seconds'])}"
    )
    return f"{name} {verdict}, {duration(left)} left{likely}"


def counted(number: int, noun: str) -> str:
    """Count things: 1 write, 1,204 writes."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def markup(value: Any) -> str:
    """Make a value safe inside HTML and SVG; control characters are legal in JSON and not in markup."""
    text = "" if value is None else str(value)
    return escape("".join(character if character.isprintable() or character in "\n\t" else "�" for character in text))
