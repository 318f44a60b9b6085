# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the actions share: reading options, journalling decisions, and the memory of the last primary."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

from .. import clock
from ..errors import BadInput, PreconditionFailed
from .decide import Gate, Request, Verdict
from .model import (
    Credentials,
    Evidence,
    Known,
    Member,
    MemberState,
    Mode,
    credentials_from,
    format_lsn,
    known_member,
    members_from,
    parse_lsn,
)

# Option paths of members whose suboptions describe each value of a mapping with free keys.
MAPS = frozenset({"members", "members.patroni.nodes"})
OWN_VANTAGES = frozenset({"sql", "service manager"})


class Recorder(Protocol):
    """The journal, as far as a step needs it."""

    def append(self, event: str, **data: Any) -> Any:
        """Append one event."""


class HasJournal(Protocol):
    """A run that is open."""

    @property
    def journal(self) -> Recorder:
        """Give its journal."""


def inputs(options: Mapping[str, Any]) -> tuple[dict[str, Member], Credentials]:
    """Read who is asked, and as whom."""
    members = members_from(options["members"])
    known_member(members, options["target"], "target")
    return members, credentials_from(options["credentials"])


def request_from(options: Mapping[str, Any], mode: Mode) -> Request:
    """Read what is wanted. Raises BadInput."""
    for name in ("allow_data_loss", "statement"):
        if options.get(name):
            require_reason(options, name)
    return Request(
        target=options["target"],
        mode=mode,
        rpo_seconds=options.get("rpo_seconds"),
        allow_data_loss=bool(options.get("allow_data_loss")),
        reason=options.get("reason"),
        failed_at=stamp_from(options, "detected_at"),
        covered_until=stamp_from(options, "covered_until"),
        max_lag_bytes=int(options.get("max_lag_bytes") or Request.max_lag_bytes),
        final_lsn=parse_lsn(options.get("final_lsn")),
        fenced=dict(options.get("fenced") or {}),
        statement=(options.get("statement") or "").strip() or None,
    )


def stamp_from(options: Mapping[str, Any], name: str) -> float | None:
    """Read a stamp. Raises BadInput."""
    text = options.get(name)
    try:
        return clock.parse(text) if text else None
    except ValueError:
        raise BadInput(
            f"{name} {text!r} is no stamp",
            wanted="an RFC 3339 stamp such as 2026-11-23T10:30:00Z",
            next_action="correct it and run again",
        ) from None


def require_reason(options: Mapping[str, Any], what: str) -> None:
    """An override without a reason is a mistake of the caller."""
    if not (options.get("reason") or "").strip():
        raise BadInput(
            f"{what} is given without a reason",
            wanted="a reason: an override is journalled with the reason for it",
            next_action="add recovery_reason and run again",
        )


def effective_mode(mode: Mode, verdict: Verdict) -> Mode:
    """A plan decides as the mode that fits what is found."""
    if mode != "plan":
        return mode
    return "switchover" if verdict.standing == "healthy" else "failover"


def evidence_from(entries: Sequence[Mapping[str, Any]], source: str | None) -> tuple[Evidence, ...]:
    """Read other vantage points. What names no member is about the old primary; what we see ourselves is seen anew."""
    found = []
    for entry in entries:
        member = entry.get("member") or source
        if member is not None and entry["vantage"] not in OWN_VANTAGES:
            found.append(
                Evidence(
                    vantage=entry["vantage"],
                    member=member,
                    observed=entry["observed"],
                    alive=entry.get("alive"),
                    system_identifier=entry.get("system_identifier"),
                    fenced=bool(entry.get("fenced")),
                    since=entry.get("since"),
                )
            )
    return tuple(found)


def refuse_bad_access(states: Mapping[str, MemberState]) -> None:
    """A server that turns us away is not down. Raises BadInput."""
    turned_away = [s for s in states.values() if s.cause in {"authentication", "tls", "name"} and not s.reachable]
    if not turned_away:
        return
    raise BadInput(
        f"{turned_away[0].name} cannot be asked with what the inventory says",
        wanted="every member that answers lets us in",
        observed="; ".join(f"{state.name}: {state.why_not}" for state in turned_away),
        next_action="correct the credentials, certificate authority or names in the inventory; nothing was touched",
    )


def record(run: HasJournal | None, gates: Sequence[Gate]) -> None:
    """Journal decisions."""
    if run is None:
        return
    for gate in gates:
        run.journal.append(
            "decision",
            gate=gate.gate,
            observed=gate.observed,
            wanted=gate.wanted,
            verdict=gate.verdict,
            by=gate.by,
        )


def refuse(gates: Sequence[Gate], what: str, lines: Sequence[str]) -> None:
    """Stop at the first gate that refuses. Raises PreconditionFailed."""
    for gate in gates:
        if gate.refuses:
            raise PreconditionFailed(
                what,
                wanted=gate.wanted,
                observed=gate.observed,
                next_action=gate.next_action,
                gate=gate.gate,
                gates=[asdict(item) for item in gates],
                lines=list(lines),
            )


def state_as_dict(state: MemberState) -> dict[str, Any]:
    """Give a member's state as a task's result carries it: positions as PostgreSQL writes them."""
    data = asdict(state)
    for name in ("current_lsn", "receive_lsn", "replay_lsn"):
        data[name] = format_lsn(data[name])
    for row in [data["receiver"] or {}, *data["attached"], *data["slots"]]:
        for name in row:
            if name.endswith("_lsn"):
                row[name] = format_lsn(row[name])
    data["last_replay_at"] = None if state.last_replay_at is None else clock.stamp(state.last_replay_at)
    data["checkpoint_at"] = None if state.checkpoint_at is None else clock.stamp(state.checkpoint_at)
    data["asked_at"] = None if state.asked_at is None else clock.stamp(state.asked_at)
    data["attached"], data["slots"] = list(data["attached"]), list(data["slots"])
    return data


def recall(path: str | None) -> Known | None:
    """Read the primary as it was last seen. What cannot be read is not known."""
    if not path:
        return None
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
        data = json.loads(Path(path).read_text(encoding="utf-8"))
        return Known(
            str(data["member"]), str(data["system_identifier"]), data.get("timeline"), data.get("lsn"), data.get("at")
        )
    return None


def memorise(path: str | None, known: Known | None) -> None:
    """Write it, whole or not at all. A folder that cannot be written costs the memory, not the recovery."""
    if not path or known is None:
        return
    with contextlib.suppress(OSError):
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, part = tempfile.mkstemp(dir=target.parent, prefix=target.name)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(asdict(known), file)
        Path(part).replace(target)
