# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ask a target whether it answers, before a name may lead there."""

from __future__ import annotations

import contextlib
import http.client
import socket
import time
from urllib.parse import urlsplit

from ..edge import Place, connect, left
from .model import Target


def trouble(target: Target, seconds: float) -> str | None:
    """Say what keeps a target from being one; None if it answers. Redirections are answers, as Route 53 takes them."""
    deadline = time.monotonic() + seconds
    place = urlsplit(target.probe)
    try:
        if place.scheme == "tcp":
            with socket.create_connection((place.hostname or "", place.port or 0), timeout=seconds):
                return None
        base = f"{place.scheme}://{place.netloc}"
        with contextlib.closing(connect(Place("target", base, (), target.ca_file), deadline)) as connection:
            path = (place.path or "/") + (f"?{place.query}" if place.query else "")
            connection.request("GET", path, headers={"User-Agent": "platform-recovery", "Connection": "close"})
            connection.sock.settimeout(left(deadline))
            status = connection.getresponse().status
            return None if 200 <= status < 400 else f"it answers {status}"
    except TimeoutError:
        return f"no answer within {seconds:g} s"
    except (OSError, ValueError, http.client.HTTPException) as error:
        return getattr(error, "strerror", None) or str(error) or type(error).__name__
