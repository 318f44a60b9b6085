# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make a standby the primary, as fast as it can be done safely."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from ..errors import StepFailed, StepTimeout
from ..waiting import wait_until
from .client import ServerError, Session

POLL_SECONDS = 0.002
# Who has waited longer asks less often: where twenty promote on the same machine, the questions are what they wait for.
POLL_SHARE = 0.05
FOLLOW_SECONDS = 0.02
# Each nudge doubles the time to the next: every process of the server reads its settings anew.
NUDGE_SECONDS = 0.02
MOST_NUDGE_SECONDS = 0.5
PREFIX = "platform.recovery"


@dataclass(frozen=True)
class Promotion:
    """What a promotion took."""

    seconds: float
    nudges: int


def promote(session: Session, *, seconds: float, clock: Callable[[], float] = time.monotonic) -> Promotion:
    """Promote and wait until the server accepts writes.

    The startup process may sleep through the request for as long as wal_retrieve_retry_interval (5 s by default, seen
    in one promotion of ten). A reload wakes it: while it has not acted, it is nudged. Lowering the setting would do as
    well, but would stay behind if the controller died here.
    """
    begin = clock()
    nudges, nudge_at = 0, begin + NUDGE_SECONDS

    def promoted() -> bool:
        nonlocal nudges, nudge_at
        if not session.value("SELECT pg_is_in_recovery()"):
            return True
        if clock() > nudge_at:
            session.run("SELECT pg_reload_conf()")
            nudges += 1
            nudge_at = clock() + min(MOST_NUDGE_SECONDS, NUDGE_SECONDS * 2**nudges)
        return False

    name = session.member.name
    try:
        session.run("SELECT pg_promote(false)")
        waited = wait_for(promoted, seconds, name)
    except ServerError as error:
        raise failed(session, error) from error
    return Promotion(waited, nudges)


def follow(session: Session, *, seconds: float, clock: Callable[[], float] = time.monotonic) -> Promotion:
    """Wait until a server that its provider promotes accepts writes. It may be restarted for that."""
    begin, name = clock(), session.member.name
    try:
        wait_until(
            lambda: session.value("SELECT NOT pg_is_in_recovery()"),
            seconds=seconds,
            interval=FOLLOW_SECONDS,
            describe=f"{name} to accept writes",
        )
    except StepTimeout as error:
        raise StepTimeout(
            f"{name} is still no primary {seconds:g} s after its provider was told to promote it",
            wanted=f"{name} accepts writes",
            observed=error.observed or "it is in recovery",
            next_action="look at Patroni, its operator or RDS; the same run goes on where this one stopped",
            changed=True,
        ) from error
    return Promotion(clock() - begin, 0)


def wait_for(promoted: Callable[[], bool], seconds: float, name: str) -> float:
    """Wait for the end of recovery; a lost server ends the wait at once."""
    lost: list[ServerError] = []
    begin = time.monotonic()

    def pause(interval: float) -> None:
        time.sleep(max(interval, (time.monotonic() - begin) * POLL_SHARE))

    def probe() -> bool:
        try:
            return promoted()
        except ServerError as error:
            lost.append(error)
            return True

    try:
        waited = wait_until(
            probe, seconds=seconds, interval=POLL_SECONDS, describe=f"{name} to end its recovery", sleep=pause
        )
    except StepTimeout as error:
        raise StepTimeout(
            f"{name} was told to promote and is still in recovery after {seconds:g} s",
            wanted=f"{name} accepts writes",
            observed="it is still replaying what it received",
            next_action=f"it promotes by itself when it is done; look at the log of {name}, then run the same again",
            changed=True,
        ) from error
    if lost:
        raise lost[0]
    return waited.elapsed


def prove_write(session: Session, run_id: str) -> float:
    """Commit a write that every standby would get, and give the seconds it took. It leaves no row behind."""
    begin = time.monotonic()
    try:
        session.run("SELECT pg_logical_emit_message(true, %s, %s)", [PREFIX, run_id])
    except ServerError as error:
        raise failed(session, error, step="commit a write") from error
    return time.monotonic() - begin


def failed(session: Session, error: ServerError, step: str = "be promoted") -> StepFailed:
    """Say why a standby did not become a primary, and what to do."""
    name = session.member.name
    actions = {
        "disk_full": f"free space on {name}, then run the same again",
        "permission": f"use an account that is a superuser on {name}, then run the same again",
        "timeout": f"see whether {name} hangs, or waits for a synchronous standby, then run the same again",
    }
    default = f"look at the log of {name} (a full disk ends a promotion like this), then run the same again"
    return StepFailed(
        f"{name} could not {step}",
        wanted=f"{name} accepts writes",
        observed=error.detail,
        next_action=actions.get(error.cause, default),
        cause=error.cause,
    )
