# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ask all doors of all regions at once, and those who see a region from elsewhere. Whatever goes wrong is an answer."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

from .. import clock, edge
from ..dns import route53
from ..dns.model import Zone
from ..errors import RecoveryError, StepTimeout
from ..kubernetes.client import ApiError, Client
from ..kubernetes.kubeconfig import load
from ..kubernetes.transport import Deadline
from ..postgresql import observe as members
from ..postgresql.model import ANSWERED, MemberState
from ..postgresql.vantage import Says, Statement
from ..waiting import wait_until
from .model import Database, Platform, View

MAX_QUESTIONS = 32
POLL_SECONDS = 0.5
# How far Route 53's clock, which counts whole seconds here, may be behind ours.
STAMP_SECONDS = 1.0

Said = list[Statement]


@dataclass(frozen=True)
class Round:
    """One round of questions: when it began, how long each may take, and where life was seen so far."""

    begin: float
    seconds: float
    patience: float
    alive: set[str]


def look(platform: Platform, seconds: float, *, patience: float = 0.0) -> View:
    """Ask everybody.

    With `patience` Route 53's checkers are heard a second time where what they said last may be from before the
    failure, and nobody else has shown life in that region.
    """
    begin = time.time()
    alive = {platform.target}  # whose health shows once its databases take writes: nothing is waited for
    states: dict[str, Mapping[str, MemberState]] = {}

    def ask_database(database: Database) -> Said:
        said, states[database.name] = database_words(database, platform.target, seconds)
        return said

    questions: list[Callable[[], Said]] = [partial(ask_database, one) for one in platform.databases]
    for region in platform.regions.values():
        questions += [partial(edge_words, region.name, place, seconds) for place in region.edges]
        questions += [partial(cluster_words, region.name, *item, seconds) for item in region.clusters.items()]
    for zone in platform.zones:
        if zone.provider.startswith("route53"):
            questions.append(partial(route53_words, zone, platform, Round(begin, seconds, patience, alive)))

    def ask(question: Callable[[], Said]) -> Said:
        said = question()
        alive.update(item.member for item in said if item.says == "alive")
        return said

    with ThreadPoolExecutor(max_workers=min(MAX_QUESTIONS, max(1, len(questions)))) as pool:
        said = [item for answer in pool.map(ask, questions) for item in answer]
    return View(platform.target, tuple(said), states)


def edge_words(region: str, place: edge.Place, seconds: float) -> Said:
    """Ask an edge. Any answer of HTTP is one, whatever is behind it."""
    health = edge.ask(place, place.paths[0], time.monotonic() + seconds, lambda: None)
    alive = health.status is not None
    seen = f"answers {health.status}" if alive else health.trouble or "no answer"
    return [Statement(f"edge {place.name}", region, "alive" if alive else "lost", seen)]


def cluster_words(region: str, name: str, access: Mapping[str, Any], seconds: float) -> Said:
    """Ask an API server for its version. One that turns us away is there."""
    vantage = f"kubernetes {name}"
    client: Client | None = None
    try:
        client = Client(name, load(access["kubeconfig"], access["context"]), request_seconds=seconds)
        client.request("GET", "/version", deadline=Deadline.after(seconds), doing="say its version")
    except ApiError as error:
        return [Statement(vantage, region, "lost" if error.reason == "unreachable" else "alive", error.text)]
    except RecoveryError as error:
        return [Statement(vantage, region, "cannot say", error.what)]
    finally:
        if client:
            client.close()
    return [Statement(vantage, region, "alive", "its API server answers")]


def database_words(database: Database, target: str, seconds: float) -> tuple[Said, Mapping[str, MemberState]]:
    """Ask all members, the target's what it hears of the others, and the services there whom they work with."""
    heard = edge.Survey(database.edges, seconds)
    ask = partial(members.look, connect_seconds=seconds, statement_seconds=seconds)
    states = ask(database.members, database.credentials, again=target)
    said = [member_words(database.name, state) for state in states.values()]
    survivor = states.get(target)
    silent = [name for name, state in states.items() if not state.reachable]
    if survivor and survivor.is_standby and silent:
        later = ask({target: database.members[target]}, database.credentials) if survivor.streaming else {}
        for name in silent:
            found = members.peer_evidence(name, [survivor], later)
            said += [
                Statement(f"standby {database.name} in {target}", name, words(one.alive), one.observed, one.since)
                for one in found
            ]
    if silent:
        said += service_words(database, silent, heard.answers(wait=True))
    return said, states


def service_words(database: Database, silent: Sequence[str], heard: Mapping[str, Sequence[edge.Health]]) -> Said:
    """Say what the target's services see of regions that we do not reach: they have a way of their own to them."""
    source = silent[0] if len(silent) == 1 else None
    return [
        Statement(f"service {database.name} at {one.vantage}", one.member, words(one.alive), one.observed)
        for one in members.edge_evidence(heard, database.members, silent, source)
    ]


def member_words(database: str, state: MemberState) -> Statement:
    """Say what a member's own answer, or its silence, tells of its region."""
    vantage = f"sql {database}"
    if state.reachable:
        return Statement(
            vantage, state.name, "alive", "answers as primary" if state.is_primary else "answers as standby"
        )
    if state.cause in ANSWERED:
        return Statement(vantage, state.name, "alive", state.why_not or "answers")
    # Silence may be the network as well.
    says: Says = "lost" if state.cause in ("refused", "lost") else "cannot say"
    return Statement(vantage, state.name, says, state.why_not or "no answer")


def words(alive: bool | None) -> Says:
    """Turn evidence into a word."""
    return "cannot say" if alive is None else "alive" if alive else "lost"


def route53_words(zone: Zone, platform: Platform, work: Round) -> Said:
    """Ask what Route 53's checkers, who stand in many regions, say of each region's health."""
    vantage = f"route53 {zone.name.rstrip('.')}"
    try:
        api = route53.opened(zone, time.monotonic() + work.seconds + work.patience)
        holding = route53.read(api, zone)
        found: Said = []
        for region in platform.regions:
            checks = [one for one in route53.watching(holding, zone.records, region) if not one.disabled]
            found += [check_word(api, vantage, region, one, work) for one in checks[:1]]
    except RecoveryError as error:
        trouble = f"{error.what}: {error.observed}" if error.observed else error.what
        return [Statement(vantage, name, "cannot say", trouble) for name in platform.regions if name in zone.targets]
    return found


def check_word(api: Any, vantage: str, region: str, check: route53.Check, work: Round) -> Statement:
    """Give the checkers' word on one health check. A good one from before our own look proves nothing by now."""
    last = Statement(vantage, region, "cannot say", "its checkers have not looked yet")

    def settled() -> Statement | None:
        nonlocal last
        rows = api.call("get_health_check_status", HealthCheckId=check.id)["HealthCheckObservations"]
        last = judged([row["StatusReport"] for row in rows if row.get("StatusReport")], vantage, region, work.begin)
        return None if last.says == "cannot say" and region not in work.alive else last

    try:
        return wait_until(settled, seconds=work.patience, interval=POLL_SECONDS).value
    except StepTimeout:
        return last


def judged(reports: Sequence[Mapping[str, Any]], vantage: str, region: str, begin: float) -> Statement:
    """Judge what the checkers report."""
    good = [one for one in reports if str(one.get("Status", "")).startswith("Success")]
    seen = f"{len(good)} of {len(reports)} checkers reach it"
    if reports and not route53.enough(len(good), len(reports)):
        return Statement(vantage, region, "lost", seen)
    newest = max((one["CheckedTime"].timestamp() for one in good if one.get("CheckedTime")), default=0.0)
    if newest >= begin - STAMP_SECONDS:
        return Statement(vantage, region, "alive", seen)
    since = clock.stamp(newest) if newest else None
    return Statement(vantage, region, "cannot say", f"{seen}, when they last looked", since)
