# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A platform description, read as if one region were gone: what of it would still be needed?

The schema itself says which keys are places: a mapping by region, an entry with a region or a cluster, a name of one.
Of several that could serve it is enough that one is elsewhere. What is said of a region that lives on may not name the
lost one, and what is said of no region may not either. So a section that is added tomorrow is read by the same rules.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import RecoveryError
from ..kubernetes import kubeconfig
from ..schema import shown
from .places import Atlas, Finding, atlas_of

# The API of Route 53 is answered from here, whatever region a name leads to.
ROUTE53_HOME = "us-east-1"
# What a recovery does not need.
PASSED_OVER = frozenset({"platform.regions", "platform.drill", "platform.people", "platform.name"})
# Sections of the description whose entries stand beside each other: each has to do without the region, for itself.
EACH = frozenset({"platform.databases", "platform.services", "platform.zones", "platform"})
NEEDS = {
    "platform.lease": ("the lease would have no home, and no run could begin", "add a cluster of another region"),
    "platform.canary": (
        "the canary would write through the lost region, and nothing would be measured",
        "let it write through an edge of another region or through a global name",
    ),
    "platform.databases": ("the database would have no member to recover to", "add a member in another region"),
    "platform.services": ("the service would run nowhere", "deploy it to a cluster of another region"),
    "platform.zones": ("names could not be moved, or would lead nowhere", "have one in another region as well"),
    "platform.clusters": ("no workload could run", "describe a cluster in another region"),
    "platform.edges": ("clients would have no way in", "describe an edge in another region"),
    "platform.approvals": ("nobody could approve", "keep approvals where every region can be lost"),
}
USUAL = ("it is gone with the region", "use one of another region, or one for each")
# What a secret, a journal or an approval is fetched from, in an operator's variables.
VARIABLE_NEEDS = {
    "recovery_credentials": (
        "secrets would be fetched from the lost region",
        "use a store that is replicated, and ask it where it lives on",
    ),
    "recovery_journal": ("no journal could be kept, and no run could begin", "keep it in another region's bucket"),
    "recovery_approvals": ("approvals could not be read", "keep them on the controller"),
    "recovery_memory_folder": ("what is remembered of primaries could not be read", "keep it on the controller"),
    "recovery_evidence_key": ("the evidence could not be signed", "keep the key on the controller"),
}
ENVIRONMENT = ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3")


@dataclass(frozen=True)
class Walk:
    """One description, read for one region that may be lost."""

    atlas: Atlas
    lost: str
    file: str

    def finding(self, key: str, value: Any, why: str = "", mend: str = "") -> Finding:
        """Make a finding; why and mend are those of the section unless they are given."""
        section = ".".join(key.split(".")[:2])
        usual = NEEDS.get(section, USUAL)
        return Finding(self.lost, self.file, None, key, shown(value), why or usual[0], mend or usual[1])

    def read(self, key: str, value: Any, place: str | None) -> Iterator[Finding]:
        """Read a part of the description that lies in a region that lives on, or in none."""
        if key in PASSED_OVER:
            return
        if isinstance(value, Mapping):
            entries = [(str(name), f"{key}.{name}", entry) for name, entry in value.items()]
        elif isinstance(value, list):
            entries = [("", f"{key}[{number}]", entry) for number, entry in enumerate(value)]
        else:
            yield from self.leaf(key, value, place)
            return
        yield from self.chosen(key, value, entries, place)

    def chosen(self, key: str, value: Any, entries: list[tuple[str, str, Any]], place: str | None) -> Iterator[Finding]:
        """Read entries. Where all say where they are, one that is elsewhere is enough, and the lost ones are let go."""
        listed = isinstance(value, list)
        placed = [self.placed(name, entry, listed) for name, _, entry in entries]
        choice = bool(entries) and all(placed) and (listed or key not in EACH)
        if choice and set(placed) == {self.lost}:
            yield self.finding(key, ", ".join(name or shown(entry) for name, _, entry in entries))
            return
        for (name, path, entry), region in zip(entries, placed, strict=True):
            let_go = region == self.lost and (choice or listed or name in self.atlas.regions)
            if not let_go:
                yield from self.read(path, entry, region or place)

    def placed(self, name: str, entry: Any, listed: bool) -> str | None:
        """Say where an entry lies, where it is one of several. A mere value of a key is not."""
        one_of_many = listed or name in self.atlas.regions or isinstance(entry, Mapping)
        return self.atlas.of_entry(name, entry) if one_of_many else None

    def leaf(self, key: str, value: Any, place: str | None) -> Iterator[Finding]:
        """Read a value: it may not be of the lost region only."""
        if not isinstance(value, str):
            return
        named = self.atlas.of_name(value)
        regions = frozenset({named}) if named else self.atlas.of_text(value)
        if regions != {self.lost}:
            return
        if place:
            why = f"it is described as part of {place}, and needs {self.lost}"
            yield self.finding(key, value, why, f"name what stands in {place}")
        else:
            yield self.finding(key, value)


def findings(platform: Mapping[str, Any], lost: str, file: str, atlas: Atlas | None = None) -> list[Finding]:
    """Read a platform description, with every default filled in, for a region that may be lost."""
    walk = Walk(atlas or atlas_of(platform), lost, file)
    found = list(walk.read("platform", {name: platform[name] for name in platform if name != "regions"}, None))
    found += lease_homes(walk, platform)
    found += control_planes(walk, platform)
    found += kubeconfigs(walk, platform)
    return list(dict.fromkeys(found))


def lease_homes(walk: Walk, platform: Mapping[str, Any]) -> Iterator[Finding]:
    """See that the lease has a home left where none is named: then every cluster is one."""
    lease, clusters = platform["lease"], platform["clusters"]
    by_cluster = (lease["provider"] or ("kubernetes" if clusters else "file")) == "kubernetes"
    if by_cluster and not lease["clusters"] and clusters:
        regions = {cluster["region"] for cluster in clusters.values()}
        if regions == {walk.lost}:
            yield walk.finding("platform.lease.clusters", ", ".join(clusters))


def control_planes(walk: Walk, platform: Mapping[str, Any]) -> Iterator[Finding]:
    """Name zones that can only be moved by an API that has its home in the lost region."""
    for name, zone in platform["zones"].items():
        key = f"platform.zones.{name}.provider"
        if zone["provider"] == "route53_records" and walk.lost == ROUTE53_HOME:
            why = f"record sets are changed by Route 53's control plane, which is in {ROUTE53_HOME}"
            mend = "use route53_health_checks or arc: name servers move these names without the control plane"
            yield walk.finding(key, zone["provider"], why, mend)


def kubeconfigs(walk: Walk, platform: Mapping[str, Any]) -> Iterator[Finding]:
    """Read the kubeconfigs that are here: the way to a cluster that lives on may not lead through the lost region."""
    for name, cluster in platform["clusters"].items():
        if cluster["region"] == walk.lost or not cluster["kubeconfig"] or "{{" in cluster["kubeconfig"]:
            continue
        path = Path(cluster["kubeconfig"]).expanduser()
        if not path.is_file():
            continue
        try:
            used = kubeconfig.used(str(path), cluster["context"])
        except RecoveryError:
            continue  # that is readiness' to say
        for what, text in used.items():
            if walk.atlas.of_text(text) == {walk.lost}:
                why = f"the way to cluster {name} of {cluster['region']} leads through {walk.lost}"
                yield Finding(
                    walk.lost,
                    str(path),
                    None,
                    what,
                    shown(text),
                    why,
                    f"ask {cluster['region']} for it",
                )


def of_variables(
    variables: Mapping[str, Any], environment: Mapping[str, str], lost: str, file: str, atlas: Atlas
) -> Iterator[Finding]:
    """Read an operator's variables as they are written, templates included: a lookup's words say whom it asks."""
    for name, (why, mend) in VARIABLE_NEEDS.items():
        for key, text in texts(name, variables.get(name)):
            if atlas.of_text(text) == {lost}:
                yield Finding(lost, file, None, key, hidden(name, text), why, mend)
    journal = variables.get("recovery_journal")
    if isinstance(journal, str) and journal.startswith("s3:"):
        why, mend = VARIABLE_NEEDS["recovery_journal"]
        for name in ENVIRONMENT:
            text = environment.get(name, "")
            if atlas.of_text(text) == {lost}:
                yield Finding(lost, "environment", None, name, shown(text), why, mend)


def texts(key: str, value: Any) -> Iterator[tuple[str, str]]:
    """Give every text below a value with its key. What is encrypted in place is no text."""
    if isinstance(value, Mapping):
        for name, entry in value.items():
            yield from texts(f"{key}.{name}", entry)
    elif isinstance(value, (list, tuple)):
        for number, entry in enumerate(value):
            yield from texts(f"{key}[{number}]", entry)
    elif isinstance(value, str) and "ncrypted" not in type(value).__name__:
        yield key, value


def hidden(name: str, text: str) -> str:
    """Show a value. Of an account only a template is shown, which says where a secret is and not what it is."""
    return shown(text) if name != "recovery_credentials" or "{{" in text else "a hidden value"
