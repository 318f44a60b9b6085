# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Calls of AWS: throttling is waited out until a deadline, everything else is said in our words.

boto3 would try again by itself, with waits that know nothing of a deadline, so that is switched off. Keys come from the
description or from boto3's ordinary chain and are never part of a message.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Any

from ..errors import BadInput, StepFailed
from .model import Account

try:
    import boto3
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, PartialCredentialsError
except ImportError:  # said by client, when it is needed
    boto3 = None

CONNECT_SECONDS, READ_SECONDS = 2.0, 10.0
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 3.0
# What AWS says to somebody who asks too often, or while it is still busy with what was asked before.
THROTTLED = frozenset(
    {
        "Throttling",
        "ThrottlingException",
        "ThrottledException",
        "TooManyRequestsException",
        "RequestLimitExceeded",
        "PriorRequestNotComplete",
    }
)
BUSY_STATUS = frozenset({429, 500, 502, 503, 504})
# A connection that fails is tried this often: a control plane that is down stays so for longer than anybody waits here.
ATTEMPTS = 3
DENIED = frozenset({"AccessDenied", "AccessDeniedException", "InvalidClientTokenId", "SignatureDoesNotMatch"})


class Unreachable(StepFailed):
    """The API does not answer, or throttled us until the deadline."""


def client(service: str, account: Account | None, region: str, endpoint: str | None) -> Any:
    """Give a client of a service. Raises BadInput."""
    if boto3 is None:
        raise BadInput(
            "The Python package boto3 is missing in the Python that runs Ansible",
            wanted="boto3, by which AWS is asked",
            next_action="install boto3 there and run again",
        )
    config = Config(connect_timeout=CONNECT_SECONDS, read_timeout=READ_SECONDS, retries={"total_max_attempts": 1})
    keys = {"aws_access_key_id": account.user, "aws_secret_access_key": account.password} if account else {}
    try:
        return boto3.client(service, region_name=region, endpoint_url=endpoint, config=config, **keys)
    except (BotoCoreError, ValueError) as error:
        raise BadInput(
            f"No client of {service} can be made: {type(error).__name__}",
            wanted="credentials and an endpoint that AWS' library accepts",
            next_action="correct them and run again; nothing was touched",
        ) from None


class Aws:
    """One service, asked with patience."""

    def __init__(
        self,
        made: Any,
        name: str,
        deadline: float,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._client = made
        self.name = name
        self._deadline = deadline
        self._clock, self._sleep = clock, sleep
        self._busy = 0

    def call(self, verb: str, **words: Any) -> Any:
        """Make one request. Raises Unreachable, StepFailed; ClientError's code is in the field `code`."""
        pause, failures = FIRST_PAUSE, 0
        while True:
            try:
                return getattr(self._client, verb)(**words)
            except ClientError as error:
                said = error.response.get("Error", {})
                status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
                if said.get("Code") not in THROTTLED and status not in BUSY_STATUS:
                    raise refused(self.name, verb, str(said.get("Code")), str(said.get("Message", ""))) from None
                self._busy += 1
                seen = f"{said.get('Code')} ({status}), {self._busy} times"
            except (NoCredentialsError, PartialCredentialsError) as error:
                raise keyless(self.name, type(error).__name__) from None
            except BotoCoreError as error:
                failures += 1
                seen = type(error).__name__
                if failures >= ATTEMPTS:
                    raise self._unreachable(verb, seen) from None
            if self._clock() + pause >= self._deadline:
                raise self._unreachable(verb, seen)
            # Many clients that were refused together must not come back together.
            self._sleep(pause * random.uniform(0.5, 1.0))
            pause = min(2 * pause, LONGEST_PAUSE)

    def _unreachable(self, verb: str, seen: str) -> Unreachable:
        return Unreachable(
            f"{self.name} could not be asked to {verb.replace('_', ' ')}",
            wanted="an answer before the deadline",
            observed=seen,
            next_action=(
                "wait until it is no longer busy and the account no longer throttled, then run the same again"
                if self._busy
                else f"check the way to {self.name} and its health, then run the same again"
            ),
        )


def keyless(name: str, observed: str) -> BadInput:
    """Say that nobody told us who we are."""
    return BadInput(
        f"No credentials for {name} were found",
        wanted="a zone's credentials, or an entry of boto3's own chain",
        observed=observed,
        next_action="give them and run again; nothing was touched",
    )


def refused(name: str, verb: str, code: str, message: str) -> StepFailed:
    """Say what AWS refused, in its own words; they hold no secret of ours."""
    return StepFailed(
        f"{name} refused to {verb.replace('_', ' ')}",
        wanted=f"{name} does as it is asked",
        observed=f"{code}: {message}",
        next_action=(
            "correct the credentials, or grant this right in IAM, then run the same again"
            if code in DENIED
            else f"see what {name} says of it, then run the same again"
        ),
        code=code,
    )
