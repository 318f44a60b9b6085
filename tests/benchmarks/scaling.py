# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Scale many workloads: ours, the raw floor of the same calls, kubectl, and a kubernetes.core loop on a few.

Called by bench_workloads, whose Deployments it scales. As a program it scales those of a namespace once, in a process
of its own whose memory can be told: `python -m tests.benchmarks.scaling KUBECONFIG NAMESPACE REPLICAS`.
"""

from __future__ import annotations

import asyncio
import json
import resource
import ssl
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import yaml

from ansible_collections.platform.recovery.plugins.module_utils.kubernetes.fleet import Settings, build
from ansible_collections.platform.recovery.plugins.module_utils.kubernetes.kubeconfig import load
from ansible_collections.platform.recovery.plugins.module_utils.kubernetes.scale import Rules, scale
from recovery_lab import programs
from tests.support.platform import BIN, ROOT

LIMIT_SECONDS = 300.0
RULES = Rules(capacity="require", autoscalers=True, budgets=True)
# What ours reads before it changes anything: workloads, autoscalers, quotas and their defaults, nodes and pods.
READ = (
    "/apis/apps/v1/namespaces/{}/statefulsets",
    "/apis/autoscaling/v2/namespaces/{}/horizontalpodautoscalers",
    "/api/v1/namespaces/{}/resourcequotas",
    "/api/v1/namespaces/{}/limitranges",
    "/api/v1/nodes",
    "/api/v1/pods",
)


@dataclass(frozen=True)
class Scaled:
    """What one side took: until the last patch was answered, and until all pods were ready."""

    calls: float
    ready: float


def ours(kubeconfig: str, namespace: str, replicas: int) -> Scaled:
    """Scale a whole namespace as the role does, with connections of its own."""
    patched = 0.0
    begin = time.monotonic()

    def told(text: str) -> None:
        nonlocal patched
        if text.endswith(" patched"):
            patched = time.monotonic() - begin

    spaces = [{"cluster": "bench", "namespace": namespace}]
    clusters = {"bench": {"kubeconfig": kubeconfig}}
    fleet, targets = build(clusters, [], Settings(timeout_seconds=LIMIT_SECONDS), spaces)
    try:
        scale(fleet, targets, replicas, told, RULES)
    finally:
        fleet.close()
    return Scaled(patched, time.monotonic() - begin)


def floor(kubeconfig: str, namespace: str, replicas: int, concurrency: int) -> Scaled:
    """Do the same calls with nothing around them."""
    return asyncio.run(_floor(kubeconfig, namespace, replicas, concurrency))


async def _floor(kubeconfig: str, namespace: str, replicas: int, concurrency: int) -> Scaled:
    endpoint = load(kubeconfig)
    headers = {"Authorization": endpoint.credentials.authorization() or "", "Accept": "application/json"}
    tls: ssl.SSLContext | bool = endpoint.tls or False
    connector = aiohttp.TCPConnector(ssl=tls, limit=concurrency + 1)
    base = f"{'https' if endpoint.tls else 'http'}://{endpoint.host}:{endpoint.port}"
    collection = f"/apis/apps/v1/namespaces/{namespace}/deployments"
    # The same patch, lock and short answer as ours: only what stands around the calls is to differ.
    short = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json"
    content = {"Content-Type": "application/merge-patch+json", "Accept": short}
    begin = time.monotonic()
    timeout = aiohttp.ClientTimeout(total=LIMIT_SECONDS)
    async with aiohttp.ClientSession(base, headers=headers, connector=connector, timeout=timeout) as session:

        async def listed(path: str) -> dict[str, Any]:
            async with session.get(path) as answer:
                return dict(await answer.json())

        async def patch(item: dict[str, Any]) -> None:
            meta = item["metadata"]
            annotations = {
                "platform.recovery/replicas": str(item["spec"]["replicas"]),
                "platform.recovery/scaled-to": str(replicas),
            }
            body = {
                "metadata": {"resourceVersion": meta["resourceVersion"], "annotations": annotations},
                "spec": {"replicas": replicas},
            }
            async with session.patch(f"{collection}/{meta['name']}", json=body, headers=content) as answer:
                text = await answer.text()
            if answer.status == 409:  # a controller was quicker: look again, as ours does
                async with session.get(f"{collection}/{meta['name']}") as again:
                    await patch(await again.json())
            else:
                assert answer.status == 200, text

        before = await listed(collection)
        await asyncio.gather(*(listed(path.format(namespace)) for path in READ))
        await asyncio.gather(*(patch(item) for item in before["items"]))
        calls = time.monotonic() - begin
        now = await listed(collection)
        waiting = {item["metadata"]["name"] for item in now["items"] if not scaled(item)}
        version = now["metadata"]["resourceVersion"]
        async with session.get(collection, params={"watch": "1", "resourceVersion": version}) as stream:
            while waiting:
                event = json.loads(await stream.content.readline())
                if scaled(event["object"]):
                    waiting.discard(event["object"]["metadata"]["name"])
    return Scaled(calls, time.monotonic() - begin)


def scaled(item: dict[str, Any]) -> bool:
    """Say whether as many pods are available as are wanted; written apart from ours on purpose."""
    status, wanted = item.get("status", {}), item["spec"]["replicas"]
    current = status.get("observedGeneration", 0) >= item["metadata"]["generation"]
    return current and {status.get(key, 0) for key in ("replicas", "availableReplicas")} == {wanted}


def by_kubectl(kubeconfig: str, namespace: str, replicas: int) -> float:
    """Let kubectl scale all, without waiting; gives the seconds."""
    kubectl = programs.build(programs.manifest()["kubectl"], "building kubectl", print)
    words = ["scale", "deployment", "--all", f"--replicas={replicas}", "--namespace", namespace]
    begin = time.monotonic()
    subprocess.run([kubectl, "--kubeconfig", kubeconfig, *words], check=True, capture_output=True)
    return time.monotonic() - begin


def by_modules(kubeconfig: str, namespace: str, names: list[str], replicas: int) -> float:
    """Scale a few with kubernetes.core.k8s_scale in a loop, without waiting: seconds an object, the play left out."""
    call = {
        "api_version": "apps/v1",
        "kind": "Deployment",
        "name": "{{ item }}",
        "namespace": namespace,
        "replicas": replicas,
        "wait": False,
        "kubeconfig": kubeconfig,
    }
    task = {"name": "Scale", "kubernetes.core.k8s_scale": call, "loop": "{{ names }}"}
    local = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    play = {"hosts": "localhost", "gather_facts": False, "vars": local, "tasks": [task]}

    def run(some: list[str]) -> float:
        with tempfile.TemporaryDirectory() as folder:
            book = Path(folder) / "loop.yml"
            book.write_text(yaml.safe_dump([play]))
            words = ["-i", "localhost,", "-e", json.dumps({"names": some}), str(book)]
            begin = time.monotonic()
            subprocess.run([BIN / "ansible-playbook", *words], check=True, capture_output=True, cwd=folder)
            return time.monotonic() - begin

    return (run(names[1:]) - run(names[:1])) / (len(names) - 2)


def in_a_process(kubeconfig: str, namespace: str, replicas: int) -> dict[str, float]:
    """Scale in a process of its own, and give what that took: seconds, and MiB at its largest."""
    words = ["-m", "tests.benchmarks.scaling", kubeconfig, namespace, str(replicas)]
    done = subprocess.run([sys.executable, *words], check=True, capture_output=True, text=True, cwd=ROOT)
    figures: dict[str, float] = json.loads(done.stdout)
    return figures


if __name__ == "__main__":
    took = ours(sys.argv[1], sys.argv[2], int(sys.argv[3]))
    mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"calls": took.calls, "ready": took.ready, "mib": mib}))
