# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What was exercised, with which result and when: kept from campaign to campaign and rendered as docs/faults.md."""

from __future__ import annotations

import json
import os
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from tests.support.platform import ROOT

# `make faults` renews what stands in the documentation; any other run keeps its results to itself.
KEPT, OWN, PAGE = ROOT / "tests/faults/ledger.json", ROOT / "build/faults.json", ROOT / "docs/faults.md"
SIZES = "sizes"
HEAD = """# Faults: what is broken on purpose, and what came of it

Made by `make faults`, which renews it; the seeds are printed there. How to repeat one failure stands at the end.

- *Kill points:* ansible-playbook and all below it die by SIGKILL right after a record of the journal was written. The
  same call again must end as an undisturbed run does: primary, slots, settings, processes, masks, workloads, lease,
  files, and one promotion.
- *Steps:* one action of ours fails, hangs (and is cancelled: exit 5, nothing alive after 2 s), or reports a success
  that was none.
- *Random campaign:* faults before and during runs, under a client that remembers what was acknowledged. No write may be
  gone but those that the way back lists as saved. `small_files` is RLIMIT_FSIZE on the server: what a full disk does to
  it, without a disk.

"""
TAIL = """
## Repeating one

| what | how |
|---|---|
| a kill point | `RECOVERY_FAULTS_POINTS=17,18 pytest tests/faults/test_killed_controller.py -k failover` |
| a step's fault | `RECOVERY_FAULTS_STEPS="Promote the standby" pytest tests/faults/test_steps.py -k lie` |
| a random run | `RECOVERY_FAULTS_SEED=4711 pytest tests/faults/test_campaign.py -k campaign` runs that seed first |

`RECOVERY_FAULTS_SECONDS` bounds each campaign; what was left out for lack of time comes first the next time.
"""


def path() -> Path:
    """Say where results go."""
    return KEPT if os.environ.get("RECOVERY_FAULTS_RECORD") else OWN


def read() -> dict[str, dict[str, dict[str, Any]]]:
    """Give all results, by campaign and case."""
    found: dict[str, dict[str, dict[str, Any]]] = json.loads(path().read_text()) if path().exists() else {}
    return found


def note(campaign: str, case: str, result: str, **more: Any) -> None:
    """Keep one result, at once: a campaign that is broken off has still exercised what it has."""
    content = read()
    today = datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M")
    content.setdefault(campaign, {})[case] = {"result": result, "exercised": today, **more}
    path().parent.mkdir(parents=True, exist_ok=True)
    path().write_text(json.dumps(content, indent=1, sort_keys=True) + "\n")


def size(campaign: str, count: int) -> None:
    """Keep how many cases a campaign has, so that what was not tried is no secret."""
    content = read()
    content.setdefault(SIZES, {})[campaign] = {"count": count}
    path().parent.mkdir(parents=True, exist_ok=True)
    path().write_text(json.dumps(content, indent=1, sort_keys=True) + "\n")


def oldest_first(campaign: str, cases: list[str]) -> list[str]:
    """Order cases by when they were exercised last, never ones first."""
    known = read().get(campaign, {})
    return sorted(cases, key=lambda case: known.get(case, {}).get("exercised", ""))


def render() -> str:
    """Write the page."""
    content = read()
    parts = [HEAD]
    for campaign in sorted(name for name in content if name != SIZES and not name.startswith("step ")):
        size_of = content.get(SIZES, {}).get(campaign, {}).get("count")
        parts.append(_campaign(campaign, content[campaign], size_of or len(content[campaign])))
    for playbook in sorted(
        {name.removeprefix("step ").partition(": ")[0] for name in content if name.startswith("step ")}
    ):
        parts.append(_steps(playbook, content))
    return "".join(parts) + TAIL


def _campaign(name: str, cases: dict[str, dict[str, Any]], count: int) -> str:
    good = sum(case["result"] == "ok" for case in cases.values())
    newest = max(case["exercised"] for case in cases.values())
    oldest = min(case["exercised"] for case in cases.values())
    tried = f"{len(cases)} of {count} tried, {good} of them as wanted"
    lines = [f"## {name}\n\n{tried}; exercised between {oldest} and {newest} UTC.\n"]
    lines += [
        f"- {case}: {found['result']} ({found['exercised']})\n"
        for case, found in cases.items()
        if found["result"] != "ok"
    ]
    return "".join([*lines, "\n"])


def _steps(playbook: str, content: dict[str, dict[str, dict[str, Any]]]) -> str:
    faults = [name.partition(": ")[2] for name in sorted(content) if name.startswith(f"step {playbook}: ")]
    steps: dict[str, None] = {}
    for fault in faults:
        steps |= dict.fromkeys(content[f"step {playbook}: {fault}"])
    lines = [f"## Steps of {playbook} and faults\n\n| step | {' | '.join(faults)} |\n|---|{'---|' * len(faults)}\n"]
    for step in steps:
        cells = [content[f"step {playbook}: {fault}"].get(step) for fault in faults]
        shown = [f"{cell['result']}, {cell['exercised']}" if cell else "not yet" for cell in cells]
        lines.append(f"| {step} | {' | '.join(shown)} |\n")
    return "".join([*lines, "\n"])


def publish() -> None:
    """Renew the page, where this run is one that does."""
    if path() == KEPT and KEPT.exists():
        PAGE.write_text(render())
