# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ask the platform as its clients do: by its name, through a resolver, whatever the name leads to by now."""

from __future__ import annotations

import contextlib
import http.client
import ipaddress
import json
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..canary_client import parse_url, tls_context
from ..dns import asking
from ..dns.model import NameServer, absolute
from ..edge import left
from ..errors import BadInput

MAX_BYTES = 1 << 20


@dataclass(frozen=True)
class Front:
    """Where clients come in, and who tells them the way. Without a resolver, that of this machine."""

    url: str
    resolver: NameServer | None = None
    ca_file: str | None = None
    authorization: str | None = field(default=None, repr=False)

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> Front:
        """Read it from validated options. Raises BadInput."""
        try:
            parse_url(options["url"])
        except ValueError as error:
            raise BadInput(
                f"url {options['url']!r} is none",
                wanted="http:// or https://, a name, and perhaps a port and a path",
                observed=str(error),
                next_action="correct url and run again; nothing was asked",
            ) from error
        given = options["resolver"]
        resolver = NameServer(given["address"], given["port"]) if given else None
        if resolver:
            asking.require()
        return cls(options["url"].rstrip("/"), resolver, options["ca_file"], options["authorization"])

    @property
    def headers(self) -> dict[str, str]:
        """Give what each request carries."""
        found = {"User-Agent": "platform-recovery", "Content-Type": "application/json"}
        return found | ({"Authorization": self.authorization} if self.authorization else {})


@dataclass(frozen=True)
class Answer:
    """What came back: a status and, if it was one, a JSON object; or why nothing came."""

    status: int | None = None
    body: Mapping[str, Any] = field(default_factory=dict)
    trouble: str | None = None

    @property
    def words(self) -> str:
        """Say it shortly."""
        error = self.body.get("error")
        return self.trouble or f"{self.status}" + (f" ({error})" if error else "")


def ask(front: Front, method: str, path: str, body: Any, seconds: float) -> Answer:
    """Make a request on a connection of its own, as a new client would. Whatever goes wrong is an answer."""
    deadline = time.monotonic() + seconds
    try:
        with contextlib.closing(_connect(front, deadline)) as connection:
            content = None if body is None else json.dumps(body).encode()
            base = parse_url(front.url)[3]
            connection.request(method, base + path, body=content, headers={**front.headers, "Connection": "close"})
            connection.sock.settimeout(left(deadline))
            answer = connection.getresponse()
            return Answer(answer.status, _object(answer.read(MAX_BYTES)))
    except TimeoutError:
        return Answer(trouble=f"no answer within {seconds:g} s")
    except (OSError, ValueError, http.client.HTTPException) as error:
        return Answer(trouble=getattr(error, "strerror", None) or str(error) or type(error).__name__)


def address_of(front: Front, deadline: float) -> str:
    """Give the address that the name leads to now. Raises OSError."""
    host = parse_url(front.url)[1]
    with contextlib.suppress(ValueError):
        return str(ipaddress.ip_address(host))
    if front.resolver is None:
        return host  # the machine's own resolver is asked by whoever connects
    key = (absolute(host), "A")
    answer = asking.ask(front.resolver, [key], left(deadline))[key]
    if not answer.values:
        raise OSError(f"{front.resolver.words} gives no address of {host}: {answer.trouble or 'no such name'}")
    return min(answer.values)


def _connect(front: Front, deadline: float) -> http.client.HTTPConnection:
    tls, host, port, _base = parse_url(front.url)
    opened = socket.create_connection((address_of(front, deadline), port), timeout=left(deadline))
    try:
        if tls:
            opened = tls_context(front.ca_file).wrap_socket(opened, server_hostname=host)
    except BaseException:
        opened.close()
        raise
    connection = http.client.HTTPConnection(host, port, timeout=left(deadline))
    connection.sock = opened  # it is asked by its name, wherever that leads
    return connection


def _object(content: bytes) -> Mapping[str, Any]:
    with contextlib.suppress(ValueError):
        found = json.loads(content)
        return found if isinstance(found, dict) else {}
    return {}
