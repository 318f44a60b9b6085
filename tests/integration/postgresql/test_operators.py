# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Operators' databases on real servers: real resources, and doubles of the operators that follow their documents."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.platform.recovery.plugins.module_utils.errors import BadInput, PreconditionFailed, StepTimeout
from ansible_collections.platform.recovery.plugins.module_utils.kubernetes.client import MERGE_PATCH
from ansible_collections.platform.recovery.plugins.module_utils.postgresql.places import ResourcePlace
from ansible_collections.platform.recovery.plugins.module_utils.postgresql.provider_kubernetes import KubernetesResource
from tests.integration.kubernetes.plane import Plane, running
from tests.integration.postgresql import operators
from tests.integration.postgresql.conftest import Pair
from tests.integration.postgresql.drive import Journal, call
from tests.integration.postgresql.servers import PASSWORD, streaming, wait_for
from tests.integration.postgresql.test_recovery import Writer, keys
from tests.support.platform import failover, written_inventory


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plane]:
    """Give an API server that serves both operators' resources."""
    with running(tmp_path_factory.mktemp("plane"), "127.6.1.2", "127.6.1.3") as found:
        for file in ("cloudnativepg-1.30.0.json", "zalando-2.0.1.json"):
            operators.define(found, file)
        yield found


@dataclass
class World:
    """Two servers, each run by an operator of its own."""

    pair: Pair
    west: operators.Operator
    east: operators.Operator
    provider: KubernetesResource
    guarded: list[str]

    def options(self) -> dict[str, dict[str, object]]:
        """Describe the members as a run does."""
        found = self.pair.options()
        for name, member in self.provider.members.items():
            assert member.resource is not None
            found[name].pop("fence")
            found[name]["resource"] = asdict(member.resource)
        return found


@contextmanager
def world_of(flavour: str, plane: Plane, pair: Pair) -> Iterator[World]:
    """Let an operator's doubles run the servers."""
    servers = {"west": pair.west, "east": pair.east}
    kind: type[operators.Operator]
    if flavour == "cloudnativepg":
        kind = operators.CloudNativePG
        bodies = [operators.cluster("west", "west", "east"), operators.cluster("east", "west", "west")]
    else:
        kind = operators.Zalando
        bodies = [operators.postgresql(None), operators.postgresql(pair.west.address)]
    found = [
        kind(plane, name, server, servers).start(body)
        for (name, server), body in zip(servers.items(), bodies, strict=True)
    ]
    members = {
        name: replace(member, resource=ResourcePlace(flavour, name, name, "database", str(plane.kubeconfig)))
        for name, member in pair.members().items()
    }
    guarded: list[str] = []
    try:
        yield World(pair, *found, KubernetesResource(members, lambda: guarded.append("asked")), guarded)
    finally:
        for operator in found:
            operator.stop()


@pytest.fixture
def cloudnativepg(plane: Plane, pair: Pair) -> Iterator[World]:
    with world_of("cloudnativepg", plane, pair) as world:
        yield world


@pytest.fixture
def zalando(plane: Plane, pair: Pair) -> Iterator[World]:
    with world_of("zalando", plane, pair) as world:
        yield world


@pytest.fixture
def world(request: pytest.FixtureRequest, plane: Plane, pair: Pair) -> Iterator[World]:
    with world_of(request.param, plane, pair) as world:
        yield world


def is_primary(pair: Pair, name: str) -> bool:
    return {"west": pair.west, "east": pair.east}[name].sql("SELECT NOT pg_is_in_recovery()") is True


def test_cloudnativepg_hands_over_and_back(cloudnativepg: World) -> None:
    pair, provider = cloudnativepg.pair, cloudnativepg.provider
    pair.west.sql("INSERT INTO users (key) VALUES ('a') RETURNING 1")
    left = provider.hand_over("west", "east", seconds=20)
    assert left is not None
    assert left.changed
    assert not is_primary(pair, "west")
    again = provider.hand_over("west", "east", seconds=20)
    assert (again, cloudnativepg.guarded) == (replace(left, changed=False), ["asked"])
    assert provider.promote("east", stepped_down=["west"], seconds=20)
    wait_for(lambda: is_primary(pair, "east"))
    assert cloudnativepg.east.told == ["token", "promote"]
    assert not provider.promote("east", stepped_down=["west"], seconds=20)
    # The token spared the old primary its rebuild: it follows, and can be handed the database back.
    wait_for(lambda: streaming(pair.east))
    kept = call("rejoin", members=cloudnativepg.options())
    assert (kept["changed"], kept["members"]["west"]["way"]) == (False, "already")
    assert provider.hand_over("east", "west", seconds=20)
    assert provider.promote("west", stepped_down=["east"], seconds=20)
    wait_for(lambda: is_primary(pair, "west"))
    wait_for(lambda: streaming(pair.west))
    assert pair.east.sql("SELECT count(*) FROM users") == 1


def test_cloudnativepg_replaces_a_lost_primary(cloudnativepg: World) -> None:
    pair, provider = cloudnativepg.pair, cloudnativepg.provider
    assert not provider.status("west", seconds=5).fenced
    pair.west.kill()
    unit = provider.stop_for_good("west", seconds=10)
    assert (unit.fenced, unit.observed) == (
        True,
        "clusters.postgresql.cnpg.io west/database is fenced, the port refuses",
    )
    assert provider.promote("east", stepped_down=[], seconds=20)
    wait_for(lambda: is_primary(pair, "east"))
    assert cloudnativepg.east.told == ["promote"]


def test_cloudnativepg_stops_what_lives_and_refuses_what_no_topology_holds(cloudnativepg: World, plane: Plane) -> None:
    pair, provider = cloudnativepg.pair, cloudnativepg.provider
    lonely = {"spec": {"externalClusters": [{"name": "west"}]}}
    plane.call("PATCH", cloudnativepg.west.path, lonely, MERGE_PATCH)
    with pytest.raises(PreconditionFailed, match="externalClusters"):
        provider.hand_over("west", "east", seconds=5)
    assert is_primary(pair, "west")
    unit = provider.stop_for_good("west", seconds=20)
    assert (unit.fenced, cloudnativepg.west.running) == (True, False)


def test_a_port_that_refuses_proves_nothing_of_a_pod_on_a_lost_node(cloudnativepg: World, plane: Plane) -> None:
    """Its Service refuses as well, when the node is only cut off and its PostgreSQL lives there."""
    pods = "/api/v1/namespaces/west/pods"
    plane.call("POST", pods, operators.pod("database-1", node="lost"))
    cloudnativepg.pair.west.kill()
    assert not cloudnativepg.provider.stop_for_good("west", seconds=0.5).fenced
    plane.call("DELETE", f"{pods}/database-1", {"gracePeriodSeconds": 0})
    assert cloudnativepg.provider.stop_for_good("west", seconds=20).fenced


def test_an_operator_that_sleeps_ends_at_the_deadline(cloudnativepg: World) -> None:
    cloudnativepg.west.asleep.set()
    with pytest.raises(StepTimeout, match="demotion token") as said:
        cloudnativepg.provider.hand_over("west", "east", seconds=0.3)
    assert said.value.fields["changed"]
    assert not cloudnativepg.provider.stop_for_good("west", seconds=0.3).fenced
    cloudnativepg.west.asleep.clear()
    assert cloudnativepg.provider.stop_for_good("west", seconds=20).fenced


def test_zalando_is_stopped_by_its_number_and_promoted_by_its_section(zalando: World) -> None:
    pair, provider = zalando.pair, zalando.provider
    assert provider.hand_over("west", "east", seconds=5) is None
    unit = provider.stop_for_good("west", seconds=20)
    assert (unit.fenced, zalando.west.told) == (True, ["scale to zero"])
    assert zalando.west.item()["metadata"]["annotations"] == {"platform.recovery/former-number-of-instances": "1"}
    assert provider.promote("east", stepped_down=[], seconds=20)
    wait_for(lambda: is_primary(pair, "east"))
    assert "standby" not in zalando.east.item()["spec"]
    assert not provider.promote("east", stepped_down=[], seconds=20)


def test_a_resource_that_is_not_there(cloudnativepg: World) -> None:
    members = cloudnativepg.provider.members
    place = members["west"].resource
    assert place is not None
    wrong = {"west": replace(members["west"], resource=replace(place, name="databse"))}
    with pytest.raises(BadInput, match=r"members\.west\.resource"):
        KubernetesResource(wrong).stop_for_good("west", seconds=5)


@pytest.mark.parametrize("world", ["cloudnativepg", "zalando"], indirect=True)
def test_a_lost_primary_is_replaced_through_the_roles_verbs(world: World) -> None:
    world.pair.west.kill()
    seen = call("observe", members=world.options(), purpose="confirm", rpo_seconds=60)
    assert seen["standing"] == "failed"
    foretold = call("fence", members=world.options(), evidence=seen["evidence"], check=True)
    assert (foretold["changed"], foretold["details"]["west"]["observed"]) == (True, "would be fenced by its provider")
    assert world.west.told == []
    journal = Journal()
    fence = call("fence", members=world.options(), evidence=seen["evidence"], journal=journal)
    assert (fence["fenced"], fence["changed"]) == ({"west": "stopped"}, True)
    again = call("fence", members=world.options())
    assert (again["fenced"], again["changed"]) == ({"west": "stopped"}, False)
    said = {"members": world.options(), "fenced": fence["fenced"], "rpo_seconds": 60}
    assert call("promote", **said, check=True)["changed"]
    assert world.east.told == []
    done = call("promote", **said, journal=journal)
    assert (done["changed"], done["write_proven"], done["timeline"]) == (True, True, {"before": 1, "after": 2})
    assert not call("promote", **said)["changed"]
    with pytest.raises(PreconditionFailed, match="only what runs it may rebuild it"):
        call("rejoin", members=world.options())
    assert {record["verdict"] for record in journal.records if record["event"] == "decision"} == {"pass"}
    assert call("observe", members=world.options(), purpose="confirm", rpo_seconds=60)["standing"] == "converged"


@pytest.mark.parametrize(("world", "proof"), [("cloudnativepg", "standby"), ("zalando", "stopped")], indirect=["world"])
def test_a_switchover_loses_nothing_and_goes_on_after_a_cut(world: World, proof: str) -> None:
    with Writer(world.pair.west).running() as writer:
        fence = call("fence", members=world.options(), mode="switchover")
        assert (fence["fenced"], fence["changed"]) == ({"west": proof}, True)
    # The controller died here: what it knew is gone, and the same run is started again.
    seen = call("observe", members=world.options(), mode="switchover", purpose="confirm", rpo_seconds=60)
    assert seen["standing"] != "healthy"
    again = call("fence", members=world.options(), mode="switchover", evidence=seen["evidence"])
    assert (again["fenced"], again["changed"]) == ({"west": proof}, False)
    done = call("promote", members=world.options(), mode="switchover", fenced=again["fenced"], rpo_seconds=60)
    assert done["write_proven"]
    assert set(writer.acknowledged) <= keys(world.pair.east)
    assert world.east.told == (["token", "promote"] if proof == "standby" else ["promote"])


def test_nothing_is_promoted_beside_a_primary_that_only_fell_silent(cloudnativepg: World) -> None:
    world = cloudnativepg
    world.west.asleep.set()
    world.pair.west.freeze()
    with pytest.raises(PreconditionFailed, match="nothing proves") as refused:
        call("fence", members=world.options(), provider_seconds=0.5)
    assert "recovery_fence_statement" in str(refused.value)
    assert refused.value.fields["changed"]
    stated = {"statement": "the host is switched off", "reason": "power cut"}
    fence = call("fence", members=world.options(), provider_seconds=0.5, **stated)
    assert (fence["fenced"], world.pair.east.sql("SELECT pg_is_in_recovery()")) == ({"west": "statement"}, True)


def test_a_healthy_primary_is_no_failover(cloudnativepg: World) -> None:
    for verb in ("observe", "fence"):
        more: dict[str, Any] = {"purpose": "confirm"} if verb == "observe" else {}
        with pytest.raises(PreconditionFailed, match="switchover"):
            call(verb, members=cloudnativepg.options(), **more)
    assert cloudnativepg.west.told == []


def inventory(world: World, plane: Plane, folder: Path) -> str:
    """Describe a platform of this one database, as an operator would."""
    members = {}
    for name, member in world.provider.members.items():
        assert member.resource is not None
        place = member.resource
        flavour = place.flavour
        members[name] = {
            "host": member.host,
            "address": member.address,
            "sslmode": "disable",
            "resource": {"cluster": place.cluster, "namespace": place.namespace, "name": place.name},
        }
    platform = {
        "name": "operators",
        "regions": {"west": {"role": "primary"}, "east": {"role": "secondary"}},
        "databases": {
            "orders": {
                "provider": "kubernetes_resource",
                "flavour": flavour,
                "credentials": "admin",
                "database": "postgres",
                "tables": ["users"],
                "objectives": {"rto_seconds": 600, "rpo_seconds": 60},
                "members": members,
            }
        },
        "clusters": {name: {"region": name, "kubeconfig": str(plane.kubeconfig)} for name in members},
    }
    return written_inventory(platform, PASSWORD, folder)


@pytest.mark.parametrize("world", ["cloudnativepg", "zalando"], indirect=True)
def test_the_checklist_itself_recovers_an_operators_database(world: World, plane: Plane, tmp_path: Path) -> None:
    place = inventory(world, plane, tmp_path)
    wish = {"inventory": place, "recovery_target": "east", "recovery_confirm": "east"}
    world.pair.west.sql("INSERT INTO users (key) VALUES ('before') RETURNING 1")
    planned = failover(tmp_path / "runs", **wish, recovery_mode="plan")
    assert planned.code == 0, planned.output
    assert (world.west.told, world.east.told) == ([], [])
    world.pair.west.kill()
    ended = failover(tmp_path / "runs", **wish)
    assert ended.code == 0, ended.output
    assert (ended.report["outcome"], is_primary(world.pair, "east")) == ("recovered", True)
    assert "before" in keys(world.pair.east)
    assert any("west" in action for action in ended.report["next_actions"])
    again = failover(tmp_path / "runs", **wish)
    assert again.code == 0, again.output
    assert world.east.told == ["promote"]
    assert PASSWORD not in ended.output + (ended.folder / "journal.jsonl").read_text()
