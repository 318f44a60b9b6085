# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Databases that Patroni runs, on real Patroni and etcd: one cluster over both regions, and a cluster in each.

A lost leader's lock is held for Patroni's smallest ttl, 20 s: what waits for that is marked slow, but for one test.
"""

from __future__ import annotations

import itertools
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.platform.recovery.plugins.module_utils.errors import PreconditionFailed
from ansible_collections.platform.recovery.plugins.module_utils.postgresql import provider_patroni
from ansible_collections.platform.recovery.plugins.module_utils.postgresql.model import credentials_from, members_from
from ansible_collections.platform.recovery.plugins.module_utils.postgresql.provider_patroni import Patroni
from recovery_lab import postgresql_programs
from tests.integration.postgresql import patroni_world
from tests.integration.postgresql.drive import Journal
from tests.integration.postgresql.drive import call as plain_call
from tests.integration.postgresql.patroni_world import API_PASSWORD, Node, World
from tests.integration.postgresql.servers import PASSWORD, private_folder, wait_for
from tests.integration.postgresql.test_recovery import Writer
from tests.support.platform import Ended, failover, written_inventory

# Worlds that run beside one another have networks of their own.
NETWORKS = (f"127.{number}" for number in itertools.count(20))
ACCOUNTS = {"user": "postgres", "password": PASSWORD, "api": {"user": "api", "password": API_PASSWORD}}
SEEN_BY_CLIENTS = [{"vantage": "edge east", "member": "west", "observed": "no service works", "alive": False}]
WEST_STOPPED = {"west": "stopped"}


@contextmanager
def world_of(topology: str, version: str = "18", **more: bool) -> Iterator[World]:
    folder = private_folder()
    try:
        server = postgresql_programs.find(version)
        with patroni_world.running(topology, server, folder, next(NETWORKS), **more) as found:
            yield found
    finally:
        shutil.rmtree(folder)


@pytest.fixture(scope="module")
def shared_cluster() -> Iterator[World]:
    with world_of("one_cluster") as found:
        yield found


@pytest.fixture(scope="module")
def shared_clusters() -> Iterator[World]:
    # Over HTTPS, with client certificates: the other world's API is plain.
    with world_of("standby_cluster", tls=True) as found:
        yield found


@pytest.fixture
def one_cluster(shared_cluster: World) -> World:
    """Give one cluster over both regions, healed of what an earlier test did to it."""
    return shared_cluster.heal()


@pytest.fixture
def two_clusters(shared_clusters: World) -> World:
    """Give a cluster in the west and its standby cluster in the east, healed of what an earlier test did."""
    return shared_clusters.heal()


def call(verb: str, world: World, **words: Any) -> dict[str, Any]:
    """Do what a role would."""
    found = plain_call(verb, **{"members": world.options(), "credentials": ACCOUNTS, **words})
    assert API_PASSWORD not in repr(found)
    return found


def provider_of(world: World, members: dict[str, Any] | None = None) -> Patroni:
    return Patroni(members_from(members or world.options()), account=credentials_from(ACCOUNTS).api)


def keys(node: Node) -> set[str]:
    with node.session() as session:
        return {row[0] for row in session.rows("SELECT key FROM users")}


def switched(world: World, target: str) -> dict[str, Any]:
    """Switch over by the roles' verbs."""
    words: dict[str, Any] = {"target": target, "mode": "switchover"}
    seen = call("observe", world, purpose="confirm", rpo_seconds=60, **words)
    fence = call("fence", world, evidence=seen["evidence"], **words)
    assert (fence["proof"], fence["changed"]) == ("standby", True)
    return call("promote", world, fenced=fence["fenced"], final_lsn=fence["final_lsn"], rpo_seconds=60, **words)


def fenced(world: World, **words: Any) -> dict[str, Any]:
    """Confirm the loss of the primary in the west and fence it."""
    seen = call("observe", world, purpose="confirm", rpo_seconds=60, evidence=SEEN_BY_CLIENTS, **words)
    # A frozen server is an active unit.
    assert seen["standing"] in {"failed", "isolated"}
    fence = call("fence", world, evidence=seen["evidence"])
    assert (fence["fenced"], fence["changed"]) == (WEST_STOPPED, True)
    assert world.supervisor.masked(world.west.unit)
    return fence


def promoted(world: World) -> dict[str, Any]:
    return call("promote", world, fenced=WEST_STOPPED, rpo_seconds=60)


@contextmanager
def paused(node: Node) -> Iterator[None]:
    node.ask("/config", {"pause": True}, "PATCH")
    try:
        yield
    finally:
        node.ask("/config", {"pause": None}, "PATCH")


@contextmanager
def busy_configuration(node: Node) -> Iterator[None]:
    """Have somebody else change the configuration all the time."""
    over = threading.Event()

    def change() -> None:
        for seconds in itertools.cycle((3, 4)):
            if over.is_set():
                return
            with suppress(OSError):
                node.ask("/config", {"retry_timeout": seconds}, "PATCH")

    threads = [threading.Thread(target=change) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join()


def test_a_switchover_of_one_cluster_loses_nothing_and_goes_back(one_cluster: World) -> None:
    world = one_cluster
    foretold = call("fence", world, mode="switchover", check=True)
    assert (foretold["changed"], world.west.role()) == (True, "primary")
    with Writer(world.west).running() as writer:
        done = switched(world, "east")
    assert (done["write_proven"], world.east.role()) == (True, "primary")
    assert set(writer.acknowledged) <= keys(world.east)
    again = call("fence", world, mode="switchover")
    assert (again["fenced"], again["changed"]) == ({"west": "standby"}, False)
    wait_for(lambda: world.settled("east"), 30)
    assert call("rejoin", world, target="east")["changed"] is False
    assert switched(world, "west")["write_proven"]
    wait_for(world.settled, 30)
    assert set(writer.acknowledged) <= keys(world.west)


def test_what_patroni_cannot_do_is_refused_before_anything_is_touched(one_cluster: World) -> None:
    world = one_cluster
    with paused(world.west):
        for mode in ("switchover", "plan"):
            for verb, words in (("observe", {"purpose": "confirm"}), ("fence", {})):
                with pytest.raises(PreconditionFailed, match=r"maintenance mode.*patronictl resume"):
                    call(verb, world, mode=mode, **words)
        with pytest.raises(PreconditionFailed, match="maintenance mode"):
            provider_of(world).promote("east", stepped_down=[], seconds=5)
    lacking, wrong = world.options(), world.options()
    lacking["west"]["patroni"]["nodes"] = {"pg-other": lacking["west"]["patroni"]["nodes"]["pg-west"]}
    with pytest.raises(PreconditionFailed, match="nobody describes pg-west"):
        call("observe", world, members=lacking, mode="switchover", purpose="confirm")
    for member in wrong.values():
        member["patroni"]["topology"] = "standby_cluster"
    with pytest.raises(PreconditionFailed, match="has no standby_cluster"):
        provider_of(world, wrong).promote("east", stepped_down=[], seconds=5)
    with pytest.raises(PreconditionFailed, match="recovery_mode=switchover"):
        call("fence", world)
    assert world.settled()


def bad(world: World, **words: Any) -> dict[tuple[str, str], str]:
    found = call("readiness", world, check=True, part="fence", name="db", **words)
    assert found["changed"] is False
    checks = {(item["subject"].removeprefix("db "), item["check"]): item["verdict"] for item in found["checks"]}
    return {name: verdict for name, verdict in checks.items() if verdict != "ready"}


def test_readiness_hears_the_api_the_account_and_the_hosts(one_cluster: World) -> None:
    world = one_cluster
    before = world.west.ask("/config")
    assert bad(world) == {}
    assert world.west.ask("/config") == before
    apis = {("west", "patroni api pg-west"): "not_ready", ("east", "patroni api pg-east"): "not_ready"}
    assert bad(world, credentials={**ACCOUNTS, "api": {"user": "api", "password": "wrong"}}) == apis
    world.close_host(world.east)
    assert bad(world) == {("east pg-east", "service manager"): "not_ready"}
    world.open_host(world.east)
    with paused(world.west):
        assert bad(world) == {("west", "patroni"): "not_ready", ("east", "patroni"): "not_ready"}


def test_a_killed_leader_of_one_cluster_is_replaced(one_cluster: World) -> None:
    world = one_cluster
    journal = Journal()
    with world.west.session() as session:
        session.run("INSERT INTO users (key) VALUES ('before kill') ON CONFLICT DO NOTHING")
    wait_for(lambda: "before kill" in keys(world.east))
    world.west.act("kill")
    fenced(world)
    again = call("fence", world)
    assert (again["fenced"], again["changed"]) == (WEST_STOPPED, False)
    assert call("promote", world, fenced=WEST_STOPPED, rpo_seconds=60, check=True)["changed"]
    assert world.east.role() == "standby"
    done = call("promote", world, fenced=WEST_STOPPED, rpo_seconds=60, journal=journal)
    assert (done["changed"], done["write_proven"]) == (True, True)
    assert done["timeline"]["after"] == done["timeline"]["before"] + 1
    assert "before kill" in keys(world.east)
    assert not promoted(world)["changed"]
    assert {record["verdict"] for record in journal.records if record["event"] == "decision"} == {"pass"}
    with pytest.raises(PreconditionFailed, match="unmask and start the Patroni of pg-west"):
        call("rejoin", world)
    assert call("observe", world, purpose="confirm", rpo_seconds=60)["standing"] == "converged"


def test_two_clusters_change_places_and_go_on_after_a_cut(two_clusters: World) -> None:
    world = two_clusters
    with Writer(world.west).running() as writer, busy_configuration(world.west):
        fence = call("fence", world, mode="switchover")
        assert (fence["fenced"], fence["changed"]) == ({"west": "standby"}, True)
    # The controller died here: what it knew is gone, and the same run is started again.
    assert (world.west.role(), world.east.role()) == ("standby", "standby")
    seen = call("observe", world, mode="switchover", purpose="confirm", rpo_seconds=60)
    assert seen["standing"] != "healthy"
    again = call("fence", world, mode="switchover", evidence=seen["evidence"])
    assert (again["fenced"], again["changed"]) == ({"west": "standby"}, False)
    done = call("promote", world, mode="switchover", fenced=again["fenced"], rpo_seconds=60)
    assert done["write_proven"]
    assert set(writer.acknowledged) <= keys(world.east)
    wait_for(lambda: world.settled("east"), 30)
    assert call("rejoin", world)["changed"] is False
    assert switched(world, "west")["write_proven"]
    wait_for(world.settled, 30)
    assert set(writer.acknowledged) <= keys(world.west)


def test_a_standby_cluster_is_not_promoted_beside_a_living_one(two_clusters: World) -> None:
    """SQL may lead to a standby of the other region, or nowhere: its Patroni is heard as well."""
    for stepped_down in (["west"], []):
        with pytest.raises(PreconditionFailed, match="Nothing shows that the cluster of west is a standby cluster"):
            provider_of(two_clusters).promote("east", stepped_down=stepped_down, seconds=5)
    with paused(two_clusters.west), pytest.raises(PreconditionFailed, match="maintenance mode"):
        call("fence", two_clusters, mode="switchover")
    assert two_clusters.settled()


def test_its_api_by_https_asks_for_a_client_certificate(two_clusters: World) -> None:
    world = two_clusters
    assert bad(world) == {}
    anonymous, distrustful = world.options(), world.options()
    for member in anonymous.values():
        member["patroni"] |= {"cert_file": None, "key_file": None}
    assert bad(world, members=anonymous)["west", "patroni api pg-west"] == "not_ready"
    with pytest.raises(PreconditionFailed, match="Patroni's API"):
        call("fence", world, members=anonymous, mode="switchover")
    for member in distrustful.values():
        member["patroni"]["ca_file"] = None
    with pytest.raises(PreconditionFailed, match=r"certificate of .* is not trusted"):
        call("observe", world, members=distrustful, mode="switchover", purpose="confirm")


def test_a_hand_over_that_does_not_arrive_is_taken_back(two_clusters: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world = two_clusters
    monkeypatch.setattr(provider_patroni, "CATCH_UP_SECONDS", 1.0)
    with world.east.session() as reader:
        reader.run("BEGIN")
        reader.run("LOCK TABLE users IN ACCESS SHARE MODE")
        world.west.sql("TRUNCATE users")
        with pytest.raises(PreconditionFailed, match="was not handed over to east"):
            call("fence", world, mode="switchover")
    wait_for(world.settled, 30)
    assert "standby_cluster" not in world.west.ask("/config")


def run(world: World, folder: Path, **wish: Any) -> Ended:
    """Run the checklist itself, as an operator would."""
    described = world.platform() | {"lease": {"provider": "file", "folder": str(folder / "lease")}}
    place = written_inventory(described, PASSWORD, folder, api={"user": "api", "password": API_PASSWORD})
    target = {"recovery_target": "east", "recovery_confirm": "east"}
    ended = failover(folder / "runs", inventory=place, **{**target, **wish})
    written = ended.output + (ended.folder / "journal.jsonl").read_text()
    assert PASSWORD not in written
    assert API_PASSWORD not in written
    return ended


@pytest.mark.slow
def test_the_checklist_itself_moves_two_clusters(two_clusters: World, tmp_path: Path) -> None:
    world = two_clusters
    ended = run(world, tmp_path, recovery_mode="switchover")
    assert ended.code == 0, ended.output
    assert (ended.report["outcome"], world.west.role(), world.east.role()) == ("recovered", "standby", "primary")
    wait_for(lambda: world.settled("east"), 30)
    back = {"recovery_target": "west", "recovery_confirm": "west"}
    returned = run(world, tmp_path, playbook="database_failback", recovery_mode="switchover", **back)
    assert returned.code == 0, returned.output
    assert world.settled()


@pytest.mark.parametrize("fault", [pytest.param("kill", marks=pytest.mark.slow), "freeze"])
def test_a_standby_cluster_takes_over_once_the_lost_one_is_fenced(two_clusters: World, fault: str) -> None:
    world = two_clusters
    world.west.act(fault)
    world.close_host(world.west)
    with pytest.raises(PreconditionFailed, match=r"not proven stopped.*pg-west: ssh to") as refused:
        call("fence", world)
    assert "recovery_fence_statement" in str(refused.value)
    with pytest.raises(PreconditionFailed, match="nothing proves that west is stopped"):
        call("promote", world, rpo_seconds=60)
    stated = {"statement": "the host is switched off", "reason": "power cut"}
    assert call("fence", world, **stated)["fenced"] == {"west": "statement"}
    assert world.east.role() == "standby"
    world.open_host(world.west)
    fenced(world)
    assert world.east.role() == "standby"
    assert promoted(world)["write_proven"]
    assert "standby_cluster" not in world.east.ask("/config")
    assert not promoted(world)["changed"]
    assert world.west.role() is None
    with pytest.raises(PreconditionFailed, match="standby cluster of east before it starts"):
        call("rejoin", world)


def test_the_checklist_itself_fails_two_clusters_over(two_clusters: World, tmp_path: Path) -> None:
    world = two_clusters
    world.west.act("kill")
    ended = run(world, tmp_path)
    assert ended.code == 0, ended.output
    assert (ended.report["outcome"], world.east.role()) == ("recovered", "primary")
    assert world.supervisor.masked(world.west.unit)
    assert any("west" in action for action in ended.report["next_actions"])
    timeline = world.east.ask("/patroni")["timeline"]
    again = run(world, tmp_path)
    assert again.code == 0, again.output
    assert world.east.ask("/patroni")["timeline"] == timeline


@pytest.mark.slow
def test_a_frozen_leader_of_one_cluster_never_thaws(one_cluster: World) -> None:
    world = one_cluster
    world.west.act("freeze")
    fenced(world)
    assert world.west.role() is None
    assert promoted(world)["write_proven"]
    with suppress(AssertionError):
        world.west.act("thaw")
    with suppress(AssertionError):
        world.west.act("start")
    assert (world.west.role(), world.east.role()) == (None, "primary")


@pytest.mark.slow
def test_the_checklist_itself_moves_one_cluster(one_cluster: World, tmp_path: Path) -> None:
    world = one_cluster
    planned = run(world, tmp_path, recovery_mode="plan")
    assert planned.code == 0, planned.output
    assert world.settled()
    ended = run(world, tmp_path, recovery_mode="switchover")
    assert ended.code == 0, ended.output
    assert world.east.role() == "primary"
    wait_for(lambda: world.settled("east"), 30)
    back = {"recovery_target": "west", "recovery_confirm": "west"}
    returned = run(world, tmp_path, playbook="database_failback", recovery_mode="switchover", **back)
    assert returned.code == 0, returned.output
    wait_for(world.settled, 30)
    world.west.act("kill")
    ended = run(world, tmp_path)
    assert ended.code == 0, ended.output
    assert (ended.report["outcome"], world.east.role()) == ("recovered", "primary")
    again = run(world, tmp_path)
    assert again.code == 0, again.output
    assert again.report["outcome"] == "recovered"


@pytest.mark.slow
def test_a_region_of_two_nodes_is_fenced_as_one() -> None:
    with world_of("one_cluster", spare=True) as world:
        assert world.spare is not None
        assert bad(world) == {}
        world.west.act("freeze")
        world.spare.act("freeze")
        world.close_host(world.spare)
        with pytest.raises(PreconditionFailed, match=r"not proven stopped.*pg-spare: ssh to"):
            call("fence", world)
        assert not world.supervisor.masked(world.west.unit)
        world.open_host(world.spare)
        fenced(world)
        assert world.supervisor.masked(world.spare.unit)
        assert promoted(world)["write_proven"]
        assert (world.west.role(), world.spare.role(), world.east.role()) == (None, None, "primary")


@pytest.mark.slow
@pytest.mark.parametrize("topology", ["one_cluster", "standby_cluster"])
def test_the_oldest_postgresql_is_moved_and_failed_over(topology: str) -> None:
    with world_of(topology, "15") as world:
        assert switched(world, "east")["write_proven"]
        wait_for(lambda: world.settled("east"), 30)
        assert switched(world, "west")["write_proven"]
        wait_for(world.settled, 30)
        world.west.act("freeze")
        fenced(world)
        assert promoted(world)["write_proven"]
        assert (world.west.role(), world.east.role()) == (None, "primary")
