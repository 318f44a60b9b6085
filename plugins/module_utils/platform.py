# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The platform description: cross-checks that a schema cannot express, and the selection that a run works on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from . import approvals, clock, lease_homes, provenance
from .dependencies import circle
from .errors import PreconditionFailed
from .schema import Problem, closest, reference

# Option paths whose suboptions describe each value of a mapping with free keys.
MAPS = frozenset(
    {
        "credentials",
        "platform.regions",
        "platform.databases",
        "platform.databases.members",
        "platform.databases.members.patroni.nodes",
        "platform.clusters",
        "platform.services",
        "platform.edges",
        "platform.people",
        "platform.stores",
        "platform.zones",
        "platform.zones.targets",
    }
)

# A month: for an exercise that is announced. Whoever wants more wants no approvals.
LONGEST_APPROVAL_SECONDS = 31 * 86400.0

# What a client needs of a member.
CONNECTION = ("host", "address", "port", "sslmode", "sslrootcert")
ROLES = ("primary", "secondary", "tertiary")
DRY_MODES = frozenset({"plan", "readiness", "drill"})
ALL_MODES = ("plan", "readiness", "drill", "switchover", "failover")


@dataclass(frozen=True)
class Wish:
    """What the operator asked for."""

    playbook: str
    modes: tuple[str, ...]
    mode: str
    target: str
    confirm: str | None
    reason: str | None
    allow_data_loss: bool
    fence_statement: str | None
    detected_at: str | None
    lost_clusters: tuple[str, ...] = ()

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> Wish:
        """Read it from validated options."""
        return cls(
            playbook=options["playbook"],
            modes=tuple(options["modes"]),
            mode=options["mode"] or "",
            target=options["target"] or "",
            confirm=options["confirm"],
            reason=options["reason"],
            allow_data_loss=options["allow_data_loss"],
            fence_statement=options["fence_statement"],
            detected_at=options["detected_at"],
            lost_clusters=tuple(options["lost_clusters"]),
        )


def cross_check(platform: Mapping[str, Any], credentials: Mapping[str, Any]) -> Iterator[Problem]:
    """Find names in the description that refer to nothing."""
    regions, databases = platform["regions"], platform["databases"]
    clusters, services, edges = platform["clusters"], platform["services"], platform["edges"]
    found: list[Problem | None] = []
    for name, database in databases.items():
        key = f"platform.databases.{name}"
        found.append(reference(f"{key}.credentials", database["credentials"], credentials, "credential"))
        account = (database["patroni"] or {}).get("credentials")
        if account:
            found.append(reference(f"{key}.patroni.credentials", account, credentials, "credential"))
        found.extend(reference(f"{key}.members.{m}", m, regions, "region") for m in database["members"])
        if len(database["members"]) < 2:
            yield Problem(
                f"{key}.members", ", ".join(database["members"]), "at least two members: one alone cannot fail over"
            )
        found.extend(check_provider(key, database, clusters))
    for kind, entries in (("clusters", clusters), ("edges", edges)):
        found.extend(
            reference(f"platform.{kind}.{n}.region", e["region"], regions, "region") for n, e in entries.items()
        )
    for name, service in services.items():
        key = f"platform.services.{name}"
        if service["database"]:
            found.append(reference(f"{key}.database", service["database"], databases, "database"))
        found.extend(reference(f"{key}.clusters", c, clusters, "cluster") for c in service["clusters"])
        found.extend(reference(f"{key}.depends_on", s, services, "service") for s in service["depends_on"])
    found.extend(check_canary(platform, credentials))
    known = {
        name: [other for other in service["depends_on"] if other in services] for name, service in services.items()
    }
    round_about = circle(known)
    if round_about:
        key = f"platform.services.{round_about[0]}.depends_on"
        yield Problem(key, " -> ".join(round_about), "services that do not depend on each other in a circle")
    found.extend(reference("platform.lease.clusters", c, clusters, "cluster") for c in platform["lease"]["clusters"])
    yield from (problem for problem in found if problem)
    yield from out_of_range(platform)
    yield from check_people(platform)
    yield from check_zones(platform, credentials)
    yield from check_stores(platform, credentials)
    for kind, value in platform["objectives"].items():
        if not 0 <= value < float("inf"):
            yield Problem(f"platform.objectives.{kind}", value, "seconds, 0 or more")


def check_stores(platform: Mapping[str, Any], credentials: Mapping[str, Any]) -> Iterator[Problem]:
    """Find what would keep a store from being taken over. What its members need is checked by the role of its kind."""
    regions = platform["regions"]
    for name, store in platform["stores"].items():
        key = f"platform.stores.{name}"
        found = [reference(f"{key}.members.{region}", region, regions, "region") for region in store["members"]]
        if store["credentials"]:
            found.append(reference(f"{key}.credentials", store["credentials"], credentials, "credential"))
        yield from (problem for problem in found if problem)
        if len(store["members"]) < 2:
            yield Problem(f"{key}.members", ", ".join(store["members"]), "members in at least two regions")
        for region, member in store["members"].items():
            if not isinstance(member, Mapping):
                yield Problem(f"{key}.members.{region}", member, "a mapping")
        for kind, value in store["objectives"].items():
            if not 0 <= value < float("inf"):
                yield Problem(f"{key}.objectives.{kind}", value, "seconds, 0 or more")


def check_zones(platform: Mapping[str, Any], credentials: Mapping[str, Any]) -> Iterator[Problem]:
    """Find what would keep names from being moved."""
    regions = platform["regions"]
    for name, zone in platform["zones"].items():
        key, provider = f"platform.zones.{name}", zone["provider"]
        found = [reference(f"{key}.targets.{region}", region, regions, "region") for region in zone["targets"]]
        if zone["credentials"]:
            found.append(reference(f"{key}.credentials", zone["credentials"], credentials, "credential"))
        for kind in ("servers", "resolvers"):
            places = [one["region"] for one in zone[kind] if one["region"]]
            found += [reference(f"{key}.{kind}.region", region, regions, "region") for region in places]
        yield from (problem for problem in found if problem)
        for section in ("arc", "rfc2136"):
            if bool(zone[section]) != (provider == section):
                wanted = "a mapping" if provider == section else f"nothing with the provider {provider}"
                yield Problem(f"{key}.{section}", zone[section] and "something", wanted)
        for record in zone["records"]:
            if record["name"].rstrip(".") != name and not record["name"].rstrip(".").endswith(f".{name}"):
                yield Problem(f"{key}.records.name", record["name"], f"a name in {name}")


def check_provider(key: str, database: Mapping[str, Any], clusters: Mapping[str, Any]) -> Iterator[Problem | None]:
    """Find what a provider needs and has not, or has and does not need: it would be read by nobody."""
    provider = database["provider"]
    by_operator, by_rds, by_patroni = (provider == name for name in ("kubernetes_resource", "rds", "patroni"))
    if bool(database["flavour"]) != by_operator:
        wanted = (
            "cloudnativepg or zalando, the operator that runs the database"
            if by_operator
            else f"nothing with the provider {provider}"
        )
        yield Problem(f"{key}.flavour", database["flavour"], wanted)
    for name, member in database["members"].items():
        where = f"{key}.members.{name}"
        for part, needed in (("resource", by_operator), ("rds", by_rds), ("patroni", by_patroni)):
            if bool(member[part]) != needed:
                wanted = "a mapping: where its provider finds it" if needed else f"nothing with the provider {provider}"
                yield Problem(f"{where}.{part}", member[part] and "something", wanted)
        if member["fence"] and (by_operator or by_rds):
            yield Problem(f"{where}.fence", "something", f"nothing: {provider} fences by its own API")
        if member["fence"] and by_patroni:
            yield Problem(f"{where}.fence", "something", f"nothing here: each node has one, {where}.patroni.nodes")
        if member["resource"]:
            yield reference(f"{where}.resource.cluster", member["resource"]["cluster"], clusters, "cluster")
        if member["rds"] and by_rds:
            yield from check_rds(where, member["rds"], global_=bool(database["rds"]))
    for part, wanted_by in (("rds", by_rds), ("patroni", by_patroni)):
        if database[part] and not wanted_by:
            yield Problem(f"{key}.{part}", "something", f"nothing with the provider {provider}")
    if by_patroni:
        yield from check_patroni(key, database)


def check_patroni(key: str, database: Mapping[str, Any]) -> Iterator[Problem]:
    """Find what would leave a node unknown or unreachable, or a setting without a use."""
    common = database["patroni"] or {}
    one_cluster = common.get("topology") != "standby_cluster"
    if bool(common.get("cert_file")) != bool(common.get("key_file")):
        yield Problem(f"{key}.patroni", "one of cert_file and key_file", "both, or neither")
    owners: dict[str, str] = {}
    for name, member in database["members"].items():
        place, where = member["patroni"], f"{key}.members.{name}.patroni"
        if not place:
            continue
        if not place["nodes"]:
            yield Problem(f"{where}.nodes", "none", "at least one node")
        if place["source"] and one_cluster:
            yield Problem(f"{where}.source", "something", "nothing in one cluster: Patroni knows whom a node follows")
        for node, entry in place["nodes"].items():
            if not entry["url"].startswith(("http://", "https://")):
                yield Problem(f"{where}.nodes.{node}.url", entry["url"], "an address such as https://10.1.0.11:8008")
            if len(place["nodes"]) > 1 and not entry["host"]:
                wanted = "where its own PostgreSQL listens: of several nodes each is seen to be stopped at its port"
                yield Problem(f"{where}.nodes.{node}.host", None, wanted)
            if one_cluster and owners.setdefault(node, name) != name:
                yield Problem(f"{where}.nodes", node, f"names that no other region has: {owners[node]} has it")


def check_rds(where: str, place: Mapping[str, Any], *, global_: bool) -> Iterator[Problem]:
    """An Aurora global database consists of clusters, a replica and its source of instances."""
    needed, spare = ("cluster", "instance") if global_ else ("instance", "cluster")
    if not place[needed]:
        other = "" if global_ else " (a cluster needs rds.global_cluster of the database)"
        yield Problem(f"{where}.rds.{needed}", None, f"the identifier of the DB {needed}{other}")
    if place[spare]:
        yield Problem(f"{where}.rds.{spare}", place[spare], f"nothing beside {needed}")


def check_canary(platform: Mapping[str, Any], credentials: Mapping[str, Any]) -> Iterator[Problem | None]:
    """Find what would keep the canary from writing, or its rows from being read back."""
    canary, services = platform["canary"], platform["services"]
    if not canary:
        return
    yield reference("platform.canary.edge", canary["edge"], platform["edges"], "edge")
    yield reference("platform.canary.service", canary["service"], services, "service")
    if canary["credentials"]:
        yield reference("platform.canary.credentials", canary["credentials"], credentials, "credential")
    if canary["service"] in services and not services[canary["service"]]["database"]:
        yield Problem(
            "platform.canary.service", canary["service"], "a service with a database: its rows are read back from there"
        )


def check_people(platform: Mapping[str, Any]) -> Iterator[Problem]:
    """Find what would let an approval be nobody's, or two people's."""
    people, rule = platform["people"], platform["approvals"]
    owners: dict[str, str] = {}
    for name, person in people.items():
        key = f"platform.people.{name}"
        if not approvals.NAME.fullmatch(name):
            yield Problem(key, name, "a name of letters, digits, dots, dashes, underscores and @")
        for text in person["keys"]:
            if not approvals.PUBLIC_KEY.fullmatch(text):
                yield Problem(f"{key}.keys", "something else", "a public SSH key, as the line of a .pub file")
                continue
            owner = owners.setdefault(text.split()[1], name)
            if owner != name:
                yield Problem(f"{key}.keys", f"a key of {owner}", "keys that nobody else has: people are counted")
    if not rule:
        return
    approvers = rule["approvers"] or list(people)
    for name in approvers:
        problem = reference("platform.approvals.approvers", name, people, "person")
        if problem:
            yield problem
        elif not people[name]["keys"]:
            yield Problem(f"platform.people.{name}.keys", None, "a public key: an approver signs with it")
    if not 1 <= rule["needed"] <= len(set(approvers)):
        yield Problem(
            "platform.approvals.needed", rule["needed"], f"1 to {len(set(approvers))}, the number of approvers"
        )
    for name in ("valid_seconds", "break_glass_seconds"):
        if not 0 < rule[name] <= LONGEST_APPROVAL_SECONDS:
            yield Problem(f"platform.approvals.{name}", rule[name], f"seconds, at most {LONGEST_APPROVAL_SECONDS:g}")


def out_of_range(platform: Mapping[str, Any]) -> Iterator[Problem]:
    """Find numbers that are none of their kind."""
    seconds, (least, most) = platform["lease"]["seconds"], lease_homes.SECONDS
    if not least <= seconds <= most:
        yield Problem("platform.lease.seconds", seconds, f"{least:g} to {most:g} seconds")
    if platform["lease"]["provider"] == "kubernetes" and not platform["clusters"]:
        yield Problem("platform.lease.provider", "kubernetes", "a cluster under platform.clusters to keep it in")
    for name, database in platform["databases"].items():
        key = f"platform.databases.{name}"
        for kind, value in database["objectives"].items():
            if not 0 <= value < float("inf"):
                yield Problem(f"{key}.objectives.{kind}", value, "seconds, 0 or more")
        for member, entry in database["members"].items():
            ports = {"port": entry["port"], "fence.port": (entry["fence"] or {}).get("port")}
            for node, place in (entry["patroni"] or {}).get("nodes", {}).items():
                where = f"patroni.nodes.{node}"
                ports |= {f"{where}.port": place["port"], f"{where}.fence.port": (place["fence"] or {}).get("port")}
            for where, port in ports.items():
                if port is not None and not 0 < port < 65536:
                    yield Problem(f"{key}.members.{member}.{where}", port, "a port from 1 to 65535")
            for where in ("data_directory", "bin_directory", "config_file"):
                path = entry[where]
                if path is not None and (not path.startswith("/") or not path.strip("/")):
                    yield Problem(f"{key}.members.{member}.{where}", path, "an absolute path below the root")


def check_wish(wish: Wish, platform: Mapping[str, Any]) -> Iterator[Problem]:
    """Find what is wrong with the operator's variables, except the confirmation: that is a gate, not a mistake."""
    if wish.mode not in wish.modes:
        expected = f"one of {', '.join(wish.modes)}: what {wish.playbook} can do"
        if wish.mode == "readiness":
            expected += " (readiness is a playbook of its own: platform.recovery.readiness, or recovery readiness)"
        elif wish.mode == "drill" and wish.playbook == "database-failover":
            expected += " (a drill of it is a playbook of its own: platform.recovery.drill, or recovery run drill)"
        elif wish.mode in ALL_MODES:
            expected += f" ({wish.mode} is a mode of this collection, but not of this playbook at present)"
        yield Problem("recovery_mode", wish.mode or None, expected, closest(wish.mode, wish.modes))
    valid = targets(platform)
    if wish.target not in valid:
        expected = f"a region that holds a member of a database: {', '.join(valid)}"
        yield Problem("recovery_target", wish.target or None, expected, closest(wish.target, valid))
    if wish.detected_at:
        try:
            clock.parse(wish.detected_at)
        except ValueError:
            yield Problem("recovery_detected_at", wish.detected_at, "an RFC 3339 stamp such as 2026-11-23T10:30:00Z")
    for name in wish.lost_clusters:
        problem = reference("recovery_lost_clusters", name, platform["clusters"], "cluster")
        if problem:
            yield problem
    overrides = wish.allow_data_loss or wish.fence_statement or wish.lost_clusters
    if overrides and not (wish.reason or "").strip():
        yield Problem("recovery_reason", wish.reason, "a reason: an override is journalled with the reason for it")


def targets(platform: Mapping[str, Any]) -> list[str]:
    """Name what a database can be recovered to: the regions that hold members."""
    regions = {member for database in platform["databases"].values() for member in database["members"]}
    return sorted(regions)


def aimed(wish: Wish, platform: Mapping[str, Any]) -> Wish:
    """Aim a check of readiness without a target at the region that would be recovered to, where there is only one."""
    if wish.target or wish.mode != "readiness":
        return wish
    regions = platform["regions"]
    spare = [name for name in targets(platform) if name in regions and regions[name]["role"] != "primary"]
    return replace(wish, target=spare[0]) if len(spare) == 1 else wish


def require_confirmation(wish: Wish) -> dict[str, Any] | None:
    """Refuse unless the operator typed the target twice, and give what that decided. Raises PreconditionFailed."""
    wanted = f"recovery_confirm={wish.target}"
    if wish.mode in DRY_MODES:
        return None
    if wish.confirm == wish.target:
        return {"gate": "confirmation", "observed": wanted, "wanted": wanted, "verdict": "pass"}
    raise PreconditionFailed(
        f"{wish.playbook} in mode {wish.mode} changes production and is not confirmed",
        wanted=wanted,
        observed=f"recovery_confirm={wish.confirm or '(nothing)'}",
        next_action=f"if you mean to recover to {wish.target}, run again with -e recovery_confirm={wish.target}",
        gate="confirmation",
    )


def select(wish: Wish, platform: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Give every database that has a member in the target, with all that its roles need, secrets left out."""
    return [
        database_inputs(name, wish, platform)
        for name, database in platform["databases"].items()
        if wish.target in database["members"]
    ]


def database_inputs(name: str, wish: Wish, platform: Mapping[str, Any]) -> dict[str, Any]:
    """Join what the roles need about one database."""
    database, target = platform["databases"][name], wish.target
    services = {n: s for n, s in platform["services"].items() if s["database"] == name}
    used = {cluster for service in services.values() for cluster in service["clusters"]}
    return {
        "name": name,
        "target": target,
        "target_host": database["members"][target]["host"],
        "target_member": {"name": target, **{k: database["members"][target][k] for k in CONNECTION}},
        "provider": database["provider"],
        "database": database["database"],
        "tables": database["tables"],
        "objectives": database["objectives"],
        "members": {m: member_inputs(m, database, platform) for m in database["members"]},
        "credentials": database["credentials"],
        "api_credentials": (database["patroni"] or {}).get("credentials"),
        "identity": identity(target, database["system_identifier"]),
        "applications": sorted(services),
        "clusters": {
            n: {k: c[k] for k in ("kubeconfig", "context")} for n, c in platform["clusters"].items() if n in used
        },
        "lost_clusters": [cluster for cluster in wish.lost_clusters if cluster in used],
        "edges": edge_inputs(platform, services),
        "workloads": [
            {"cluster": cluster, "name": n, **{k: s[k] for k in ("namespace", "kind", "container", "variable")}}
            for n, s in services.items()
            for cluster in s["clusters"]
        ],
    }


def service_inputs(databases: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Give of each database what a step on the services of many needs of it."""
    kept = ("name", "clusters", "workloads", "lost_clusters")
    return [{"value": one["target_host"], **{key: one[key] for key in kept}} for one in databases]


def member_inputs(name: str, database: Mapping[str, Any], platform: Mapping[str, Any]) -> dict[str, Any]:
    """Give a member with all that its provider needs, wherever the description says it."""
    member = {k: v for k, v in database["members"][name].items() if k not in {"resource", "rds", "patroni"}}
    resource, rds, patroni = (database["members"][name][part] for part in ("resource", "rds", "patroni"))
    if resource:
        cluster = platform["clusters"][resource["cluster"]]
        member["resource"] = {
            **resource,
            "flavour": database["flavour"],
            **{k: cluster[k] for k in ("kubeconfig", "context")},
        }
    if rds:
        member["rds"] = {**rds, **(database["rds"] or {})}
    if patroni:
        common = database["patroni"] or {}
        member["patroni"] = {**patroni, **{k: v for k, v in common.items() if k != "credentials"}}
    return member


def identity(target: str, system_identifier: str | None) -> list[dict[str, Any]]:
    """Give what the description says of a database's identity, as a vantage point like any other."""
    if not system_identifier:
        return []
    seen = f"system identifier {system_identifier}"
    vantage = {"vantage": "platform description", "member": target, "observed": seen}
    return [{**vantage, "system_identifier": system_identifier}]


def edge_inputs(
    platform: Mapping[str, Any], services: Mapping[str, Any], region: str | None = None
) -> list[dict[str, Any]]:
    """Say where clients reach these services (in one region, if named), and where each answers for its health."""
    ca_file = (platform["canary"] or {}).get("ca_file")
    found = []
    for name, edge in platform["edges"].items():
        if region not in (None, edge["region"]):
            continue
        behind = {n for n, c in platform["clusters"].items() if c["region"] == edge["region"]}
        paths = [
            service["health_path"] or f"/v1/{n}/healthz"
            for n, service in services.items()
            if behind & {*service["clusters"]}
        ]
        if paths:
            found.append({"name": name, "url": edge["url"], "ca_file": ca_file, "paths": paths})
    return found


def canary_inputs(wish: Wish, platform: Mapping[str, Any]) -> dict[str, Any] | None:
    """Say where the canary writes, and in which database its rows are read back.

    Clients of a platform that moves as a whole come by its global name, and so does the canary then.
    """
    canary = platform["canary"]
    if not canary:
        return None
    by_name = wish.playbook.startswith("region-") and canary["global_url"]
    return {
        "url": canary["global_url"] if by_name else platform["edges"][canary["edge"]]["url"],
        "resolver": canary["resolver"] if by_name else None,
        "service": canary["service"],
        "table": canary["table"],
        **{key: canary[key] for key in ("key_column", "path", "ca_file", "credentials")},
        "database": platform["services"][canary["service"]]["database"],
    }


def region_inputs(wish: Wish, platform: Mapping[str, Any]) -> dict[str, Any] | None:
    """Give what a checklist on a whole region needs beside the databases; nothing for one that is not."""
    if not wish.playbook.startswith("region-"):
        return None
    clusters, services = platform["clusters"], platform["services"]
    spaces = dict.fromkeys((name, one["namespace"]) for one in services.values() for name in one["clusters"])
    ca_file = (platform["canary"] or {}).get("ca_file")
    return {
        "regions": {
            region: {
                "clusters": {n: access(c) for n, c in clusters.items() if c["region"] == region},
                "edges": {
                    n: {"url": e["url"], "ca_file": ca_file}
                    for n, e in platform["edges"].items()
                    if e["region"] == region
                },
            }
            for region in platform["regions"]
        },
        "databases": {
            name: {
                "credentials": one["credentials"],
                "members": {m: {key: member[key] for key in CONNECTION} for m, member in one["members"].items()},
                "edges": edge_inputs(
                    platform, {n: s for n, s in services.items() if s["database"] == name}, region=wish.target
                ),
            }
            for name, one in platform["databases"].items()
            if wish.target in one["members"]
        },
        "clusters": {name: access(one) for name, one in clusters.items()},
        "namespaces": [
            {"cluster": name, "namespace": space} for name, space in spaces if clusters[name]["region"] == wish.target
        ],
        "other_namespaces": [
            {"cluster": name, "namespace": space} for name, space in spaces if clusters[name]["region"] != wish.target
        ],
        "services": services,
    }


def access(cluster: Mapping[str, Any]) -> dict[str, Any]:
    """Give how a cluster is reached."""
    return {key: cluster[key] for key in ("kubeconfig", "context")}


def store_inputs(wish: Wish, platform: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Give the stores that have a member in the target, by their kind, as the role of each kind takes them."""
    found: dict[str, dict[str, Any]] = {}
    for name, store in platform["stores"].items():
        if wish.target in store["members"]:
            given = {key: store[key] for key in ("credentials", "objectives", "members") if store[key]}
            found.setdefault(store["kind"], {})[name] = {**store["settings"], **given}
    return found


def zone_inputs(wish: Wish, platform: Mapping[str, Any]) -> dict[str, Any]:
    """Give the zones whose names can be led to the target."""
    return {name: zone for name, zone in platform["zones"].items() if wish.target in zone["targets"]}


def parity_inputs(wish: Wish, platform: Mapping[str, Any]) -> dict[str, Any]:
    """Give what a check of the target's clusters needs: which region it would stand in for, and what runs in both."""
    clusters, target = platform["clusters"], wish.target
    others = sorted(
        {cluster["region"] for cluster in clusters.values()} - {target},
        key=lambda name: (ROLES.index(platform["regions"][name]["role"]), name),
    )
    source = others[0] if others else None
    return {
        "target": target,
        "source": source,
        "clusters": {n: c for n, c in clusters.items() if c["region"] in (target, source)},
        "workloads": workloads_in(target, platform),
        "source_workloads": workloads_in(source, platform),
        "services": {n: {"depends_on": s["depends_on"]} for n, s in platform["services"].items()},
        "lost_clusters": [n for n in wish.lost_clusters if clusters[n]["region"] in (target, source)],
    }


def workloads_in(region: str | None, platform: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Name the workloads of all services in a region's clusters."""
    return [
        {"cluster": cluster, "name": n, "namespace": s["namespace"], "kind": s["kind"]}
        for n, s in platform["services"].items()
        for cluster in s["clusters"]
        if platform["clusters"][cluster]["region"] == region
    ]


def approval_inputs(wish: Wish, platform: Mapping[str, Any]) -> dict[str, Any] | None:
    """Say who must agree, and to what."""
    rule = platform["approvals"]
    if not rule:
        return None
    approvers = rule["approvers"] or list(platform["people"])
    return {
        **rule,
        "approvers": approvers,
        "people": platform["people"],
        "platform": platform["name"],
        "playbook": wish.playbook,
        "mode": wish.mode,
        "target": wish.target,
        # The same that the evidence holds: whoever approves, approves of that platform and no other.
        "description": f"sha256:{provenance.digest(platform)}",
        "overrides": overrides(wish),
    }


def overrides(wish: Wish) -> list[str]:
    """Name what the operator overrides; whoever approves approves of these."""
    named = [name for name in ("allow_data_loss", "fence_statement") if getattr(wish, name)]
    return named + [f"lost cluster {name}" for name in wish.lost_clusters]


def objectives(wish: Wish, platform: Mapping[str, Any], databases: list[dict[str, Any]]) -> dict[str, Any]:
    """Give what the run is measured against: the strictest objective of the databases, or that of a lost region."""
    of_region = wish.playbook.startswith("region-")
    wanted = [platform["objectives"]] if of_region else [database["objectives"] for database in databases]
    return {
        "platform": platform["name"],
        "databases": [database["name"] for database in databases],
        "objectives": [
            {"name": name, "target_seconds": min(entry[f"{name}_seconds"] for entry in wanted)}
            for name in ("rto", "rpo")
        ],
    }
