# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a platform's lease is kept: chosen by the description, opened by a provider, found by every later step."""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from . import lease_file
from .errors import BadInput
from .lease import Grant, Held, Store

# The registered result of `recovery_lease`, as `run.REGISTERED` is that of `checkpoint`.
REGISTERED = "recovery_lease"
# One of these is in whatever a task of that name leaves: a lease, a look at one, a skip or a failure.
RESULT_KEYS = frozenset({"grants", "skipped", "failed", "lines"})
# The shortest and the longest life without a sign: below, a loaded controller would lose it; above, a dead one blocks.
SECONDS = (5.0, 3600.0)
HOME_SECONDS = 10.0
# A witness that is slow is not waited for: during a disaster one region's cluster is expected to be silent.
WITNESS_SECONDS = 1.0
# Every controller must ask the same cluster first, whatever its target is. One that is not the usual primary is the
# likeliest to live on.
ORDER = ("secondary", "tertiary", "primary")

Home = Mapping[str, Any]


def homes_of(platform: Mapping[str, Any], lost: Sequence[str] = ()) -> dict[str, Any]:
    """Give the homes of a platform's lease in their one order, without those that are lost by the operator's word."""
    section, clusters = platform["lease"], platform["clusters"]
    name = f"recovery-{slug(platform['name'])}"
    common = {"platform": platform["name"], "seconds": section["seconds"]}
    if (section["provider"] or ("kubernetes" if clusters else "file")) == "file":
        home = {"provider": "file", "folder": section["folder"], "name": name}
        return {**common, "homes": [home], "left_out": []}
    named = section["clusters"] or usual(platform)
    homes = [
        {
            "provider": "kubernetes",
            "cluster": cluster,
            "namespace": section["namespace"],
            "name": name,
            **{key: clusters[cluster][key] for key in ("kubeconfig", "context")},
        }
        for cluster in named
        if cluster not in lost
    ]
    return {**common, "homes": homes, "left_out": [cluster for cluster in named if cluster in lost]}


def usual(platform: Mapping[str, Any]) -> list[str]:
    """Order the clusters by the part that their region has on a good day; within that, as they are described."""
    regions, clusters = platform["regions"], platform["clusters"]
    return sorted(clusters, key=lambda name: ORDER.index(regions[clusters[name]["region"]]["role"]))


def slug(name: str) -> str:
    """Turn a platform's name into one that an object or a file may have."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:50].strip("-") or "platform"


def in_cluster(home: Home, seconds: float) -> Store:
    """Open a lease in a cluster."""
    # Not needed where a file is the home, and not cheap.
    from .kubernetes.client import Client
    from .kubernetes.kubeconfig import load
    from .kubernetes.lease import LeaseStore

    client = Client(home["cluster"], load(home["kubeconfig"], home["context"]), request_seconds=seconds)
    return LeaseStore(client, home["namespace"], home["name"], seconds)


def in_file(home: Home, seconds: float) -> Store:
    """Open a lease in a file."""
    del seconds
    folder = Path(home["folder"] or lease_file.DEFAULT_FOLDER).expanduser()
    return lease_file.FileStore(folder / f"{home['name']}.lease")


PROVIDERS: Mapping[str, Callable[[Home, float], Store]] = {"kubernetes": in_cluster, "file": in_file}


def open_stores(homes: Sequence[Home], seconds: float = HOME_SECONDS) -> list[Store]:
    """Open the first home and its witnesses. Connects to nothing yet. Raises BadInput."""
    return [
        PROVIDERS[home["provider"]](home, min(seconds, WITNESS_SECONDS) if number else seconds)
        for number, home in enumerate(homes)
    ]


def reopened(result: Mapping[str, Any], seconds: float = HOME_SECONDS) -> Held | None:
    """Open the lease that an earlier step took, from its registered result; None where it took none."""
    grants = result.get("grants")
    if not grants:
        return None
    stores = open_stores([grant["home"] for grant in grants], seconds)
    pairs = [
        (store, Grant(int(grant["term"]), str(grant["nonce"]), float(grant["seconds"])))
        for store, grant in zip(stores, grants, strict=True)
    ]
    return Held(pairs)


def registered(variables: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Find the result of the step that took the lease, in this host's variables or in those of the first play's.

    Raises BadInput where a variable of that name hides it: without the token nothing would be asked before a change.
    """
    places = [variables.get(REGISTERED)]
    if isinstance(places[0], Mapping) and places[0].get("grants"):
        return places[0]
    with contextlib.suppress(KeyError, AttributeError, TypeError):
        places.append(variables["hostvars"]["localhost"][REGISTERED])
    for found in places:
        if isinstance(found, Mapping) and found.get("grants"):
            return found
    for found in places:
        if found is not None and not (isinstance(found, Mapping) and RESULT_KEYS & set(found)):
            raise BadInput(
                f"The variable {REGISTERED} is set to {found!r}",
                wanted="no variable of this name: the result of the step that takes the lease is kept there",
                observed="a variable of the inventory, of a file or of the command line",
                next_action=f"remove {REGISTERED} from there, and run again",
            )
    return None


@contextlib.contextmanager
def guarding(variables: Mapping[str, Any]) -> Iterator[Callable[[], None]]:
    """Give the question that each change asks first. Without a lease in this playbook there is nothing to ask."""
    result = registered(variables)
    held: Held | None = None
    lock = threading.Lock()

    def guard() -> None:
        nonlocal held
        if result is None:
            return
        with lock:  # a fence takes several members through their steps at once
            held = held or reopened(result)
            if held:
                held.guard()

    try:
        yield guard
    finally:
        if held:
            held.close()
