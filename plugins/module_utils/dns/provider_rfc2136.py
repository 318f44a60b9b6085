# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Any server that takes dynamic updates (RFC 2136), signed with a TSIG key.

Each update says which values must be there for it to be made, so what somebody else changed in between is noticed by
the server.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..errors import BadInput, StepFailed
from . import asking
from .model import Account, Change, NameServer, Record, short, shown
from .provider import Conflict, Provider, impossible, unknown

try:
    import dns.exception
    import dns.message
    import dns.query
    import dns.rcode
    import dns.tsig
    import dns.tsigkeyring
    import dns.update
except ImportError:  # said by asking.require
    dns = None  # type: ignore[assignment]

# How many names one message changes, all or none.
BATCH = 100
# The server's words for "what you want to change is not as you say".
CHANGED = ("NXRRSET", "YXRRSET", "NXDOMAIN", "YXDOMAIN")
# What an answer to a request with a wrong key looks like.
DENIED = ("NOTAUTH", "REFUSED", "BADKEY", "BADSIG", "BADTIME")


def planned(record: Record, found: asking.Answer, target: str) -> Change | None:
    """Plan one name. Raises PreconditionFailed."""
    wanted = record.values.get(target, frozenset())
    if found.values == wanted:
        return None
    if not found.values:
        raise impossible(record, "it does not exist", "create it, or take it out of the description")
    if record.region_of(found.values) is None:
        raise unknown(record, found.values, target)
    what = f"{short(record.name)} {record.type}"
    return Change(what, shown(found.values), shown(wanted), (short(record.name),), (record, found, wanted))


class Updates(Provider):
    """See above."""

    @property
    def server(self) -> NameServer:
        """Give the primary server, which takes updates."""
        return NameServer(self.zone.settings["address"], self.zone.settings["port"])

    def servers(self) -> tuple[NameServer, ...]:
        """Give the described servers, else the primary."""
        return self.zone.servers or (self.server,)

    def plan(self, target: str) -> list[Change]:
        """Ask the primary server what it holds."""
        self._require_key()
        found = asking.ask(self.server, [record.key for record in self.zone.records], self.work.query_seconds)
        changes = []
        for record in self.zone.records:
            answer = found[record.key]
            if answer.trouble:
                raise StepFailed(
                    f"The server of {short(self.zone.name)} does not answer",
                    wanted=f"an answer of {self.server.words}",
                    observed=answer.trouble,
                    next_action="mend it or the way to it, then run the same again",
                )
            change = planned(record, answer, target)
            changes += [change] if change else []
        return changes

    def _require_key(self) -> None:
        """Ask something that has to be signed as well: a wrong key is known before anything is touched."""
        if self.zone.account is None:
            return
        query = dns.message.make_query(self.zone.name, "SOA")
        query.use_tsig(self._ring(self.zone.account), algorithm=self.zone.settings["algorithm"])
        code = self._exchanged(query, self.work.query_seconds)
        if code != "NOERROR":
            raise self._refused(f"ask for the SOA of {short(self.zone.name)}", code)

    def apply(self, changes: Sequence[Change]) -> None:
        """Send signed updates."""
        for at in range(0, len(changes), BATCH):
            self.work.guard()
            self._send(changes[at : at + BATCH])

    def _send(self, changes: Sequence[Change]) -> None:
        update = self._message()
        for change in changes:
            record, found, wanted = change.payload
            update.present(record.name, record.type, *sorted(found.values))
            update.replace(record.name, found.ttl, record.type, *sorted(wanted))
        code = self._exchanged(update, self.work.left() or 1)
        if code in CHANGED:
            raise Conflict(
                f"Records of {short(self.zone.name)} were changed by somebody else",
                wanted="the records as they were when the plan was made",
                observed=f"{self.server.words} answers {code}",
                next_action="see who changes them, then run the same again",
            )
        if code != "NOERROR":
            raise self._refused(f"update {short(self.zone.name)}", code)
        self.work.changed = True

    def _exchanged(self, message: Any, seconds: float) -> str:
        """Send a message, and give the server's code or why there is none."""
        try:
            answer = dns.query.tcp(message, self.server.address, timeout=seconds, port=self.server.port)
        except (dns.tsig.PeerError, dns.tsig.BadSignature, dns.tsig.BadTime) as error:
            return type(error).__name__
        except (OSError, EOFError, dns.exception.DNSException) as error:
            return getattr(error, "strerror", None) or type(error).__name__
        return dns.rcode.to_text(answer.rcode())

    def _refused(self, doing: str, code: str) -> StepFailed:
        denied = code in DENIED or code.startswith("Peer")
        return StepFailed(
            f"{self.server.words} did not let us {doing}",
            wanted="NOERROR",
            observed=code,
            next_action=(
                "check the key's name, algorithm and secret, both clocks and the server's rules, then run again"
                if denied
                else "mend the server or the way to it, then run the same again"
            ),
        )

    def _message(self) -> Any:
        if self.zone.account is None:
            return dns.update.UpdateMessage(self.zone.name)
        algorithm = self.zone.settings["algorithm"]
        return dns.update.UpdateMessage(self.zone.name, keyring=self._ring(self.zone.account), keyalgorithm=algorithm)

    def _ring(self, account: Account) -> Any:
        try:
            return dns.tsigkeyring.from_text({account.user: account.password})
        except ValueError:
            raise BadInput(
                f"The TSIG key {account.user} is none",
                wanted="a secret in base64",
                next_action="correct it in recovery_credentials and run again; nothing was touched",
            ) from None
