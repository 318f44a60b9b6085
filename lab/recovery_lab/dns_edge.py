# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A region's DNS (its own view of all names) and its HTTP edge, which finds ready pods by that DNS."""

from __future__ import annotations

import http.client
import json
import socket
import struct
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from . import addresses, identity, supervisor
from .state import State, write
from .topology import Server, Topology
from .wait import NotYet


def service_name(service: str, namespace: str = addresses.NAMESPACE) -> str:
    """Name a service's ready pods in the cluster's zone."""
    return f"{service}.{namespace}.svc.cluster.local"


def corefile(region: str, topology: Topology, kubeconfig: Path) -> str:
    """Write a region's DNS: the platform's names by the links of this region, the ready pods by its own cluster."""
    place = f"bind {addresses.server_address(region, 'dns')}"
    port = addresses.PLACES["dns"][1]
    pods = ["readypods {", f"kubeconfig {kubeconfig}", "}"]
    named = [server for server in topology.servers if server.kind in ("postgresql", "edge", "object_storage")]
    hosts = [
        f"{addresses.reach(region, one.region, one.kind)} {addresses.host_name(one.region, one.kind)}" for one in named
    ]
    names = ["hosts {", *hosts, "ttl 1", "no_reverse", "fallthrough", "}", "template ANY ANY {", "rcode NXDOMAIN", "}"]
    zones = {"cluster.local": pods, addresses.ZONE: names}
    lines = [line for zone, body in zones.items() for line in (f"{zone}:{port} {{", place, "errors", *body, "}")]
    return "\n".join(lines) + "\n"


def define_dns(server: Server, topology: Topology, state: State, program: Path) -> None:
    """Configure a region's DNS and tell the supervisor how to run it."""
    folder = state.server(server.region, "dns")
    kubeconfig = state.server(server.region, "kubernetes") / "dns.kubeconfig"
    path = write(folder / "Corefile", corefile(server.region, topology, kubeconfig))
    identity.own(folder)
    words: list[str | Path] = [program, "-conf", path, "-quiet"]
    supervisor.define(f"{server.target}/coredns", supervisor.Definition(words, stop_seconds=2), state)


def caddy_config(region: str, services: Iterable[str]) -> dict[str, Any]:
    """Configure an edge: each service's path goes to its ready pods, asked of DNS at short intervals."""
    itself = {"match": [{"path": ["/healthz"]}], "terminal": True, "handle": [_answer("200", edge="ready")]}
    unknown = {"handle": [_answer("404", error="no such service")]}
    services = list(services)

    def server(port: int, namespace: str) -> dict[str, Any]:
        return {
            "listen": [f"{addresses.server_address(region, 'edge')}:{port}"],
            "protocols": ["h1"],
            "automatic_https": {"disable": True},
            "routes": [itself, *(_route(region, service, namespace) for service in services), unknown],
            "errors": {"routes": [{"handle": [_answer("{http.error.status_code}", error="no ready pod answered")]}]},
        }

    servers = {"edge": server(addresses.PLACES["edge"][1], addresses.NAMESPACE)}
    servers["drill"] = server(addresses.DRILL_PORTS["edge"][0], addresses.DRILL_NAMESPACE)
    admin = f"{addresses.server_address(region, 'edge')}:{addresses.EDGE_ADMIN_PORT}"
    return {
        "admin": {"listen": admin, "origins": [admin], "config": {"persist": False}},
        # A pod that is gone is daily bread during a recovery; the client gets told.
        "logging": {"logs": {"default": {"exclude": ["http.handlers.reverse_proxy", "http.log.error"]}}},
        "apps": {"http": {"grace_period": "1s", "servers": servers}},
    }


def _answer(status: str, **content: str) -> dict[str, Any]:
    headers = {"Content-Type": ["application/json"]}
    body = json.dumps(content) + "\n"
    return {"handler": "static_response", "status_code": status, "headers": headers, "body": body}


def _route(region: str, service: str, namespace: str) -> dict[str, Any]:
    proxy = {
        "handler": "reverse_proxy",
        "dynamic_upstreams": {
            "source": "a",
            "name": f"{service_name(service, namespace)}.",
            "port": "8080",
            "refresh": "20ms",
            "resolver": {"addresses": [f"udp/{addresses.endpoint(region, 'dns')}"]},
            "dial_timeout": "200ms",
            "versions": {"ipv4": True, "ipv6": False},
        },
        # Only what was never sent is tried elsewhere: a write may have been committed although its answer is lost.
        "load_balancing": {
            "selection_policy": {"policy": "round_robin"},
            "try_duration": "800ms",
            "try_interval": "20ms",
        },
        # A kept connection may lead to a pod that is just ending.
        "transport": {
            "protocol": "http",
            "dial_timeout": "200ms",
            "response_header_timeout": "3s",
            "keep_alive": {"enabled": False},
        },
    }
    return {"match": [{"path": [f"/v1/{service}/*"]}], "terminal": True, "handle": [proxy]}


def edge_url(region: str) -> str:
    """Give the address at which the operator's place reaches a region's edge."""
    address = addresses.link_address(addresses.OPERATOR, region, "edge")
    return f"http://{address}:{addresses.PLACES['edge'][1]}"


def define_edge(server: Server, topology: Topology, state: State, program: Path) -> None:
    """Configure a region's edge and tell the supervisor how to run it."""
    folder = state.server(server.region, "edge")
    path = write(folder / "caddy.json", json.dumps(caddy_config(server.region, topology.services), indent=2))
    identity.own(folder)
    environment = {"XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
    words: list[str | Path] = [program, "run", "--config", path]
    supervisor.define(f"{server.target}/caddy", supervisor.Definition(words, environment, stop_seconds=2), state)


def query(server: tuple[str, int], name: str) -> list[str]:
    """Ask a DNS server for a name's addresses. OSError if it does not answer."""
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.rstrip(".").split("."))
    question = struct.pack(">HHHHHH", 1, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack(">HH", 1, 1)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(1)
        client.connect(server)
        client.send(question)
        answer = client.recv(4096)
    return read_addresses(answer, len(question))


def read_addresses(answer: bytes, start: int) -> list[str]:
    """Read the addresses from a DNS answer whose records begin at `start`."""
    found = []
    for _ in range(struct.unpack(">H", answer[6:8])[0]):
        # Names in answers are pointers of two bytes; then type, class, ttl and length.
        while answer[start] and answer[start] < 0xC0:
            start += answer[start] + 1
        start += 2 if answer[start] >= 0xC0 else 1
        kind, _, _, length = struct.unpack(">HHIH", answer[start : start + 10])
        start += 10
        if kind == 1:
            found.append(socket.inet_ntoa(answer[start : start + 4]))
        start += length
    return found


def resolves(region: str, name: str) -> list[str]:
    """Probe: the region's DNS knows the name; give its addresses."""
    found = query((addresses.server_address(region, "dns"), addresses.PLACES["dns"][1]), name)
    if not found:
        raise NotYet(f"{name} has no address in {region}")
    return found


def get(address: str, path: str, seconds: float = 3) -> tuple[int, Mapping[str, Any]]:
    """Ask an edge. OSError if it is not there."""
    connection = http.client.HTTPConnection(address, addresses.PLACES["edge"][1], timeout=seconds)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        content = response.read()
    except http.client.HTTPException as error:
        raise ConnectionError(str(error)) from error
    finally:
        connection.close()
    try:
        return response.status, json.loads(content)
    except ValueError:
        return response.status, {}


def serves(region: str, service: str) -> None:
    """Probe: a service answers at a region's edge and has its database."""
    status, _ = get(addresses.server_address(region, "edge"), f"/v1/{service}/healthz")
    if status != 200:
        raise NotYet(f"{service} at the edge of {region} answers {status}")
