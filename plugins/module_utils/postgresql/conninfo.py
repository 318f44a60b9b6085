# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""libpq's connection strings: how a server's host reaches another server, and with which secrets kept out of sight."""

from __future__ import annotations

import contextlib
import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, unquote, urlsplit

from ..errors import PreconditionFailed
from .model import Credentials, Member

PAIR = re.compile(r"\s*(\w+)\s*=\s*(?:'((?:[^'\\]|\\.)*)'|((?:[^\s'\\]|\\.)+)|)(?=\s|$)")
ESCAPED = re.compile(r"\\(.)")
PLACES = ("host", "hostaddr", "port")
WEAK = frozenset({"disable", "allow", "prefer"})
# What a replication connection has and ours do without.
REPLICATION_ONLY = frozenset({"application_name", "replication", "dbname", "passfile", "password", "user"})


@dataclass(frozen=True)
class Access:
    """How to connect: words that anybody may see, and the passwords that go into a private file."""

    conninfo: str
    passwords: tuple[tuple[str, str], ...] = field(default=(), repr=False)


def parse(text: str) -> dict[str, str]:
    """Read a connection string or URL."""
    if text.startswith(("postgresql://", "postgres://")):
        return parse_url(text)
    found = {}
    for key, quoted, plain in PAIR.findall(text):
        found[key] = ESCAPED.sub(r"\1", quoted or plain)
    return found


def parse_url(text: str) -> dict[str, str]:
    """Read a URL."""
    url = urlsplit(text)
    given = {
        "host": unquote(url.hostname or ""),
        "port": str(url.port or ""),
        "user": unquote(url.username or ""),
        "password": unquote(url.password or ""),
        "dbname": unquote(url.path.removeprefix("/")),
    }
    return {key: value for key, value in {**given, **dict(parse_qsl(url.query))}.items() if value}


def write(values: Mapping[str, str]) -> str:
    """Write a connection string."""
    return " ".join(f"{key}={quoted(value)}" for key, value in values.items())


def quoted(value: str) -> str:
    """Quote a value where it needs that."""
    if re.fullmatch(r"[A-Za-z0-9_./:@-]+", value):
        return value
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def points_to(values: Mapping[str, str], member: Member) -> bool:
    """Say whether a connection string leads to a member."""
    names = {member.host, member.address} - {None}
    return bool({values.get("host"), values.get("hostaddr")} & names) and (values.get("port") or "5432") == str(
        member.port
    )


def replication(own: str, pattern: str, primary: Member, follower: Member) -> dict[str, str]:
    """Give the connection by which a server follows the primary.

    Its own setting counts if it leads there. Otherwise that one, or the other member's, is turned to the primary.
    """
    mine = parse(own)
    if mine and points_to(mine, primary):
        return mine
    chosen = mine or parse(pattern)
    if not chosen:
        raise PreconditionFailed(
            f"Nothing says with which account {follower.name} is to follow {primary.name}",
            wanted=f"primary_conninfo in the configuration of {follower.name} or of {primary.name}",
            observed="neither has one",
            next_action=f"set primary_conninfo for {follower.name} to lead to {primary.host}, and run again",
            gate="rejoin",
        )
    turned = {key: value for key, value in chosen.items() if key not in PLACES}
    # Among a standby's own settings the name is its own; the other member's would name the other member.
    named = {} if mine or "application_name" not in chosen else {"application_name": follower.name}
    return {"host": primary.host, **address_of(primary, chosen), "port": str(primary.port), **turned, **named}


def address_of(primary: Member, pattern: Mapping[str, str]) -> dict[str, str]:
    """Give the primary's address where servers reach one another by address: its name may mean nothing to them."""
    with contextlib.suppress(ValueError):
        if "hostaddr" in pattern and primary.address:
            return {"hostaddr": str(ipaddress.ip_address(primary.address))}
    return {}


def for_tools(following: Mapping[str, str], credentials: Credentials, primary: Member) -> Access:
    """Give our account's connection over the same way, to PostgreSQL's own tools on a member's host."""
    way = {key: value for key, value in following.items() if key not in REPLICATION_ONLY}
    if way.get("sslmode", "prefer") in WEAK and primary.sslmode not in WEAK:
        way["sslmode"] = "require"
    passwords = ((credentials.user, credentials.password),) if credentials.password else ()
    return Access(write({**way, "user": credentials.user, "dbname": "postgres"}), passwords)


def for_copy(following: Mapping[str, str]) -> Access:
    """Give the replication account's own connection, its password out of the words."""
    words = {key: value for key, value in following.items() if key not in {"password", "dbname", "replication"}}
    password = following.get("password")
    if not password:
        return Access(write(words))
    words.pop("passfile", None)
    return Access(write(words), ((following.get("user", "*"), password),))


def passfile(*accesses: Access) -> str:
    """Write the lines of a password file."""
    lines = []
    for user, password in dict.fromkeys(pair for access in accesses for pair in access.passwords):
        name = user if user == "*" else escaped(user)
        lines.append(f"*:*:*:{name}:{escaped(password)}\n")
    return "".join(lines)


def escaped(text: str) -> str:
    """Escape a field of a password file."""
    return text.replace("\\", "\\\\").replace(":", "\\:")
