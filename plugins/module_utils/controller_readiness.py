# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether this controller has what a run would need of it: programs, libraries, key files, and filled-in accounts."""

from __future__ import annotations

import importlib.util
import os
import shutil
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from .readiness import Check, Checklist

ROLE, SUBJECT = "platform", "controller"
WANTED = "what the steps of a recovery call"
# What a library is installed by.
PACKAGES = {"psycopg2": "psycopg2-binary", "boto3": "boto3", "dns": "dnspython"}


def checks(platform: Mapping[str, Any], credentials: Mapping[str, Any]) -> list[Check]:
    """Look at everything that the description makes a run use."""
    on = Checklist(ROLE, SUBJECT)
    return [
        *program_checks(on, programs_of(platform)),
        *library_checks(on, libraries_of(platform)),
        *key_checks(on, platform),
        *account_checks(on, platform, credentials),
    ]


def fences(platform: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Give the fence of every host of every database, with its key in the description."""
    for name, database in platform["databases"].items():
        for region, member in database["members"].items():
            where = f"databases.{name}.members.{region}"
            if member["fence"]:
                yield f"{where}.fence", member["fence"]
            for node, place in ((member["patroni"] or {}).get("nodes") or {}).items():
                if place["fence"]:
                    yield f"{where}.patroni.nodes.{node}.fence", place["fence"]


def programs_of(platform: Mapping[str, Any]) -> dict[str, str]:
    """Name the programs that steps start, and what for."""
    found = {"ssh": "fencing by the service manager"} if any(fences(platform)) else {}
    return found | ({"ssh-keygen": "signatures of approvals"} if platform["approvals"] else {})


def libraries_of(platform: Mapping[str, Any]) -> dict[str, str]:
    """Name the Python libraries that steps import, and what for."""
    databases, zones = platform["databases"].values(), platform["zones"].values()
    found = {"psycopg2": "PostgreSQL"} if any(one["provider"] != "rds" for one in databases) else {}
    if any(one["provider"] == "rds" for one in databases) or any(one["provider"] != "rfc2136" for one in zones):
        found["boto3"] = "the API of AWS"
    return found | ({"dns": "asking name servers"} if platform["zones"] else {})


def program_checks(on: Checklist, programs: Mapping[str, str]) -> Iterator[Check]:
    """See that programs are installed."""
    missing = {name: use for name, use in programs.items() if not shutil.which(name)}
    for name, use in missing.items():
        yield on.judged(f"program {name}", False, "it is not on the path", f"{name}, for {use}", f"install {name}")
    if not missing:
        yield on.judged("programs", True, ", ".join(programs) or "none is needed", WANTED, "")


def library_checks(on: Checklist, libraries: Mapping[str, str]) -> Iterator[Check]:
    """See that libraries are installed, without the cost of importing them."""
    missing = {name: use for name, use in libraries.items() if importlib.util.find_spec(name) is None}
    for name, use in missing.items():
        mend = f"install {PACKAGES[name]} into the Python that runs Ansible"
        yield on.judged(f"library {name}", False, "it is not installed", f"{name}, for {use}", mend)
    if not missing:
        yield on.judged("libraries", True, ", ".join(libraries) or "none is needed", WANTED, "")


def key_checks(on: Checklist, platform: Mapping[str, Any]) -> Iterator[Check]:
    """See that ssh would take the key files: it refuses a private key that others can read."""
    bad, total = 0, 0
    seen: set[str] = set()
    for key, fence in fences(platform):
        for option in ("identity_file", "known_hosts_file"):
            path = fence[option]
            if not path or path in seen:
                continue
            seen.add(path)
            total += 1
            trouble, mend = file_trouble(Path(path).expanduser(), private=option == "identity_file")
            if trouble:
                bad += 1
                yield on.judged(f"{key}.{option}", False, f"{path} {trouble}", "a file that ssh takes", mend)
    if not bad:
        yield on.judged("key files", True, f"{total} that can be used" if total else "none is needed", WANTED, "")


def file_trouble(path: Path, *, private: bool) -> tuple[str, str]:
    """Say what keeps a file from being used, and the mend."""
    try:
        mode = path.stat()
    except OSError as error:
        return f"cannot be read: {error.strerror}", "put it there, or correct the platform description"
    if not os.access(path, os.R_OK):
        return "cannot be read by this user", "correct its owner and permissions"
    if private and mode.st_uid == os.getuid() and mode.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        return f"has mode {stat.S_IMODE(mode.st_mode):04o}", f"chmod 600 {path}"
    return "", ""


def used(platform: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Give each account that a run would sign in with, and where."""
    for name, database in platform["databases"].items():
        yield database["credentials"], f"database {name}"
        api = (database["patroni"] or {}).get("credentials")
        if api:
            yield api, f"Patroni of {name}"
    for name, zone in platform["zones"].items():
        if zone["credentials"]:
            yield zone["credentials"], f"zone {name}"
    canary = platform["canary"] or {}
    if canary.get("credentials"):
        yield canary["credentials"], "the canary"


def account_checks(on: Checklist, platform: Mapping[str, Any], credentials: Mapping[str, Any]) -> Iterator[Check]:
    """See that no password is empty, which is what a lookup gives that found nothing. Who needs none gives none."""
    users: dict[str, list[str]] = {}
    for account, what in used(platform):
        users.setdefault(account, []).append(what)
    empty = {name: of for name, of in users.items() if (credentials.get(name) or {}).get("password") == ""}
    for name, of in empty.items():
        mend = f"fill in recovery_credentials.{name}.password: the vault or the lookup behind it gives nothing"
        wanted = f"a password, for {', '.join(of)}"
        yield on.judged(f"account {name}", False, "its password is empty", wanted, mend)
    if not empty:
        yield on.judged("accounts", True, f"{len(users)} are filled in", "no empty password", "")
