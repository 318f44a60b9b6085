# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a lint came to, as a document and as text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from .places import Finding

SCHEMA = 1


def document(found: Sequence[Finding], lost: Sequence[str], files: int, description: str | None) -> dict[str, Any]:
    """Give the result as JSON has it."""
    return {
        "schema": SCHEMA,
        "outcome": "refused" if found else "ready",
        "exit_code": 4 if found else 0,
        "lost": list(lost),
        "description": description,
        "files": files,
        "findings": [asdict(finding) for finding in found],
    }


def text(found: Sequence[Finding], lost: Sequence[str], files: int, description: str | None) -> list[str]:
    """Give the result for the operator. What concerns every region is said once."""
    places: dict[tuple[str, str, str, str, str], list[str]] = {}
    for one in found:
        places.setdefault((one.where, one.key, one.value, one.why, one.mend), []).append(one.lost)
    lines = []
    for (where, key, value, why, mend), regions in places.items():
        lines += [f"✘ {where}  {key}: {value}", f"    lost {', '.join(regions)}: {why}", f"    mend: {mend}"]
    read = f"{'the platform description and ' if description else ''}{files} files"
    if not found:
        return [f"✔ Nothing in {read} lives only in {', '.join(lost)}"]
    return [*lines, f"{len(places)} found in {read}, with {', '.join(lost)} lost"]
