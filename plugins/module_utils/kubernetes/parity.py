# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether one region's clusters hold what another's do: images, configuration and secrets of the same names.

Values are never kept. What is read becomes a digest under a key that lives as long as the comparison, so that a digest
that is shown tells two values apart and lets nobody guess one.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from ..readiness import FIRST, Check, Checklist
from .bulk import grouped, run_all
from .client import ApiError, Client
from .transport import Deadline
from .workloads import collection, path_of

ROLE = "platform"
# A digest of so many hexadecimal digits tells two values apart, and is short enough to be read aloud.
SHOWN_DIGITS = 12
PLACES = {
    "Deployment": lambda namespace: collection(namespace, "Deployment"),
    "StatefulSet": lambda namespace: collection(namespace, "StatefulSet"),
    "ConfigMap": lambda namespace: path_of(namespace, "configmaps"),
    "Secret": lambda namespace: path_of(namespace, "secrets"),
}
WORDS = {"Deployment": "images", "StatefulSet": "images", "ConfigMap": "configuration", "Secret": "secrets"}
# Each cluster makes these for itself.
OWN = frozenset({("ConfigMap", "kube-root-ca.crt")})
OWN_TYPES = frozenset({"kubernetes.io/service-account-token", "bootstrap.kubernetes.io/token", "helm.sh/release.v1"})
# A certificate of its own for each region is what one wants: only its names are compared.
TLS_TYPE = "kubernetes.io/tls"
REGION = b"{region}"

Name = tuple[str, str, str]
"""Kind, namespace, name."""


@dataclass(frozen=True)
class Thing:
    """An object, as far as it is compared: by part what it says, and what else it needs to be there."""

    parts: Mapping[str, str]
    needs: tuple[tuple[Name, str], ...] = ()
    certificate: bytes = field(default=b"", repr=False)


@dataclass
class Region:
    """What the clusters of a region hold, by object and cluster, and what could not be read."""

    name: str
    things: dict[Name, dict[str, Thing]] = field(default_factory=dict)
    errors: dict[str, ApiError] = field(default_factory=dict)

    def called(self, name: Name) -> Thing | None:
        """Give an object of any of its clusters."""
        return next(iter(self.things.get(name, {}).values()), None)


class Digester:
    """Makes values comparable, and nothing else of them."""

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)

    def of(self, value: bytes) -> str:
        """Give the keyed digest of a value."""
        return hmac.new(self._key, value, hashlib.sha256).hexdigest()[:SHOWN_DIGITS]


def read(
    clients: Mapping[str, Client],
    spaces: Mapping[str, Sequence[str]],
    regions: Mapping[str, str],
    deadline: Deadline,
    concurrency: int,
) -> dict[str, Region]:
    """Read the namespaces of every cluster, all at once. What cannot be read is data."""
    digester = Digester()
    places = [(name, space, kind) for name in clients for space in spaces[name] for kind in PLACES]

    def look(place: tuple[str, str, str]) -> list[tuple[Name, Thing]]:
        cluster, space, kind = place
        own = naming(regions[cluster], cluster)

        def keep(item: Mapping[str, Any]) -> tuple[Name, Thing] | None:
            name = item["metadata"]["name"]
            thing = thing_of(kind, space, item, digester, own)
            return ((kind, space, name), thing) if thing and (kind, name) not in OWN else None

        path = PLACES[kind](space)
        found, _ = clients[cluster].list(path, keep, deadline=deadline, doing=f"list {kind}s of {space}")
        return found

    answers = run_all(grouped(places, lambda place: place[0]), look, concurrency=concurrency)
    result = {region: Region(region) for region in regions.values()}
    for (cluster, space, kind), answer in answers.items():
        region = result[regions[cluster]]
        if isinstance(answer, ApiError):
            region.errors[f"{WORDS[kind]} of {space} in {cluster}"] = answer
            continue
        for name, thing in answer:
            region.things.setdefault(name, {})[cluster] = thing
    return result


def thing_of(
    kind: str, namespace: str, item: Mapping[str, Any], digester: Digester, own: re.Pattern[bytes]
) -> Thing | None:
    """Read an object; what each cluster has for itself is none."""
    if kind == "ConfigMap":
        texts = {key: text.encode() for key, text in (item.get("data") or {}).items()}
        texts |= {key: base64.b64decode(text) for key, text in (item.get("binaryData") or {}).items()}
        return Thing({f"key {key}": digester.of(own.sub(REGION, text)) for key, text in texts.items()})
    if kind == "Secret":
        return secret_of(item, digester)
    return workload_of(namespace, item, own)


def secret_of(item: Mapping[str, Any], digester: Digester) -> Thing | None:
    """Read a secret down to digests."""
    if item.get("type") in OWN_TYPES:
        return None
    values = {key: base64.b64decode(text or "") for key, text in (item.get("data") or {}).items()}
    if item.get("type") == TLS_TYPE:
        return Thing(dict.fromkeys((f"key {key}" for key in values), "there"), (), values.get("tls.crt", b""))
    return Thing({f"key {key}": digester.of(value) for key, value in values.items()})


def naming(*names: str) -> re.Pattern[bytes]:
    """Find where a value says where it is from: a region may well name itself."""
    words = "|".join(re.escape(name) for name in sorted(set(names), key=len, reverse=True))
    return re.compile(rf"(?<![A-Za-z0-9])(?:{words})(?![A-Za-z0-9])".encode())


def workload_of(namespace: str, item: Mapping[str, Any], own: re.Pattern[bytes]) -> Thing:
    """Read a workload: images, the names of its variables, and the configuration and secrets that it cannot do without.

    What a variable says is not compared, for own addresses are what distinguishes regions.
    """
    pod = item["spec"]["template"].get("spec") or {}
    parts: dict[str, str] = {}
    for container in [*(pod.get("initContainers") or []), *(pod.get("containers") or [])]:
        image = str(container.get("image") or "").encode()
        parts[f"image of {container['name']}"] = own.sub(REGION, image).decode()
        names = sorted(str(entry["name"]) for entry in container.get("env") or [])
        parts[f"variables of {container['name']}"] = ", ".join(names)
    return Thing(parts, tuple(dict.fromkeys(needs_of(namespace, pod))))


def needs_of(namespace: str, pod: Mapping[str, Any]) -> Iterator[tuple[Name, str]]:
    """Name each ConfigMap and Secret without which a pod does not start, with the key that it wants (or none)."""

    def need(kind: str, reference: Mapping[str, Any] | None, field_: str = "name", key: str = "") -> Iterator[Any]:
        if reference and not reference.get("optional") and reference.get(field_):
            yield (kind, namespace, str(reference[field_])), key

    for container in [*(pod.get("initContainers") or []), *(pod.get("containers") or [])]:
        for entry in container.get("env") or []:
            source = entry.get("valueFrom") or {}
            for word, kind in (("configMapKeyRef", "ConfigMap"), ("secretKeyRef", "Secret")):
                reference = source.get(word)
                yield from need(kind, reference, key=str((reference or {}).get("key") or ""))
        for entry in container.get("envFrom") or []:
            yield from need("ConfigMap", entry.get("configMapRef"))
            yield from need("Secret", entry.get("secretRef"))
    for volume in pod.get("volumes") or []:
        yield from need("ConfigMap", volume.get("configMap"))
        yield from need("Secret", volume.get("secret"), "secretName")
        for source in (volume.get("projected") or {}).get("sources") or []:
            yield from need("ConfigMap", source.get("configMap"))
            yield from need("Secret", source.get("secret"))
    for reference in pod.get("imagePullSecrets") or []:
        yield from need("Secret", reference)


def checks(source: Region, target: Region, expected: Sequence[str]) -> Iterator[Check]:
    """Compare the target with the source. What is alike is one check of each sort; each difference is its own."""
    on = Checklist(ROLE, f"{target.name} like {source.name}")
    for word in dict.fromkeys(WORDS.values()):
        names = [name for name in source.things if WORDS[name[0]] == word]
        found = [check for name in names for check in compared(on, name, source, target, expected)]
        unread = {
            what: error
            for errors in (source.errors, target.errors)
            for what, error in errors.items()
            if of_word(word, [what])
        }
        yield from found
        if unread:
            seen = "; ".join(f"{what}: {error.reason}: {error.text}" for what, error in unread.items())
            mend = f"let the kubeconfig's user list it; {next(iter(unread.values())).next_action}"
            yield on.judged(word, None, seen, "all of them can be read", mend)
        elif not found:
            yield on.judged(word, True, f"{len(names)} compared, all alike", f"the same {word} in {target.name}", "")
    yield from needed(on, target, "the pods of a scale-up start")
    yield registry_check(on, source, target)


def of_word(word: str, errors: Iterable[str]) -> bool:
    """Say whether some of a sort could not be read."""
    return any(what.startswith(f"{word} ") for what in errors)


def compared(on: Checklist, name: Name, source: Region, target: Region, expected: Sequence[str]) -> Iterator[Check]:
    """Say how an object of the target differs."""
    kind, space, called = name
    what, wanted = f"{kind} {space}/{called}", f"the same as in {source.name}"
    full = f"{kind}/{space}/{called}"
    if meant(full, expected):
        return
    ours = target.things.get(name)
    original = source.called(name)
    if original is None:
        return
    if not ours:
        if not any(of_word(WORDS[kind], [error]) and space in error for error in target.errors):
            yield on.judged(what, False, f"missing in {target.name}", wanted, f"deploy it to {target.name} as well")
        return
    for cluster, thing in ours.items():
        where = cluster if len(ours) > 1 else target.name
        for part in sorted({*original.parts, *thing.parts}):
            before, after = original.parts.get(part), thing.parts.get(part)
            if before == after or meant(f"{full}/{part.partition(' ')[2]}", expected):
                continue
            seen = f"{source.name} {before if before is not None else 'has none'}, "
            seen += f"{where} {after if after is not None else 'has none'}"
            yield on.judged(f"{what}, {part}", False, seen, wanted, mend_of(kind, source.name, where, full))


def meant(full: str, expected: Sequence[str]) -> bool:
    """Say whether a difference is expected."""
    return any(fnmatchcase(full, pattern) for pattern in expected)


def mend_of(kind: str, source: str, where: str, full: str) -> str:
    """Say how a difference is mended."""
    if kind in ("ConfigMap", "Secret"):
        return f"bring it to {where} as it is in {source}, or name {full} in recovery_expected_differences"
    return f"deploy to {where} what runs in {source}"


def registry_check(on: Checklist, source: Region, target: Region) -> Check:
    """See that no image of the target comes from a registry that names the region which may be lost."""
    theirs = naming(source.name)
    images = [
        (f"{kind} {space}/{called}", text)
        for (kind, space, called), copies in target.things.items()
        for thing in copies.values()
        for part, text in thing.parts.items()
        if part.startswith("image of ")
    ]
    bad = [f"{what} has {image}" for what, image in images if theirs.search(image.encode())]
    unread = of_word("images", target.errors)
    seen = "; ".join(bad[:3]) + (f" and {len(bad) - 3} more" if len(bad) > 3 else "") or f"{len(images)} images"
    wanted = f"no image of {target.name} from {source.name}"
    mend = f"pull from a registry in {target.name}, or one that is replicated there"
    return on.judged(
        "registries", not bad if bad or not unread else None, seen or f"{len(images)} images", wanted, mend
    )


def needed(on: Checklist, region: Region, wanted: str) -> Iterator[Check]:
    """Name what workloads refer to and is not there. What could not be read is not missed."""
    unread = {kind for kind in ("ConfigMap", "Secret") if of_word(WORDS[kind], region.errors)}
    missed: dict[tuple[Name, str], list[str]] = {}
    total = 0
    for (kind, space, called), copies in region.things.items():
        for cluster, thing in copies.items():
            for name, key in thing.needs:
                total += 1
                held = region.things.get(name, {}).get(cluster)
                if name[0] not in unread and (held is None or (key and f"key {key}" not in held.parts)):
                    missed.setdefault((name, key), []).append(f"{kind} {space}/{called}")
    for (name, key), users in missed.items():
        what = f"{name[0]} {name[1]}/{name[2]}" + (f", key {key}" if key else "")
        seen = f"it is not in {region.name}, and {', '.join(users[:3])}{' and more' if len(users) > 3 else ''} need it"
        yield on.judged(f"{what} needed", False, seen, wanted, f"make it in {region.name}, or mark it optional")
    if not missed:
        good = None if unread else True
        seen = "could not be read" if unread else f"all of {total} references"
        yield on.judged("references", good, seen, wanted, FIRST)


def certificates(region: Region) -> Iterator[tuple[str, bytes]]:
    """Give the certificates that the region's clusters hold as secrets, with a name for each."""
    for (_, space, called), copies in region.things.items():
        for cluster, thing in copies.items():
            if thing.certificate:
                yield f"secret {space}/{called} in {cluster}", thing.certificate
