# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The objects of a region: MinIO, with a bucket that replicates from the primary region to the other one.

The bucket of each region has a name of its own, as it must at AWS. MinIO would also take a target for itself that has
the same name and the same port.
"""

from __future__ import annotations

import http.client
import json
import ssl
from pathlib import Path

from . import addresses, identity, supervisor, topology
from .errors import LabError
from .minio_api import Account, Minio
from .state import State, clone_folder, write
from .topology import Server, Topology
from .wait import NotYet

APPLICATION, REPLICATOR, ROOT = "app", "replicator", "operator"
READ = ["s3:GetObject", "s3:GetObjectVersion", "s3:ListBucket", "s3:ListBucketVersions", "s3:GetBucketLocation"]
WRITE = [
    "s3:PutObject",
    "s3:PutObjectTagging",
    "s3:PutObjectVersionTagging",
    "s3:DeleteObject",
    "s3:DeleteObjectVersion",
    "s3:DeleteObjectTagging",
    "s3:DeleteObjectVersionTagging",
]
REPLICATE = ["s3:ReplicateObject", "s3:ReplicateDelete", "s3:ReplicateTags"]
# What the account of the other region's server does here beside that.
LOOK = ["s3:GetBucketVersioning", "s3:GetReplicationConfiguration", "s3:GetBucketObjectLockConfiguration"]
LOOK += ["s3:GetObjectVersionTagging", "s3:GetObjectTagging", "s3:GetBucketTagging"]
GUARD_SOURCE = "roles/object_storage_failover/files/recovery-object-guard"
# Where a server begins whose region may have been given up meanwhile: nobody is told of it.
HIDDEN_PORT = 9001


def bucket(region: str) -> str:
    """Name a region's bucket."""
    return f"files-{region}"


def account(state: State, name: str) -> Account:
    """Give an account; they are the same in both regions."""
    return Account(name, state.secret(f"object-storage-{name}"))


def minio(server: Server, state: State, *, linked: bool = False) -> Minio:
    """Give the client of a server, directly or by the operator's link."""
    address = server.link if linked else server.address
    return Minio(f"https://{address}:{server.port}", server.region, state.ca, account(state, ROOT))


def define(server: Server, layout: Topology, state: State, program: Path, python: Path) -> None:
    """Configure it and its guard, and tell the supervisor how to run them."""
    folder = identity.make_folder(state.server(server.region, server.kind))
    data = identity.make_folder(state.data(server.region, server.kind), mode=0o700)
    identity.own(data.parent)
    name = f"{server.region}-{server.kind}"
    write(folder / "certs/public.crt", (state.pki / f"{name}.crt").read_bytes())
    write(folder / "certs/private.key", (state.pki / f"{name}.key").read_bytes(), mode=0o600)
    write(folder / "certs/CAs/ca.crt", state.ca.read_bytes())
    root = account(state, ROOT)
    settings = {
        "MINIO_ROOT_USER": root.user,
        "MINIO_ROOT_PASSWORD": root.password,
        "MINIO_REGION": server.region,
        "MINIO_BROWSER": "off",
        "MINIO_UPDATE": "off",
        "MINIO_CALLHOME_ENABLE": "off",
        # Both regions lie on one disk here, which is not a drive of its own.
        "MINIO_CI_CD": "1",
    }
    # A file, because others may read what a process was started with.
    lines = "".join(f"{key}={value}\n" for key, value in settings.items())
    path = write(folder / "minio.env", lines, mode=0o600)
    guard = clone_folder() / GUARD_SOURCE
    if not guard.exists():
        raise LabError(f"{guard} is missing: no object storage starts without its guard. Restore the clone's files.")
    # A copy, because the lab's user may not reach this one.
    copy = write(folder / guard.name, guard.read_bytes(), mode=0o755)
    about = write(folder / "guard.json", json.dumps(guard_settings(server, layout, state)), mode=0o600)
    identity.own(folder)
    command: list[str | Path] = [python, "-s", "-E", copy, about]
    words = [*command, "run", program, "server", "--quiet", "--certs-dir", folder / "certs"]
    words += ["--address", "ADDRESS", data]
    environment = {"MINIO_CONFIG_ENV_FILE": str(path), "GOMEMLIMIT": "200MiB", "GOMAXPROCS": "2"}
    supervisor.define(f"{server.target}/minio", supervisor.Definition(words, environment, stop_seconds=3), state)
    supervisor.define(f"{server.target}/guard", supervisor.Definition([*command, "watch"], stop_seconds=1), state)


def guard_settings(server: Server, layout: Topology, state: State) -> dict[str, object]:
    """Say whom a guard asks, and who it is for them."""
    [other] = [one for one in layout.of_kind(server.kind) if one.region != server.region]
    address = addresses.reach(server.region, other.region, other.kind)

    def known(one: Server, host: str, who: str) -> dict[str, str]:
        found = account(state, who)
        common = {"bucket": bucket(one.region), "region": one.region, "user": found.user, "password": found.password}
        return {"url": f"https://{host}:{one.port}", **common}

    return {
        "local": known(server, server.address, ROOT),
        "peer": known(other, address, REPLICATOR),
        "ca_file": str(state.ca),
        "writers": [APPLICATION],
        "hidden": f"{server.address}:{HIDDEN_PORT}",
    }


def answers(server: Server, state: State) -> None:
    """Probe: it is ready for requests."""
    context = ssl.create_default_context(cafile=str(state.ca))
    connection = http.client.HTTPSConnection(server.address, server.port, timeout=5, context=context)
    try:
        connection.request("GET", "/minio/health/ready")
        status = connection.getresponse().status
    except http.client.HTTPException as error:
        raise ConnectionError(str(error)) from error
    finally:
        connection.close()
    if status != 200:
        raise NotYet(f"{server.target} answers {status}")


def fence(name: str) -> str:
    """Name the policy that denies writing to a bucket, as docs/object_storage.md says."""
    return f"recovery-fence-{name}"


def prepare(server: Minio, name: str, application: Account, replicator: Account, *, primary: bool) -> None:
    """Make a bucket and who may use it: applications write to a primary's, the other region's server to a standby's."""
    server.make_bucket(name)
    server.make_policy(fence(name), "Deny", WRITE + REPLICATE, name)
    server.make_policy("files-user", "Allow", READ + WRITE, name)
    server.make_policy("files-replicator", "Allow", READ + WRITE + REPLICATE + LOOK, name)
    server.make_user(application, "files-user", *([] if primary else [fence(name)]))
    server.make_user(replicator, "files-replicator", *([fence(name)] if primary else []))


def seed(servers: list[Server], state: State) -> None:
    """Make both regions' buckets, and have the primary's replicate."""
    application, replicator = account(state, APPLICATION), account(state, REPLICATOR)
    for server in servers:
        primary = server.region == topology.PRIMARY
        prepare(minio(server, state), bucket(server.region), application, replicator, primary=primary)
    here, there = (next(one for one in servers if one.region == name) for name in (topology.PRIMARY, topology.STANDBY))
    address = addresses.reach(here.region, there.region, there.kind)
    minio(here, state).replicate(
        bucket(here.region), f"{address}:{there.port}", bucket(there.region), there.region, replicator
    )


def connect(server: Server, state: State) -> dict[str, str]:
    """Say what a client needs."""
    root, application = account(state, ROOT), account(state, APPLICATION)
    return {
        "url": f"https://{server.link}:{server.port}",
        "direct_url": f"https://{server.address}:{server.port}",
        "bucket": bucket(server.region),
        "ca_file": str(state.ca),
        "access_key": root.user,
        "secret_key": root.password,
        "application_access_key": application.user,
        "application_secret_key": application.password,
    }
