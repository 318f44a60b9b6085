# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The AWS API of the lab: moto, with a hosted zone whose names lead to the edges of both regions."""

from __future__ import annotations

import http.client
import json
import shutil
from pathlib import Path
from typing import Any

from . import addresses, aws_server, identity, python_programs, supervisor, topology
from .state import State, write
from .topology import Server, Topology

TTL_SECONDS = 5
# The application is what clients come for: a region whose edge answers while its database does not is not healthy.
HEALTH_PATH = "/v1/user-service/healthz"
# Its keys are looked at by nobody, but a client wants some.
ACCESS_KEY = "lab"


def fetch() -> dict[str, Path]:
    """Give what runs it: a Python, and the packages."""
    return {"python": python_programs.interpreter(), "moto": python_programs.packages("moto")}


def record(name: str, kind: str, *values: str, ttl: int = TTL_SECONDS, **more: Any) -> dict[str, Any]:
    """Describe one record set of the hosted zone."""
    rows = [{"Value": value} for value in values]
    return {"Name": f"{name}.", "Type": kind, "TTL": ttl, "ResourceRecords": rows, **more}


def seed(layout: Topology) -> dict[str, Any]:
    """Say what the account of a new lab holds.

    Clients are outside of both regions, and so are the checkers: names and health checks lead over the operator's
    links.
    """
    zone = addresses.GLOBAL_ZONE
    edges = {server.region: server.link for server in layout.of_kind("edge")}
    servers = {f"ns-{server.region}.{zone}": server.link for server in layout.of_kind("dns_authority")}
    checks = {
        region: {
            "Type": "HTTP",
            "IPAddress": address,
            "Port": addresses.PLACES["edge"][1],
            "ResourcePath": HEALTH_PATH,
            "RequestInterval": 10,
            "FailureThreshold": 1,
        }
        for region, address in edges.items()
    }
    soa = f"{next(iter(servers))}. hostmaster.{zone}. 1 7200 900 1209600 {TTL_SECONDS}"
    found = [record(zone, "SOA", soa, ttl=900), record(zone, "NS", *(f"{name}." for name in servers), ttl=3600)]
    found += [record(name, "A", address, ttl=3600) for name, address in servers.items()]
    for region, address in edges.items():
        first = region == topology.PRIMARY
        common: dict[str, Any] = {"SetIdentifier": region, "HealthCheckId": region}
        found.append(record(f"app.{zone}", "A", address, **common, Failover="PRIMARY" if first else "SECONDARY"))
        found.append(record(f"api.{zone}", "A", address, **common, Weight=100 if first else 0))
    alias = {"DNSName": f"app.{zone}.", "EvaluateTargetHealth": True}
    found += [{"Name": f"{name}.{zone}.", "Type": "A", "AliasTarget": alias} for name in layout.services]
    return {"health_checks": checks, "zones": {zone: found}}


def define(server: Server, layout: Topology, state: State, python: Path, packages: Path) -> None:
    """Configure it and tell the supervisor how to run it."""
    folder = state.server(server.region, server.kind)
    wanted = write(folder / "seed.json", json.dumps(seed(layout), indent=2))
    # A copy, because the lab's user may not reach this one.
    program = folder / "aws_server.py"
    program.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(aws_server.__file__, program)
    identity.own(folder)
    data = identity.make_folder(state.data(server.region, server.kind), mode=0o700)
    identity.own(data.parent)
    words: list[str | Path] = [python, "-s", "-E", program, "--host", server.address, "--port", str(server.port)]
    words += ["--data", data, "--seed", wanted, "--packages", packages]
    supervisor.define(f"{server.target}/moto", supervisor.Definition(words, stop_seconds=2), state)


def answers(server: Server) -> None:
    """Probe: the API is there and knows the zone."""
    connection = http.client.HTTPConnection(server.address, server.port, timeout=5)
    try:
        connection.request("GET", "/lab/route53?after=0")
        content = json.loads(connection.getresponse().read())
    except (http.client.HTTPException, ValueError) as error:
        raise ConnectionError(str(error)) from error
    finally:
        connection.close()
    if not content["zones"]:
        raise ConnectionError("it knows no hosted zone")


def connect(server: Server) -> dict[str, str]:
    """Say what a client needs."""
    address = server.link
    return {
        "url": f"http://{address}:{server.port}",
        "direct_url": f"http://{server.address}:{server.port}",
        "access_key_id": ACCESS_KEY,
        "secret_access_key": ACCESS_KEY,
        "region": topology.STANDBY,
    }
