# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A client of MinIO: buckets by boto3, users, policies and targets of replication by its administrative calls."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from .errors import LabError

GONE = ("404", "NoSuchBucket", "NotFound")


@dataclass(frozen=True)
class Account:
    """Who somebody is for a server."""

    user: str
    password: str = field(repr=False)


@dataclass(frozen=True)
class Minio:
    """One server, as its root sees it."""

    url: str
    region: str
    ca: Path
    root: Account

    @cached_property
    def s3(self) -> Any:
        """Give the client for buckets and objects."""
        return self.client(self.root)

    def client(self, account: Account) -> Any:
        """Give a client for somebody."""
        # Half a second to import: who asks for no bucket must not wait for it.
        import boto3
        from botocore.config import Config

        session = boto3.Session(account.user, account.password, region_name=self.region)
        config = Config(
            s3={"addressing_style": "path"}, connect_timeout=2, read_timeout=20, retries={"max_attempts": 0}
        )
        return session.client("s3", endpoint_url=self.url, verify=str(self.ca), config=config)

    def make_bucket(self, bucket: str) -> None:
        """Make a bucket that keeps every version."""
        from botocore.exceptions import ClientError

        try:
            self.s3.head_bucket(Bucket=bucket)
        except ClientError as error:
            if error.response["Error"]["Code"] not in GONE:
                raise
            self.s3.create_bucket(Bucket=bucket)
        self.s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})

    def make_policy(self, name: str, effect: str, actions: list[str], bucket: str) -> None:
        """Make a policy about a bucket and what is in it."""
        resources = [f"arn:aws:s3:::{bucket}/*"] + ([f"arn:aws:s3:::{bucket}"] if effect == "Allow" else [])
        statement = {"Effect": effect, "Action": actions, "Resource": resources}
        content = {"Version": "2012-10-17", "Statement": [statement]}
        self.call("PUT", "add-canned-policy", json.dumps(content).encode(), name=name)

    def make_user(self, account: Account, *policies: str) -> None:
        """Make a user, or give it other policies."""
        content = {"secretKey": account.password, "status": "enabled"}
        self.call("PUT", "add-user", self.encrypted(content), accessKey=account.user)
        names = ",".join(policies)
        self.call("PUT", "set-user-or-group-policy", policyName=names, userOrGroup=account.user, isGroup="false")

    def replicate(self, bucket: str, to: str, target: str, region: str, account: Account) -> None:
        """Replicate everything to a bucket of another server, which this one reaches at `to` (host:port)."""
        content = {
            "sourcebucket": bucket,
            "endpoint": to,
            "credentials": {"accessKey": account.user, "secretKey": account.password},
            "targetbucket": target,
            "secure": True,
            "type": "replication",
            "region": region,
            "replicationSync": False,
            "disableProxy": True,
            "healthCheckDuration": 5 * 10**9,
        }
        arn = self.call("PUT", "set-remote-target", self.encrypted(content), bucket=bucket)
        # DeleteReplication is MinIO's own, boto3 has no word for it; without it a delete marker is sent once or never.
        parts = ("DeleteMarkerReplication", "DeleteReplication", "ExistingObjectReplication")
        rule = "".join(f"<{name}><Status>Enabled</Status></{name}>" for name in parts)
        rule += "<ID>cross-region</ID><Status>Enabled</Status><Priority>1</Priority><Filter><Prefix></Prefix></Filter>"
        rule += f"<Destination><Bucket>{arn}</Bucket></Destination>"
        text = f"<ReplicationConfiguration><Role></Role><Rule>{rule}</Rule></ReplicationConfiguration>"
        self._send("PUT", f"{self.url}/{bucket}?replication=", text.encode())

    def encrypted(self, content: Mapping[str, Any]) -> bytes:
        """Encrypt the body of a call with the caller's own secret, as the server wants it."""
        salt, nonce = os.urandom(32), os.urandom(8)
        box = AESGCM(hashlib.pbkdf2_hmac("sha256", self.root.password.encode(), salt, 8192, 32))
        first, second = (nonce + number.to_bytes(4, "little") for number in (0, 1))
        seal = box.encrypt(first, b"", b"")
        return salt + b"\x02" + nonce + box.encrypt(second, json.dumps(content).encode(), b"\x80" + seal)

    def call(self, method: str, what: str, body: bytes = b"", **query: str) -> Any:
        """Make an administrative call. LabError if it is refused, OSError if nobody answers."""
        url = f"{self.url}/minio/admin/v3/{what}?{urlencode(query, quote_via=quote)}"
        content = self._send(method, url, body)
        return json.loads(content) if content.strip() else None

    def _send(self, method: str, url: str, body: bytes) -> bytes:
        from botocore.auth import S3SigV4Auth
        from botocore.awsrequest import AWSRequest
        from botocore.credentials import Credentials
        from botocore.exceptions import HTTPClientError
        from botocore.httpsession import URLLib3Session

        headers = {"Content-Type": "application/octet-stream"}
        request = AWSRequest(method=method, url=url, data=body, headers=headers)
        S3SigV4Auth(Credentials(self.root.user, self.root.password), "s3", self.region).add_auth(request)
        try:
            answer = URLLib3Session(verify=str(self.ca), timeout=(2, 20)).send(request.prepare())
        except HTTPClientError as error:
            raise ConnectionError(str(error)) from error
        if answer.status_code >= 300:
            raise LabError(f"MinIO refused {method} {url}: {answer.text}")
        return bytes(answer.content)
