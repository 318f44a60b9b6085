# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The API of one cluster: requests with back-off, paged lists, watches, and errors in few words."""

from __future__ import annotations

import contextlib
import itertools
import json
import random
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from typing import Any, TypeVar
from urllib.parse import urlencode

from ..errors import StepFailed
from ..journal import REDACTED, hide_secrets
from .kubeconfig import CredentialFailure, Endpoint
from .transport import CONNECT_SECONDS, CONNECT_SHARE, Connection, ConnectTimeout, Deadline, encode

T = TypeVar("T")

JSON = "application/json"
# Only metadata comes back: the server has less to write and we have less to read.
METADATA = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json"
METADATA_LIST = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json"
JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"

REQUEST_SECONDS = 10.0
PAGE = 500
# A watch is asked anew this often: behind a load balancer a dead connection looks like a quiet one.
WATCH_SECONDS = 30
TRANSIENT = {500, 502, 503, 504}
TRANSIENT_ATTEMPTS = 6
CONNECT_ATTEMPTS = 3
# Each takes its whole time: two tell a stall from a dead server, more would be paid for in outage.
CONNECT_TIMEOUT_ATTEMPTS = 2
FIRST_BACKOFF_SECONDS = 0.05
LONGEST_BACKOFF_SECONDS = 2.0

HEADS = {
    "unreachable": "is unreachable",
    "unauthorized": "cannot be asked with the kubeconfig's credentials",
    "forbidden": "does not allow to {doing}",
    "not_found": "could not {doing}: not found",
    "conflict": "could not {doing}: somebody else changed it",
    "gone": "could not {doing}: the version asked for is too old",
    "throttled": "could not {doing}: it is overloaded and asks to wait",
    "invalid": "refused to {doing}",
    "broken": "could not {doing}: it failed inside",
}
REASONS = {401: "unauthorized", 403: "forbidden", 404: "not_found", 409: "conflict", 410: "gone", 429: "throttled"}
ACTIONS = {
    "unreachable": "check that the cluster's API server runs and that its address is reachable from here",
    "unauthorized": "renew the credentials that the kubeconfig of this cluster names",
    "forbidden": "grant the kubeconfig's user this right",
}

# In foreign words `token: x` is no verdict of ours: here it is masked as well, which the journal cannot do to its own.
KEYED_SECRET = re.compile(
    r"""(?i)((?:password|passwd|secret|token|api[-_]?key)["']?\s*[=:]\s*)("[^"]*"|'[^']*'|[^\s,;]+)"""
)


class ApiError(StepFailed):
    """What an API server, or the way to it, answered. `reason` is one of HEADS; `text` fits into half a line."""

    def __init__(self, reason: str, text: str, *, cluster: str, doing: str, retried: bool = False) -> None:
        super().__init__(
            f"Cluster {cluster} {HEADS[reason].format(doing=doing)}",
            observed=text,
            next_action=ACTIONS.get(reason, "run it again; what is done already is left alone"),
            cluster=cluster,
            reason=reason,
        )
        self.reason = reason
        self.text = text
        # True if an earlier try of the same request may have been carried out although no answer came.
        self.retried = retried


@dataclass(frozen=True)
class Answer:
    """A response that was read to its end."""

    status: int
    retry_after: float | None
    data: bytes
    # True if a kept connection ended under the request and it was sent again: the first may have been carried out.
    resent: bool = False


class Client:
    """A cluster's API over a small pool of keep-alive connections; safe to use from many threads."""

    def __init__(
        self,
        name: str,
        endpoint: Endpoint,
        *,
        request_seconds: float = REQUEST_SECONDS,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.name = name
        self.endpoint = endpoint
        self.requests = 0
        self._request_seconds = request_seconds
        self._connect_seconds = max(CONNECT_SECONDS, request_seconds / CONNECT_SHARE)
        self._sleep = sleep
        self._lock = threading.Lock()
        self._idle: list[Connection] = []
        self._watching: set[Connection] = set()
        self._not_before = 0.0

    def request(
        self,
        method: str,
        path: str,
        *,
        deadline: Deadline,
        doing: str,
        query: Mapping[str, str] | None = None,
        body: Any = None,
        content_type: str = JSON,
        accept: str = JSON,
    ) -> Any:
        """Do one request, waiting as the server asks, and give its decoded answer. Raises ApiError.

        A write is only ever repeated because all of ours carry a resourceVersion: done twice, the second conflicts.
        """
        data = self.request_bytes(
            method,
            path,
            deadline=deadline,
            doing=doing,
            query=query,
            body=body,
            content_type=content_type,
            accept=accept,
        )
        try:
            return json.loads(data)
        except ValueError:
            raise ApiError("broken", "its answer is not JSON", cluster=self.name, doing=doing) from None

    def request_bytes(
        self,
        method: str,
        path: str,
        *,
        deadline: Deadline,
        doing: str,
        query: Mapping[str, str] | None = None,
        body: Any = None,
        content_type: str = JSON,
        accept: str = JSON,
    ) -> bytes:
        """Do one request as `request` does and give the answer's bytes."""
        payload = None if body is None else json.dumps(body, separators=(",", ":")).encode()
        kind = {"Content-Type": content_type} if payload is not None else {}
        retried = renewed = False
        failures = 0
        for attempt in itertools.count(1):
            self._hold(deadline)
            answer: Answer | None = None
            try:
                headers = self._headers({"Accept": accept, **kind}, deadline, doing)
                answer = self._exchange(method, self._target(path, query), headers, payload, deadline)
                retried = retried or answer.resent
                if answer.status < 300:
                    return answer.data
                error = self._classify(answer, doing, retried)
            except (OSError, HTTPException) as failure:
                error = ApiError(
                    "unreachable", explain(failure, self.endpoint), cluster=self.name, doing=doing, retried=retried
                )
                failures += 1
                if failures >= attempts_at(failure):
                    raise error from None
            if not self._worth_repeating(answer, attempt, renewed):
                raise error
            # Refused for too many requests means not carried out; anything else may have been.
            retried = retried or answer is None or answer.status in TRANSIENT
            renewed = renewed or (answer is not None and answer.status == 401)
            self._back_off(answer, attempt, deadline, error)
        raise AssertionError("unreachable code: the loop above only returns or raises")

    def list(
        self,
        path: str,
        parse: Callable[[dict[str, Any]], T | None],
        *,
        deadline: Deadline,
        doing: str,
        query: Mapping[str, str] | None = None,
        accept: str = JSON,
    ) -> tuple[list[T], str]:
        """List in pages and keep only what `parse` makes of each item. Gives that and the list's resourceVersion."""
        while True:
            items: list[T] = []
            more: dict[str, str] = {"limit": str(PAGE)}
            try:
                while True:
                    page = self.request(
                        "GET", path, deadline=deadline, doing=doing, query={**(query or {}), **more}, accept=accept
                    )
                    items.extend(kept for item in page.get("items") or [] if (kept := parse(item)) is not None)
                    token = page["metadata"].get("continue")
                    if not token:
                        return items, str(page["metadata"].get("resourceVersion", ""))
                    more["continue"] = token
            except ApiError as error:
                # The snapshot behind a continue token was compacted away: only a new list is consistent.
                if error.reason != "gone" or "continue" not in more or deadline.passed():
                    raise

    def watch(
        self,
        path: str,
        version: str,
        *,
        deadline: Deadline,
        doing: str,
        query: Mapping[str, str] | None = None,
        accept: str = JSON,
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        """Give events (type, object) from a version on until the server ends the stream. Raises ApiError."""
        slice_seconds = max(1, min(WATCH_SECONDS, int(deadline.left())))
        asked = {
            **(query or {}),
            "watch": "1",
            "allowWatchBookmarks": "true",
            "resourceVersion": version,
            "timeoutSeconds": str(slice_seconds),
        }
        limit = deadline.sooner(slice_seconds + 2)
        connection: Connection | None = None
        try:
            self._hold(deadline)
            headers = self._headers({"Accept": accept}, deadline, doing)
            connection, response, _ = self._open("GET", self._target(path, asked), headers, None, limit)
            if response.status >= 300:
                answer = Answer(response.status, retry_after(response), response.read())
                if answer.status == 401:
                    self.endpoint.credentials.forget()
                if answer.status == 429:
                    self._all_wait(answer.retry_after or FIRST_BACKOFF_SECONDS)
                raise self._classify(answer, doing, False)
            with self._lock:
                self._watching.add(connection)
            for line in response:
                event = json.loads(line)
                if event["type"] == "ERROR":
                    status = event.get("object") or {}
                    answer = Answer(int(status.get("code", 500)), None, json.dumps(status).encode())
                    raise self._classify(answer, doing, False)
                yield event["type"], event["object"]
        except (OSError, HTTPException, ValueError, KeyError) as failure:
            text = explain(failure, self.endpoint)
            raise ApiError("unreachable", text, cluster=self.name, doing=doing) from None
        finally:
            if connection:
                with self._lock:
                    self._watching.discard(connection)
                connection.close()

    def interrupt(self) -> None:
        """End all watches."""
        with self._lock:
            for connection in self._watching:
                connection.interrupt()

    def close(self) -> None:
        """End all watches and close what is idle."""
        self.interrupt()
        with self._lock:
            for connection in self._idle:
                connection.close()
            self._idle.clear()

    def _target(self, path: str, query: Mapping[str, str] | None) -> str:
        return self.endpoint.path + path + ("?" + urlencode(query) if query else "")

    def _headers(self, headers: Mapping[str, str], deadline: Deadline, doing: str) -> dict[str, str]:
        try:
            # Before the connection and outside the request's own limit: a program may have to be run for it.
            authorization = self.endpoint.credentials.authorization(deadline.left())
        except CredentialFailure as failure:
            raise ApiError(failure.reason, str(failure), cluster=self.name, doing=doing) from None
        host = f"{self.endpoint.host}:{self.endpoint.port}"
        known = {"Host": host, "User-Agent": "platform.recovery", **headers}
        return {**known, "Authorization": authorization} if authorization else known

    def _exchange(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes | None, deadline: Deadline
    ) -> Answer:
        limit = deadline.sooner(self._request_seconds)
        connection, response, resent = self._open(method, target, headers, body, limit)
        try:
            data = response.read()
        except BaseException:
            connection.close()
            raise
        if response.will_close:
            connection.close()
        else:
            with self._lock:
                self._idle.append(connection)
        return Answer(response.status, retry_after(response), data, resent)

    def _open(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes | None, deadline: Deadline
    ) -> tuple[Connection, HTTPResponse, bool]:
        request = encode(method, target, headers, body)
        resent = False
        while True:
            with self._lock:
                connection = self._idle.pop() if self._idle else None
                self.requests += 1
            if connection is None:
                connection = Connection(self.endpoint, deadline, self._connect_seconds)
            reused = connection.used
            try:
                return connection, connection.send(request, method, deadline), resent
            except BaseException as failure:
                connection.close()
                # A server may close a kept connection at any time; that is no news about the server.
                if not reused or not isinstance(failure, (ConnectionError, HTTPException)):
                    raise
                resent = True

    def _classify(self, answer: Answer, doing: str, retried: bool) -> ApiError:
        reason = REASONS.get(answer.status) or ("broken" if answer.status >= 500 else "invalid")
        return ApiError(reason, said(answer), cluster=self.name, doing=doing, retried=retried)

    def _worth_repeating(self, answer: Answer | None, attempt: int, renewed: bool) -> bool:
        if answer is None or answer.status == 429:
            return True
        if answer.status == 401:
            return not renewed and self.endpoint.credentials.forget()
        return answer.status in TRANSIENT and attempt < TRANSIENT_ATTEMPTS

    def _back_off(self, answer: Answer | None, attempt: int, deadline: Deadline, error: ApiError) -> None:
        if answer is not None and answer.status == 401:
            return
        grown = min(LONGEST_BACKOFF_SECONDS, FIRST_BACKOFF_SECONDS * 2 ** (attempt - 1))
        pause = grown * random.uniform(0.5, 1.0)
        if answer is not None and answer.retry_after is not None:
            pause = max(pause, answer.retry_after)
        if time.monotonic() + pause >= deadline.at:
            raise error
        if answer is not None and answer.status == 429:
            self._all_wait(pause)
            return
        self._sleep(pause)

    def _all_wait(self, pause: float) -> None:
        # Back-pressure is the cluster's, not the request's: all threads hold still.
        with self._lock:
            self._not_before = max(self._not_before, time.monotonic() + pause)

    def _hold(self, deadline: Deadline) -> None:
        with self._lock:
            pause = self._not_before - time.monotonic()
        if pause > 0:
            self._sleep(min(pause, max(0.0, deadline.at - time.monotonic())))


def said(answer: Answer) -> str:
    """Give the server's own words, briefly and without anything that looks like a secret."""
    text = ""
    with contextlib.suppress(ValueError, AttributeError):
        text = str(json.loads(answer.data).get("message", ""))
    return f"HTTP {answer.status}" + (f": {brief(text)}" if text else "")


def brief(text: str, length: int = 200) -> str:
    """Cut a foreign text to one line and mask what looks like a secret."""
    text = " ".join(KEYED_SECRET.sub(rf"\g<1>{REDACTED}", hide_secrets(text)).split())
    return text if len(text) <= length else text[: length - 3] + "..."


def explain(failure: Exception, endpoint: Endpoint) -> str:
    """Say why no answer came."""
    where = f"{endpoint.host}:{endpoint.port}"
    if isinstance(failure, ssl.SSLCertVerificationError):
        return f"the certificate of {where} is not trusted: {failure.verify_message}"
    if isinstance(failure, ssl.SSLError):
        return f"TLS with {where} failed: {failure.reason or 'the connection ended'}"
    if isinstance(failure, socket.gaierror):
        return f"the name {endpoint.host} cannot be resolved"
    if isinstance(failure, TimeoutError):
        return f"{where} gave no answer in time"
    if isinstance(failure, ConnectionRefusedError):
        return f"{where} refused the connection"
    if isinstance(failure, (ConnectionError, HTTPException, ValueError, KeyError)):
        return f"{where} ended the connection"
    return f"{where}: {getattr(failure, 'strerror', None) or type(failure).__name__}"


def attempts_at(failure: Exception) -> int:
    """Say how often to try where no answer came: once if it took its whole time or will not change."""
    if isinstance(failure, ConnectTimeout):
        return CONNECT_TIMEOUT_ATTEMPTS
    hopeless = isinstance(failure, (TimeoutError, ssl.SSLCertVerificationError, socket.gaierror))
    return 1 if hopeless else CONNECT_ATTEMPTS


def retry_after(response: HTTPResponse) -> float | None:
    """Read the seconds a server asks to wait. The date form of the header is not used by API servers."""
    try:
        return max(0.0, float(response.getheader("Retry-After") or ""))
    except ValueError:
        return None
