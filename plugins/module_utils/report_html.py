# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A report as one self-contained HTML page: for a screen, a phone, and paper."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .clock import parse
from .report_databases import bad
from .report_path import words
from .report_style import STYLE
from .report_timeline import chart
from .report_validation import plots
from .report_words import READY, achieved, clock, counted, duration, evidence, forecasts, headline, title, tone, verdict
from .report_words import markup as _e

SHOWN_LOST = 100
GLYPHS = {"good": "✓", "warn": "!", "bad": "✕", "info": "i"}
TONES = {"pass": "good", "refuse": "bad", "override": "warn"}
TONES |= {"passed": "good", "failed": "bad", "pending": "warn"}
TONES |= {"ready": "good", "not_ready": "bad", "unknown": "warn"}


def html(report: Mapping[str, Any]) -> str:
    """Return the page."""
    name = title(report)
    body = "".join(
        (
            *(f'<p class="mark" role="alert">{_e(mark)}</p>' for mark in report["marks"]),
            _hero(report, name),
            _list("What would be done", report["would_do"]),
            _list("What to do next", report["next_actions"]),
            _databases(report["database_results"]),
            _failures(report),
            _checks(report["checks"]),
            _cards(report),
            _timeline(report),
            _validations(report["validations"]),
            _list("What was waited for, and what went on beside it", words(report["critical_path"])),
            _forecast(report),
            _decisions(report),
            _lost(report),
            _facts(report),
            _events(report),
        )
    )
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"/>'
        '<meta name="viewport" content="width=device-width, initial-scale=1"/>'
        '<meta name="color-scheme" content="light dark"/>'
        f"<title>{_e(headline(report))}: {_e(name)}</title><style>{STYLE}</style></head>"
        f'<body class="{tone(report)}"><main>{body}'
        "<footer>Rendered from the run's journal, which is append-only and hash-chained. "
        f"Check it with <code>recovery verify-evidence {_e(report['run_id'])}</code>.</footer></main></body></html>\n"
    )


def _hero(report: Mapping[str, Any], name: str) -> str:
    shade = tone(report)
    what = ", ".join(str(item) for item in report["databases"])
    chips = [report["mode"], "check mode" if report["check"] else None, what, report["scenario"]]
    attempts = report["attempts"]
    chips.append(f"{attempts} attempts" if attempts > 1 else None)
    reason = f'<p class="reason">{_e(report["reason"])}</p>' if report.get("reason") else ""
    spent = f" · took {_e(duration(report['seconds']))}" if report["seconds"] is not None else ""
    return (
        f'<header class="hero"><div class="seal" aria-hidden="true">{GLYPHS[shade]}</div><div>'
        f'<p class="verdict">{_e(headline(report))}</p><h1>{_e(name)}</h1>'
        f'<p class="chips">{"".join(f"<span>{_e(chip)}</span>" for chip in chips if chip)}</p>'
        f'<p class="who">{_e(_when(report["started_at"]))}{spent} · {_e(report["initiator"] or "initiator unknown")}'
        "</p>"
        f"{reason}</div></header>"
    )


def _list(head: str, items: Sequence[str]) -> str:
    entries = "".join(f"<li>{_e(item)}</li>" for item in items)
    return f'<section class="next"><h2>{head}</h2><ol>{entries}</ol></section>' if entries else ""


def _databases(databases: Sequence[Mapping[str, Any]]) -> str:
    """Show a table of several databases, those first that did not come to the end."""
    if len(databases) < 2:
        return ""
    left = [database["name"] for database in bad(databases)]
    rows = "".join(
        "<tr>" + "".join(f"<td>{_e(database[key] or '')}</td>" for key in ("name", "outcome", "phase", "why")) + "</tr>"
        for database in sorted(databases, key=lambda database: database["name"] not in left)
    )
    head = "".join(f"<th>{word}</th>" for word in ("Database", "Outcome", "Phase", "Why"))
    table = f'<table class="stack"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>'
    return f"<section><h2>Databases</h2>{table}</section>"


def _failures(report: Mapping[str, Any]) -> str:
    if not report["failures"]:
        return ""
    several = report["attempts"] > 1
    cards = []
    for failure in report["failures"]:
        pairs = [(label, failure[label.lower()]) for label in ("Observed", "Wanted")]
        pairs.append(("Next", failure["next_action"]))
        rows = "".join(f"<dt>{label}</dt><dd>{_e(value)}</dd>" for label, value in pairs if value)
        where = " · ".join(
            str(part)
            for part in (
                failure["kind"].replace("_", " "),
                failure["phase"] and f"phase {failure['phase']}",
                several and f"attempt {failure['attempt']}",
                _offset(report, failure["at"]),
            )
            if part
        )
        cards.append(
            f'<article class="failure"><p class="meta">{_e(where)}</p>'
            f"<h3>{_e(failure['task'] or failure['action'] or 'A step')}</h3>"
            f"<p>{_e(failure['msg'])}</p><dl>{rows}</dl></article>"
        )
    return f"<section><h2>What went wrong</h2>{''.join(cards)}</section>"


def _cards(report: Mapping[str, Any]) -> str:
    cards = [_objective(objective) for objective in report["objectives"]]
    if report["outage"]:
        cards.append(_outage(report["outage"]))
    return f'<section class="cards">{"".join(cards)}</section>' if cards else ""


def _objective(objective: Mapping[str, Any]) -> str:
    names = {"rto": "Recovery time", "rpo": "Data loss"}
    measured, goal = objective["measured_seconds"], objective["target_seconds"]
    shade = {True: "good", False: "bad"}.get(objective["met"], "none")
    used = 0.0 if measured is None or not goal else min(1.0, measured / goal)
    against = "no objective is set" if goal is None else f"objective {duration(goal)}"
    share = "" if measured is None or not goal else f" · {_percent(measured / goal)} used"
    return (
        f'<article class="card {shade}"><p class="label">{_e(names.get(objective["name"], objective["name"]))}'
        f' <abbr>{_e(objective["name"].upper())}</abbr><span class="badge {shade}">{_e(verdict(objective))}</span></p>'
        f'<p class="value">{_e(achieved(objective))}</p>'
        f'<div class="meter"><i style="width:{max(used * 100, 0.6 if measured else 0):.1f}%"></i></div>'
        f'<p class="against">{_e(against)}{_e(share)}</p><p class="how">{_e(objective["how"])}</p></article>'
    )


def _outage(outage: Mapping[str, Any]) -> str:
    lost = outage.get("lost_writes")
    shade = "none" if lost is None else "bad" if lost else "good"
    loss = "not read back" if lost is None else "none lost" if not lost else f"{lost:,} lost"
    seconds = outage.get("seconds")
    value = "not over" if seconds is None else duration(seconds)
    span = "no write failed" if seconds == 0 else ""
    if outage.get("last_acknowledged_before") and outage.get("first_acknowledged_after"):
        span = f"{_time(outage['last_acknowledged_before'])} to {_time(outage['first_acknowledged_after'])}"
    written = counted(int(outage.get("acknowledged_writes") or 0), "acknowledged write")
    probe = f" Seen by {outage['probe']}." if outage.get("probe") else ""
    return (
        f'<article class="card {shade}"><p class="label">Outage seen by clients'
        f'<span class="badge {shade}">{_e(loss)}</span></p><p class="value">{_e(value)}</p>'
        f'<div class="meter void"></div><p class="against">{_e(span)}</p>'
        f'<p class="how">{_e(written)}.{_e(probe)}</p></article>'
    )


def _timeline(report: Mapping[str, Any]) -> str:
    drawing = chart(report)
    if not drawing:
        return ""
    band = " The red band is the time without acknowledged writes." if report["outage"] else ""
    return (
        f"<section><h2>Timeline</h2><figure>{drawing}<figcaption>Zero is {_e(report['clock']['how'])}"
        f" ({_e(_when(report['clock']['started_at']))}). Pale bars are budgets, as far as they fit.{band}"
        "</figcaption></figure></section>"
    )


def _forecast(report: Mapping[str, Any]) -> str:
    """Set the phases against what runs before this one took."""
    modes = (report["forecast"] or {}).get("modes") or []
    forecast = next((entry for entry in modes if entry["mode"] == report["mode"]), modes[0] if modes else None)
    if forecast is None:
        return ""
    took = {phase["name"]: phase["seconds"] for phase in report["phases"] if not report["check"]}
    entries = [*((entry["name"], entry["seconds"]) for entry in forecast["phases"]), ("whole run", forecast["seconds"])]
    took["whole run"] = report["seconds"] if report["state"] == "finished" and not report["check"] else None
    rows = "".join(
        f'<tr><th scope="row" data-label="Phase">{_e(name)}</th>'
        f'<td data-label="Predicted">{_e(duration(seconds["median"]))}</td>'
        f'<td data-label="9 of 10 within">{_e(duration(seconds["high"]))}</td>'
        f'<td data-label="Took">{_e("—" if took.get(name) is None else duration(took[name]))}</td></tr>'
        for name, seconds in entries
    )
    heads = "".join(f'<th scope="col">{head}</th>' for head in ("Phase", "Predicted", "9 of 10 within", "Took"))
    table = f'<table class="stack"><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>'
    basis = f"By {counted(forecast['runs'], 'run')} in mode {forecast['mode']}."
    return f"<section><h2>Forecast</h2><p>{_e(basis)}</p>{table}</section>"


def _decisions(report: Mapping[str, Any]) -> str:
    if not report["decisions"]:
        return ""
    rows = "".join(
        f'<tr><td data-label="At">{_e(_offset(report, decision["at"]))}</td>'
        f'<th scope="row" data-label="Gate">{_e(decision["gate"])}</th>'
        f'<td data-label="Observed">{_e(_shown(decision["observed"]))}</td>'
        f'<td data-label="Wanted">{_e(_shown(decision["wanted"]))}</td>'
        f'<td data-label="Verdict"><span class="badge {TONES.get(str(decision["verdict"]), "none")}">'
        f'{_e(decision["verdict"])}</span></td><td data-label="By">{_e(decision["by"])}</td></tr>'
        for decision in report["decisions"]
    )
    heads = "".join(f'<th scope="col">{head}</th>' for head in ("At", "Gate", "Observed", "Wanted", "Verdict", "By"))
    table = f'<table class="stack"><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>'
    return f"<section><h2>Decisions</h2>{table}</section>"


def _checks(checks: Sequence[Mapping[str, Any]]) -> str:
    """Show every check of readiness, those that are not ready first."""
    if not checks:
        return ""
    rows = "".join(
        f'<tr><td data-label="Of">{_e(check["subject"])}</td>'
        f'<th scope="row" data-label="Check">{_e(check["check"])}</th>'
        f'<td data-label="Verdict"><span class="badge {TONES.get(str(check["verdict"]), "none")}">'
        f"{_e(READY.get(str(check['verdict']), check['verdict']))}</span></td>"
        f'<td data-label="Observed">{_e(_shown(check["observed"]))}</td>'
        f'<td data-label="Wanted">{_e(_shown(check["wanted"]))}</td>'
        f'<td data-label="Mend">{_e(_shown(check["mend"]))}</td><td data-label="Role">{_e(check["role"])}</td></tr>'
        for check in sorted(checks, key=lambda check: check["verdict"] == "ready")
    )
    heads = ("Of", "Check", "Verdict", "Observed", "Wanted", "Mend", "Role")
    head = "".join(f'<th scope="col">{name}</th>' for name in heads)
    table = f'<table class="stack"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>'
    return f'<section><h2>Checks <span class="count">{len(checks)}</span></h2>{table}</section>'


def _validations(validations: Sequence[Mapping[str, Any]]) -> str:
    """Show what the platform was found to be: drawn where it is a number, and in words."""
    if not validations:
        return ""
    rows = "".join(
        f'<tr><td data-label="Kind">{_e(found["kind"])}</td>'
        f'<th scope="row" data-label="Name">{_e(found["name"])}</th>'
        f'<td data-label="Verdict"><span class="badge {TONES.get(str(found["verdict"]), "none")}">'
        f'{_e(found["verdict"])}</span></td><td data-label="Observed">{_e(found["observed"])}</td>'
        f'<td data-label="Wanted">{_e(found["wanted"])}</td><td data-label="By">{_e(found["by"])}</td></tr>'
        for found in validations
    )
    heads = "".join(f'<th scope="col">{name}</th>' for name in ("Kind", "Name", "Verdict", "Observed", "Wanted", "By"))
    table = f'<table class="stack"><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>'
    figures = "".join(
        f"<figure>{drawing}<figcaption>{_e(words)}</figcaption></figure>" for drawing, words in plots(validations)
    )
    return f"<section><h2>Validation</h2>{figures}{table}</section>"


def _lost(report: Mapping[str, Any]) -> str:
    lost = report["lost"]
    total = (report["outage"] or {}).get("lost_writes") or len(lost)
    if not total:
        return ""
    items = "".join(_lost_item(entry) for entry in lost[:SHOWN_LOST])
    rest = total - min(len(lost), SHOWN_LOST)
    more = f'<p class="how">… and {rest:,} more; report.json lists up to a thousand.</p>' if rest > 0 else ""
    return (
        f'<section><h2>Lost writes <span class="count">{total:,}</span></h2>'
        "<p>They were acknowledged to the client and are not in the database that is primary now.</p>"
        f'<ul class="lost">{items}</ul>{more}</section>'
    )


def _lost_item(entry: Any) -> str:
    if not isinstance(entry, Mapping):
        return f"<li><code>{_e(entry)}</code></li>"
    at = f" <span>{_e(_time(entry['acknowledged_at']))}</span>" if entry.get("acknowledged_at") else ""
    return f"<li><code>{_e(entry.get('key'))}</code>{at}</li>"


def _facts(report: Mapping[str, Any]) -> str:
    journal = report["journal"]
    flaw = journal.get("first_bad")
    chain = "intact" if flaw is None else f"broken at record {flaw}: {journal.get('flaw')}"
    pairs: Iterable[tuple[str, Any]] = (
        ("Run", report["run_id"]),
        ("Checklist", report["playbook"]),
        ("Platform", report["platform"]),
        ("Detected", report["detected_at"]),
        ("Started", report["started_at"]),
        ("Ended", report["ended_at"] or f"not ended; last heard of {report['last_record_at']}"),
        ("Clock starts at", report["clock"]["how"]),
        ("Exit code", report["exit_code"]),
        ("Versions", ", ".join(f"{name} {version}" for name, version in report["versions"].items())),
        ("Journal", f"{counted(journal['records'], 'record')}, chain {chain}"),
        ("Last hash", journal["last_hash"]),
        ("Forecast", "; ".join(forecasts(report))),
        ("Evidence", evidence(report)),
    )
    rows = "".join(
        f"<div><dt>{name}</dt><dd>{_e(value)}</dd></div>" for name, value in pairs if value not in (None, "")
    )
    return f'<section><h2>Run</h2><dl class="facts">{rows}</dl></section>'


def _events(report: Mapping[str, Any]) -> str:
    items = "".join(
        f'<li class="{_e(event["event"])}"><time>{_e(_offset(report, event["at"]))}</time>'
        f"<span>{_e(event['text'])}</span></li>"
        for event in report["timeline"]
    )
    if not items:
        return ""
    summary = f'<summary>Everything that was recorded <span class="count">{len(report["timeline"])}</span></summary>'
    return f'<details>{summary}<ol class="log">{items}</ol></details>'


def _offset(report: Mapping[str, Any], at: str) -> str:
    """Show a moment on the recovery clock."""
    zero = report["clock"]["started_at"]
    if not zero:
        return _time(at)
    seconds = parse(at) - parse(zero)
    return f"-{clock(-seconds)}" if seconds < 0 else f"+{clock(seconds)}"


def _shown(value: Any) -> str:
    if value is None:
        return "—"
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {_shown(item)}" for key, item in value.items())
    if isinstance(value, list):
        return ", ".join(_shown(item) for item in value)
    return str(value)


def _percent(share: float) -> str:
    percent = share * 100
    if 0 < percent < 0.1:
        return "under 0.1 %"
    return f"{percent:.0f} %" if percent >= 10 or percent == 0 else f"{percent:.1f} %"


def _when(stamp: str | None) -> str:
    return f"{stamp[:10]} {stamp[11:19]} UTC" if stamp else "time unknown"


def _time(stamp: str | None) -> str:
    return stamp[11:].rstrip("Z") if stamp else ""
