# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read a kubeconfig into what a connection needs: address, trust and credentials. Nothing here talks to a server."""

from __future__ import annotations

import base64
import binascii
import ipaddress
import json
import os
import re
import ssl
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from ..clock import parse as parse_stamp
from ..errors import BadInput
from ..schema import closest

Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

# A credential this close to its end is fetched anew: it must outlive the request that carries it.
EXPIRY_MARGIN_SECONDS = 30.0
# A token file (projected service account) is rewritten by others: it is read again after this long.
TOKEN_FILE_SECONDS = 60.0
EXEC_SECONDS = 15.0
PEM = re.compile(r"-----BEGIN ([A-Z0-9 ]+)-----.+?-----END \1-----", re.DOTALL)


@dataclass(frozen=True)
class Endpoint:
    """Where an API server is and how it is to be trusted and spoken to."""

    host: str
    port: int
    path: str
    tls: ssl.SSLContext | None
    tls_name: str
    credentials: Credentials = field(repr=False)


class CredentialFailure(Exception):
    """A credential could not be had now: a fact about the cluster and not about the kubeconfig."""

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(text)
        self.reason = reason


class Credentials:
    """Gives the authorization header; the subclasses know where a token comes from."""

    def authorization(self, seconds: float = EXEC_SECONDS) -> str | None:
        """Give the header's value within so many seconds, or None where a client certificate does the work."""
        del seconds
        return None

    def forget(self) -> bool:
        """Drop what is cached after a 401. True if asking again could give something else."""
        return False


class Token(Credentials):
    """A token that stands in the kubeconfig."""

    def __init__(self, token: str) -> None:
        self._token = token

    def authorization(self, seconds: float = EXEC_SECONDS) -> str | None:
        """Give the bearer token."""
        del seconds
        return f"Bearer {self._token}"


class Renewed(Credentials):
    """A token that expires: subclasses fetch it, this keeps it until shortly before its end."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._token: str | None = None
        self._expires = 0.0

    def fetch(self, seconds: float) -> tuple[str | None, float]:
        """Give a token and the epoch seconds of its end. Raises CredentialFailure."""
        raise NotImplementedError

    def authorization(self, seconds: float = EXEC_SECONDS) -> str | None:
        """Give the bearer token, fetched once for all threads."""
        with self._lock:
            if time.time() >= self._expires:
                self._token, self._expires = self.fetch(seconds)
            return f"Bearer {self._token}" if self._token else None

    def forget(self) -> bool:
        """Drop the token."""
        with self._lock:
            self._expires = 0.0
        return True


class TokenFile(Renewed):
    """A token in a file that somebody else keeps fresh."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path

    def fetch(self, seconds: float) -> tuple[str | None, float]:
        """Read the file."""
        del seconds
        return read_text(self._path, "token file").strip(), time.time() + TOKEN_FILE_SECONDS


class ExecPlugin(Renewed):
    """A program that prints an ExecCredential (aws eks get-token, gke-gcloud-auth-plugin, kubelogin).

    It is run when the cluster is first asked and not before: that may take long, or fail with the region it belongs to.
    """

    def __init__(self, spec: Mapping[str, Any], folder: Path, cluster: Mapping[str, Any]) -> None:
        super().__init__()
        self._spec = spec
        self._folder = folder
        self._cluster = cluster
        # Takes the client certificate, if the program gives one, before the connection that needs it is made.
        self.tls: ssl.SSLContext | None = None

    def fetch(self, seconds: float) -> tuple[str | None, float]:
        """Run the program. Its output is a secret and is never shown, only the fact that it failed."""
        status, expires = self._run(min(EXEC_SECONDS, seconds))
        if self.tls and status.get("clientCertificateData"):
            key = str(status.get("clientKeyData", ""))
            load_client_certificate(self.tls, str(status["clientCertificateData"]), key)
        return status.get("token"), expires

    def _run(self, seconds: float) -> tuple[dict[str, Any], float]:
        command = str(self._spec.get("command", ""))
        if "/" in command:
            command = str(self._folder / command)
        version = str(self._spec.get("apiVersion", "client.authentication.k8s.io/v1"))
        info: dict[str, Any] = {"apiVersion": version, "kind": "ExecCredential", "spec": {"interactive": False}}
        if self._spec.get("provideClusterInfo"):
            info["spec"]["cluster"] = dict(self._cluster)
        extra = {str(entry["name"]): str(entry["value"]) for entry in self._spec.get("env") or []}
        environment = {**os.environ, **extra, "KUBERNETES_EXEC_INFO": json.dumps(info)}
        name = Path(command).name
        try:
            done = subprocess.run(
                [command, *map(str, self._spec.get("args") or [])],
                env=environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=seconds,
                check=False,
            )
            if done.returncode:
                text = f"the credential program {name} ended with code {done.returncode}"
                raise CredentialFailure("unauthorized", text)
            status = dict(json.loads(done.stdout)["status"])
            end = status.get("expirationTimestamp")
            return status, parse_stamp(str(end)) - EXPIRY_MARGIN_SECONDS if end else float("inf")
        except FileNotFoundError:
            raise refused(f"the credential program {name} is not installed") from None
        except subprocess.TimeoutExpired:
            text = f"the credential program {name} gave nothing in {seconds:.3g} s"
            raise CredentialFailure("unreachable", text) from None
        except (OSError, ValueError, KeyError, TypeError):
            raise refused(f"the credential program {name} printed no ExecCredential") from None


def load(kubeconfig: str | None, context: str | None = None) -> Endpoint:
    """Read a kubeconfig (by default what kubectl would take) and give the endpoint of a context.

    Raises BadInput, which names the file, the key and the nearest valid name, never a secret.
    """
    config = read(paths(kubeconfig))
    name = context or str(config["current-context"] or "")
    if not name and len(config["contexts"]) == 1:
        name = next(iter(config["contexts"]))
    chosen, _ = pick(config, "contexts", name, "context")
    cluster, folder = pick(config, "clusters", str(chosen.get("cluster", "")), "cluster")
    user: Mapping[str, Any] = {}
    user_folder = folder
    if chosen.get("user"):
        user, user_folder = pick(config, "users", str(chosen["user"]), "user")
    return endpoint(cluster, folder, user, user_folder)


def certificates(kubeconfig: str | None, context: str | None = None) -> dict[str, str]:
    """Give the certificates that a context uses, of its authority and of its user, as PEM. Raises BadInput."""
    config = read(paths(kubeconfig))
    name = context or str(config["current-context"] or next(iter(config["contexts"]), ""))
    chosen, _ = pick(config, "contexts", name, "context")
    cluster, folder = pick(config, "clusters", str(chosen.get("cluster", "")), "cluster")
    user, user_folder = pick(config, "users", str(chosen["user"]), "user") if chosen.get("user") else ({}, folder)
    found = {
        "authority": material(cluster, "certificate-authority", folder),
        "client certificate": material(user, "client-certificate", user_folder),
    }
    return {what: text for what, text in found.items() if text}


def used(kubeconfig: str | None, context: str | None = None) -> dict[str, str]:
    """Give whom a context asks, as it is written: its server, and the words of its credential program."""
    config = read(paths(kubeconfig))
    name = context or str(config["current-context"] or next(iter(config["contexts"]), ""))
    chosen, _ = pick(config, "contexts", name, "context")
    cluster, _ = pick(config, "clusters", str(chosen.get("cluster", "")), "cluster")
    user = pick(config, "users", str(chosen["user"]), "user")[0] if chosen.get("user") else {}
    found = {"server": str(cluster.get("server") or "")}
    if user.get("exec"):
        words = [user["exec"].get("command"), *(user["exec"].get("args") or [])]
        words += [f"{one.get('name')}={one.get('value')}" for one in user["exec"].get("env") or []]
        found["credential program"] = " ".join(str(part) for part in words)
    return found


def paths(kubeconfig: str | None) -> list[Path]:
    """Give the files to read: the one named, those of KUBECONFIG that are there, or ~/.kube/config."""
    text = kubeconfig or os.environ.get("KUBECONFIG") or "~/.kube/config"
    parts = [text] if kubeconfig else [part for part in text.split(os.pathsep) if part]
    files = [Path(os.path.expandvars(part)).expanduser() for part in parts]
    # As kubectl does: the list may name files that only some machines have. If none is there, the first is missed.
    return [file for file in files if file.exists()] or files[:1]


def read(files: list[Path]) -> dict[str, Any]:
    """Merge kubeconfigs: the first file that names something wins, and relative paths belong to their own file."""
    merged: dict[str, Any] = {"contexts": {}, "clusters": {}, "users": {}, "current-context": None, "files": files}
    for path in files:
        try:
            data = yaml.load(read_text(path, "kubeconfig"), Loader=Loader)
        except yaml.YAMLError:
            raise BadInput(f"The kubeconfig {path} is not YAML", next_action="correct the file") from None
        if not isinstance(data, Mapping):
            raise BadInput(f"The kubeconfig {path} is empty or no mapping", next_action="correct the file")
        merged["current-context"] = merged["current-context"] or data.get("current-context")
        for section, key in (("contexts", "context"), ("clusters", "cluster"), ("users", "user")):
            for entry in data.get(section) or []:
                merged[section].setdefault(str(entry.get("name")), (entry.get(key) or {}, path.parent))
    return merged


def pick(config: Mapping[str, Any], section: str, name: str, what: str) -> tuple[Mapping[str, Any], Path]:
    """Give a named entry and its file's folder, or say which name would have been right."""
    entries = config[section]
    if name in entries:
        return entries[name]  # type: ignore[no-any-return]
    near = closest(name, entries)
    raise BadInput(
        f"The kubeconfig {', '.join(map(str, config['files']))} has no {what} {name!r}",
        wanted=f"one of {', '.join(sorted(entries)) or 'none: the file names no ' + what}",
        next_action=f"use {near!r}" if near else f"name a {what} that exists",
    )


def endpoint(cluster: Mapping[str, Any], folder: Path, user: Mapping[str, Any], user_folder: Path) -> Endpoint:
    """Turn a cluster and a user entry into an endpoint."""
    url = urlsplit(str(cluster.get("server", "")))
    if url.scheme not in ("https", "http") or not url.hostname:
        raise refused(f"server {cluster.get('server')!r} is no http(s) address")
    if cluster.get("proxy-url"):
        raise refused("proxy-url is not supported")
    credentials = credentials_of(user, user_folder, cluster)
    plain = url.scheme == "http"
    if plain and credentials.__class__ is not Credentials and not loopback(url.hostname):
        raise refused(f"a token would be sent to {url.hostname} without encryption")
    return Endpoint(
        host=url.hostname,
        port=url.port or (80 if plain else 443),
        path=url.path.rstrip("/"),
        tls=None if plain else tls_context(cluster, folder, user, user_folder, credentials),
        tls_name=str(cluster.get("tls-server-name") or url.hostname),
        credentials=credentials,
    )


def loopback(host: str) -> bool:
    """Say whether a host is this machine. A name that only begins like an address is somebody else's."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def credentials_of(user: Mapping[str, Any], folder: Path, cluster: Mapping[str, Any]) -> Credentials:
    """Choose where the authorization comes from, in kubectl's order."""
    if user.get("exec"):
        public = {key: cluster[key] for key in ("server", "certificate-authority-data") if key in cluster}
        return ExecPlugin(user["exec"], folder, public)
    if user.get("tokenFile"):
        return TokenFile(folder / str(user["tokenFile"]))
    if user.get("token"):
        return Token(str(user["token"]))
    for key in ("auth-provider", "username"):
        if user.get(key):
            raise refused(f"{key} is no longer accepted by any API server; use a token, a certificate or exec")
    return Credentials()


def tls_context(
    cluster: Mapping[str, Any],
    folder: Path,
    user: Mapping[str, Any],
    user_folder: Path,
    credentials: Credentials,
) -> ssl.SSLContext:
    """Build the one context that all connections to a cluster share."""
    # Not create_default_context: from Python 3.13 on it demands extensions that many clusters' authorities lack.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # An authority that is named is trusted as it is, also if it is an intermediate one. So does kubectl.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    authority = material(cluster, "certificate-authority", folder)
    if cluster.get("insecure-skip-tls-verify") is True:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif authority is not None:
        try:
            context.load_verify_locations(cadata=authority)
        except (ssl.SSLError, ValueError):
            raise refused("certificate-authority holds no PEM certificate") from None
    else:
        context.load_default_certs()
    certificate, key = material(user, "client-certificate", user_folder), material(user, "client-key", user_folder)
    if certificate is not None:
        load_client_certificate(context, certificate, key or "")
    if isinstance(credentials, ExecPlugin):
        credentials.tls = context
    return context


def load_client_certificate(context: ssl.SSLContext, certificate: str, key: str) -> None:
    """Give a context its certificate. OpenSSL reads files only: these live for the time of the call, owner-only."""
    with tempfile.TemporaryDirectory(prefix="recovery-") as folder:
        file = Path(folder) / "pem"
        file.touch(mode=0o600)
        try:
            file.write_text(f"{certificate}\n{key}\n", encoding="ascii")
            context.load_cert_chain(file)
        except (ssl.SSLError, ValueError):
            raise refused("client-certificate and client-key are no matching PEM pair") from None


def material(entry: Mapping[str, Any], key: str, folder: Path) -> str | None:
    """Give PEM blocks from `<key>-data` or from the file that `<key>` names, without the comments around them."""
    data = entry.get(f"{key}-data")
    if data:
        try:
            return pem_blocks(base64.b64decode(str(data), validate=False))
        except (binascii.Error, ValueError):
            raise refused(f"{key}-data is not base64 of PEM text") from None
    if entry.get(key):
        return pem_blocks(read_bytes(folder / str(entry[key]), key))
    return None


def pem_blocks(data: bytes) -> str:
    """Give what OpenSSL needs of a PEM file. What stands around the blocks may be in any language and encoding."""
    return "\n".join(found.group() for found in PEM.finditer(data.decode("latin-1")))


def read_text(path: Path, what: str) -> str:
    """Read a text file that the operator named."""
    try:
        return read_bytes(path, what).decode("utf-8")
    except UnicodeDecodeError:
        raise BadInput(f"The {what} {path} cannot be read: it is not text", next_action="correct the file") from None


def read_bytes(path: Path, what: str) -> bytes:
    """Read a file that the operator named."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise BadInput(f"The {what} {path} does not exist", next_action=f"name the right {what}") from None
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise BadInput(f"The {what} {path} cannot be read: {reason}", next_action="make it readable") from None


def refused(reason: str) -> BadInput:
    """Make the error of a kubeconfig that cannot be used."""
    return BadInput(f"The kubeconfig cannot be used: {reason}", next_action="correct the kubeconfig")
