# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Patroni's REST API: one node, and the nodes of a region of which any one will do. Every request has a deadline."""

from __future__ import annotations

import base64
import json
import ssl
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from http.client import HTTPException
from typing import Any, TypeVar
from urllib.parse import urlsplit

from ..errors import BadInput, StepFailed, StepTimeout
from ..kubernetes.client import explain
from ..kubernetes.kubeconfig import Credentials as NoToken
from ..kubernetes.kubeconfig import Endpoint
from ..kubernetes.transport import Connection, Deadline, encode
from ..waiting import wait_until
from .model import Credentials, PatroniNode, PatroniPlace
from .patroni import DONE, Document, Region, read_cluster

T = TypeVar("T")

# A node that is frozen takes this long to say nothing.
READ_SECONDS = 3.0
RETRY_SECONDS = 0.2
CONFLICT = 409
DENIED = frozenset({401, 403})
MOST_BYTES = 1024 * 1024


class ApiError(StepFailed):
    """A node could not be asked, or refused. `status` is its answer's, if there was one."""

    def __init__(self, node: str, doing: str, observed: str, *, status: int | None = None) -> None:
        action = "see whether Patroni runs there and reaches its DCS, then run the same again"
        if status in DENIED:
            action = "correct patroni.credentials, cert_file and key_file of the platform description"
        super().__init__(
            f"Patroni's API on {node} could not {doing}",
            wanted="Patroni does as it is asked",
            observed=observed,
            next_action=action,
            node=node,
            status=status,
        )
        self.status = status


@dataclass(frozen=True)
class Answer:
    """What a node answered."""

    status: int
    text: str

    @property
    def good(self) -> bool:
        """Say whether it did as it was asked."""
        return self.status in DONE

    def document(self) -> Any:
        """Read it. Raises ValueError."""
        return json.loads(self.text)


@dataclass
class Api:
    """One node's API."""

    node: PatroniNode
    tls: ssl.SSLContext | None
    account: Credentials | None = field(default=None, repr=False)

    def request(self, method: str, path: str, seconds: float, body: Document | None = None) -> Answer:
        """Make one request, which is never made twice. Raises ApiError where no answer comes."""
        endpoint = endpoint_of(self.node, self.tls)
        headers = {"Host": endpoint.host, "Accept": "application/json", "Connection": "close"}
        if self.account:
            words = f"{self.account.user}:{self.account.password or ''}"
            headers["Authorization"] = f"Basic {base64.b64encode(words.encode()).decode()}"
        payload = None if body is None else json.dumps(body).encode()
        if payload is not None:
            headers["Content-Type"] = "application/json"
        deadline = Deadline.after(seconds)
        try:
            connection = Connection(endpoint, deadline)
            try:
                sent = encode(method, endpoint.path + path, headers, payload)
                response = connection.send(sent, method, deadline)
                return Answer(response.status, response.read(MOST_BYTES).decode(errors="replace"))
            finally:
                connection.close()
        except (OSError, ValueError, HTTPException) as failure:
            doing = f"be asked for {path}" if method == "GET" else f"be told {path}"
            raise ApiError(self.node.name, doing, explain(failure, endpoint)) from None

    def get(self, path: str, seconds: float) -> Any:
        """Read a document. Raises ApiError."""
        answer = self.request("GET", path, seconds)
        try:
            if answer.good:
                return answer.document()
            observed = f"status {answer.status}"
        except ValueError:
            observed = "its answer is no JSON"
        raise ApiError(self.node.name, f"give {path}", observed, status=answer.status)

    def patch_config(self, change: Document, seconds: float) -> Document:
        """Change the cluster's configuration, again where somebody else wrote it in between. Raises ApiError.

        Each of our changes says what the result is to be: to make one twice is to make it once.
        """
        last: list[Answer] = []

        def written() -> bool:
            last[:] = [self.request("PATCH", "/config", min(READ_SECONDS, seconds), change)]
            return last[0].status != CONFLICT

        try:
            wait_until(written, seconds=seconds, interval=RETRY_SECONDS, describe="its configuration to be written")
        except StepTimeout as error:
            observed = f"status {last[0].status}: others go on changing it" if last else str(error.observed)
            raise ApiError(self.node.name, "change its configuration", observed, status=None) from None
        [answer] = last
        if not answer.good:
            observed = f"status {answer.status}: {short(answer.text)}"
            raise ApiError(self.node.name, "change its configuration", observed, status=answer.status)
        document: Document = answer.document()
        return document


@dataclass
class Nodes:
    """The nodes of one member. All tell the same of their cluster, so whoever answers is believed."""

    member: str
    apis: Sequence[Api]

    def first(self, ask: Callable[[Api], T]) -> T:
        """Ask all at once and take the first answer. Raises the last node's error where none comes."""
        pool = ThreadPoolExecutor(max_workers=max(1, len(self.apis)))
        try:
            asked = [pool.submit(ask, api) for api in self.apis]
            last: ApiError | None = None
            for done in as_completed(asked):
                try:
                    return done.result()
                except ApiError as error:
                    last = error
            raise last or ApiError(self.member, "be asked", "no node is described")
        finally:
            pool.shutdown(wait=False)  # a frozen one is not waited for

    def region(self, seconds: float = READ_SECONDS) -> Region:
        """Read the cluster and its configuration. Raises ApiError."""
        return self.first(lambda api: region_of(api, seconds))

    def named(self, name: str) -> Api | None:
        """Give a node by its name."""
        return next((api for api in self.apis if api.node.name == name), None)


def region_of(api: Api, seconds: float) -> Region:
    """Read what a node knows of its cluster. Raises ApiError."""
    return Region(read_cluster(api.get("/cluster", seconds)), api.get("/config", seconds), api.node.name)


def nodes_of(member: str, place: PatroniPlace, account: Credentials | None) -> Nodes:
    """Give the way to the nodes of a member. Raises BadInput."""
    context = None
    if any(node.url.startswith("https:") for node in place.nodes):
        context = context_of(place)
    return Nodes(
        member, [Api(node, context if node.url.startswith("https:") else None, account) for node in place.nodes]
    )


def context_of(place: PatroniPlace) -> ssl.SSLContext:
    """Load whom to trust, and who we are. Raises BadInput."""
    try:
        context = ssl.create_default_context(cafile=place.ca_file)
        if place.cert_file:
            context.load_cert_chain(place.cert_file, place.key_file)
    except OSError as error:
        files = ", ".join(filter(None, (place.ca_file, place.cert_file, place.key_file)))
        raise BadInput(
            "The certificates for Patroni's API cannot be used",
            wanted=f"readable PEM files: {files}",
            observed=getattr(error, "strerror", None) or type(error).__name__,
            next_action="correct patroni.ca_file, cert_file and key_file; nothing was touched",
        ) from None
    return context


def endpoint_of(node: PatroniNode, tls: ssl.SSLContext | None) -> Endpoint:
    """Read a node's address. Raises BadInput."""
    try:
        url = urlsplit(node.url)
        host, port = url.hostname, url.port or (443 if tls else 80)
    except ValueError:
        host, port = None, 0
    if not host:
        raise BadInput(
            f"The node {node.name} has no usable address",
            wanted="an address such as https://10.1.0.11:8008",
            observed=node.url,
            next_action=f"correct patroni.nodes.{node.name}.url; nothing was touched",
        )
    return Endpoint(host, port, url.path.rstrip("/"), tls, host, NoToken())


def short(text: str) -> str:
    """Give the first words of an answer; errors come as pages."""
    line = next((line.strip() for line in text.splitlines() if line.strip()), "")
    return "" if line.startswith("<") else line[:200]
