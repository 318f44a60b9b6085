# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ask name servers, many names at once.

TCP first: answers are whole, and a hundred queries travel on one connection. What gets no answer there is asked again
as any client would ask.
"""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from ..errors import BadInput, StepFailed
from .model import NameServer, absolute, normal

try:
    import dns.exception
    import dns.flags
    import dns.message
    import dns.query
    import dns.rcode
    import dns.rdatatype
    import dns.resolver
except ImportError:  # said by require, when it is needed
    dns = None  # type: ignore[assignment]

Key = tuple[str, str]
# Servers close a connection after so many; CoreDNS and what is built like it after 128.
AT_ONCE = 100
CONNECTIONS = 4


@dataclass(frozen=True)
class Answer:
    """What a server says of a name: values and for how long they may be kept, or why it says nothing."""

    values: frozenset[str] = frozenset()
    ttl: int = 0
    trouble: str | None = None


Answers = Mapping[Key, Answer]


def require() -> None:
    """Refuse to go on without dnspython."""
    if dns is None:
        raise BadInput(
            "The Python package dnspython is missing in the Python that runs Ansible",
            wanted="dnspython, by which name servers are asked",
            next_action="install dnspython there and run again",
        )


def ask(server: NameServer, keys: Sequence[Key], seconds: float) -> dict[Key, Answer]:
    """Ask one server for many names. Whatever goes wrong is an answer."""
    parts = [keys[at : at + AT_ONCE] for at in range(0, len(keys), AT_ONCE)]
    with ThreadPoolExecutor(max_workers=max(1, min(CONNECTIONS, len(parts)))) as pool:
        found = list(pool.map(lambda part: _ask_part(server, part, seconds), parts))
    return {key: answer for part in found for key, answer in part.items()}


def ask_all(servers: Iterable[NameServer], keys: Sequence[Key], seconds: float) -> dict[NameServer, dict[Key, Answer]]:
    """Ask several servers side by side."""
    servers = list(servers)
    with ThreadPoolExecutor(max_workers=max(1, len(servers))) as pool:
        return dict(zip(servers, pool.map(lambda one: ask(one, keys, seconds), servers), strict=True))


def _ask_part(server: NameServer, keys: Sequence[Key], seconds: float) -> dict[Key, Answer]:
    found: dict[Key, Answer] = {}
    with contextlib.suppress(OSError, EOFError, dns.exception.DNSException):
        found = _pipelined(server, keys, seconds)
    for key in keys:
        if key not in found:
            found[key] = _alone(server, key, seconds)
            if found[key].trouble and not any(not answer.trouble for answer in found.values()):
                # Nobody is there: the others need not wait for the same.
                return dict.fromkeys(keys, found[key])
    return found


def _pipelined(server: NameServer, keys: Sequence[Key], seconds: float) -> dict[Key, Answer]:
    deadline = time.time() + seconds  # dnspython's clock
    queries = {}
    for number, (name, kind) in enumerate(keys):
        query = dns.message.make_query(name, kind)
        query.id = number
        queries[number] = (query, (name, kind))
    found: dict[Key, Answer] = {}
    with socket.create_connection((server.address, server.port), timeout=seconds) as connection:
        connection.setblocking(False)
        for query, _ in queries.values():
            dns.query.send_tcp(connection, query, deadline)
        with contextlib.suppress(OSError, EOFError, dns.exception.DNSException):
            while len(found) < len(queries):
                response, _ = dns.query.receive_tcp(connection, deadline)
                query, key = queries[response.id]
                if query.is_response(response):
                    found[key] = answer_in(response, key[1])
    return found


def _alone(server: NameServer, key: Key, seconds: float) -> Answer:
    query = dns.message.make_query(*key)
    try:
        response, _ = dns.query.udp_with_fallback(query, server.address, timeout=seconds, port=server.port)
    except dns.exception.Timeout:
        return Answer(trouble=f"no answer within {seconds:g} s")
    except (OSError, EOFError, dns.exception.DNSException) as error:
        return Answer(trouble=getattr(error, "strerror", None) or type(error).__name__)
    return answer_in(response, key[1])


def answer_in(response: Any, kind: str) -> Answer:
    """Read a response: the values of the type that was asked for, CNAMEs on the way followed."""
    code = response.rcode()
    if code not in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
        return Answer(trouble=dns.rcode.to_text(code))
    wanted = dns.rdatatype.from_text(kind)
    values: set[str] = set()
    ttls: list[int] = []
    for rrset in response.answer:
        ttls.append(int(rrset.ttl))
        if rrset.rdtype == wanted:
            values |= {normal(item.to_text(), kind) for item in rrset}
    return Answer(frozenset(values), min(ttls, default=0))


def system_resolvers() -> tuple[NameServer, ...]:
    """List the resolvers of the machine."""
    try:
        found = dns.resolver.Resolver()
    except dns.exception.DNSException as error:
        raise StepFailed(
            "This machine has no resolver", observed=str(error), next_action="name one under resolvers"
        ) from error
    return tuple(NameServer(str(address), int(found.port)) for address in found.nameservers)


def authorities(zone: str, resolvers: Sequence[NameServer], seconds: float) -> tuple[NameServer, ...]:
    """Find the authoritative servers of a zone, as any resolver does. Raises StepFailed."""
    for resolver in resolvers:
        names = ask(resolver, [(zone, "NS")], seconds)[zone, "NS"]
        found = ask(resolver, [(absolute(name), "A") for name in sorted(names.values)], seconds)
        servers = tuple(NameServer(value) for answer in found.values() for value in sorted(answer.values))
        if servers:
            return servers
    raise StepFailed(
        f"The authoritative servers of {zone} could not be found",
        wanted=f"an answer to NS of {zone}",
        observed=f"none from {', '.join(one.words for one in resolvers) or 'no resolver'}",
        next_action="name them under servers, or name a resolver that answers",
    )
