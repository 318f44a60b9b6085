# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether the databases of the target take writes: traffic is let in only then."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ..postgresql.client import Session
from ..postgresql.decide import Gate
from ..postgresql.model import MemberState
from ..postgresql.observe import look_at
from .model import Database, Platform

MAX_QUESTIONS = 32


def gates(platform: Platform, seconds: float) -> list[Gate]:
    """Ask the target's member of every database, all at once."""

    def ask(database: Database) -> Gate:
        member = database.members[platform.target]
        session = Session(member, database.credentials, connect_seconds=seconds, statement_seconds=seconds)
        try:
            return gate(database.name, platform.target, look_at(session))
        finally:
            session.close()

    with ThreadPoolExecutor(max_workers=min(MAX_QUESTIONS, max(1, len(platform.databases)))) as pool:
        return list(pool.map(ask, platform.databases))


def gate(database: str, target: str, state: MemberState) -> Gate:
    """Judge one."""
    good = state.is_primary and not state.read_only
    if good:
        seen = f"the member in {target} is the primary and takes writes"
    elif state.is_primary:
        seen = f"the primary in {target} is read only"
    else:
        seen = state.why_not or f"the member in {target} is still a standby"
    return Gate(
        f"writable {database}",
        seen,
        "a primary that takes writes",
        "pass" if good else "refuse",
        next_action=None
        if good
        else f"see what kept {database} from being promoted, and run the same again; names stay where they are",
    )


def store_gate(kind: str, target: str, result: Mapping[str, Any]) -> Gate:
    """Judge what became of a kind of data store, by what its role gave."""
    good = not result.get("failed") and result.get("target") == target
    seen = f"taken over to {target}" if good else str(result.get("msg") or "its role did not come to its end")
    return Gate(
        f"writable {kind}",
        seen,
        f"every store of this kind takes writes in {target}",
        "pass" if good else "refuse",
        next_action=None
        if good
        else f"see what kept the {kind} stores, and run the same again; names stay where they are",
    )
