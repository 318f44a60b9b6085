# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a kubeconfig means, and how each way to get it wrong is named."""

from __future__ import annotations

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
from ansible_collections.platform.recovery.plugins.module_utils.kubernetes.kubeconfig import load


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
        ({"user": {"exec": {"command": "no-such-program"}}}, "no-such-program is not installed"),
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
    monkeypatch.setenv("KUBECONFIG", f"{first}{os.pathsep}{second}")
    assert load(None).host == "k8s.west", "the first file that names something wins"


def test_a_token_file_is_read_again_when_it_is_refused(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("one\n")
    credentials = load(write(tmp_path, user={"tokenFile": "token"})).credentials
    assert credentials.authorization() == "Bearer one"
    token.write_text("two\n")
    assert credentials.authorization() == "Bearer one"
    assert credentials.forget()
    assert credentials.authorization() == "Bearer two"


@pytest.mark.parametrize(("lifetime", "runs"), [(3600, 1), (1, 2)])
def test_an_exec_program_is_run_until_its_credential_ends(tmp_path: Path, lifetime: int, runs: int) -> None:
    credential = {"status": {"token": "made", "expirationTimestamp": stamp(time.time() + lifetime)}}
    program = tmp_path / "give"
    program.write_text(f"#!/bin/sh\necho run >> {tmp_path}/runs\necho '{json.dumps(credential)}'\n")
    program.chmod(0o755)
    user = {"exec": {"command": "./give", "apiVersion": "client.authentication.k8s.io/v1"}}
    endpoint = load(write(tmp_path, cluster={"insecure-skip-tls-verify": True}, user=user))
    (tmp_path / "runs").unlink()
    endpoint.credentials.forget()
    assert endpoint.credentials.authorization() == "Bearer made"
    assert endpoint.credentials.authorization() == "Bearer made"
    assert len((tmp_path / "runs").read_text().split()) == runs
