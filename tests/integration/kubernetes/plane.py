# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A throw-away Kubernetes control plane of real servers, and a node that does what a test wants of it."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trustme
import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from ansible_collections.platform.recovery.plugins.module_utils.kubernetes.client import MERGE_PATCH, ApiError, Client
from ansible_collections.platform.recovery.plugins.module_utils.kubernetes.kubeconfig import load
from ansible_collections.platform.recovery.plugins.module_utils.kubernetes.transport import Deadline
from recovery_lab import programs

NODE = "puppet"
NAMESPACE = "production"
LIFE_SECONDS = 3600.0


@dataclass(frozen=True)
class Plane:
    """A running control plane."""

    folder: Path
    address: str
    kubeconfig: Path
    client: Client
    processes: dict[str, subprocess.Popen[bytes]]

    def call(self, method: str, path: str, body: Any = None, content_type: str = "application/json") -> Any:
        """Do one call as the administrator."""
        return self.client.request(
            method, path, deadline=Deadline.after(20), doing=path, body=body, content_type=content_type
        )

    def deployment(self, name: str) -> Any:
        """Read a Deployment."""
        return self.call("GET", f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments/{name}")

    def patch(self, name: str, body: Any) -> Any:
        """Change a Deployment behind everybody's back."""
        return self.call("PATCH", f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments/{name}", body, MERGE_PATCH)

    def pods(self) -> list[Any]:
        """List all pods."""
        return list(self.call("GET", f"/api/v1/namespaces/{NAMESPACE}/pods")["items"])


@contextlib.contextmanager
def running(folder: Path, address: str, etcd_address: str) -> Iterator[Plane]:
    """Run etcd, kube-apiserver and the controller-manager for the time of a test session."""
    paths = programs.find("small", print)
    processes: dict[str, subprocess.Popen[bytes]] = {}
    kubeconfig = write_files(folder, address)

    def start(name: str, *words: str) -> None:
        # Dies with pytest, however pytest dies.
        guard = [shutil.which("setpriv") or "", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []
        with (folder / f"{name}.log").open("wb") as log:
            processes[name] = subprocess.Popen([*guard, *words], stdout=log, stderr=log, stdin=subprocess.DEVNULL)

    def command(name: str) -> list[str]:
        return [str(paths["kube"]), name]

    client_url, peer_url = f"http://{etcd_address}:2379", f"http://{etcd_address}:2380"
    try:
        start(
            "etcd",
            str(paths["etcd"]),
            f"--data-dir={folder}/etcd",
            f"--listen-client-urls={client_url}",
            f"--advertise-client-urls={client_url}",
            f"--listen-peer-urls={peer_url}",
            f"--initial-advertise-peer-urls={peer_url}",
            f"--initial-cluster=default={peer_url}",
            "--unsafe-no-fsync",
            "--log-level=warn",
        )
        start("apiserver", *command("kube-apiserver"), *apiserver_flags(folder, address, client_url))
        client = Client("plane", load(str(kubeconfig)))
        wait_for(lambda: healthy(client), "the API server", 60)
        shared = [f"--kubeconfig={kubeconfig}", f"--bind-address={address}", "--leader-elect=false"]
        shared += ["--kube-api-qps=200", "--kube-api-burst=400"]
        controllers = (
            "--controllers=deployment,replicaset,statefulset,disruption,resourcequota,horizontalpodautoscaling"
        )
        sizes = ["--concurrent-deployment-syncs=20", "--concurrent-replicaset-syncs=20"]
        # Nobody measures anything here: what an autoscaler does is to hold its bounds, and that within a second.
        sizes += ["--horizontal-pod-autoscaler-sync-period=1s"]
        start("controller-manager", *command("kube-controller-manager"), *shared, controllers, *sizes)
        plane = Plane(folder, address, kubeconfig, client, processes)
        plane.call("POST", "/api/v1/namespaces", {"metadata": {"name": NAMESPACE}})
        yield plane
    finally:
        for process in reversed(processes.values()):
            process.kill()
            process.wait()


def write_files(folder: Path, address: str) -> Path:
    """Write keys, certificates, accounts and the kubeconfig."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "ca.crt")
    issued = authority.issue_cert(address)
    issued.private_key_pem.write_to_path(folder / "server.key")
    issued.cert_chain_pems[0].write_to_path(folder / "server.crt")
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    (folder / "sa.key").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
        )
    )
    (folder / "sa.pub").write_bytes(
        key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    (folder / "tokens.csv").write_text('admin-token,admin,1,"system:masters"\nnobody-token,nobody,2\n')
    for account in ("admin", "nobody"):
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [
                {"name": "plane", "cluster": {"server": f"https://{address}:6443", "certificate-authority": "ca.crt"}}
            ],
            "users": [{"name": account, "user": {"token": f"{account}-token"}}],
            "contexts": [{"name": "plane", "context": {"cluster": "plane", "user": account}}],
            "current-context": "plane",
        }
        (folder / f"{account}.kubeconfig").write_text(yaml.safe_dump(content))
    return folder / "admin.kubeconfig"


def apiserver_flags(folder: Path, address: str, etcd: str) -> list[str]:
    """Give the flags of an unprivileged API server that needs no network of its own."""
    return [
        f"--etcd-servers={etcd}",
        f"--bind-address={address}",
        f"--advertise-address={address}",
        "--secure-port=6443",
        f"--tls-cert-file={folder}/server.crt",
        f"--tls-private-key-file={folder}/server.key",
        f"--client-ca-file={folder}/ca.crt",
        f"--token-auth-file={folder}/tokens.csv",
        "--authorization-mode=RBAC",
        f"--service-account-key-file={folder}/sa.pub",
        f"--service-account-signing-key-file={folder}/sa.key",
        "--service-account-issuer=https://kubernetes.default.svc",
        "--service-cluster-ip-range=10.6.0.0/16",
        "--endpoint-reconciler-type=none",
        # Pods here need no account, and nobody makes them one.
        "--disable-admission-plugins=ServiceAccount",
    ]


def healthy(client: Client) -> bool:
    """Say whether the API server is ready."""
    try:
        return client.request_bytes("GET", "/readyz", deadline=Deadline.after(2), doing="ask") == b"ok"
    except ApiError:
        return False


def wait_for(probe: Callable[[], Any], what: str, seconds: float = 20.0) -> None:
    """Wait until a probe holds."""
    end = time.monotonic() + seconds
    while not probe():
        assert time.monotonic() < end, f"waited {seconds} s for {what}"
        time.sleep(0.05)


def workload(
    name: str, *, kind: str = "Deployment", replicas: int = 2, host: str = "db.west", **pod: Any
) -> dict[str, Any]:
    """Write a workload that the puppet node runs. Its pods are ready unless DB_HOST begins with `dead`."""
    labels = {"app": name, **pod.pop("labels", {})}
    container = {
        "name": "app",
        "image": "lab-app",
        "env": [
            {"name": "SERVICE_NAME", "value": name},
            {"name": "DB_HOST", "value": host},
            {"name": "DB_PASSWORD", "valueFrom": {"secretKeyRef": {"name": "database", "key": "password"}}},
        ],
    }
    spec = {
        "nodeName": NODE,
        "terminationGracePeriodSeconds": 1,
        "automountServiceAccountToken": False,
        "containers": [container],
        **pod,
    }
    return {
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": labels}, "spec": spec},
            **({"serviceName": name, "podManagementPolicy": "Parallel"} if kind == "StatefulSet" else {}),
        },
    }


class Puppet(threading.Thread):
    """Plays the node: reports pods as running, lets them go when they are deleted. Tests pull its strings."""

    def __init__(self, plane: Plane) -> None:
        super().__init__(daemon=True)
        self.client = Client("puppet", load(str(plane.kubeconfig)))
        self.clinging = threading.Event()
        self.deadline = Deadline.after(LIFE_SECONDS)
        self.told: dict[str, str] = {}

    def run(self) -> None:
        """Look at all pods whenever one changes."""
        while not self.deadline.passed():
            try:
                self.look()
            except ApiError:
                time.sleep(0.1)

    def look(self) -> None:
        """List and watch."""
        pods, version = self.client.list("/api/v1/pods", lambda pod: pod, deadline=self.deadline, doing="list")
        for pod in pods:
            self.handle(pod)
        for event, pod in self.client.watch("/api/v1/pods", version, deadline=self.deadline, doing="watch"):
            if event in ("ADDED", "MODIFIED"):
                self.handle(pod)

    def handle(self, pod: dict[str, Any]) -> None:
        """Do for one pod what a kubelet would."""
        meta = pod["metadata"]
        path = f"/api/v1/namespaces/{meta['namespace']}/pods/{meta['name']}"
        with contextlib.suppress(ApiError):
            if meta.get("deletionTimestamp"):
                if not self.clinging.is_set():
                    body = {"kind": "DeleteOptions", "apiVersion": "v1", "gracePeriodSeconds": 0}
                    self.client.request("DELETE", path, deadline=self.deadline, doing="delete", body=body)
            elif meta["uid"] not in self.told:
                self.told[meta["uid"]] = meta["name"]
                body = {"status": status(pod)}
                self.client.request(
                    "PATCH",
                    f"{path}/status",
                    deadline=self.deadline,
                    doing="report",
                    body=body,
                    content_type=MERGE_PATCH,
                )

    def release(self) -> None:
        """Let go of the pods that were held."""
        self.clinging.clear()
        for pod in self.client.list("/api/v1/pods", lambda pod: pod, deadline=self.deadline, doing="list")[0]:
            self.handle(pod)


def status(pod: dict[str, Any]) -> dict[str, Any]:
    """Give the status of a pod that started just now."""
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    container = pod["spec"]["containers"][0]
    host = next(entry.get("value", "") for entry in container["env"] if entry["name"] == "DB_HOST")
    ready = not host.startswith("dead")
    running: dict[str, Any] = {"running": {"startedAt": now}}
    waiting = {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s"}}
    word = "True" if ready else "False"
    return {
        "phase": "Running",
        "podIP": "127.6.100.1",
        "startTime": now,
        "conditions": [
            {"type": kind, "status": word, "lastTransitionTime": now} for kind in ("Ready", "ContainersReady")
        ],
        "containerStatuses": [
            {
                "name": container["name"],
                "image": container["image"],
                "imageID": "",
                "ready": ready,
                "started": ready,
                "restartCount": 0 if ready else 3,
                "state": running if ready else waiting,
                "lastState": {} if ready else {"terminated": {"exitCode": 1, "reason": "Error"}},
            }
        ],
    }


def clean(plane: Plane) -> None:
    """Delete all workloads, what limits them and what was granted, and wait until their pods are gone."""
    for kind in (
        "autoscaling/v2/namespaces/{}/horizontalpodautoscalers",
        "policy/v1/namespaces/{}/poddisruptionbudgets",
        "rbac.authorization.k8s.io/v1/namespaces/{}/rolebindings",
        "apps/v1/namespaces/{}/deployments",
        "apps/v1/namespaces/{}/statefulsets",
    ):
        plane.call("DELETE", f"/apis/{kind.format(NAMESPACE)}")
    for collection in (f"/api/v1/namespaces/{NAMESPACE}/resourcequotas", "/api/v1/nodes"):
        plane.call("DELETE", collection)
    # Nobody collects garbage here: what the workloads owned is deleted by hand.
    plane.call("DELETE", f"/apis/apps/v1/namespaces/{NAMESPACE}/replicasets")
    plane.call("DELETE", f"/api/v1/namespaces/{NAMESPACE}/pods")
    wait_for(lambda: not plane.pods(), "all pods to go")
