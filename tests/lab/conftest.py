# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One lab for the whole session, used through its command line as people use it."""

from __future__ import annotations

import http.client
import json
import os
import ssl
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg2
import pytest
import yaml

ROOT = Path(__file__).parents[2]


class LabUnderTest:
    """The lab's command line, and clients that use nothing but what `status --json` tells."""

    def __init__(self) -> None:
        self.connects: dict[str, dict[str, str]] = {}

    def run(self, *words: str, ok: bool = True, **variables: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "PYTHONPATH": str(ROOT / "lab"), **variables}
        argv = [sys.executable, "-m", "recovery_lab", *words]
        done = subprocess.run(argv, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=180)
        if ok:
            assert done.returncode == 0, done.stderr
        return done

    def make_healthy(self) -> None:
        self.run("up", "--fresh", "--profile", "small", "--postgresql", "18")

    def status(self) -> dict[str, Any]:
        content: dict[str, Any] = json.loads(self.run("status", "--json").stdout)
        return content

    def servers(self) -> dict[str, dict[str, Any]]:
        return {row["target"]: row for row in self.status()["servers"]}

    def server(self, target: str) -> dict[str, Any]:
        return self.servers()[target]

    def connect(self, target: str) -> dict[str, str]:
        """How to reach a server: it stays the same for the lab's life."""
        if not self.connects:
            self.connects = {name: row["connect"] for name, row in self.servers().items()}
        return self.connects[target]

    def pods(self, service: str) -> list[dict[str, Any]]:
        return [row for target, row in self.servers().items() if f"/{service}/" in target]

    def sql(self, target: str, statement: str) -> list[tuple[Any, ...]]:
        with closing(psycopg2.connect(self.connect(target)["url"], connect_timeout=2)) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(statement)
                return list(cursor.fetchall()) if cursor.description else []

    def call(self, region: str, method: str, path: str, body: Any = None, *, direct: bool = False) -> tuple[int, Any]:
        url = self.connect(f"{region}/edge")["direct_url" if direct else "url"]
        return call(url, method, path, body)

    def kubernetes(self, region: str, method: str, path: str, patch: str | None = None) -> Any:
        """Ask a region's API as its operator."""
        access = yaml.safe_load(Path(self.connect(f"{region}/kubernetes")["kubeconfig"]).read_text())
        cluster, token = access["clusters"][0]["cluster"], access["users"][0]["user"]["token"]
        context = ssl.create_default_context(cafile=cluster["certificate-authority"])
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/strategic-merge-patch+json"}
        place = urlsplit(cluster["server"])
        assert place.hostname
        with closing(http.client.HTTPSConnection(place.hostname, place.port, timeout=5, context=context)) as connection:
            connection.request(method, path, patch, headers)
            response = connection.getresponse()
            content = json.loads(response.read())
        assert response.status == 200, content
        return content

    def write(self, region: str, *, direct: bool = False, service: str = "user-service") -> tuple[int, str]:
        key = uuid.uuid4().hex
        status, _ = self.call(region, "POST", f"/v1/{service}/rows", {"key": key, "value": "v"}, direct=direct)
        return status, key


def call(url: str, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    place = urlsplit(url)
    assert place.hostname
    with closing(http.client.HTTPConnection(place.hostname, place.port, timeout=5)) as connection:
        connection.request(method, place.path + path, None if body is None else json.dumps(body))
        response = connection.getresponse()
        content = response.read()
    return response.status, json.loads(content) if content else None


def eventually(probe: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not probe():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.1)


def processes_below(folder: Path) -> list[int]:
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if Path(os.readlink(entry / "cwd")).is_relative_to(folder):
                found.append(int(entry.name))
        except OSError:
            continue
    return found


@pytest.fixture(scope="session")
def lab() -> LabUnderTest:
    """A healthy lab; who breaks it mends it."""
    found = LabUnderTest()
    found.make_healthy()
    return found
