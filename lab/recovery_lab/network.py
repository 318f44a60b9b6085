# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Links and what is done to them, by the proxy's HTTP API.

Which places are isolated or slowed is kept as a set; each link's state follows from it. So two isolations may overlap,
and healing one leaves the other in force.
"""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from . import addresses, identity, supervisor
from .addresses import Link
from .errors import LabError, with_advice
from .state import State, read_json, write

PROCESS = "network/toxiproxy"
LATENCY_MS = 100
# What a partition's end gives those who were cut off: time to learn what happened, before others reach them again.
HEAD_START_SECONDS = 1.0


@dataclass(frozen=True)
class Condition:
    """Which places are cut off and which are slow."""

    isolated: frozenset[str] = frozenset()
    slow: frozenset[str] = frozenset()

    def cuts(self, link: Link) -> bool:
        """Tell whether the link is cut."""
        return any(link.crosses(place) for place in self.isolated)

    def slows(self, link: Link) -> bool:
        """Tell whether the link is slow."""
        return any(link.crosses(place) for place in self.slow)

    def without(self, place: str | None) -> Condition:
        """Heal a place and everything within it; None heals all."""
        if place is None:
            return Condition()
        keep = [
            frozenset(one for one in kind if not addresses.inside(one, place)) for kind in (self.isolated, self.slow)
        ]
        return Condition(*keep)


def _file(state: State) -> Path:
    return state.root / "network.json"


def condition(state: State) -> Condition:
    """Read what is cut off and what is slow."""
    content = read_json(_file(state))
    return Condition(frozenset(content.get("isolated", ())), frozenset(content.get("slow", ())))


def remember(state: State, wanted: Condition) -> None:
    """Keep what is cut off and what is slow."""
    content = {"isolated": sorted(wanted.isolated), "slow": sorted(wanted.slow)}
    identity.own(write(_file(state), json.dumps(content)))


def definition(program: Path) -> supervisor.Definition:
    """Say how the proxy runs."""
    host, port = addresses.PROXY_API
    return supervisor.Definition([program, "-host", host, "-port", str(port)])


def call(method: str, path: str, body: Any = None, done: int = 0) -> Any:
    """Call the proxy's API. OSError if it is not there. The status `done` says that nothing was left to do."""
    connection = http.client.HTTPConnection(*addresses.PROXY_API, timeout=5)
    try:
        connection.request(method, path, None if body is None else json.dumps(body))
        response = connection.getresponse()
        content = response.read()
    except http.client.HTTPException as error:
        raise ConnectionError(f"the network proxy broke off its answer to {method} {path}") from error
    finally:
        connection.close()
    if response.status >= 300 and response.status != done:
        said = with_advice(content.decode(errors="replace").strip())
        raise LabError(f"The network proxy refused {method} {path}: {said}")
    return json.loads(content) if content else None


def answers() -> None:
    """Probe: the proxy's API is there."""
    call("GET", "/proxies")


def start(links: Iterable[Link], state: State) -> None:
    """Start the proxy and open all links in the remembered condition."""
    supervisor.act(PROCESS, "start")
    supervisor.wait_for(answers, process=PROCESS, state=state, seconds=10, what="the network proxy")
    establish(links, state)


def establish(links: Iterable[Link], state: State) -> None:
    """Open all links as a fresh proxy does not know them, in the remembered condition."""
    now = condition(state)
    rows = [
        {"name": link.name, "listen": link.listen, "upstream": link.upstream, "enabled": not now.cuts(link)}
        for link in links
    ]
    call("POST", "/populate", rows)
    for link in links:
        if now.slows(link):
            _slow(link, True)


def open_all(links: Iterable[Link]) -> None:
    """Open all links at once and no others, without a fault on any. Nobody here needs a head start."""
    wanted = {link.name: (link.listen, link.upstream) for link in links}
    rows = [{"name": name, "listen": on, "upstream": to, "enabled": True} for name, (on, to) in wanted.items()]
    for name, row in call("GET", "/proxies").items():
        if (row["listen"], row["upstream"]) != wanted.get(name):
            call("DELETE", f"/proxies/{name}")
    call("POST", "/populate", rows)
    call("POST", "/reset")
    seen = call("GET", "/proxies")
    faulty = [name for name, row in seen.items() if name not in wanted or not row["enabled"] or row["toxics"]]
    if faulty or len(seen) < len(wanted):
        raise LabError(f"Not all links are open: {', '.join(faulty) or 'some are missing'}.")


def isolate(links: Iterable[Link], state: State, place: str) -> None:
    """Cut a place off: connections over its border are refused, open ones break. Within it all goes on."""
    now = condition(state)
    apply(links, state, now, replace(now, isolated=now.isolated | {place}))


def slow(links: Iterable[Link], state: State, place: str) -> None:
    """Delay everything that crosses a place's border, both ways."""
    now = condition(state)
    apply(links, state, now, replace(now, slow=now.slow | {place}))


def heal(links: Iterable[Link], state: State, place: str | None) -> None:
    """Reconnect a place (None: all) and take its slowness away, the ways out of it first."""
    now = condition(state)
    apply(links, state, now, now.without(place))


def apply(links: Iterable[Link], state: State, now: Condition, wanted: Condition) -> None:
    """Change every link that differs. Those that lead out of a healed place come first."""
    links = list(links)
    for link in links:
        if wanted.slows(link) != now.slows(link):
            _slow(link, wanted.slows(link))
    for link in (link for link in links if wanted.cuts(link) and not now.cuts(link)):
        call("POST", f"/proxies/{link.name}", {"enabled": False})
    healed = [link for link in links if now.cuts(link) and not wanted.cuts(link)]
    outbound = [link for link in healed if any(link.leaves(place) for place in now.isolated - wanted.isolated)]
    for link in outbound:
        call("POST", f"/proxies/{link.name}", {"enabled": True})
    inbound = [link for link in healed if link not in outbound]
    if outbound and inbound:
        time.sleep(HEAD_START_SECONDS)
    for link in inbound:
        call("POST", f"/proxies/{link.name}", {"enabled": True})
    # Last: what was broken off is not yet so, and can be asked for again.
    remember(state, wanted)


def _slow(link: Link, wanted: bool) -> None:
    for stream in ("upstream", "downstream"):
        if wanted:
            toxic = {"name": f"slow_{stream}", "type": "latency", "stream": stream}
            call("POST", f"/proxies/{link.name}/toxics", {**toxic, "attributes": {"latency": LATENCY_MS}}, done=409)
        else:
            call("DELETE", f"/proxies/{link.name}/toxics/slow_{stream}", done=404)
