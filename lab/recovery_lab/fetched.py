# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""All programs of a profile: what the lab builds, and what servers of some kinds bring from elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from . import aws_api, dns_dynamic, kafka_programs, programs, redis_servers, topology
from .programs import Progress

BROUGHT: Mapping[str, Callable[[], dict[str, Path]]] = {
    "aws_api": aws_api.fetch,
    "dns_dynamic": dns_dynamic.fetch,
    "redis": redis_servers.fetch,
}
# What takes long enough to tell how far it is.
LONG: Mapping[str, Callable[[Progress], dict[str, Path]]] = {"kafka": kafka_programs.fetch}


def find(profile: str, say: Progress) -> dict[str, Path]:
    """Give the path of each program of a profile, fetching and building what is missing."""
    kinds = dict.fromkeys(server.kind for server in topology.build(profile).servers)
    found: dict[str, Path] = {}
    for kind in kinds:
        if kind in BROUGHT:
            say(f"looking for what {kind} runs on")
            found |= BROUGHT[kind]()
        if kind in LONG:
            found |= LONG[kind](say)
    return found | programs.find(profile, say)
