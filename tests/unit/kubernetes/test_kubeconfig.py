# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a kubeconfig means, and how each way to get it wrong is named."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import ssl
import time
from pathlib import Path
from typing import Any

import pytest
import trustme
import yaml

from ansible_collections.platform.recovery.plugins.module_utils.clock import stamp
from ansible_collections.platform.recovery.plugins.module_utils.errors import BadInput
from ansible_collections.platform.recovery.plugins.module_utils.kubernetes.kubeconfig import (
    CredentialFailure,
    Credentials,
    load,
    loopback,
)


def write(folder: Path, name: str = "config", **changes: Any) -> str:
    content: dict[str, Any] = {
        "clusters": [
            {"name": "west", "cluster": {"server": "https://k8s.west:6443/sub", **changes.get("cluster", {})}}
        ],
        "users": [{"name": "me", "user": changes.get("user", {"token": "t0ken"})}],
        "contexts": [{"name": "west", "context": {"cluster": "west", "user": "me"}}],
        "current-context": "west",
    }
    (folder / name).write_text(yaml.safe_dump(content))
    return str(folder / name)


def test_an_endpoint_is_read(tmp_path: Path) -> None:
    endpoint = load(write(tmp_path))
    assert (endpoint.host, endpoint.port, endpoint.path, endpoint.tls_name) == ("k8s.west", 6443, "/sub", "k8s.west")
    assert endpoint.credentials.authorization() == "Bearer t0ken"
    assert endpoint.tls is not None
    assert endpoint.tls.verify_mode is ssl.CERT_REQUIRED
    assert "t0ken" not in repr(endpoint)


def test_checking_is_left_out_only_if_the_file_says_so(tmp_path: Path) -> None:
    tls = load(write(tmp_path, cluster={"insecure-skip-tls-verify": True})).tls
    assert tls is not None
    assert tls.verify_mode is ssl.CERT_NONE
    tls = load(write(tmp_path, cluster={"insecure-skip-tls-verify": "yes"})).tls
    assert tls is not None
    assert tls.verify_mode is ssl.CERT_REQUIRED


def test_certificates_come_from_data_or_files_beside_the_kubeconfig(tmp_path: Path) -> None:
    authority = trustme.CA()
    issued = authority.issue_cert("me@example.org")
    authority.cert_pem.write_to_path(tmp_path / "ca.crt")
    issued.cert_chain_pems[0].write_to_path(tmp_path / "me.crt")
    issued.private_key_pem.write_to_path(tmp_path / "me.key")
    user = {"client-certificate": "me.crt", "client-key": "me.key"}
    endpoint = load(write(tmp_path, cluster={"certificate-authority": "ca.crt"}, user=user))
    assert endpoint.credentials.authorization() is None
    assert endpoint.tls is not None
    assert len(endpoint.tls.get_ca_certs()) == 1


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"cluster": {"server": "k8s.west"}}, "no http(s) address"),
        ({"cluster": {"server": "http://k8s.west"}}, "without encryption"),
        ({"cluster": {"proxy-url": "http://proxy"}}, "proxy-url is not supported"),
        ({"cluster": {"certificate-authority-data": "!"}}, "certificate-authority"),
        ({"cluster": {"certificate-authority": "none.crt"}}, "none.crt does not exist"),
        ({"user": {"username": "me", "password": "s3cret"}}, "username is no longer accepted"),
    ],
)
def test_what_cannot_be_used_is_named_without_its_secret(tmp_path: Path, changes: Any, words: str) -> None:
    with pytest.raises(BadInput) as refused:
        load(write(tmp_path, **changes))
    assert words in str(refused.value)
    assert "s3cret" not in str(refused.value)


def test_the_nearest_context_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="use 'west'"):
        load(write(tmp_path), "wast")
    with pytest.raises(BadInput, match="does not exist"):
        load(str(tmp_path / "none"))


def test_files_of_the_environment_are_merged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = write(tmp_path, "first")
    second = write(tmp_path, "second", cluster={"server": "https://k8s.other"})
    missing = str(tmp_path / "missing")
    monkeypatch.setenv("KUBECONFIG", os.pathsep.join([missing, first, second]))
    assert load(None).host == "k8s.west", "the first file that names something wins"
    monkeypatch.setenv("KUBECONFIG", missing)
    with pytest.raises(BadInput, match="missing does not exist"):
        load(None)


def test_a_token_file_is_read_again_when_it_is_refused(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("one\n")
    credentials = load(write(tmp_path, user={"tokenFile": "token"})).credentials
    assert credentials.authorization() == "Bearer one"
    token.write_text("two\n")
    assert credentials.authorization() == "Bearer one"
    assert credentials.forget()
    assert credentials.authorization() == "Bearer two"


def program(folder: Path, *lines: str) -> dict[str, Any]:
    """Write a credential program and give the user entry that names it."""
    file = folder / "give"
    file.write_text("\n".join(["#!/bin/sh", f"echo run >> {folder}/runs", *lines, ""]))
    file.chmod(0o755)
    return {"exec": {"command": "./give", "apiVersion": "client.authentication.k8s.io/v1"}}


def credentials(folder: Path, user: dict[str, Any]) -> Credentials:
    return load(write(folder, cluster={"insecure-skip-tls-verify": True}, user=user)).credentials


@pytest.mark.parametrize(("lifetime", "runs"), [(3600, 1), (1, 2)])
def test_an_exec_program_is_run_until_its_credential_ends(tmp_path: Path, lifetime: int, runs: int) -> None:
    credential = {"status": {"token": "made", "expirationTimestamp": stamp(time.time() + lifetime)}}
    found = credentials(tmp_path, program(tmp_path, f"echo '{json.dumps(credential)}'"))
    assert not (tmp_path / "runs").exists(), "it is not run before the cluster is asked"
    assert found.authorization() == "Bearer made"
    assert found.authorization() == "Bearer made"
    assert len((tmp_path / "runs").read_text().split()) == runs


def test_a_certificate_of_an_exec_program_is_there_before_the_connection(tmp_path: Path) -> None:
    issued = trustme.CA().issue_cert("me@example.org")
    status = {
        "clientCertificateData": issued.cert_chain_pems[0].bytes().decode(),
        "clientKeyData": issued.private_key_pem.bytes().decode(),
    }
    (tmp_path / "credential").write_text(json.dumps({"status": status}))
    found = credentials(tmp_path, program(tmp_path, f"cat {tmp_path}/credential"))
    assert found.authorization() is None
    status["clientKeyData"] = "no key"
    (tmp_path / "credential").write_text(json.dumps({"status": status}))
    assert found.forget()
    with pytest.raises(BadInput, match="no matching PEM pair"):
        found.authorization()


@pytest.mark.parametrize(
    ("line", "reason", "words"),
    [
        ("echo secret; exit 255", "unauthorized", "ended with code 255"),
        ("sleep 5", "unreachable", "gave nothing in 0.3 s"),
    ],
)
def test_a_program_that_fails_is_news_of_the_cluster(tmp_path: Path, line: str, reason: str, words: str) -> None:
    begin = time.monotonic()
    with pytest.raises(CredentialFailure, match=words) as failed:
        credentials(tmp_path, program(tmp_path, line)).authorization(0.3 if "sleep" in line else 5.0)
    assert failed.value.reason == reason
    assert time.monotonic() - begin < 2


def test_a_program_that_cannot_work_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no-such-program is not installed"):
        credentials(tmp_path, {"exec": {"command": "no-such-program"}}).authorization()
    for line in ("echo hello", "echo '{}'", """echo '{"status": {"token": "x", "expirationTimestamp": "soon"}}'"""):
        with pytest.raises(BadInput, match="printed no ExecCredential"):
            credentials(tmp_path, program(tmp_path, line)).authorization()


@pytest.mark.parametrize(
    ("host", "here"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("localhost", True),
        ("127.evil.example", False),
        ("localhost.example", False),
        ("10.0.0.1", False),
    ],
)
def test_only_this_machine_is_this_machine(host: str, here: bool) -> None:
    assert loopback(host) is here


def test_comments_around_a_certificate_may_be_in_any_language(tmp_path: Path) -> None:
    authority = trustme.CA()
    pem = "# Wurzel für Köln\n".encode("latin-1") + authority.cert_pem.bytes() + "\n# конец\n".encode()
    (tmp_path / "ca.crt").write_bytes(pem)
    data = base64.b64encode(pem).decode()
    for cluster in ({"certificate-authority": "ca.crt"}, {"certificate-authority-data": data}):
        tls = load(write(tmp_path, cluster=cluster)).tls
        assert tls is not None
        assert len(tls.get_ca_certs()) == 1


def test_an_intermediate_authority_is_trusted_as_it_is_named(tmp_path: Path) -> None:
    middle = trustme.CA().create_child_ca()
    middle.cert_pem.write_to_path(tmp_path / "ca.crt")
    issued = middle.issue_cert("k8s.west")
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    issued.configure_cert(server)
    tls = load(write(tmp_path, cluster={"certificate-authority": "ca.crt"})).tls
    assert tls is not None
    shake_hands(tls, server)


def shake_hands(client: ssl.SSLContext, server: ssl.SSLContext) -> None:
    """Do a handshake in memory; raises if the client does not trust the server."""
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        client.wrap_bio(to_client, to_server, server_hostname="k8s.west"),
        server.wrap_bio(to_server, to_client, server_side=True),
    ]
    for end in ends * 3:
        with contextlib.suppress(ssl.SSLWantReadError):
            end.do_handshake()
    assert ends[0].version()
