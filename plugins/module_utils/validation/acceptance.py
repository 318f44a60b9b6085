# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Acceptance: what people who have to be content say of the platform. Nobody's silence is taken for consent."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .. import approvals
from ..journal import canonical
from .model import Finding

Verify = Callable[[str, str, Sequence[str]], "approvals.Flaw | None"]
PURPOSE = "acceptance of a platform.recovery run"


def to_sign(run_id: str, name: str, verdict: str, statement: str) -> str:
    """Give the text that a person signs who has a key, by `ssh-keygen -Y sign -n platform.recovery`."""
    said = {"purpose": PURPOSE, "run_id": run_id, "acceptor": name, "verdict": verdict, "statement": statement}
    return canonical(said).decode("utf-8")


def judge(
    run_id: str,
    acceptors: Mapping[str, Mapping[str, Any]],
    statements: Mapping[str, Mapping[str, Any]],
    verify: Verify = approvals.verify,
) -> list[Finding]:
    """Judge what each of those who are asked has said."""
    return [_judged(run_id, name, person["keys"], statements.get(name), verify) for name, person in acceptors.items()]


def _judged(run_id: str, name: str, keys: Sequence[str], said: Mapping[str, Any] | None, verify: Verify) -> Finding:
    wanted = f"{name} accepts" + (", signed with a key of theirs" if keys else "")
    if said is None:
        return Finding("acceptance", name, "pending", "nothing was said yet", wanted)
    if keys:
        text = to_sign(run_id, name, said["verdict"], said["statement"])
        wrong = verify(text, said["signature"], keys) if said["signature"] else "not signed"
        if wrong:
            return Finding("acceptance", name, "pending", f"what was said does not count: {wrong}", wanted)
    accepted = said["verdict"] == "accepted"
    observed = f"{said['verdict']}: {said['statement']}"
    return Finding("acceptance", name, "passed" if accepted else "failed", observed, wanted, by=name)
