# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab's own certificate authority: every server has a certificate for all the names and addresses it goes by."""

from __future__ import annotations

import trustme
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from . import addresses, identity
from .state import State, write
from .topology import Topology

# The kinds of servers that speak TLS.
CERTIFIED = ("postgresql", "kubernetes", "redis", "sentinel", "kafka", "object_storage")


def provide(state: State, topology: Topology) -> None:
    """Make the authority and every certificate that is missing: another profile has other servers."""
    authority = _authority(state)
    for server in topology.servers:
        name = f"{server.region}-{server.kind}"
        if server.kind in CERTIFIED and not (state.pki / f"{name}.crt").exists():
            _issue(authority, state, name, names(server.region, server.kind, topology))
    for region in topology.regions:
        if not (state.pki / f"{region}-service-account.pub").exists():
            _service_account_key(state, region)
    identity.own(state.pki)


def _authority(state: State) -> trustme.CA:
    key = state.pki / "ca.key"
    if state.ca.exists() and key.exists():
        return trustme.CA.from_pem(state.ca.read_bytes(), key.read_bytes())
    # What another authority has signed is worth nothing.
    for path in state.pki.glob("*.crt"):
        path.unlink()
    authority = trustme.CA(organization_name="platform.recovery lab", organization_unit_name="lab")
    write(key, authority.private_key_pem.bytes(), mode=0o600)
    identity.own(write(state.ca, authority.cert_pem.bytes()))
    return authority


def names(region: str, kind: str, topology: Topology) -> list[str]:
    """List every name and address by which somebody reaches a server."""
    found = [addresses.host_name(region, kind), addresses.server_address(region, kind), "localhost"]
    found += [link.listen.partition(":")[0] for link in topology.links if link.target == f"{region}/{kind}"]
    if kind == "kubernetes":
        index = addresses.region_index(region)
        found += ["kubernetes", "kubernetes.default", "kubernetes.default.svc", f"10.{index}.0.1"]
    return list(dict.fromkeys(found))


def _issue(authority: trustme.CA, state: State, name: str, identities: list[str]) -> None:
    issued = authority.issue_cert(*identities, common_name=identities[0])
    write(state.pki / f"{name}.key", issued.private_key_pem.bytes(), mode=0o600)
    write(state.pki / f"{name}.crt", b"".join(pem.bytes() for pem in issued.cert_chain_pems))


def _service_account_key(state: State, region: str) -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    write(state.pki / f"{region}-service-account.key", private, mode=0o600)
    write(state.pki / f"{region}-service-account.pub", public)
