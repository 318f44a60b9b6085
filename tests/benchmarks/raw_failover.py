# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The floor of a failover: promote, repoint and wait, no question asked. To measure against, never to use."""

from __future__ import annotations

import asyncio
import base64
import ssl
import sys
import time
from pathlib import Path
from typing import Any

import aiohttp
import psycopg2
import yaml

LAB = Path(__file__).resolve().parents[2] / ".lab"
ADDRESSES = {"us-west-2": "127.101.0.30", "us-east-1": "127.102.0.30"}
SERVICES = ("user-service", "tenant-service", "plugin-service", "ai-service")
DEPLOYMENTS = "/apis/apps/v1/namespaces/production/deployments"


async def main(target: str) -> None:
    """Promote and patch at once."""
    host = f"postgresql.{target}.lab.internal"
    connection = psycopg2.connect(
        host=host,
        hostaddr=ADDRESSES[target],
        user="postgres",
        password=(LAB / "secrets/postgres").read_text().strip(),
        dbname="postgres",
        sslmode="verify-full",
        sslrootcert=LAB / "ca.crt",
    )
    connection.autocommit = True
    cursor = connection.cursor()
    cursor.execute("SELECT pg_promote(false)")
    await asyncio.gather(*(repoint(str(path), host) for path in (LAB / "kubeconfig").glob("*.yml")))
    while True:
        cursor.execute("SELECT pg_is_in_recovery()")
        if not cursor.fetchone()[0]:
            return
        time.sleep(0.002)


async def repoint(kubeconfig: str, host: str) -> None:
    """Patch the four services of one cluster."""
    access = yaml.safe_load(Path(kubeconfig).read_text())
    cluster, user = access["clusters"][0]["cluster"], access["users"][0]["user"]
    context = ssl.create_default_context(**authority(cluster))
    headers = {"Authorization": f"Bearer {user['token']}", "Content-Type": "application/strategic-merge-patch+json"}
    connector = aiohttp.TCPConnector(ssl=context)
    async with aiohttp.ClientSession(cluster["server"], headers=headers, connector=connector) as session:
        await asyncio.gather(*(patch(session, name, host) for name in SERVICES))


async def patch(session: aiohttp.ClientSession, name: str, host: str) -> None:
    """Change one variable of one service."""
    async with session.get(f"{DEPLOYMENTS}/{name}") as response:
        container = (await response.json())["spec"]["template"]["spec"]["containers"][0]["name"]
    containers = [{"name": container, "env": [{"name": "DB_HOST", "value": host}]}]
    body = {"spec": {"template": {"spec": {"containers": containers}}}}
    async with session.patch(f"{DEPLOYMENTS}/{name}", json=body) as response:
        response.raise_for_status()


def authority(cluster: dict[str, Any]) -> dict[str, Any]:
    """Find the certificate authority, in a file or in place."""
    if "certificate-authority" in cluster:
        return {"cafile": cluster["certificate-authority"]}
    return {"cadata": base64.b64decode(cluster["certificate-authority-data"]).decode()}


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
