# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Redis in two regions, a primary and its replica, and a Sentinel beside each: by TLS, with a password, by names.

A Sentinel tells its clients and the other Sentinels where a server is, and a server is reached at another address from
each place. So all of them go by names, and each region's processes look them up in a list of their own (nss_wrapper,
which stands in for the region's DNS: Redis asks no DNS server but the machine's).
"""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from . import addresses, cache, debian, identity, supervisor, topology
from .errors import LabError
from .programs import chosen_folders
from .state import State, clone_folder, state_folder, write
from .topology import Server, Topology
from .wait import NotYet

# What Sentinel calls the store.
STORE = "sessions"
# Three of two Sentinels never agree: Sentinel watches, leads clients and carries a promotion out, but begins none. That
# a replica of another region becomes primary is decided by the checklist, which fences the old one first.
QUORUM = 3
DOWN_AFTER_MS = 2000
GUARD_SOURCE = "roles/redis_failover/files/recovery-redis-guard"
LIBRARIES = Path("/usr/lib/x86_64-linux-gnu")


def fetch() -> dict[str, Path]:
    """Give the server, which is the Sentinel as well, and the library that looks names up in a list."""
    return {"redis-server": _server(), "libnss_wrapper": _wrapper()}


def _server() -> Path:
    for path in [folder / "redis-server" for folder in chosen_folders()] + [Path("/usr/bin/redis-server")]:
        if path.exists() and identity.reachable(path):
            return path
    return cache.entry("debian/redis", _unpack_server) / "usr/bin/redis-server"


def _unpack_server(target: Path) -> None:
    debian.unpack("redis-tools", target)
    program = target / "usr/bin/redis-server"
    if not program.exists():
        # One program, which does as its name says; the package of the server has but this link.
        program.symlink_to("redis-check-rdb")
    debian.add_libraries([program, target / "usr/bin/redis-cli"], target)


def _wrapper() -> Path:
    name = "libnss_wrapper.so"
    if (LIBRARIES / name).exists():
        return LIBRARIES / name
    root = cache.entry("debian/nss-wrapper", lambda target: debian.unpack("libnss-wrapper", target))
    return root / LIBRARIES.relative_to("/") / name


def hosts(region: str, layout: Topology) -> str:
    """List the names as a region's DNS gives them."""
    servers = [server for kind in ("redis", "sentinel") for server in layout.of_kind(kind)]
    rows = [f"{addresses.reach(region, one.region, one.kind)} {_name(one)}" for one in servers]
    return "\n".join(rows) + "\n"


def _name(server: Server) -> str:
    return addresses.host_name(server.region, server.kind)


def _common(server: Server, state: State, data: Path) -> list[str]:
    password = state.secret("redis")
    key = state.pki / f"{server.region}-{server.kind}"
    return [
        f"bind {server.address}",
        "port 0",
        f"tls-port {server.port}",
        f"tls-cert-file {key}.crt",
        f"tls-key-file {key}.key",
        f"tls-ca-cert-file {state.ca}",
        "tls-auth-clients no",
        "tls-replication yes",
        f"dir {data}",
        f"requirepass {password}",
    ]


def redis_configuration(server: Server, state: State, data: Path) -> str:
    """Write a server's configuration of the first day: that of the primary region is the primary."""
    lines = _common(server, state, data)
    lines += [
        f"masterauth {state.secret('redis')}",
        f"replica-announce-ip {_name(server)}",
        f"replica-announce-port {server.port}",
        "appendonly yes",
        'save ""',
        # A replica that comes anew does not wait for others that might.
        "repl-diskless-sync-delay 0",
        # How old a replica's data may be is known to a second.
        "repl-ping-replica-period 1",
        "repl-timeout 10",
    ]
    if server.region != topology.PRIMARY:
        lines.append(f"replicaof {addresses.host_name(topology.PRIMARY, 'redis')} {server.port}")
    return "\n".join(lines) + "\n"


def sentinel_configuration(server: Server, state: State, data: Path) -> str:
    """Write a Sentinel's configuration of the first day."""
    password, port = state.secret("redis"), addresses.PLACES["redis"][1]
    lines = _common(server, state, data)
    lines += [
        f"sentinel sentinel-pass {password}",
        "sentinel resolve-hostnames yes",
        "sentinel announce-hostnames yes",
        f"sentinel announce-ip {_name(server)}",
        f"sentinel announce-port {server.port}",
        f"sentinel monitor {STORE} {addresses.host_name(topology.PRIMARY, 'redis')} {port} {QUORUM}",
        f"sentinel auth-pass {STORE} {password}",
        f"sentinel down-after-milliseconds {STORE} {DOWN_AFTER_MS}",
        # It asks the primary for its replicas every ten seconds only.
        f"sentinel known-replica {STORE} {addresses.host_name(topology.STANDBY, 'redis')} {port}",
    ]
    return "\n".join(lines) + "\n"


def define(server: Server, layout: Topology, state: State, program: Path, wrapper: Path) -> None:
    """Configure a server or a Sentinel and tell the supervisor how to run it.

    Both write to their configuration who is primary by now. So it is data: kept as it is, and put back by a reset.
    """
    data = identity.make_folder(state.data(server.region, server.kind), mode=0o700)
    store = identity.make_folder(data / "store", mode=0o700)
    path = data / f"{server.kind}.conf"
    if not path.exists():
        make = redis_configuration if server.kind == "redis" else sentinel_configuration
        write(path, make(server, state, store), mode=0o600)
    identity.own(data.parent)
    names = write(state.server(server.region, server.kind) / "hosts", hosts(server.region, layout))
    identity.own(names.parent)
    environment = {"LD_PRELOAD": str(wrapper), "NSS_WRAPPER_HOSTS": str(names)}
    root = program.parents[2]
    if root != Path("/"):
        folders = (root / LIBRARIES.relative_to("/"), root / "lib/x86_64-linux-gnu")
        environment["LD_LIBRARY_PATH"] = ":".join(map(str, folders))
    if server.kind == "sentinel":
        definition = supervisor.Definition([program, path, "--sentinel"], environment, stop_seconds=5)
        supervisor.define(server.processes[0], definition, state)
        return
    # Its guard asks as it does itself, and has the password from its environment.
    environment |= {"REDISCLI_AUTH": state.secret("redis"), "PATH": f"{program.parent}:/usr/bin:/bin"}
    guard = _guard(server, layout, state, path)
    # The guard looks before it starts: nothing that was replaced may be a primary for a moment.
    words = ["/bin/sh", "-c", '"$@" prepare; exec "$0" "$CONFIG"', program, *guard]
    started = supervisor.Definition(words, environment | {"CONFIG": str(path)}, stop_seconds=5)
    supervisor.define(server.processes[0], started, state)
    supervisor.define(server.processes[1], supervisor.Definition([*guard, "watch"], environment), state)


def _guard(server: Server, layout: Topology, state: State, path: Path) -> list[str | Path]:
    """Give the guard's command line, without its verb."""
    source = clone_folder() / GUARD_SOURCE
    if not source.exists():
        raise LabError(f"{source} is missing: no Redis starts without its guard. Restore the clone's files.")
    # A copy, because the lab's user may not be able to read the clone.
    folder = state.server(server.region, server.kind)
    copy = identity.own(write(folder / source.name, source.read_bytes(), mode=0o755))
    words: list[str | Path] = ["/bin/sh", copy, "--config", path, "--local", f"{_name(server)}:{server.port}"]
    for peer in layout.of_kind("redis"):
        if peer.region != server.region:
            words += ["--peer", f"{_name(peer)}:{peer.port}"]
    return [*words, "--cacert", state.ca]


def open_client(server: Server, state: State) -> redis.Redis:
    """Give a client within the server's own region."""
    return redis.Redis(
        host=server.address,
        port=server.port,
        password=state.secret("redis"),
        ssl=True,
        ssl_ca_certs=str(state.ca),
        socket_connect_timeout=2,
        socket_timeout=2,
        decode_responses=True,
        protocol=2,
        retry=Retry(NoBackoff(), 0),
    )


def ask(server: Server, state: State, *words: str) -> Any:
    """Ask a server or a Sentinel. OSError if it is not there, LabError for its refusal."""
    try:
        with closing(open_client(server, state)) as client:
            return client.execute_command(*words)  # type: ignore[no-untyped-call]
    except (redis.ConnectionError, redis.TimeoutError) as error:
        raise ConnectionError(f"{server.target}: {error}") from error
    except redis.RedisError as error:
        raise LabError(f"{server.target}: {error}") from error


def role(server: Server, state: State) -> str:
    """Say what a server takes itself for."""
    return "primary" if ask(server, state, "ROLE")[0] == "master" else "replica"


def answers(server: Server) -> None:
    """Probe: a server that is primary or follows one, or a Sentinel that sees a primary and its replica."""
    state = State(state_folder())
    if server.kind == "redis":
        found = ask(server, state, "INFO", "replication")
        if found["role"] == "slave" and found["master_link_status"] != "up":
            raise NotYet(f"{server.target} does not follow {found['master_host']}")
        return
    row = ask(server, state, "SENTINEL", "MASTER", STORE)
    seen = dict(zip(row[::2], row[1::2], strict=True))
    if "s_down" in seen["flags"]:
        raise NotYet(f"{server.target} finds {seen['ip']} down")
    if seen["num-slaves"] == "0" or seen["num-other-sentinels"] == "0":
        raise NotYet(f"{server.target} knows {seen['num-slaves']} replicas, {seen['num-other-sentinels']} Sentinels")


def connect(server: Server, state: State) -> dict[str, str]:
    """Say what a client needs."""
    query = urlencode({"ssl_ca_certs": str(state.ca)})
    password = quote(state.secret("redis"), safe="")

    def url(address: str) -> str:
        return f"rediss://:{password}@{address}:{server.port}/0?{query}"

    found = {"url": url(server.link), "direct_url": url(server.address), "name": _name(server)}
    return found | ({"store": STORE} if server.kind == "sentinel" else {})
