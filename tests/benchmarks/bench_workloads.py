# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Repoint, restart and scale 200 workloads: ours, the raw floor of the same calls, kubectl, and module loops on a few.

Uses the lab's scale profile, or RECOVERY_BENCH_KUBECONFIG with a cluster on which Deployments of any image become
ready. Each round does both sides one after the other, so that a machine whose speed
drifts changes figures but not ratios.
"""

from __future__ import annotations

import asyncio
import json
import os
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import yaml

from ansible_collections.platform.recovery.plugins.module_utils.kubernetes.bulk import run_all
from ansible_collections.platform.recovery.plugins.module_utils.kubernetes.client import ApiError, Client
from ansible_collections.platform.recovery.plugins.module_utils.kubernetes.fleet import Settings, build
from ansible_collections.platform.recovery.plugins.module_utils.kubernetes.kubeconfig import load
from ansible_collections.platform.recovery.plugins.module_utils.kubernetes.repoint import repoint
from ansible_collections.platform.recovery.plugins.module_utils.kubernetes.rollout import rollout
from ansible_collections.platform.recovery.plugins.module_utils.kubernetes.transport import Deadline
from tests.benchmarks import scaling
from tests.benchmarks.scaling import Scaled
from tests.support.platform import lab, servers

NAMESPACE = "bench"
COLLECTION = f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments"
FLOOR_CONCURRENCY = (16, 32)
LIMIT_SECONDS = 300.0
WORKLOADS = 200
ROUNDS = 3
# A loop of modules takes seconds for each object: a few of them tell.
LOOP = 5
MANY = 1000
MANY_NAMESPACE = "bench-many"


@dataclass(frozen=True)
class Figures:
    """What one side took: for the calls alone, and until all pods were new."""

    calls: float
    rolled_out: float


def bench() -> dict[str, Any]:
    """Give the comparison; brings the scale lab up unless RECOVERY_BENCH_KUBECONFIG names another cluster."""
    named = os.environ.get("RECOVERY_BENCH_KUBECONFIG")
    if named:
        return compare(named)
    lab("down")
    lab("up", "--profile", "scale")
    try:
        cluster = next(row for row in servers().values() if row["kind"] == "kubernetes")
        return compare(str(cluster["connect"]["kubeconfig"]))
    finally:
        lab("down")
        lab("up", "--profile", "small")


def compare(kubeconfig: str) -> dict[str, Any]:
    """Measure all sides on one cluster."""
    client = Client("bench", load(kubeconfig))
    names = [f"svc-{number:04d}" for number in range(WORKLOADS)]
    provide(client, names)
    settle(kubeconfig, names)
    ours, floor = measure(kubeconfig, names, ROUNDS)
    repointed = summarise(ours, floor, measure_loop(kubeconfig, names[:LOOP]))
    sized = measure_scaling(client, kubeconfig, names)
    return {
        "rows": repointed["rows"] + sized["rows"],
        "claims": repointed["claims"] + sized["claims"],
        "samples": repointed["samples"] | sized["samples"],
    }


def measure_scaling(client: Client, kubeconfig: str, names: list[str]) -> dict[str, Any]:
    """Scale all from one to two and back: ours, the floor, kubectl, and a module loop on a few; then a thousand."""
    ours: list[Scaled] = []
    floor: dict[int, list[Scaled]] = {concurrency: [] for concurrency in FLOOR_CONCURRENCY}
    scaling.ours(kubeconfig, NAMESPACE, 1)
    for _ in range(ROUNDS):
        ours.append(scaling.ours(kubeconfig, NAMESPACE, 2))
        scaling.ours(kubeconfig, NAMESPACE, 1)
        for concurrency, figures in floor.items():
            figures.append(scaling.floor(kubeconfig, NAMESPACE, 2, concurrency))
            scaling.ours(kubeconfig, NAMESPACE, 1)
    loop = scaling.by_modules(kubeconfig, NAMESPACE, names[: LOOP + 1], 2)
    scaling.ours(kubeconfig, NAMESPACE, 1)
    kubectl = scaling.by_kubectl(kubeconfig, NAMESPACE, 2)
    scaling.ours(kubeconfig, NAMESPACE, 1)
    provide(client, [f"svc-{number:04d}" for number in range(MANY)], MANY_NAMESPACE, replicas=0)
    many = scaling.in_a_process(kubeconfig, MANY_NAMESPACE, 1)
    client.request("DELETE", f"/api/v1/namespaces/{MANY_NAMESPACE}", deadline=Deadline.after(60), doing="clean up")
    return summarise_scaling(ours, floor, loop, kubectl, many)


def summarise_scaling(
    ours: list[Scaled], floor: dict[int, list[Scaled]], loop: float, kubectl: float, many: dict[str, float]
) -> dict[str, Any]:
    """Compare medians; the floor is the better of its concurrencies."""
    calls = statistics.median(one.calls for one in ours)
    ready = statistics.median(one.ready for one in ours)
    calls_floor = min(statistics.median(one.calls for one in figures) for figures in floor.values())
    ready_floor = min(statistics.median(one.ready for one in figures) for figures in floor.values())
    each, each_kubectl = calls / WORKLOADS, kubectl / WORKLOADS
    return {
        "rows": [
            ("scaled, room looked for", f"{calls:.2f}", f"{calls_floor:.2f}", f"{calls / calls_floor:.2f}"),
            ("scaled and all ready", f"{ready:.1f}", f"{ready_floor:.1f}", f"{ready / ready_floor:.2f}"),
            ("scaled, per object (k8s_scale)", f"{each:.4f}", f"{loop:.2f}", f"1/{loop / each:.0f}"),
            ("scaled, per object (kubectl)", f"{each:.4f}", f"{each_kubectl:.3f}", f"1/{each_kubectl / each:.0f}"),
            (
                f"{MANY} scaled and ready",
                f"{many['ready']:.1f}",
                f"calls {many['calls']:.1f}",
                f"{many['mib']:.0f} MiB",
            ),
        ],
        "claims": [
            ("scaling against the raw floor of its calls", calls / calls_floor, 1.2),
            ("scaling until ready against the raw floor", ready / ready_floor, 1.2),
            ("scaling per object against the module loop", each / loop, 0.01),
            ("scaling per object against kubectl scale --all", each / each_kubectl, 0.05),
            ("memory of scaling a thousand, MiB", many["mib"], 300),
        ],
        "samples": {
            "scale_ours": [vars(figures) for figures in ours],
            "scale_many": many,
            **{f"scale_floor_{concurrency}": [vars(one) for one in all_] for concurrency, all_ in floor.items()},
        },
    }


def provide(client: Client, names: list[str], namespace: str = NAMESPACE, replicas: int = 1) -> None:
    """Create the namespace and the Deployments that are not there yet."""

    def create(path: str, body: Any) -> None:
        try:
            client.request("POST", path, deadline=Deadline.after(60), doing=f"create in {path}", body=body)
        except ApiError as error:
            if error.reason != "conflict":
                raise

    create("/api/v1/namespaces", {"metadata": {"name": namespace}})
    account = {"metadata": {"name": "default"}}
    create(f"/api/v1/namespaces/{namespace}/serviceaccounts", account)
    collection = f"/apis/apps/v1/namespaces/{namespace}/deployments"

    def deploy(name: str) -> None:
        create(collection, manifest(name, replicas))

    for answer in run_all({"bench": names}, deploy, concurrency=16).values():
        if isinstance(answer, ApiError):
            raise answer


def manifest(name: str, replicas: int) -> dict[str, Any]:
    """Write a Deployment as services have them: a handful of variables, one of them to be repointed."""
    env = [{"name": f"SETTING_{number}", "value": f"value {number}"} for number in range(8)]
    container = {"name": "app", "image": "lab-app", "env": [*env, {"name": "DB_HOST", "value": "first"}]}
    return {
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [container], "automountServiceAccountToken": False},
            },
        },
    }


def settle(kubeconfig: str, names: list[str]) -> dict[str, Any]:
    """Wait with our own verb until all are rolled out."""
    return with_ours(kubeconfig, names, lambda fleet, targets: rollout(fleet, targets, restart_since=None))


def with_ours(kubeconfig: str, names: list[str], verb: Callable[..., dict[str, Any]]) -> dict[str, Any]:
    """Call one of our verbs as its action does, with connections of its own."""
    workloads = [{"cluster": "bench", "namespace": NAMESPACE, "name": name, "kind": "Deployment"} for name in names]
    fleet, targets = build({"bench": {"kubeconfig": kubeconfig}}, workloads, Settings(timeout_seconds=LIMIT_SECONDS))
    try:
        return verb(fleet, targets)
    finally:
        fleet.close()


def measure(kubeconfig: str, names: list[str], rounds: int) -> tuple[list[Figures], dict[int, list[Figures]]]:
    """Take turns: ours, then the floor with each concurrency."""
    ours: list[Figures] = []
    floor: dict[int, list[Figures]] = {concurrency: [] for concurrency in FLOOR_CONCURRENCY}
    for number in range(rounds):
        ours.append(measure_ours(kubeconfig, names, f"ours-{number}-{time.time()}"))
        for concurrency, figures in floor.items():
            figures.append(asyncio.run(measure_floor(kubeconfig, names, f"floor-{number}-{time.time()}", concurrency)))
    return ours, floor


def measure_ours(kubeconfig: str, names: list[str], value: str) -> Figures:
    """Repoint and wait as the two roles do."""
    begin = time.monotonic()
    result = with_ours(kubeconfig, names, lambda fleet, targets: repoint(fleet, targets, "DB_HOST", value))
    calls = time.monotonic() - begin
    assert result["patched"] == len(names)
    settle(kubeconfig, names)
    return Figures(calls, time.monotonic() - begin)


async def measure_floor(kubeconfig: str, names: list[str], value: str, concurrency: int) -> Figures:
    """Do the same calls with nothing around them: one list, the patches, then a watch by hand until all are new."""
    endpoint = load(kubeconfig)
    scheme = "https" if endpoint.tls else "http"
    headers = {"Authorization": endpoint.credentials.authorization() or "", "Accept": "application/json"}
    tls: ssl.SSLContext | bool = endpoint.tls or False
    connector = aiohttp.TCPConnector(ssl=tls, limit=concurrency + 1)
    timeout = aiohttp.ClientTimeout(total=LIMIT_SECONDS)
    base = f"{scheme}://{endpoint.host}:{endpoint.port}"
    begin = time.monotonic()
    async with aiohttp.ClientSession(base, headers=headers, connector=connector, timeout=timeout) as session:

        async def listed() -> dict[str, Any]:
            async with session.get(COLLECTION) as answer:
                return dict(await answer.json())

        # The same patch, lock and short answer as ours: only what stands around the calls is to differ.
        short = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json"
        content = {"Content-Type": "application/json-patch+json", "Accept": short}

        async def patch(item: dict[str, Any]) -> None:
            variables = item["spec"]["template"]["spec"]["containers"][0]["env"]
            index = next(i for i, variable in enumerate(variables) if variable["name"] == "DB_HOST")
            body = [
                {"op": "add", "path": "/metadata/resourceVersion", "value": item["metadata"]["resourceVersion"]},
                {"op": "add", "path": f"/spec/template/spec/containers/0/env/{index}/value", "value": value},
            ]
            path = f"{COLLECTION}/{item['metadata']['name']}"
            async with session.patch(path, json=body, headers=content) as answer:
                text = await answer.text()
            if answer.status == 409:  # a controller was quicker: look again, as ours does
                async with session.get(path) as again:
                    await patch(await again.json())
            else:
                assert answer.status == 200, text

        before = await listed()
        await asyncio.gather(*(patch(item) for item in before["items"] if item["metadata"]["name"] in names))
        calls = time.monotonic() - begin
        now = await listed()
        waiting = {item["metadata"]["name"] for item in now["items"] if not rolled_out(item)} & set(names)
        version = now["metadata"]["resourceVersion"]
        async with session.get(COLLECTION, params={"watch": "1", "resourceVersion": version}) as stream:
            while waiting:
                event = json.loads(await stream.content.readline())
                if rolled_out(event["object"]):
                    waiting.discard(event["object"]["metadata"]["name"])
    return Figures(calls, time.monotonic() - begin)


def rolled_out(item: dict[str, Any]) -> bool:
    """Say whether a Deployment's pods are all new; written apart from ours on purpose."""
    status, wanted = item.get("status", {}), item["spec"]["replicas"]
    counts = {status.get(key, 0) for key in ("replicas", "updatedReplicas", "availableReplicas")}
    return status.get("observedGeneration", 0) >= item["metadata"]["generation"] and counts == {wanted}


def measure_loop(kubeconfig: str, names: list[str]) -> float:
    """Patch a few with kubernetes.core.k8s in a loop: seconds an object, without the play around it."""
    definition = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "{{ item }}", "namespace": NAMESPACE},
        "spec": {
            "template": {
                "spec": {"containers": [{"name": "app", "env": [{"name": "DB_HOST", "value": "{{ value }}"}]}]}
            }
        },
    }
    patch = {"state": "patched", "kubeconfig": kubeconfig, "definition": definition}
    task = {"name": "Patch", "kubernetes.core.k8s": patch, "loop": "{{ names }}"}
    local = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    play = {"hosts": "localhost", "gather_facts": False, "vars": local, "tasks": [task]}

    def run(some: list[str]) -> float:
        with tempfile.TemporaryDirectory() as folder:
            book = Path(folder) / "loop.yml"
            book.write_text(yaml.safe_dump([play]))
            extra = json.dumps({"names": some, "value": f"loop-{time.time()}"})
            ansible = Path(sys.executable).parent / "ansible-playbook"
            begin = time.monotonic()
            subprocess.run(
                [ansible, "-i", "localhost,", "-e", extra, book], check=True, capture_output=True, cwd=folder
            )
            return time.monotonic() - begin

    return (run(names) - run(names[:1])) / (len(names) - 1)


def summarise(ours: list[Figures], floor: dict[int, list[Figures]], loop: float) -> dict[str, Any]:
    """Compare medians; the floor is the better of its concurrencies, for the calls and for the whole."""

    def median(figures: list[Figures], of: Callable[[Figures], float]) -> float:
        return statistics.median(map(of, figures))

    def best(of: Callable[[Figures], float]) -> float:
        return min(median(figures, of) for figures in floor.values())

    calls, calls_floor = median(ours, lambda f: f.calls), best(lambda f: f.calls)
    whole, whole_floor = median(ours, lambda f: f.rolled_out), best(lambda f: f.rolled_out)
    each = calls / WORKLOADS
    return {
        "rows": [
            (f"{WORKLOADS} workloads, seconds", "ours", "other", "ratio"),
            ("list and patch (floor: aiohttp)", f"{calls:.2f}", f"{calls_floor:.2f}", f"{calls / calls_floor:.2f}"),
            ("all rolled out (floor: aiohttp)", f"{whole:.1f}", f"{whole_floor:.1f}", f"{whole / whole_floor:.2f}"),
            ("per object (kubernetes.core)", f"{each:.4f}", f"{loop:.2f}", f"1/{loop / each:.0f}"),
        ],
        "claims": [
            ("list and patch against the raw floor", calls / calls_floor, 1.2),
            ("per object against the module loop", each / loop, 0.01),
        ],
        "samples": {
            "ours": [vars(figures) for figures in ours],
            **{f"floor_{concurrency}": [vars(figures) for figures in all_] for concurrency, all_ in floor.items()},
        },
    }
