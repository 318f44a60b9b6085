# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where things are: which region a name, an address or a text belongs to, as a platform description tells it."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

# Whoever runs the recovery is no region's.
LOCAL = frozenset({"localhost", "0.0.0.0", "::1"})
# What in a text may be an address: a host with a dot in it, perhaps within a URL.
HOST = re.compile(r"(?:(?:[a-z][a-z0-9+.-]*://)(?:[^\s/@'\"]*@)?)?((?:[A-Za-z0-9_-]+\.)+[A-Za-z0-9-]+)(?::\d+)?")
# A path on this machine, and not the path of a URL.
FILE = re.compile(r"(?<![\w:/.}-])(?:~|\.{1,2}|\{\{[^{}]*\}\})?/[\w.+/-]+")
# Keys whose value is the place of something, however it is called there.
HOST_KEYS = frozenset({"host", "address", "url", "endpoint", "endpoint_url", "probe", "hostname"})


@dataclass(frozen=True)
class Finding:
    """One thing that a recovery would need and that is gone with the region."""

    lost: str
    file: str
    line: int | None
    key: str
    value: str
    why: str
    mend: str

    @property
    def where(self) -> str:
        """Say where it stands."""
        return f"{self.file}:{self.line}" if self.line else self.file


@dataclass(frozen=True)
class Atlas:
    """Every region of a description, what is named as part of it, and the hosts that are known to lie in it."""

    regions: tuple[str, ...]
    clusters: Mapping[str, str] = field(default_factory=dict)
    edges: Mapping[str, str] = field(default_factory=dict)
    hosts: Mapping[str, str] = field(default_factory=dict)

    def of_name(self, name: Any) -> str | None:
        """Give the region that a name stands for: its own, or that of the cluster or edge of that name."""
        if not isinstance(name, str):
            return None
        if name in self.regions:
            return name
        return self.clusters.get(name) or self.edges.get(name)

    def of_text(self, text: str) -> frozenset[str]:
        """Give every region that a text names, or else those in which its hosts lie. Files here lie in none."""
        text = FILE.sub("", text)
        found = {region for region in self.regions if word(region).search(text)}
        return frozenset(found or {self.hosts[host] for host in hosts_in(text) if host in self.hosts})

    def of_entry(self, key: str, value: Any) -> str | None:
        """Give the region in which an entry of a mapping or list lies, where its key or its own words say so."""
        if key in self.regions:
            return key
        if isinstance(value, Mapping):
            if isinstance(value.get("region"), str):
                return self.of_name(value["region"])
            if isinstance(value.get("cluster"), str):
                return self.clusters.get(value["cluster"])
        return self.of_name(value)


def word(name: str) -> re.Pattern[str]:
    """Find a name that stands alone: us-east-1 is in db.us-east-1.example.com, and not in us-east-10."""
    return re.compile(rf"(?<![A-Za-z0-9]){re.escape(name)}(?![A-Za-z0-9])")


def hosts_in(text: str) -> Iterator[str]:
    """Give every host that a text may name."""
    for match in HOST.finditer(text):
        yield match.group(1).lower()


def atlas_of(platform: Mapping[str, Any]) -> Atlas:
    """Read a platform description for where everything is."""
    regions = tuple(platform.get("regions") or ())
    named = {
        kind: {name: entry.get("region", "") for name, entry in (platform.get(kind) or {}).items()}
        for kind in ("clusters", "edges")
    }
    plain = Atlas(regions, named["clusters"], named["edges"])
    hosts: dict[str, set[str]] = {}
    for place, host in placed_hosts(plain, platform, None):
        hosts.setdefault(host, set()).add(place)
    # A host that two regions have is neither's.
    sure = {host: next(iter(places)) for host, places in hosts.items() if len(places) == 1}
    return Atlas(regions, plain.clusters, plain.edges, sure)


def placed_hosts(atlas: Atlas, value: Any, place: str | None) -> Iterator[tuple[str, str]]:
    """Give every host that stands below something of a known region."""
    if isinstance(value, Mapping):
        for key, entry in value.items():
            inner = atlas.of_entry(str(key), entry) if isinstance(entry, (Mapping, list)) else None
            if isinstance(entry, str) and key in HOST_KEYS and place:
                host = host_of(entry)
                if host:
                    yield place, host
            elif key == "values" and place and isinstance(entry, list):
                yield from ((place, host) for host in map(host_of, entry) if host)
            yield from placed_hosts(atlas, entry, inner or place)
    elif isinstance(value, list):
        for entry in value:
            yield from placed_hosts(atlas, entry, atlas.of_entry("", entry) or place)


def host_of(text: Any) -> str | None:
    """Give the host of an address or URL that is more than a template."""
    if not isinstance(text, str) or "{{" in text:
        return None
    host = urlsplit(text).hostname if "://" in text else text.rpartition(":")[0] or text
    host = (host or "").lower()
    return None if not host or host in LOCAL or not re.fullmatch(r"[a-z0-9.-]+", host) else host


def is_address(host: str) -> bool:
    """Say whether a host is a number that stands for one machine, and not for this one."""
    try:
        return not ipaddress.ip_address(host).is_unspecified and host not in ("127.0.0.1", "255.255.255.255")
    except ValueError:
        return False
