# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a primary is quiet enough to be replaced on purpose."""

from __future__ import annotations

import time
from dataclasses import dataclass

from .client import APPLICATION_NAME, Session
from .decide import Gate
from .model import parse_lsn, shown_bytes, shown_seconds

SAMPLE_SECONDS = 1.0
LOAD_QUESTION = """
SELECT coalesce(extract(epoch FROM max(clock_timestamp() - xact_start)), 0)::float8
FROM pg_stat_activity WHERE backend_type = 'client backend' AND application_name <> %s
"""


@dataclass(frozen=True)
class Limits:
    """What is too much; 0 is not judged."""

    transaction_seconds: float = 0.0
    write_bytes_per_second: int = 0

    @property
    def any(self) -> bool:
        """Say whether anything is judged."""
        return bool(self.transaction_seconds or self.write_bytes_per_second)


@dataclass(frozen=True)
class Load:
    """What the primary does: its oldest open transaction, and the log that it writes."""

    transaction_seconds: float
    write_bytes_per_second: float


def measure(session: Session, seconds: float = SAMPLE_SECONDS) -> Load:
    """Look for a moment."""
    begin = time.monotonic()
    first = parse_lsn(session.value("SELECT pg_current_wal_lsn()::text")) or 0
    oldest = float(session.value(LOAD_QUESTION, [APPLICATION_NAME]))
    time.sleep(seconds)
    last = parse_lsn(session.value("SELECT pg_current_wal_lsn()::text")) or 0
    return Load(oldest, (last - first) / max(0.001, time.monotonic() - begin))


def gate(load: Load, limits: Limits) -> Gate:
    """Refuse a switchover that would end long work, or that a standby could not catch up with."""
    rate = int(load.write_bytes_per_second)
    transaction = shown_seconds(load.transaction_seconds)
    seen = f"oldest open transaction {transaction}, {shown_bytes(rate)} of log written a second"
    wanted = []
    if limits.transaction_seconds:
        wanted.append(f"no transaction older than {shown_seconds(limits.transaction_seconds)}")
    if limits.write_bytes_per_second:
        wanted.append(f"at most {shown_bytes(limits.write_bytes_per_second)} of log a second")
    long = 0 < limits.transaction_seconds < load.transaction_seconds
    busy = 0 < limits.write_bytes_per_second < rate
    if not long and not busy:
        return Gate("load", seen, ", ".join(wanted))
    return Gate("load", seen, ", ".join(wanted), "refuse", next_action="wait for a quieter moment, then run again")
