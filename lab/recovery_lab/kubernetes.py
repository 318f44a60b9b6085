# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A Kubernetes control plane a region, and what plays its node: our agent, or kwok where only numbers matter."""

from __future__ import annotations

import http.client
import json
import ssl
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from . import addresses, identity, supervisor
from .errors import LabError
from .state import State, write
from .wait import NotYet

# Our own clients are many and impatient for their size; the defaults would throttle a rollout of the lab.
QPS = ["--kube-api-qps=200", "--kube-api-burst=400"]
# Those of the two that serve nothing else.
HEALTH_PORTS = {"controller-manager": 10257, "scheduler": 10259}
ACCOUNTS = ("admin", "controller-manager", "scheduler", "node-agent", "dns")


class Refused(LabError):
    """The API took a call for wrong: the same one again would not help."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Cluster:
    """One region's control plane."""

    state: State
    programs: Mapping[str, Path]
    region: str
    node: str = "agent"

    @property
    def target(self) -> str:
        """Name the server for the command line."""
        return f"{self.region}/kubernetes"

    @property
    def folder(self) -> Path:
        """Give the folder of its configuration."""
        return self.state.server(self.region, "kubernetes")

    @property
    def data(self) -> Path:
        """Give the folder of etcd's data."""
        return self.state.data(self.region, "kubernetes")

    @property
    def index(self) -> int:
        """Give the region's number."""
        return addresses.region_index(self.region)

    @property
    def address(self) -> str:
        """Give the address of the API."""
        return addresses.server_address(self.region, "kubernetes")

    @property
    def node_address(self) -> str:
        """Give the address of the node."""
        return f"127.{self.index}.0.{addresses.NODE_BYTE}"

    def _file(self, name: str) -> Path:
        return self.state.pki / f"{self.region}-{name}"

    def token(self, account: str) -> str:
        """Give an account's password."""
        return self.state.secret(f"{self.region}-token-{account}")

    def configure(self) -> None:
        """Write the accounts and everybody's access."""
        rows = [f'{self.token(name)},{name},{name},"system:masters"\n' for name in ACCOUNTS]
        write(self.folder / "tokens.csv", "".join(rows), mode=0o600)
        for name in ACCOUNTS[1:]:
            write(self.folder / f"{name}.kubeconfig", self._kubeconfig(name, self.address), mode=0o600)
        identity.own(self.folder)
        operator = addresses.link_address(addresses.OPERATOR, self.region, "kubernetes")
        write(self.state.kubeconfig(self.region), self._kubeconfig("admin", operator), mode=0o600)
        self.data.mkdir(parents=True, exist_ok=True, mode=0o700)
        identity.own(self.data.parent)

    def _kubeconfig(self, account: str, address: str) -> str:
        cluster = {
            "server": f"https://{address}:{addresses.PLACES['kubernetes'][1]}",
            "certificate-authority": str(self.state.ca),
        }
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": self.region, "cluster": cluster}],
            "users": [{"name": account, "user": {"token": self.token(account)}}],
            "contexts": [{"name": self.region, "context": {"cluster": self.region, "user": account}}],
            "current-context": self.region,
        }
        return yaml.safe_dump(content, sort_keys=False)

    def define(self) -> None:
        """Tell the supervisor how to run each part."""
        parts = {
            "etcd": self._etcd(),
            "apiserver": self._apiserver(),
            "controller-manager": self._controller_manager(),
            "scheduler": self._scheduler(),
            "node-agent": self._agent() if self.node == "agent" else self._kwok(),
        }
        for name, definition in parts.items():
            supervisor.define(f"{self.target}/{name}", definition, self.state)

    def _etcd(self) -> supervisor.Definition:
        host = f"127.{self.index}.0.{addresses.ETCD_BYTE}"
        client, peer = f"http://{host}:{addresses.ETCD_PORT}", f"http://{host}:{addresses.ETCD_PEER_PORT}"
        words = [f"--data-dir={self.data}", f"--listen-client-urls={client}", f"--advertise-client-urls={client}"]
        words += [f"--listen-peer-urls={peer}", f"--initial-advertise-peer-urls={peer}"]
        words += [f"--initial-cluster=default={peer}", "--log-level=warn"]
        # The lab loses no machine: what matters here is the API, not etcd's durability.
        return supervisor.Definition([self.programs["etcd"], *words, "--unsafe-no-fsync"])

    def _apiserver(self) -> supervisor.Definition:
        etcd = f"http://127.{self.index}.0.{addresses.ETCD_BYTE}:{addresses.ETCD_PORT}"
        words = [
            f"--etcd-servers={etcd}",
            f"--bind-address={self.address}",
            f"--advertise-address={self.address}",
            f"--secure-port={addresses.PLACES['kubernetes'][1]}",
            f"--tls-cert-file={self._file('kubernetes.crt')}",
            f"--tls-private-key-file={self._file('kubernetes.key')}",
            f"--client-ca-file={self.state.ca}",
            "--kubelet-preferred-address-types=InternalIP",
            f"--token-auth-file={self.folder}/tokens.csv",
            "--authorization-mode=Node,RBAC",
            f"--service-account-key-file={self._file('service-account.pub')}",
            f"--service-account-signing-key-file={self._file('service-account.key')}",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-cluster-ip-range=10.{self.index}.0.0/16",
            # There is no address of 10/8 on loopback: nobody could use the endpoints of the service "kubernetes".
            "--endpoint-reconciler-type=none",
        ]
        return supervisor.Definition([self.programs["kube"], "kube-apiserver", *words], stop_seconds=3)

    def _controller_manager(self) -> supervisor.Definition:
        words = [
            f"--kubeconfig={self.folder}/controller-manager.kubeconfig",
            f"--bind-address={self.address}",
            f"--service-account-private-key-file={self._file('service-account.key')}",
            f"--root-ca-file={self.state.ca}",
            "--use-service-account-credentials=false",
            "--leader-elect=false",
            # Endpoints may not hold loopback addresses: the region's DNS looks for ready pods itself.
            "--controllers=*,-nodeipam,-cloud-node-lifecycle-controller,-endpoints-controller,"
            "-endpointslice-controller,-endpointslice-mirroring-controller",
            "--concurrent-deployment-syncs=20",
            "--concurrent-replicaset-syncs=20",
            *QPS,
        ]
        return supervisor.Definition([self.programs["kube"], "kube-controller-manager", *words], stop_seconds=3)

    def _scheduler(self) -> supervisor.Definition:
        words = [f"--kubeconfig={self.folder}/scheduler.kubeconfig", f"--bind-address={self.address}"]
        words += ["--leader-elect=false", *QPS]
        return supervisor.Definition([self.programs["kube"], "kube-scheduler", *words], stop_seconds=3)

    def _agent(self) -> supervisor.Definition:
        words: list[str | Path] = ["--node", self.region]
        words += ["--kubeconfig", self.folder / "node-agent.kubeconfig", "--address", self.node_address]
        words += ["--pod-cidr-base", f"127.{self.index}.100", "--state", self.folder]
        words += ["--resolver", addresses.endpoint(self.region, "dns")]
        words += ["--program", f"lab-app={self.programs['lab-app']}"]
        return supervisor.Definition([self.programs["lab-node-agent"], *words])

    def _kwok(self) -> supervisor.Definition:
        # Without stages kwok does not start; our build of it brings its own.
        stages = identity.run([self.programs["kwok"], "stages"], cwd=self.state.root, what="kwok stages")
        identity.own(write(self.folder / "stages.yaml", stages))
        words = [f"--kubeconfig={self.folder}/node-agent.kubeconfig", f"--config={self.folder}/stages.yaml"]
        words += ["--manage-all-nodes=false", "--manage-nodes-with-annotation-selector=kwok.x-k8s.io/node=fake"]
        return supervisor.Definition([self.programs["kwok"], *words])

    def start(self) -> None:
        """Start the store and the API, then all that needs them."""
        supervisor.act(f"{self.target}/etcd", "start")
        supervisor.act(f"{self.target}/apiserver", "start")
        self.wait_until_ready()
        for part in ("controller-manager", "scheduler", "node-agent"):
            supervisor.act(f"{self.target}/{part}", "start")

    def wait_until_ready(self) -> None:
        """Wait for the API."""
        process = f"{self.target}/apiserver"
        supervisor.wait_for(
            self.answers, process=process, state=self.state, seconds=60, what=f"{self.target} to be ready"
        )

    def answers(self) -> None:
        """Probe: the API and all its hooks are ready."""
        self.call("GET", "/readyz")

    def call(self, method: str, path: str, body: Any = None, *, raw: bool = False, done: int = 0) -> Any:
        """Make one call to the API where it is, as the operator."""
        with closing(Api(self)) as api:
            return api.call(method, path, body, raw=raw, done=done)

    def healthy(self, part: str) -> None:
        """Probe: the controller-manager or the scheduler says that it is well. Each serves a certificate of its own."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        port = HEALTH_PORTS[part]
        with closing(http.client.HTTPSConnection(self.address, port, timeout=5, context=context)) as connection:
            connection.request("GET", "/healthz")
            status = connection.getresponse().status
        if status != 200:
            raise NotYet(f"{self.target}/{part} answers {status}")

    def create(self, manifest: Mapping[str, Any]) -> None:
        """Make an object, once: what exists is left as a recovery or its operator made it."""
        self.call("POST", f"{collection_path(manifest)}?fieldManager=recovery-lab", manifest, done=409)


class Api:
    """A connection to a control plane, kept over many calls. For one thread."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        context = ssl.create_default_context(cafile=str(cluster.state.ca))
        port = addresses.PLACES["kubernetes"][1]
        self._connection = http.client.HTTPSConnection(cluster.address, port, timeout=5, context=context)
        self._token = cluster.token("admin")

    def close(self) -> None:
        """Give the connection up; the next call makes a new one."""
        self._connection.close()

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        raw: bool = False,
        done: int = 0,
        accept: str = "application/json",
    ) -> Any:
        """Call the API. NotYet if it says that it is not ready, LabError on a refusal.

        The status `done` says that nothing was left to do.
        """
        headers = {
            "Authorization": f"Bearer {self._token}",
            "Content-Type": "application/json",
            "Accept": accept,
        }
        try:
            self._connection.request(method, path, None if body is None else json.dumps(body), headers)
            response = self._connection.getresponse()
            answer = response.read()
        except http.client.HTTPException as error:
            self.close()
            raise NotYet(str(error)) from error
        except OSError:
            self.close()
            raise
        if response.status in (401, 403, 429) or response.status >= 500:
            raise NotYet(f"{method} {path}: {response.status}")
        if response.status >= 400 and response.status != done:
            text = answer.decode(errors="replace").strip()
            raise Refused(f"{self._cluster.target} refused {method} {path}: {response.status} {text}", response.status)
        return json.loads(answer) if answer.startswith((b"{", b"[")) and not raw else answer


PLURALS = {
    "Namespace": "namespaces",
    "ServiceAccount": "serviceaccounts",
    "Secret": "secrets",
    "ConfigMap": "configmaps",
    "Service": "services",
    "Deployment": "deployments",
    "Node": "nodes",
}


def collection_path(manifest: Mapping[str, Any]) -> str:
    """Give the API's path of the collection that an object belongs to."""
    group = manifest["apiVersion"]
    root = f"/apis/{group}" if "/" in group else f"/api/{group}"
    namespace = manifest["metadata"].get("namespace")
    return f"{root}/{f'namespaces/{namespace}/' if namespace else ''}{PLURALS[manifest['kind']]}"
