# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether the names of a zone could be moved right now: everybody asked, everything planned, nothing done."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from urllib.parse import urlsplit

from ..errors import RecoveryError
from ..readiness import FIRST, Check, Checklist
from . import asking, probing, route53
from .asking import Answers
from .failover import PROVIDERS, Request
from .model import NameServer, Zone, short, shown
from .provider import Provider, Work
from .route53 import Holding

ROLE = "dns_failover"
ALWAYS = "it is disabled: it says healthy whatever happens"


def checks(zone: Zone, request: Request, most_ttl: int) -> list[Check]:
    """Make every check of one zone."""
    on = Checklist(ROLE, short(zone.name))
    if request.target not in zone.targets:
        wanted, mend = "the target is one of its targets", f"give it values and a probe for {request.target}"
        return [on.judged("target", False, f"it knows {', '.join(zone.targets)} only", wanted, mend)]
    work = Work(deadline=time.monotonic() + request.timeout_seconds, query_seconds=request.query_seconds)
    found = [target_check(on, zone, request)]
    try:
        provider = PROVIDERS[zone.provider](zone, work)
    except RecoveryError as error:
        return [*found, on.failed("API and credentials", error)]
    found += on.attempt("name servers", lambda: list(server_checks(on, zone, provider, request, most_ttl)))
    found += on.attempt("API and plan", lambda: [plan_check(on, provider, request.target)])
    if zone.provider.startswith("route53"):
        found += on.attempt("health checks", lambda: list(health_checks(on, zone, work)))
    return found


def target_check(on: Checklist, zone: Zone, request: Request) -> Check:
    """Say whether the target answers."""
    target = zone.targets[request.target]
    seen = probing.trouble(target, request.probe_seconds)
    mend = f"mend what answers {target.probe}, or correct the probe"
    return on.judged(
        f"target {request.target}", seen is None, seen or "it answers", f"an answer of {target.probe}", mend
    )


def plan_check(on: Checklist, provider: Provider, target: str) -> Check:
    """Say whether the API answers us and every name could be planned."""
    planned = provider.plan(target)
    seen = f"{len(planned)} changes would lead all {len(provider.zone.records)} names to {target}"
    return on.judged("API and plan", True, seen, "every name can be moved", "")


def server_checks(on: Checklist, zone: Zone, provider: Provider, request: Request, most_ttl: int) -> Iterator[Check]:
    """Ask everybody for every name."""
    resolvers = zone.resolvers or asking.system_resolvers()
    servers = provider.servers() or asking.authorities(zone.name, resolvers, request.query_seconds)
    present = [one for one in (*servers, *resolvers) if one.region not in request.lost_regions]
    keys = [record.key for record in zone.records]
    answers = asking.ask_all(present, keys, request.query_seconds)
    for server in present:
        kind = "name server" if server in servers else "resolver"
        yield answer_check(on, f"{kind} {server.words}", answers[server])
    yield ttl_check(on, {one: answers[one] for one in servers if one in answers}, most_ttl)


def answer_check(on: Checklist, what: str, answers: Answers) -> Check:
    """Say whether a server knows every name."""
    missing = [key for key, answer in answers.items() if answer.trouble or not answer.values]
    wanted, mend = (
        f"an answer for all {len(answers)} names",
        "mend it, the way to it, or the names that it does not know",
    )
    if not missing:
        return on.judged(what, True, f"it answers for all {len(answers)} names", wanted, "")
    seen = answers[missing[0]].trouble or "nothing"
    return on.judged(what, False, f"{len(missing)} without one, such as {short(missing[0][0])}: {seen}", wanted, mend)


def ttl_check(on: Checklist, answers: Mapping[NameServer, Answers], most: int) -> Check:
    """Compare TTLs with the bound: clients go on for so long whatever a recovery does."""
    ttls = {key: answer.ttl for rows in answers.values() for key, answer in rows.items() if answer.values}
    wanted = f"at most {most} s"
    if not ttls:
        return on.judged("TTL", None, "no name server answers", wanted, FIRST)
    high = sorted(key for key, ttl in ttls.items() if ttl > most)
    longest = max(ttls.values())
    if not high:
        return on.judged("TTL", True, f"at most {longest} s", wanted, "")
    seen = f"up to {longest} s, of {len(high)} names, such as {short(high[0][0])}"
    return on.judged("TTL", False, seen, wanted, f"lower the TTL of these names to {most} s or less")


def health_checks(on: Checklist, zone: Zone, work: Work) -> Iterator[Check]:
    """Look whether health checks watch what the names lead to, and are well."""
    api = route53.opened(zone, work.deadline)
    holding = route53.read(api, zone)
    for region in zone.targets:
        yield watch_check(on, zone, holding, region)
        for check in route53.watching(holding, zone.records, region):
            yield state_check(on, f"health check {check.id} of {region}", check, route53.status(api, check), region)


def state_check(on: Checklist, what: str, check: route53.Check, trouble: str | None, region: str) -> Check:
    """Say whether a health check says what is so. One that is forced off is what a failover leaves behind."""
    if check.forced_off:
        return on.judged(what, True, "it is declared unhealthy, as a failover does", "a check that says what is so", "")
    if check.inverted or check.disabled:
        seen = "it is inverted: it says healthy while what it asks is not" if check.inverted else ALWAYS
        return on.judged(what, False, seen, "a check that says what is so", "set Inverted and Disabled to false")
    mend = f"mend {region}, or what the check asks for"
    return on.judged(what, trouble is None, trouble or "healthy", "Route 53's checkers find it healthy", mend)


def watch_check(on: Checklist, zone: Zone, holding: Holding, region: str) -> Check:
    """Say whether the health checks of a region ask that region."""
    needed = zone.provider == "route53_health_checks"
    what, wanted = f"health checks of {region}", "each name has one that asks what it leads to"
    bare = [
        short(record.name)
        for record in zone.records
        for one in route53.leading(record, holding.of(record.key), region)
        if not one.check
    ]
    if bare and needed:
        seen = f"{len(bare)} names have none, such as {bare[0]}"
        return on.judged(what, False, seen, wanted, "make a health check, and name it in these record sets")
    elsewhere = astray(zone, route53.watching(holding, zone.records, region), region)
    if elsewhere:
        return on.judged(what, False, elsewhere, wanted, "correct the address of the health check")
    return on.judged(what, True, "they ask what the names lead to" if not bare else "none is needed", wanted, "")


def astray(zone: Zone, found: Sequence[route53.Check], region: str) -> str:
    """Name a health check that asks somebody else."""
    target = zone.targets[region]
    hosts = {*target.values, str(urlsplit(target.probe).hostname)}
    for record in zone.records:
        hosts |= record.values.get(region, frozenset())
    for check in found:
        asked = {check.config.get(word) for word in ("IPAddress", "FullyQualifiedDomainName")} - {None}
        if asked and not asked & hosts:
            return f"health check {check.id} asks {shown(frozenset(map(str, asked)))}"
    return ""
