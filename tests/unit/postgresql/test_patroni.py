# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What Patroni's answers come to: who leads, who may, what to change, how it ended, what is fenced."""

from __future__ import annotations

import json
import re
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from ansible_collections.platform.recovery.plugins.module_utils.errors import BadInput, PreconditionFailed
from ansible_collections.platform.recovery.plugins.module_utils.postgresql import patroni, patroni_api, provided
from ansible_collections.platform.recovery.plugins.module_utils.postgresql.model import (
    Credentials,
    DatabaseView,
    Member,
    MemberState,
    PatroniNode,
    PatroniPlace,
    members_from,
)
from ansible_collections.platform.recovery.plugins.module_utils.postgresql.patroni import AtHost, Cluster, Node, Region
from ansible_collections.platform.recovery.plugins.module_utils.postgresql.provider_patroni import Patroni
from ansible_collections.platform.recovery.plugins.module_utils.service_manager import UnitStatus

SECRET = "planted-api-secret"
FOLLOWING = {"standby_cluster": {"host": "west.example", "port": 5432}}
PLAIN: dict[str, Any] = {"ttl": 30}
W1, W2, E1 = (Node(name, "replica", "streaming", 0) for name in ("w1", "w2", "e1"))
LEADING = replace(W1, role="leader", state="running", lag=None)
ONE = PatroniPlace((PatroniNode("e1", "http://e1.example:8008"),))
OWN = replace(ONE, topology="standby_cluster")
WEST = Member("west", "west.example", patroni=PatroniPlace((PatroniNode("w1", "http://w1.example:8008"),)))


def cluster(*nodes: Node, paused: bool = False) -> Cluster:
    return Cluster("orders", nodes, paused)


def test_the_answers_are_read() -> None:
    found = patroni.read_cluster(
        {
            "members": [
                {"name": "w1", "role": "leader", "state": "running", "timeline": 3},
                {"name": "e1", "role": "replica", "state": "streaming", "lag": 0, "receive_lag": 512},
                {"name": "e2", "role": "replica", "state": "starting", "lag": "unknown", "tags": {"nofailover": True}},
            ],
            "scope": "orders",
            "pause": True,
        }
    )
    assert found.leader is not None
    assert (found.leader.name, found.leader.works_as_leader, found.paused) == ("w1", True, True)
    assert [(node.lag, node.nofailover) for node in found.nodes] == [(None, False), (512, False), (None, True)]
    assert found.words.startswith("orders, paused: w1 (leader, running)")
    old = patroni.read_cluster({"members": [{"name": "w1", "role": "master"}]})
    assert old.leader is not None
    assert (old.leader.role, old.leader.works_as_leader) == ("leader", False)
    assert patroni.read_cluster({}).leader is None
    primary = patroni.read_server({"role": "primary", "state": "running", "xlog": {"location": 77}})
    standby = patroni.read_server({"role": "standby_leader", "xlog": {"received_location": 9, "replayed_location": 7}})
    assert (primary.standby, primary.position) == (False, 77)
    assert (standby.standby, standby.position) == (True, 7)
    assert patroni.read_server({"role": "replica", "state": "starting"}).position is None


@pytest.mark.parametrize(
    ("nodes", "chosen"),
    [
        pytest.param([W1, W2], "w1", id="the first of equals"),
        pytest.param([replace(W1, lag=9), W2], "w2", id="the nearest"),
        pytest.param([replace(W1, lag=None), replace(W2, lag=9)], "w2", id="one whose lag is known"),
        pytest.param([replace(W1, nofailover=True), W2], "w2", id="not one that is not to"),
        pytest.param([replace(W1, state="start failed"), W2], "w2", id="not one that does not work"),
        pytest.param([E1], "Patroni knows no node w1; Patroni knows no node w2", id="nobody"),
        pytest.param(
            [replace(W1, nofailover=True), replace(W2, state="stopped")],
            "w1 has the tag nofailover; w2 is stopped",
            id="nobody who may",
        ),
    ],
)
def test_who_is_to_lead(nodes: list[Node], chosen: str) -> None:
    found = patroni.candidate(cluster(*nodes), ("w1", "w2"))
    assert (found if isinstance(found, str) else found.name) == chosen


@pytest.mark.parametrize(
    ("region", "place", "words"),
    [
        pytest.param(Region(cluster(LEADING, E1)), ONE, None, id="nothing"),
        pytest.param(Region(cluster(LEADING, E1, paused=True)), ONE, "maintenance mode", id="paused"),
        pytest.param(Region(cluster(LEADING, E1, W2)), ONE, "nobody describes w2", id="a stranger"),
        pytest.param(Region(cluster(LEADING, E1, replace(W2, nofailover=True))), ONE, None, id="a harmless stranger"),
        pytest.param(Region(cluster(LEADING, E1), FOLLOWING), ONE, "is a standby cluster", id="another topology"),
        pytest.param(Region(cluster(LEADING)), ONE, "knows no node e1", id="nobody to lead"),
        pytest.param(
            Region(cluster(LEADING, replace(E1, nofailover=True))), ONE, "tag nofailover", id="nobody who may lead"
        ),
        pytest.param(Region(cluster(replace(E1, role="standby_leader")), FOLLOWING), OWN, None, id="a standby cluster"),
        pytest.param(Region(cluster(E1), FOLLOWING), OWN, "no standby leader works", id="a standby cluster of nobody"),
        pytest.param(Region(cluster(E1), PLAIN), OWN, "has no standby_cluster", id="none"),
        pytest.param(Region(cluster(LEADING, E1), PLAIN), OWN, "has no standby_cluster", id="one cluster after all"),
        pytest.param(Region(cluster(replace(LEADING, name="e1")), PLAIN), OWN, None, id="promoted"),
        pytest.param(
            Region(cluster(replace(E1, role="standby_leader"), paused=True), FOLLOWING), OWN, "paused", id="its pause"
        ),
    ],
)
def test_what_is_in_the_way(region: Region, place: PatroniPlace, words: str | None) -> None:
    found = patroni.hindrance(region, place, {"w1", "e1"})
    assert (found is None) == (words is None)
    if words and found:
        assert re.search(words, found.observed)
        assert found.next_action


def test_what_is_changed() -> None:
    assert patroni.promotion(FOLLOWING) == {"standby_cluster": None}
    assert patroni.promotion(PLAIN) is None
    assert patroni.promotion({"standby_cluster": {"primary_slot_name": "x"}}) is None
    assert patroni.demotion(PLAIN, WEST) == FOLLOWING
    assert patroni.demotion({"standby_cluster": {"host": "west.example", "port": "5432"}}, WEST) is None
    place = replace(OWN, source={"host": "10.1.0.9", "primary_slot_name": "east"})
    source = replace(WEST, patroni=place, port=5433)
    wanted = {"host": "10.1.0.9", "port": 5433, "primary_slot_name": "east"}
    assert patroni.demotion(FOLLOWING, source) == {"standby_cluster": wanted}
    assert patroni.following_words({"restore_command": "cp"}) == "an archive"


@pytest.mark.parametrize(
    ("nodes", "status", "text", "expected"),
    [
        pytest.param([LEADING, E1], None, "", None, id="it goes on"),
        pytest.param([W1, replace(E1, role="leader", state="running")], None, "", "e1", id="led before it is said"),
        pytest.param([W1, replace(E1, role="leader", state="starting")], 200, "", None, id="not quite yet"),
        pytest.param([LEADING, E1], 503, "Failover status unknown", None, id="it does not know"),
        pytest.param([LEADING, E1], 503, "Switchover failed", "status 503: Switchover failed", id="it gave up"),
        pytest.param([LEADING, E1], 412, "no good candidates", "status 412", id="it refused"),
        pytest.param([LEADING, E1], 401, "no auth header", "status 401", id="it turned us away"),
        pytest.param(
            [W1, replace(W2, role="leader", state="running"), E1], 200, "instead of", "status 200", id="another one"
        ),
    ],
)
def test_how_it_ended(nodes: list[Node], status: int | None, text: str, expected: str | None) -> None:
    found = patroni.outcome(cluster(*nodes), ("e1",), "w1", status, text)
    if expected is None or found is None:
        assert (found, expected) == (None, None)
    else:
        assert (found.leader or found.observed).startswith(expected)
        assert found.refused == (status in (401, 412))


FENCED = AtHost("w1", UnitStatus("patroni is failed and masked", True, "failed", "masked", 0), True, "the port refuses")


@pytest.mark.parametrize(
    ("hosts", "answered", "fenced"),
    [
        pytest.param([FENCED], True, True, id="stopped, masked, and nobody listens"),
        pytest.param([FENCED, replace(FENCED, node="w2")], True, True, id="each of them"),
        pytest.param([replace(FENCED, refuses=False, port="the port is silent")], True, False, id="a silent port"),
        pytest.param([replace(FENCED, refuses=False, port="the port answers")], True, False, id="left behind"),
        pytest.param(
            [FENCED, AtHost("w2", UnitStatus("patroni is active", True, "active", "masked", 7), True)],
            True,
            False,
            id="one runs",
        ),
        pytest.param(
            [AtHost("w1", UnitStatus("patroni is inactive and enabled", True, "inactive", "enabled"), True)],
            True,
            False,
            id="it may come back",
        ),
        pytest.param([FENCED, AtHost("w2", UnitStatus("no answer", answered=False))], False, False, id="one is silent"),
        pytest.param([], False, False, id="nobody"),
    ],
)
def test_when_all_of_a_region_is_fenced(hosts: list[AtHost], answered: bool, fenced: bool) -> None:
    unit = patroni.merged(hosts)
    assert (unit.answered, unit.fenced) == (answered, fenced)
    assert all(host.node in unit.observed for host in hosts)


def test_how_a_member_that_patroni_runs_comes_back() -> None:
    view = DatabaseView({"west": MemberState("west", "w", False), "east": MemberState("east", "e", True, None)})
    own = replace(WEST, patroni=replace(WEST.patroni or ONE, topology="standby_cluster"))
    for member, words in (
        (WEST, "unmask and start the Patroni of w1"),
        (own, "standby cluster of east before it starts"),
    ):
        members = {"west": member, "east": Member("east", "e", patroni=ONE)}
        lines, [action] = provided.rejoin_lines(members, view, "east")
        assert (lines, words in action) == (["west does not follow east"], True)
        with pytest.raises(PreconditionFailed, match="only what runs it may rebuild it"):
            provided.refuse_rebuild(member, view.members["west"], "east")


def test_a_member_is_read_with_its_nodes() -> None:
    fence = {"host": "w1.example", "unit": "patroni", "user": None}
    place = {"nodes": {"w1": {"url": "https://w1", "host": None, "port": 5433, "fence": fence}}, "ca_file": "ca"}
    member = members_from({"west": {"host": "west.example", "patroni": {**place, "topology": "standby_cluster"}}})[
        "west"
    ]
    assert member.patroni is not None
    [node] = member.patroni.nodes
    assert (node.port, node.fence.unit, node.fence.host) == (5433, "patroni", "w1.example")
    assert (member.patroni.ca_file, member.patroni.topology) == ("ca", "standby_cluster")
    with provided.provider_of({"west": member}, lambda: None) as found:
        assert isinstance(found, Patroni)


Answers = Callable[[str, str, dict[str, str]], tuple[int, str]]


@contextmanager
def api_of(answers: Answers, **place: Any) -> Iterator[patroni_api.Api]:
    """Serve what a test wants a node to answer: Patroni does not fail on demand."""

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
            status, text = answers(f"{self.command} {self.path}", body, dict(self.headers))
            self.send_response(status)
            self.end_headers()
            self.wfile.write(text.encode())

        do_GET = do_PATCH = do_POST = answer  # noqa: N815

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        node = PatroniNode("w1", f"http://127.0.0.1:{server.server_port}")
        yield patroni_api.nodes_of("west", PatroniPlace((node,), **place), Credentials("api", SECRET)).apis[0]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_a_conflict_is_tried_again_and_a_refusal_is_not() -> None:
    asked: list[str] = []
    left = [409, 409]

    def answers(what: str, body: str, headers: dict[str, str]) -> tuple[int, str]:
        asked.append(what)
        assert headers["Authorization"].startswith("Basic ")
        assert json.loads(body) == {"standby_cluster": None}
        return (left.pop(), "") if left else (200, '{"ttl": 30}')

    with api_of(answers) as api:
        assert api.patch_config({"standby_cluster": None}, 5) == {"ttl": 30}
    assert asked == ["PATCH /config"] * 3
    for status, words in ((401, "patroni.credentials"), (503, "DCS")):
        with api_of(lambda *_, status=status: (status, "no")) as api:
            with pytest.raises(patroni_api.ApiError, match=words) as said:
                api.patch_config({"x": 1}, 5)
            assert (said.value.status, SECRET in repr(said.value.__dict__)) == (status, False)
    with api_of(lambda *_: (409, "")) as api, pytest.raises(patroni_api.ApiError, match="others go on changing it"):
        api.patch_config({"x": 1}, 0.3)


def test_a_node_that_does_not_answer_is_an_error_with_words() -> None:
    with api_of(lambda *_: (200, "not json")) as api:
        with pytest.raises(patroni_api.ApiError, match="no JSON"):
            api.get("/cluster", 2)
        gone = api
    with pytest.raises(patroni_api.ApiError, match="refused the connection"):
        gone.get("/cluster", 2)
    with pytest.raises(BadInput, match="no usable address"):
        patroni_api.endpoint_of(PatroniNode("w1", "http://"), None)
    with pytest.raises(BadInput, match="cannot be used"):
        patroni_api.context_of(replace(ONE, ca_file="/nothing/here.pem"))
    assert isinstance(patroni_api.context_of(ONE), ssl.SSLContext)
    assert patroni_api.short("<html>\n") == ""


def test_whoever_of_a_region_answers_is_believed() -> None:
    def answers(what: str, _body: str, _headers: dict[str, str]) -> tuple[int, str]:
        document = {"members": [], "scope": "orders"} if what == "GET /cluster" else FOLLOWING
        return 200, json.dumps(document)

    with api_of(answers) as api:
        lost = replace(api, node=PatroniNode("w0", "http://127.0.0.1:1"))
        region = patroni_api.Nodes("west", [lost, api]).region()
        assert (region.through, region.cluster.scope, region.config) == ("w1", "orders", FOLLOWING)
