# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How long certificates are still good for: those that servers show, and those that stand in files.

A certificate is taken from the handshake whatever it is worth, for one that has expired is what is looked for.
"""

from __future__ import annotations

import datetime
import socket
import ssl
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from .errors import RecoveryError
from .kubernetes import kubeconfig
from .postgresql.client import TLS_REQUEST
from .readiness import FIRST, Check, Checklist

ROLE = "platform"
DAY = 86400.0
MOST_AT_ONCE = 32
PEM = b"-----BEGIN CERTIFICATE-----"


@dataclass(frozen=True)
class Place:
    """A server whose certificate is looked at."""

    name: str
    host: str
    port: int
    address: str | None = None
    postgresql: bool = False


@dataclass(frozen=True)
class Held:
    """Certificates that are at hand, with a name for them."""

    name: str
    pem: bytes


def places_of(platform: Mapping[str, Any]) -> list[Place]:
    """Name the servers of a platform description that speak TLS, each once."""
    found = [
        Place(f"postgresql of {name} in {region}", member["host"], member["port"], member["address"], True)
        for name, database in platform["databases"].items()
        for region, member in database["members"].items()
        if member["sslmode"] != "disable"
    ]
    for name, edge in platform["edges"].items():
        found += https(f"edge {name}", edge["url"])
    for zone, entry in platform["zones"].items():
        for region, target in entry["targets"].items():
            found += https(f"target {region} of zone {zone}", target["probe"])
    return list({(place.host, place.port, place.address): place for place in reversed(found)}.values())[::-1]


def https(name: str, url: str) -> list[Place]:
    """Give the server behind an https URL."""
    parts = urlsplit(url)
    return [Place(name, parts.hostname, parts.port or 443)] if parts.scheme == "https" and parts.hostname else []


def of_cluster(name: str, cluster: Mapping[str, Any]) -> tuple[list[Place], list[Held]]:
    """Give a cluster's API server, and what its kubeconfig holds. Raises BadInput."""
    known = kubeconfig.load(cluster.get("kubeconfig"), cluster.get("context"))
    places = [Place(f"API server of {name}", known.tls_name, known.port, known.host)] if known.tls else []
    texts = kubeconfig.certificates(cluster.get("kubeconfig"), cluster.get("context"))
    return places, [Held(f"{what} in the kubeconfig of {name}", text.encode()) for what, text in texts.items()]


def files_of(platform: Mapping[str, Any]) -> list[str]:
    """Name the files of certificate authorities that a platform description relies on."""
    members = (member for database in platform["databases"].values() for member in database["members"].values())
    targets = (target for zone in platform["zones"].values() for target in zone["targets"].values())
    canary = platform["canary"] or {}
    found = [member["sslrootcert"] for member in members if member["sslmode"] != "disable"]
    found += [canary.get("ca_file"), *(target["ca_file"] for target in targets)]
    return list(dict.fromkeys(path for path in found if path and path != "system"))


def checks(platform: Mapping[str, Any], clusters: Sequence[str], days: float, seconds: float) -> list[Check]:
    """Look at every certificate, all servers at once. Of clusters only those named are asked."""
    places, pieces, found = places_of(platform), list[Held](), list[Check]()
    for name in clusters:
        try:
            more, inside = of_cluster(name, platform["clusters"][name])
        except RecoveryError as error:
            found.append(Checklist(ROLE, f"kubeconfig of {name}").failed("certificate", error))
            continue
        places += more
        pieces += inside
    for path in files_of(platform):
        try:
            pieces.append(Held(f"file {path}", Path(path).expanduser().read_bytes()))
        except OSError as error:
            on = Checklist(ROLE, f"file {path}")
            mend = "put it there, or correct the platform description"
            found.append(on.judged("certificate", False, error.strerror or str(error), "it can be read", mend))
    now = time.time()
    with ThreadPoolExecutor(max_workers=max(1, min(MOST_AT_ONCE, len(places)))) as pool:
        found += pool.map(lambda place: served_check(place, days, now, seconds), places)
    for piece in pieces:
        found += held_checks(piece, days, now)
    return found


def served_check(place: Place, days: float, now: float, seconds: float) -> Check:
    """Look at what a server shows."""
    on = Checklist(ROLE, place.name)
    try:
        end = end_of(shown(place, seconds))
    except (OSError, ValueError) as error:
        seen = getattr(error, "strerror", None) or str(error) or type(error).__name__
        return on.judged("certificate", None, seen, wanted(days), FIRST)
    return judged(on, end, days, now)


def shown(place: Place, seconds: float) -> bytes:
    """Give the certificate of a server as DER. Raises OSError, ValueError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # an expired one is to be seen, and nothing is sent to whoever shows it
    with socket.create_connection((place.address or place.host, place.port), timeout=seconds) as connection:
        if place.postgresql:
            connection.sendall(TLS_REQUEST)
            if connection.recv(1) != b"S":
                raise ValueError("it does not speak TLS")
        with context.wrap_socket(connection, server_hostname=place.host) as tls:
            return tls.getpeercert(binary_form=True) or b""


def end_of(der: bytes) -> float:
    """Say when a certificate ends. Raises ValueError."""
    # Not cheap, and ansible-core brings it: only needed here.
    from cryptography import x509

    return moment(x509.load_der_x509_certificate(der))


def moment(certificate: Any) -> float:
    """Give the end of a certificate in epoch seconds; only newer versions of the library name the zone."""
    end = getattr(certificate, "not_valid_after_utc", None)
    if end is None:
        end = certificate.not_valid_after.replace(tzinfo=datetime.timezone.utc)
    return float(end.timestamp())


def held_checks(piece: Held, days: float, now: float) -> Iterator[Check]:
    """Look at certificates that are at hand: of several the one that ends first decides."""
    from cryptography import x509

    on = Checklist(ROLE, piece.name)
    try:
        ends = [moment(one) for one in x509.load_pem_x509_certificates(piece.pem)] if PEM in piece.pem else []
    except ValueError:
        ends = []
    if not ends:
        yield on.judged("certificate", False, "no certificate in it can be read", wanted(days), "put a PEM one there")
        return
    yield judged(on, min(ends), days, now)


def judged(on: Checklist, end: float, days: float, now: float) -> Check:
    """Judge the end of a certificate."""
    date = datetime.datetime.fromtimestamp(end, datetime.timezone.utc).date().isoformat()
    left = (end - now) / DAY
    seen = f"good until {date}, {left:.0f} days" if left >= days else f"ends on {date}, in {left:.1f} days"
    seen = seen if left > 0 else f"expired on {date}, {-left:.1f} days ago"
    return on.judged("certificate", left >= days, seen, wanted(days), "renew it, and let the server load it anew")


def wanted(days: float) -> str:
    """Say how long is long enough."""
    return f"good for {days:g} more days"
