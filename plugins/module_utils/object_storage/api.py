# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Requests to one region's store: who does not answer is told from who refuses, and nothing waits for ever."""

from __future__ import annotations

import json
import random
import time
from typing import Any
from urllib.parse import quote, urlencode
from xml.etree import ElementTree

from ..errors import BadInput, StepFailed
from .model import Member

try:
    import boto3
    from boto3.exceptions import Boto3Error
    from botocore.auth import S3SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.config import Config
    from botocore.credentials import Credentials
    from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError
    from botocore.httpsession import URLLib3Session
except ImportError:  # said by require, when it is needed
    boto3 = None

CONNECT_SECONDS, READ_SECONDS = 2.0, 10.0
# What is said to be lost is asked no longer than this: the others wait for it.
LOST_SECONDS = 2.0
# How many requests may be under way to one store.
CONNECTIONS = 24
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 2.0
# A busy store is asked again for so long.
BUSY_SECONDS = 20.0
BUSY = frozenset({"SlowDown", "SlowDownRead", "SlowDownWrite", "RequestTimeout", "ServiceUnavailable", "Throttling"})
BUSY_STATUS = frozenset({429, 503})
DENIED = frozenset({"AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "AllAccessDisabled"})
WORDS = {
    "EndpointConnectionError": "it cannot be reached",
    "ConnectionClosedError": "it broke the connection off",
    "ConnectTimeoutError": "it does not answer",
    "ReadTimeoutError": "it does not answer in time",
    "SSLError": "its certificate is not one that the given authority has signed",
    "NoCredentialsError": "no credentials were found for it",
}


class Unreachable(StepFailed):
    """The store does not answer."""


def require() -> None:
    """Refuse to begin without the library. Raises BadInput."""
    if boto3 is None:
        raise BadInput(
            "The Python package boto3 is missing in the Python that runs Ansible",
            wanted="boto3, by which object storage is asked",
            next_action="install boto3 there and run again",
        )


class Api:
    """One region's store."""

    def __init__(self, member: Member, read_seconds: float = READ_SECONDS) -> None:
        self.member = member
        account = member.account
        keys = {"aws_access_key_id": account.user, "aws_secret_access_key": account.password} if account else {}
        config = Config(
            connect_timeout=CONNECT_SECONDS,
            read_timeout=read_seconds,
            max_pool_connections=CONNECTIONS,
            retries={"total_max_attempts": 1},
            # Servers other than AWS have no name for each bucket, and know no checksums but their own.
            s3={"addressing_style": "path"} if member.endpoint else {},
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        )
        try:
            # A session of its own: boto3's common one is not made for threads.
            self._client: Any = boto3.Session(region_name=member.signing_region, **keys).client(
                "s3", endpoint_url=member.endpoint, config=config, verify=member.ca_file
            )
        except (BotoCoreError, Boto3Error, ValueError) as error:
            raise BadInput(
                f"No client of {member.words} can be made: {type(error).__name__}",
                wanted="an endpoint and credentials that AWS' library accepts",
                next_action="correct them and run again; nothing was touched",
            ) from None
        self._session: Any = URLLib3Session(verify=member.ca_file or True, timeout=(CONNECT_SECONDS, read_seconds))

    def call(self, verb: str, *, missing: tuple[str, ...] = (), **words: Any) -> Any:
        """Make one request about the bucket; None where the answer is one of `missing`. Raises StepFailed."""
        begin, pause = time.monotonic(), FIRST_PAUSE
        while True:
            try:
                return getattr(self._client, verb)(Bucket=self.member.bucket, **words)
            except ClientError as error:
                said = error.response.get("Error", {})
                code, status = str(said.get("Code")), error.response["ResponseMetadata"]["HTTPStatusCode"]
                if code in missing:
                    return None
                busy = code in BUSY or status in BUSY_STATUS
                if not busy or time.monotonic() - begin + pause > BUSY_SECONDS:
                    raise refused(self.member, verb.replace("_", " "), code, str(said.get("Message", ""))) from None
            except (BotoCoreError, Boto3Error) as error:
                raise unreachable(self.member, error) from None
            # Many that were refused together must not come back together.
            time.sleep(pause * random.uniform(0.5, 1.0))
            pause = min(2 * pause, LONGEST_PAUSE)

    def signed(self, method: str, path: str, query: dict[str, str], body: bytes = b"") -> bytes:
        """Make a request that boto3 has no words for. Raises StepFailed."""
        account = self.member.account
        url = f"{self.member.endpoint}{quote(path)}?{urlencode(query, quote_via=quote)}"
        request = AWSRequest(method=method, url=url, data=body, headers={"Content-Type": "application/octet-stream"})
        keys = Credentials(account.user, account.password) if account else None
        S3SigV4Auth(keys, "s3", self.member.signing_region).add_auth(request)
        try:
            answer = self._session.send(request.prepare())
        except HTTPClientError as error:
            raise unreachable(self.member, error) from None
        if answer.status_code >= 300:
            code, message = reason(answer.content)
            what = f"{method} {path.rsplit('/', 1)[-1] or path}"
            raise refused(self.member, what, code or str(answer.status_code), message)
        return bytes(answer.content)


def reason(content: bytes) -> tuple[str, str]:
    """Read why a signed request was refused: S3 answers in XML, the administration in JSON."""
    try:
        if content.lstrip().startswith(b"<"):
            told = ElementTree.fromstring(content)
            return told.findtext("Code") or "", told.findtext("Message") or ""
        said = json.loads(content)
        return str(said.get("Code", "")), str(said.get("Message", ""))
    except (ValueError, AttributeError, ElementTree.ParseError):
        return "", ""


def unreachable(member: Member, error: Exception) -> Unreachable:
    """Say that nobody answers, in words that hold no key."""
    return Unreachable(
        f"{member.words} could not be asked",
        wanted=f"an answer of {member.endpoint or 'AWS'}",
        observed=WORDS.get(type(error).__name__, type(error).__name__),
        next_action="mend it or the way to it; if its region is lost, name the region as lost, with a reason",
    )


def refused(member: Member, doing: str, code: str, message: str) -> StepFailed:
    """Say what the store refused, in its own words; they hold no secret of ours."""
    return StepFailed(
        f"{member.words} refused to {doing}",
        wanted="the store does as it is asked",
        observed=f"{code}: {message}" if message else code,
        next_action=(
            "correct the credentials, or grant the account this right, then run the same again"
            if code in DENIED
            else "see what the store says of it, then run the same again"
        ),
        code=code,
    )
