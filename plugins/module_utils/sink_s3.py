# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Objects in a bucket, by boto3 and its ordinary chain of credentials: what `sink.py` asks of a place."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from email.utils import parsedate_to_datetime
from typing import Any

import boto3
from boto3.exceptions import Boto3Error
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from .errors import BadInput
from .sink import Address, SinkDown

# The first with all of what is asked of it here.
OLDEST = (1, 36)
# An outage goes on while somebody waits here, so each request is made once; the sink's own retries come later.
CONNECT_SECONDS, READ_SECONDS = 1.0, 2.0
FETCHERS = 8
EXISTS = ("PreconditionFailed", "ConditionalRequestConflict", "412", "409")
MISSING = ("NoSuchKey", "404", "NotFound")
WORDS = {
    "EndpointConnectionError": "it cannot be reached",
    "ConnectTimeoutError": "it does not answer",
    "ReadTimeoutError": "it does not answer in time",
    "NoCredentialsError": "no credentials were found for it",
}


class S3Store:
    """The objects of one run, by names below its folder in the bucket."""

    def __init__(self, address: Address, folder: str) -> None:
        if tuple(int(part) for part in boto3.__version__.split(".")[:2]) < OLDEST:
            raise BadInput(
                f"boto3 {boto3.__version__} is too old to keep a journal in object storage",
                wanted="boto3 1.36 or newer",
                observed=f"boto3 {boto3.__version__}",
                next_action="renew boto3 where ansible-playbook runs, or use file: with a folder that outlives the run",
            )
        self._bucket = address.bucket
        self._root = f"{folder}/"
        config = Config(
            connect_timeout=CONNECT_SECONDS,
            read_timeout=READ_SECONDS,
            retries={"total_max_attempts": 1},
            # Servers other than AWS have no name for each bucket, and know no checksums but their own.
            s3={"addressing_style": "path"} if address.endpoint else {},
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        )
        with _reached():
            session = boto3.Session(region_name=address.region)
            region = session.region_name or "us-east-1"
            self._client: Any = session.client("s3", endpoint_url=address.endpoint, config=config, region_name=region)
            self._credentials: Any = session.get_credentials()

    def secrets(self) -> list[str]:
        """Give what must never be written anywhere."""
        found = self._credentials
        return [value for value in (found.secret_key, found.token) if value] if found else []

    def names(self, below: str) -> list[str]:
        """List the objects of which the names begin so, in their order."""
        return list(self._listed("Contents", self._root + below, lambda entry: str(entry["Key"])[len(self._root) :]))

    def runs(self) -> list[str]:
        """List the folders in this one: the runs, where this is the sink's own."""
        cut = len(self._root)
        return list(self._listed("CommonPrefixes", self._root, lambda e: str(e["Prefix"])[cut:].strip("/"), "/"))

    def create(self, name: str, body: bytes) -> bool:
        """Write an object that is not there yet. False if it is: nothing is ever overwritten by this."""
        try:
            with _reached(EXISTS):
                self._client.put_object(Bucket=self._bucket, Key=self._root + name, Body=body, IfNoneMatch="*")
        except ClientError:
            return False
        return True

    def put(self, name: str, body: bytes) -> None:
        """Write an object, over whatever is there."""
        with _reached():
            self._client.put_object(Bucket=self._bucket, Key=self._root + name, Body=body)

    def get(self, name: str) -> bytes | None:
        """Read an object; None where there is none."""
        try:
            with _reached(MISSING):
                found = self._client.get_object(Bucket=self._bucket, Key=self._root + name)
                return bytes(found["Body"].read())
        except ClientError:
            return None

    def read(self, names: list[str]) -> list[bytes]:
        """Read several objects, which are there, side by side."""
        with ThreadPoolExecutor(FETCHERS) as pool:
            found = list(pool.map(self.get, names))
        return [body or b"" for body in found]

    def age(self, name: str) -> float | None:
        """Say how long ago an object was written, by the clock of the server alone; None where there is none."""
        try:
            with _reached(MISSING):
                found = self._client.head_object(Bucket=self._bucket, Key=self._root + name)
        except ClientError:
            return None
        now = parsedate_to_datetime(found["ResponseMetadata"]["HTTPHeaders"]["date"])
        return float((now - found["LastModified"]).total_seconds())

    def _listed(
        self, kind: str, prefix: str, name: Callable[[Mapping[str, Any]], str], delimiter: str = ""
    ) -> Iterator[str]:
        with _reached():
            wanted = {"Bucket": self._bucket, "Prefix": prefix, **({"Delimiter": delimiter} if delimiter else {})}
            for page in self._client.get_paginator("list_objects_v2").paginate(**wanted):
                yield from (name(entry) for entry in page.get(kind) or ())


@contextlib.contextmanager
def _reached(expected: tuple[str, ...] = ()) -> Iterator[None]:
    """Turn what goes wrong into SinkDown, in words that hold no key; an expected answer goes through as ClientError."""
    try:
        yield
    except ClientError as error:
        code = str(error.response.get("Error", {}).get("Code"))
        if code in expected:
            raise
        raise SinkDown(f"it answers {code}") from error
    except (BotoCoreError, Boto3Error, OSError) as error:
        raise SinkDown(WORDS.get(type(error).__name__, type(error).__name__)) from error
