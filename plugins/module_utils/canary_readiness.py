# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a canary could write and be read back right now. Nothing is written to find out."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from pathlib import Path

from . import canary
from .canary_client import parse_url, tls_context
from .postgresql.client import ServerError, Session
from .postgresql.integrity import quoted
from .postgresql.readiness import SAID
from .readiness import Check, Checklist

ROLE = "canary"


@dataclass(frozen=True)
class Edge:
    """Where a canary would write, and as whom."""

    url: str
    path: str
    ca_file: str | None = None
    authorization: str | None = field(default=None, repr=False)
    timeout: float = 1.0

    def ask(self) -> int:
        """Read a row that nobody wrote; gives the status. Raises OSError, ValueError or HTTPException."""
        tls, host, port, base = parse_url(self.url)
        connection: HTTPConnection
        if tls:
            connection = HTTPSConnection(host, port, timeout=self.timeout, context=tls_context(self.ca_file))
        else:
            connection = HTTPConnection(host, port, timeout=self.timeout)
        headers = {"Authorization": self.authorization} if self.authorization else {}
        try:
            connection.request("GET", f"{base}{self.path}/readiness-{secrets.token_hex(8)}", headers=headers)
            return connection.getresponse().status
        finally:
            connection.close()


def edge_check(edge: Edge) -> Check:
    """See whether the application answers at the edge. What refuses us, or fails inside, would refuse writes too."""
    on = Checklist(ROLE, f"edge {edge.url}")
    wanted = f"the application answers a read below {edge.path}"
    mend = "start the application behind the edge, or correct edge, path and credentials of the canary"
    try:
        status = edge.ask()
    except (OSError, ValueError, HTTPException) as error:
        return on.judged("application", False, str(error) or type(error).__name__, wanted, mend)
    good = status < 500 and status not in (401, 403)
    return on.judged("application", good, f"it answers {status}; no write was tried", wanted, mend)


def own_check(folder: Path) -> Check:
    """See that the canary that is left running for ever does run."""
    found = canary.find(folder)
    good = found is not None and found.running
    seen = found.probe if found and good else "no canary writes there"
    mend = "start it again (platform.recovery.canary, state started, forever), or leave recovery_canary_folder out"
    return Checklist(ROLE, f"canary in {folder}").judged("running", good, seen, "a canary that writes", mend)


def read_back_check(name: str, session: Session, table: str, column: str) -> Check:
    """See that the column is there by which the canary's rows are found again."""
    on = Checklist(ROLE, f"{name} {session.member.name}")
    wanted = f"column {column} of table {table} can be read"
    mend = "correct table and key_column of the canary in the platform description"
    try:
        session.rows(f"SELECT {quoted(column)} FROM {quoted(table)} LIMIT 0")
    except ServerError as error:
        known = False if error.cause in SAID else None
        return on.judged("read back", known, error.detail, wanted, mend)
    return on.judged("read back", True, "it can", wanted, mend)
