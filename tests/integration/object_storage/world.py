# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A small world of real servers: MinIO in two regions, over TLS, one replicating to the other."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import trustme
from botocore.exceptions import BotoCoreError, ClientError

from recovery_lab import object_storage, programs
from recovery_lab.minio_api import Account, Minio

WEST, EAST = "us-west-2", "us-east-1"
HOSTS = {WEST: "127.6.1.64", EAST: "127.6.2.64"}
PORT = 9000
GUARD = Path(__file__).resolve().parents[3] / object_storage.GUARD_SOURCE
BUCKETS = {region: f"files-{region}" for region in HOSTS}
ROOT = Account("operator", "planted-root-secret")
APPLICATION = Account("app", "planted-application-secret")
REPLICATOR = Account("replicator", "planted-replicator-secret")
SECRETS = [one.password for one in (ROOT, APPLICATION, REPLICATOR)]


@dataclass
class World:
    """Both servers."""

    folder: Path
    program: Path
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    clients: dict[tuple[str, str], Any] = field(default_factory=dict)

    @property
    def ca(self) -> Path:
        return self.folder / "ca.crt"

    def minio(self, region: str) -> Minio:
        return Minio(f"https://{HOSTS[region]}:{PORT}", region, self.ca, ROOT)

    def s3(self, region: str, account: Account = APPLICATION) -> Any:
        """A client as the application has one."""
        key = (region, account.user)
        if key not in self.clients:
            self.clients[key] = self.minio(region).client(account)
        return self.clients[key]

    def start(self, region: str) -> None:
        """Start a server, with the data that it has."""
        environment = {
            "PATH": "/usr/bin:/bin",
            "HOME": str(self.folder),
            "MINIO_ROOT_USER": ROOT.user,
            "MINIO_ROOT_PASSWORD": ROOT.password,
            "MINIO_REGION": region,
            "MINIO_BROWSER": "off",
            "MINIO_UPDATE": "off",
            "MINIO_CALLHOME_ENABLE": "off",
            "MINIO_CI_CD": "1",
        }
        # Dies with pytest, however pytest dies.
        guard = [shutil.which("setpriv") or "", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []
        about = self.folder / f"{region}.json"
        about.write_text(json.dumps(self.settings(region)))
        command = [*guard, sys.executable, str(GUARD), str(about)]
        server = [self.program, "server", "--quiet", "--certs-dir", self.folder / region / "certs"]
        server += ["--address", "ADDRESS", self.folder / region / "data"]
        for name, words in ((f"{region} guard", ["watch"]), (region, ["run", *map(str, server)])):
            with (self.folder / f"{name}.log").open("ab") as log:
                self.processes[name] = subprocess.Popen(
                    [*command, *words], stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=environment
                )
        eventually(lambda: self.answers(region))

    def settings(self, region: str) -> dict[str, Any]:
        """What the guard of a region knows."""
        other = EAST if region == WEST else WEST

        def known(name: str, account: Account) -> dict[str, str]:
            row = {"url": f"https://{HOSTS[name]}:{PORT}", "bucket": BUCKETS[name], "region": name}
            return {**row, "user": account.user, "password": account.password}

        return {
            "local": known(region, ROOT),
            "peer": known(other, REPLICATOR),
            "ca_file": str(self.ca),
            "writers": [APPLICATION.user],
            "hidden": f"{HOSTS[region]}:{PORT + 1}",
        }

    def answers(self, region: str) -> bool:
        try:
            self.s3(region, ROOT).list_buckets()
        except (BotoCoreError, ClientError):
            return False
        return True

    def kill(self, region: str) -> None:
        for name in (region, f"{region} guard"):
            process = self.processes.pop(name)
            process.kill()
            process.wait()

    def lose(self, region: str) -> None:
        """A region that was made anew: the server is there, with users and an empty bucket."""
        shutil.rmtree(self.folder / region / "data")
        self.start(region)
        prepare(self, region, primary=True)

    def put(self, region: str, key: str, body: bytes = b"x") -> str:
        return str(self.s3(region).put_object(Bucket=BUCKETS[region], Key=key, Body=body)["VersionId"])

    def delete(self, region: str, key: str) -> str:
        """Give the id of the delete marker."""
        return str(self.s3(region).delete_object(Bucket=BUCKETS[region], Key=key)["VersionId"])

    def get(self, region: str, key: str) -> bytes | None:
        try:
            return bytes(self.s3(region).get_object(Bucket=BUCKETS[region], Key=key)["Body"].read())
        except ClientError:
            return None

    def may_write(self, region: str) -> bool:
        """Whether the application is let in: by trying."""
        try:
            self.put(region, "trial")
        except ClientError as error:
            return bool(error.response["Error"]["Code"] != "AccessDenied")
        return True

    def versions(self, region: str) -> set[tuple[str, str, bool, bool]]:
        """Key, version, whether it is a delete marker, whether it is the latest: listed without ours."""
        found = set()
        for page in self.s3(region, ROOT).get_paginator("list_object_versions").paginate(Bucket=BUCKETS[region]):
            for kind in ("Versions", "DeleteMarkers"):
                found |= {
                    (row["Key"], row["VersionId"], kind == "DeleteMarkers", row["IsLatest"])
                    for row in page.get(kind, ())
                }
        return found

    def ids(self, region: str) -> set[str]:
        return {one[1] for one in self.versions(region)}


def eventually(probe: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not probe():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


@contextlib.contextmanager
def running(folder: Path) -> Iterator[World]:
    """Run both for the time of a test."""
    world = World(folder, programs.find("full", print)["minio"])
    authority = trustme.CA()
    authority.cert_pem.write_to_path(world.ca)
    for region, host in HOSTS.items():
        certs = folder / region / "certs"
        (certs / "CAs").mkdir(parents=True)
        issued = authority.issue_cert(host)
        issued.private_key_pem.write_to_path(certs / "private.key")
        (certs / "public.crt").write_bytes(b"".join(pem.bytes() for pem in issued.cert_chain_pems))
        authority.cert_pem.write_to_path(certs / "CAs/ca.crt")
    try:
        for region in HOSTS:
            world.start(region)
        yield world
    finally:
        for region in HOSTS:
            if region in world.processes:
                world.kill(region)


def prepare(world: World, region: str, *, primary: bool) -> None:
    object_storage.prepare(world.minio(region), BUCKETS[region], APPLICATION, REPLICATOR, primary=primary)


def seed(world: World) -> None:
    """As on the first day: the west is primary, and replicates to the east."""
    for region in HOSTS:
        prepare(world, region, primary=region == WEST)
    world.minio(WEST).replicate(BUCKETS[WEST], f"{HOSTS[EAST]}:{PORT}", BUCKETS[EAST], EAST, REPLICATOR)


def store(world: World, **more: Any) -> dict[str, Any]:
    """Describe it."""
    members = {
        region: {
            "bucket": BUCKETS[region],
            "endpoint": f"https://{host}:{PORT}",
            "ca_file": str(world.ca),
            "credentials": "operator",
            "replicator": "replicator",
        }
        for region, host in HOSTS.items()
    }
    return {"provider": "minio", "writers": [APPLICATION.user], "members": members, **more}


def credentials() -> dict[str, Any]:
    return {one.user: {"user": one.user, "password": one.password} for one in (ROOT, REPLICATOR)}
