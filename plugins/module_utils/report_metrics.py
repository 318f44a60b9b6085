# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A report in Prometheus' text format, for a textfile collector or a push gateway."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from .clock import parse
from .report_words import OUTCOMES, READY

Sample = tuple[dict[str, str], float]


def prometheus(report: Mapping[str, Any]) -> str:
    """Return the report's figures; what was not measured is absent, for absent is not zero."""
    common = {key: str(report.get(key) or "") for key in ("playbook", "scenario", "target", "mode")}
    lines: list[str] = []
    for name, words, samples in _families(report):
        known = [(labels, value) for labels, value in samples if value is not None]
        if known:
            lines += [f"# HELP {name} {words}", f"# TYPE {name} gauge"]
            lines += [f"{name}{_labels({**common, **labels})} {_number(value)}" for labels, value in known]
    return "\n".join(lines) + "\n"


def _families(report: Mapping[str, Any]) -> Iterator[tuple[str, str, list[tuple[dict[str, str], Any]]]]:
    outage = report["outage"] or {}
    for objective in report["objectives"]:
        name = objective["name"]
        yield f"recovery_{name}_seconds", f"Measured {name.upper()} of the run.", [({}, objective["measured_seconds"])]
        yield (
            f"recovery_{name}_bound_seconds",
            f"The most that {name.upper()} can be.",
            [({}, objective["bound_seconds"])],
        )
        yield (
            f"recovery_{name}_objective_seconds",
            f"Objective for {name.upper()}.",
            [({}, objective["target_seconds"])],
        )
    yield (
        "recovery_objective_met",
        "Whether an objective was met, as measured or as bounded.",
        [({"objective": objective["name"]}, objective["met"]) for objective in report["objectives"]],
    )
    yield "recovery_outage_seconds", "Time without acknowledged writes.", [({}, outage.get("seconds"))]
    yield "recovery_acknowledged_writes", "Canary writes acknowledged.", [({}, outage.get("acknowledged_writes"))]
    yield "recovery_lost_writes", "Acknowledged canary writes that are missing.", [({}, outage.get("lost_writes"))]
    # A phase of a resumed run counts as it went the last time.
    phases = {phase["name"]: phase for phase in report["phases"]}
    yield (
        "recovery_phase_seconds",
        "Duration of a phase.",
        [({"phase": name}, phase["seconds"]) for name, phase in phases.items()],
    )
    yield (
        "recovery_phase_budget_seconds",
        "Budget of a phase.",
        [({"phase": name}, phase["budget_seconds"]) for name, phase in phases.items()],
    )
    yield (
        "recovery_forecast_seconds",
        "Duration of a run by the runs before it.",
        [
            ({"of": str(entry["mode"]), "quantile": quantile}, entry["seconds"][name])
            for entry in (report["forecast"] or {}).get("modes") or []
            for name, quantile in (("median", "0.5"), ("high", "0.9"))
        ],
    )
    yield (
        "recovery_outcome",
        "1 for the outcome of the run, 0 for the others.",
        [({"outcome": outcome}, outcome == report["outcome"]) for outcome in OUTCOMES],
    )
    yield (
        "recovery_checks",
        "Checks of readiness by their verdict.",
        [
            ({"verdict": verdict}, sum(check["verdict"] == verdict for check in report["checks"]))
            for verdict in (READY if report["checks"] else ())
        ],
    )
    yield (
        "recovery_check_ready",
        "Whether a check of readiness was ready; absent where it could not be told.",
        [
            ({key: str(check[key]) for key in ("role", "subject", "check")}, check["verdict"] == "ready")
            for check in report["checks"]
            if check["verdict"] != "unknown"
        ],
    )
    yield (
        "recovery_validation_passed",
        "Whether a validation passed; absent where it could not be told or is pending.",
        [
            ({key: str(found[key]) for key in ("kind", "name")}, found["verdict"] == "passed")
            for found in report["validations"]
            if found["verdict"] in ("passed", "failed")
        ],
    )
    yield (
        "recovery_journey_seconds",
        "Duration of a journey.",
        [({"name": str(found["name"])}, found["seconds"]) for found in report["validations"]],
    )
    yield (
        "recovery_break_glass",
        "1 if the run went past its approvals by break-glass.",
        [({}, any(mark.startswith("BREAK-GLASS") for mark in report["marks"]))],
    )
    sink = report["journal"].get("sink")
    yield "recovery_journal_sink_up", "0 if the journal's sink is down.", [({}, sink["state"] == "up")] if sink else []
    yield "recovery_run_finished", "0 while the run goes on, or if it died.", [({}, report["state"] == "finished")]
    yield "recovery_exit_code", "Exit code that the outcome stands for.", [({}, report["exit_code"])]
    for edge in ("started", "ended"):
        stamp = report[f"{edge}_at"]
        yield f"recovery_run_{edge}_timestamp_seconds", f"When the run {edge}.", [({}, parse(stamp) if stamp else None)]


def _labels(labels: Mapping[str, str]) -> str:
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items()) + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _number(value: float) -> str:
    return repr(float(value)) if isinstance(value, float) else str(int(value))
