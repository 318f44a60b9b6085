# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is asked of RDS, what is read back: against moto, and against botocore's model where moto has no such call."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.exceptions import EndpointConnectionError
from botocore.stub import Stubber
from moto import mock_aws
from moto.rds.models import RDSBackend

from ansible_collections.platform.recovery.plugins.module_utils.errors import (
    BadInput,
    PreconditionFailed,
    StepFailed,
    StepTimeout,
)
from ansible_collections.platform.recovery.plugins.module_utils.postgresql import provider_rds
from ansible_collections.platform.recovery.plugins.module_utils.postgresql.places import RdsPlace
from ansible_collections.platform.recovery.plugins.module_utils.postgresql.provider_rds import Database

WEST, EAST = "us-west-2", "us-east-1"
GROUP = "sg-0123456789abcdef0"
SECRET = "planted-secret-key"
WEST_ARN = f"arn:aws:rds:{WEST}:123456789012:cluster:west"
EAST_ARN = f"arn:aws:rds:{EAST}:123456789012:cluster:east"
BASE = {"Engine": "postgres", "DBInstanceClass": "db.t3.micro"}


@pytest.fixture(autouse=True)
def account(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provider_rds, "POLL_SECONDS", 0.001)
    for name, value in {"ACCESS_KEY_ID": "planted", "SECRET_ACCESS_KEY": SECRET}.items():
        monkeypatch.setenv(f"AWS_{name}", value)


@pytest.fixture
def replicas(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Database]]:
    """Give a source in the west and its read replica in the east."""
    promote = RDSBackend.promote_read_replica

    def forgetting_the_source(backend: RDSBackend, words: dict[str, Any]) -> Any:
        promoted = promote(backend, words)
        # RDS names the source of a replica only; moto goes on naming it.
        promoted.source_db_instance_identifier = None
        return promoted

    monkeypatch.setattr(RDSBackend, "promote_read_replica", forgetting_the_source)
    with mock_aws():
        west, east = (boto3.client("rds", region_name=region) for region in (WEST, EAST))
        account = {"MasterUsername": "root", "MasterUserPassword": "throw-away-1"}
        made = west.create_db_instance(DBInstanceIdentifier="source", AllocatedStorage=20, **account, **BASE)
        arn = made["DBInstance"]["DBInstanceArn"]
        east.create_db_instance_read_replica(
            DBInstanceIdentifier="replica", SourceDBInstanceIdentifier=arn, SourceRegion=WEST
        )
        yield {
            "west": Database("west", RdsPlace(WEST, instance="source", quarantine_security_group=GROUP)),
            "east": Database("east", RdsPlace(EAST, instance="replica")),
        }


def watched(database: Database, calls: list[str]) -> Database:
    """Note what is asked of RDS, and how often the guard was asked before."""
    database.read()
    client = database.client
    client.meta.events.register("before-call.rds", lambda model, **_: calls.append(model.name))
    database.guard = lambda: calls.append("guard")
    return database


def test_a_read_replica_is_promoted_once(replicas: dict[str, Database]) -> None:
    calls: list[str] = []
    east = watched(replicas["east"], calls)
    assert east.read().replica
    calls.clear()
    assert provider_rds.promote_replica(east, seconds=5)
    assert [name for name in calls if name != "DescribeDBInstances"] == ["guard", "PromoteReadReplica"]
    state = east.read()
    assert (state.replica, state.status) == (False, "available")
    calls.clear()
    assert not provider_rds.promote_replica(east, seconds=5)
    assert calls == ["DescribeDBInstances"]


def test_a_source_is_put_behind_its_quarantine_and_restarted(replicas: dict[str, Database]) -> None:
    calls: list[str] = []
    west = watched(replicas["west"], calls)
    before = provider_rds.status(west)
    assert (before.answered, before.fenced) == (True, False)
    calls.clear()
    unit = provider_rds.stop_for_good(west, seconds=5)
    assert (unit.fenced, unit.observed) == (True, f"RDS instance source in {WEST} is available, behind {GROUP} alone")
    changes = [name for name in calls if not name.startswith("Describe")]
    assert changes == ["guard", "ModifyDBInstance", "guard", "RebootDBInstance", "guard", "AddTagsToResource"]
    assert west.read().security_groups == {GROUP: "active"}


def test_a_fence_that_was_cut_short_restarts_the_source_once_more(replicas: dict[str, Database]) -> None:
    calls: list[str] = []
    west = watched(replicas["west"], calls)
    client = west.client
    client.modify_db_instance(DBInstanceIdentifier="source", VpcSecurityGroupIds=[GROUP], ApplyImmediately=True)
    assert not provider_rds.status(west).fenced
    calls.clear()
    assert provider_rds.stop_for_good(west, seconds=5).fenced
    assert [name for name in calls if name[0] in "MRA"] == ["RebootDBInstance", "AddTagsToResource"]


def test_a_stopped_source_is_a_proof(replicas: dict[str, Database]) -> None:
    west = replicas["west"]
    west.call("stop_db_instance", DBInstanceIdentifier="source")
    unit = provider_rds.status(west)
    assert (unit.fenced, unit.observed) == (True, f"RDS instance source in {WEST} is stopped")


@pytest.mark.usefixtures("replicas")
def test_what_rds_does_not_know_is_a_mistake_of_the_description() -> None:
    with pytest.raises(BadInput, match=r"members\.west\.rds") as said:
        Database("west", RdsPlace(WEST, instance="sauce")).read()
    assert "sauce" in str(said.value)


def stubbed(place: RdsPlace, *answers: tuple[str, dict[str, Any], dict[str, Any] | str]) -> Database:
    """Give a member whose RDS expects these calls in this order, by botocore's model of the API."""
    client = boto3.client("rds", region_name=place.region)
    stub = Stubber(client)
    for verb, expected, answer in answers:
        if isinstance(answer, str):
            stub.add_client_error(verb, answer, "said so", expected_params=expected)
        else:
            stub.add_response(verb, answer, expected)
    stub.activate()
    return Database("east", place, client=client)


AURORA = RdsPlace(EAST, cluster="east", global_cluster="platform")
GLOBAL = {"GlobalClusterIdentifier": "platform"}
READ = (
    "describe_db_clusters",
    {"DBClusterIdentifier": "east"},
    {"DBClusters": [{"DBClusterArn": EAST_ARN, "Status": "available", "ReplicationSourceIdentifier": WEST_ARN}]},
)
ALONE = (
    "describe_db_clusters",
    {"DBClusterIdentifier": "east"},
    {"DBClusters": [{"DBClusterArn": EAST_ARN, "Status": "available"}]},
)


def world(writer: str | None, *others: str, moving: str | None = None) -> tuple[str, dict[str, Any], dict[str, Any]]:
    members = [{"DBClusterArn": arn, "IsWriter": arn == writer} for arn in (*others, *([writer] if writer else []))]
    state = {"FailoverState": {"Status": moving}} if moving else {}
    return (
        "describe_global_clusters",
        GLOBAL,
        {"GlobalClusters": [{**GLOBAL, "Status": "available", "GlobalClusterMembers": members, **state}]},
    )


@pytest.mark.parametrize(
    ("lossless", "verb", "more"),
    [
        pytest.param(True, "switchover_global_cluster", {}, id="switchover"),
        pytest.param(False, "failover_global_cluster", {"AllowDataLoss": True}, id="failover"),
    ],
)
def test_the_writer_of_a_global_database_moves(lossless: bool, verb: str, more: dict[str, Any]) -> None:
    asked = (verb, {**GLOBAL, "TargetDbClusterIdentifier": EAST_ARN, **more}, {})
    moving = world(WEST_ARN, EAST_ARN, moving="switching-over")
    database = stubbed(AURORA, READ, world(WEST_ARN, EAST_ARN), asked, moving, world(EAST_ARN, WEST_ARN))
    assert provider_rds.move_global(database, "platform", lossless=lossless, seconds=5)


@pytest.mark.parametrize(
    ("answers", "changed"),
    [
        pytest.param((READ, world(EAST_ARN, WEST_ARN)), False, id="it is the writer already"),
        pytest.param(
            (READ, world(WEST_ARN, EAST_ARN, moving="failing-over"), world(EAST_ARN, WEST_ARN)),
            True,
            id="an earlier run began it",
        ),
    ],
)
def test_a_move_is_never_begun_twice(answers: tuple[Any, ...], changed: bool) -> None:
    assert provider_rds.move_global(stubbed(AURORA, *answers), "platform", lossless=True, seconds=5) is changed


def test_a_cluster_leaves_its_global_database() -> None:
    asked = ("remove_from_global_cluster", {**GLOBAL, "DbClusterIdentifier": EAST_ARN}, {})
    database = stubbed(AURORA, READ, world(WEST_ARN, EAST_ARN), asked, world(WEST_ARN), ALONE)
    assert provider_rds.detach_global(database, "platform", seconds=5)
    assert not provider_rds.detach_global(stubbed(AURORA, ALONE, world(WEST_ARN)), "platform", seconds=5)


def test_a_move_that_does_not_end_says_so() -> None:
    asked = ("switchover_global_cluster", {**GLOBAL, "TargetDbClusterIdentifier": EAST_ARN}, {})
    still = world(WEST_ARN, EAST_ARN, moving="switching-over")
    database = stubbed(AURORA, READ, world(WEST_ARN, EAST_ARN), asked, still)
    with pytest.raises(StepTimeout) as said:
        provider_rds.move_global(database, "platform", lossless=True, seconds=0)
    assert said.value.fields["changed"]
    assert "run the same again" in str(said.value)


@pytest.mark.parametrize(
    ("answers", "kind", "words"),
    [
        pytest.param((READ, world(WEST_ARN)), PreconditionFailed, "no member", id="not a member"),
        pytest.param(
            (READ, ("describe_global_clusters", GLOBAL, "GlobalClusterNotFoundFault")),
            BadInput,
            r"rds\.global_cluster",
            id="no such global database",
        ),
        pytest.param(
            (("describe_db_clusters", {"DBClusterIdentifier": "east"}, "AccessDenied"),),
            StepFailed,
            "IAM",
            id="not allowed",
        ),
    ],
)
def test_what_keeps_it_from_moving(answers: tuple[Any, ...], kind: type[Exception], words: str) -> None:
    with pytest.raises(kind, match=words) as said:
        provider_rds.move_global(stubbed(AURORA, *answers), "platform", lossless=False, seconds=5)
    assert SECRET not in repr(said.value)


def test_a_region_that_cannot_be_asked_is_an_answer() -> None:
    class Silent:
        def describe_db_instances(self, **_: Any) -> Any:
            raise EndpointConnectionError(endpoint_url="https://rds.example")

    unit = provider_rds.status(Database("west", RdsPlace(WEST, instance="source"), client=Silent()))
    assert (unit.answered, unit.fenced) == (False, False)
    assert "EndpointConnectionError" in unit.observed
