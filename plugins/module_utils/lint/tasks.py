# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checklists, roles and manifests, read for what would be gone with a region, or is fetched while a recovery runs.

Everything here is the text of YAML files: nothing is templated, and nobody is asked.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from ..errors import BadInput
from ..schema import shown
from .places import LOCAL, Atlas, Finding, hosts_in, is_address

# A line that says so is let through; what follows is the reason, for whoever reads it next.
ALLOWED = re.compile(r"#\s*recovery-lint:\s*ok\s+\S")
# Modules that fetch what they work with from a server of somebody else's.
FETCHERS = {
    **dict.fromkeys(("apt", "dnf", "dnf5", "yum", "package", "apt_repository", "yum_repository"), "a package registry"),
    **dict.fromkeys(("pip", "npm", "gem", "cargo", "yarn", "composer"), "a package registry"),
    **dict.fromkeys(("apt_key", "rpm_key", "get_url", "git", "subversion", "hg"), "a server elsewhere"),
    **dict.fromkeys(("docker_image", "docker_image_pull", "podman_image", "docker_login"), "an image registry"),
    **dict.fromkeys(("ansible_galaxy_install", "helm_repository", "helm_pull"), "Galaxy or a chart repository"),
    **dict.fromkeys(("zypper", "apk", "homebrew", "snap", "flatpak", "maven_artifact"), "a package registry"),
}
# The same by a command line.
COMMANDS = ("command", "shell", "raw", "script")
FETCHING = re.compile(
    r"\b(?:ansible-galaxy|helm\s+(?:repo|pull)|(?:docker|podman|crictl|nerdctl)\s+pull|(?:pip3?|npm|gem|cargo)\s+install"
    r"|(?:apt|apt-get|dnf|yum|apk)\s+(?:-\S+\s+)*(?:install|update|upgrade|add)|git\s+clone|go\s+install|curl|wget)\b"
)
URL = re.compile(r"\b(?:https?|ssh|s3|oci|git|ftp)://([^\s/'\"{}:]+)")
# Words for people: they may name whatever they like.
PROSE = frozenset({"name", "description", "short_description", "msg", "fail_msg", "success_msg", "title", "example"})
# Keys of a file that is no list of tasks. Specifications describe inputs, and hold none.
SPECIFICATIONS = frozenset({"argument_specs.yml", "galaxy.yml", "runtime.yml"})
REGISTRY_WHY = "it is fetched from {what} while the recovery runs, and may be gone with the region"
INPUT = "take it as an input, from the platform description"
REGISTRY_MEND = "have it on the controller, or in the clusters, before it is needed"


@dataclass(frozen=True)
class Spot:
    """A value of a YAML file: the keys above it, and its line."""

    keys: tuple[str, ...]
    value: str
    line: int

    @property
    def key(self) -> str:
        """Give the keys as one."""
        return ".".join(self.keys)


def files_of(paths: Sequence[Path]) -> list[Path]:
    """Give every YAML file of these, folders with all below them. Raises BadInput for one that does not exist."""
    found: dict[Path, None] = {}
    for path in paths:
        if not path.exists():
            raise BadInput(f"There is no {path}", next_action="name a file or folder that exists")
        inside = sorted(path.rglob("*")) if path.is_dir() else [path]
        for file in inside:
            hidden = any(part.startswith(".") for part in file.relative_to(path).parts)
            if file.is_file() and (not path.is_dir() or (file.suffix in (".yml", ".yaml") and not hidden)):
                found[file] = None
    return list(found)


def findings(file: Path, shown_as: str, atlas: Atlas, lost: str) -> list[Finding]:
    """Read one file for a region that may be lost. Raises BadInput for what is not YAML."""
    if file.name in SPECIFICATIONS:
        return []
    text = read(file)
    allowed = {number for number, line in enumerate(text.splitlines(), 1) if ALLOWED.search(line)}
    found = [
        finding
        for node in documents(text, file)
        for spot in spots(node)
        for finding in of_spot(spot, shown_as, atlas, lost)
    ]
    return [finding for finding in dict.fromkeys(found) if finding.line not in allowed]


def read(file: Path) -> str:
    """Read a file. Raises BadInput."""
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not text"
        raise BadInput(f"{file} cannot be read: {reason}", next_action="correct the file, or leave it out") from None


def documents(text: str, file: Path) -> list[yaml.Node]:
    """Read the documents of a file with their places, whatever their tags. Raises BadInput."""
    try:
        return [node for node in yaml.compose_all(text, Loader=yaml.SafeLoader) if node is not None]
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" (line {mark.line + 1})" if mark else ""
        raise BadInput(f"{file} is not YAML{where}", next_action="correct the file, or leave it out") from None


def spots(node: yaml.Node, keys: tuple[str, ...] = ()) -> Iterator[Spot]:
    """Give every key that may be a module, and every value."""
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            name = str(getattr(key, "value", ""))
            if isinstance(value, yaml.ScalarNode):
                yield Spot((*keys, name), value.value, value.start_mark.line + 1)
            else:
                yield Spot((*keys, name), "", key.start_mark.line + 1)
                yield from spots(value, (*keys, name))
    elif isinstance(node, yaml.SequenceNode):
        for entry in node.value:
            if isinstance(entry, yaml.ScalarNode):
                yield Spot(keys, entry.value, entry.start_mark.line + 1)
            else:
                yield from spots(entry, keys)


def of_spot(spot: Spot, file: str, atlas: Atlas, lost: str) -> Iterator[Finding]:
    """Judge one key with its value."""

    def finding(why: str, mend: str, value: str = "") -> Finding:
        return Finding(lost, file, spot.line, spot.key, shown(value or spot.value), why, mend)

    module = spot.keys[-1].rpartition(".")[2]
    what = FETCHERS.get(module)
    # A key within a module's arguments may be called like a module: `package` of something, `git` of something.
    if what and is_task_key(spot.keys):
        yield finding(REGISTRY_WHY.format(what=what), REGISTRY_MEND, spot.keys[-1])
    if PROSE & {spot.keys[-1]} or not spot.value:
        return
    if any(part.rpartition(".")[2] in COMMANDS for part in spot.keys) and (match := FETCHING.search(spot.value)):
        yield finding(REGISTRY_WHY.format(what=f"elsewhere ({match.group()})"), REGISTRY_MEND)
        return
    if atlas.of_text(spot.value) == {lost} or atlas.of_name(spot.value) == lost:
        if spot.keys[-1] == "image":
            yield finding(f"the image is pulled from a registry of {lost}", "pull it from a registry in its own region")
        else:
            yield finding(f"it is written down here, and lies in {lost}", INPUT)
        return
    literal = next((host for host in addresses(spot.value) if host not in LOCAL and host not in atlas.hosts), None)
    if literal and "image" not in spot.keys:
        why = f"{literal} is written down here: nobody can lead it elsewhere when a region is lost"
        yield finding(why, INPUT)


def is_task_key(keys: tuple[str, ...]) -> bool:
    """Say whether a key stands where a task names its module."""
    above = [key for key in keys[:-1] if key not in ("tasks", "handlers", "pre_tasks", "post_tasks")]
    return all(key in ("block", "rescue", "always") for key in above) or "." in keys[-1]


def addresses(text: str) -> Iterator[str]:
    """Give what of a text is an address or a URL that no template fills in."""
    yield from (match.group(1).lower() for match in URL.finditer(text))
    yield from (host for host in hosts_in(text) if is_address(host) and not is_version(text, host))


def is_version(text: str, host: str) -> bool:
    """Say whether four numbers with dots are part of a longer word: a version, or a network."""
    return bool(re.search(rf"[\w.-]{re.escape(host)}|{re.escape(host)}(?:/\d|[\w-])", text))
