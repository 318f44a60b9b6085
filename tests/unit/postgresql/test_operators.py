# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is written into operators' resources, and what is read from them."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from ansible_collections.platform.recovery.plugins.module_utils.errors import PreconditionFailed
from ansible_collections.platform.recovery.plugins.module_utils.postgresql.operators import (
    CloudNativePG,
    Zalando,
    is_astray,
    is_empty,
    is_unready,
    read_token,
)

CNPG, ZALANDO = CloudNativePG(), Zalando()
TOKEN = base64.b64encode(
    json.dumps({"databaseSystemIdentifier": "7", "latestCheckpointREDOLocation": "0/3000028"}).encode()
).decode()


def cluster(name: str = "west", *, replica: Any = None, **more: Any) -> dict[str, Any]:
    stanza = {"primary": "west", "source": "east"} if replica is None else replica
    spec = {"externalClusters": [{"name": "west"}, {"name": "east"}], "replica": stanza}
    return {"metadata": {"name": name, "namespace": "db", **more.pop("metadata", {})}, "spec": spec, **more}


def demoted(**status: Any) -> dict[str, Any]:
    return cluster(replica={"primary": "east", "source": "east"}, status=status)


EAST = cluster("east", replica={"primary": "west", "source": "west"})


@pytest.mark.parametrize(
    ("item", "standby"),
    [
        pytest.param(cluster(), False, id="the primary of its topology"),
        pytest.param(EAST, True, id="follows another"),
        pytest.param(cluster("c1", replica={"self": "west", "primary": "west"}), False, id="known by another name"),
        pytest.param(cluster(replica={"enabled": True, "source": "x"}), True, id="standalone replica"),
        pytest.param(cluster(replica={"enabled": False, "source": "x"}), False, id="standalone, promoted"),
        pytest.param({"metadata": {"name": "west"}, "spec": {}}, False, id="no stanza"),
    ],
)
def test_who_is_a_standby_for_cloudnativepg(item: dict[str, Any], standby: bool) -> None:
    assert CNPG.is_standby(item) is standby


@pytest.mark.parametrize(
    ("annotation", "fenced"),
    [
        (None, False),
        ("[]", False),
        ('["west-1"]', False),
        ("not json", False),
        ('{"*": 1}', False),
        ('["*"]', True),
        ('["west-1", "*"]', True),
    ],
)
def test_a_fence_holds_for_all_instances_or_is_written(annotation: str | None, fenced: bool) -> None:
    metadata = {"annotations": {"cnpg.io/fencedInstances": annotation}} if annotation else {}
    patch = CNPG.fence(cluster(metadata=metadata))
    wanted = None if fenced else {"metadata": {"annotations": {"cnpg.io/fencedInstances": '["*"]'}}}
    assert patch == wanted


def test_a_demotion_names_the_successor() -> None:
    named = {"primary": "east", "source": "east", "promotionToken": None}
    assert CNPG.demote(cluster(), EAST) == {"spec": {"replica": named}}
    assert CNPG.demote(demoted(), EAST) is None


@pytest.mark.parametrize(
    ("item", "words"),
    [
        pytest.param(cluster(replica={}), "distributed topology", id="no topology"),
        pytest.param(cluster(replica={"enabled": False, "source": "east"}), "standalone", id="standalone"),
        pytest.param(
            {**cluster(), "spec": {"replica": {"primary": "west"}, "externalClusters": [{"name": "west"}]}},
            "externalClusters",
            id="could not follow",
        ),
    ],
)
def test_what_cannot_be_demoted(item: dict[str, Any], words: str) -> None:
    with pytest.raises(PreconditionFailed, match=words):
        CNPG.demote(item, EAST)


@pytest.mark.parametrize(
    ("item", "complete"),
    [
        pytest.param(demoted(demotionToken=TOKEN), True, id="complete"),
        pytest.param(demoted(), False, id="no token yet"),
        pytest.param(
            demoted(demotionToken=TOKEN, switchReplicaClusterStatus={"inProgress": True}), False, id="still moving"
        ),
        pytest.param(cluster(status={"demotionToken": TOKEN}), False, id="left from before: it is the primary"),
        pytest.param(demoted(demotionToken="e30="), False, id="a token that says nothing"),
        pytest.param(demoted(demotionToken="%"), False, id="no token at all"),
    ],
)
def test_when_a_demotion_is_complete(item: dict[str, Any], complete: bool) -> None:
    left = CNPG.demotion(item)
    assert (left is not None) is complete
    assert left is None or left.lsn == 0x3000028


@pytest.mark.parametrize(
    ("item", "source", "token", "patch"),
    [
        pytest.param(
            EAST, demoted(), TOKEN, {"primary": "east", "promotionToken": TOKEN, "source": "west"}, id="switchover"
        ),
        pytest.param(EAST, None, None, {"primary": "east", "promotionToken": None}, id="failover, nothing of the old"),
        pytest.param(cluster("east", replica={"enabled": True}), None, None, {"enabled": False}, id="standalone"),
        pytest.param(cluster("east", replica={"primary": "east"}), None, None, None, id="promoted already"),
    ],
)
def test_a_promotion_by_cloudnativepg(
    item: dict[str, Any], source: dict[str, Any] | None, token: str | None, patch: dict[str, Any] | None
) -> None:
    assert CNPG.promote(item, source, token) == (patch and {"spec": {"replica": patch}})


@pytest.mark.parametrize(
    ("spec", "fence", "promote"),
    [
        pytest.param(
            {"numberOfInstances": 2},
            {
                "metadata": {"annotations": {"platform.recovery/former-number-of-instances": "2"}},
                "spec": {"numberOfInstances": 0},
            },
            None,
            id="a primary",
        ),
        pytest.param({"numberOfInstances": 0}, None, None, id="fenced"),
        pytest.param(
            {"numberOfInstances": 0, "standby": {"standby_host": "west"}},
            None,
            {"spec": {"standby": None}},
            id="a standby",
        ),
    ],
)
def test_zalando(spec: dict[str, Any], fence: dict[str, Any] | None, promote: dict[str, Any] | None) -> None:
    item = {"metadata": {"name": "db", "namespace": "db"}, "spec": spec}
    assert ZALANDO.fence(item) == fence
    assert ZALANDO.promote(item, None, None) == promote
    assert ZALANDO.demotion(item) is None


def pod(*, ready: bool, node: str = "n1") -> dict[str, Any]:
    word = "True" if ready else "False"
    return {"spec": {"nodeName": node}, "status": {"conditions": [{"type": "Ready", "status": word}]}}


@pytest.mark.parametrize(
    ("what", "living", "unready", "astray"),
    [
        (pod(ready=False), {"n1"}, True, False),
        (pod(ready=True), {"n1"}, False, False),
        (pod(ready=False), set(), False, True),
        ({"spec": {}}, {"n1"}, False, False),
    ],
)
def test_only_a_living_node_can_tell_that_a_pod_is_stopped(
    what: dict[str, Any], living: set[str], unready: bool, astray: bool
) -> None:
    assert (is_unready(what, living), is_astray(what, living)) == (unready, astray)


@pytest.mark.parametrize(
    ("replicas", "status", "empty"),
    [
        (0, {"observedGeneration": 2}, True),
        (0, {"observedGeneration": 2, "replicas": 0}, True),
        (0, {"observedGeneration": 2, "replicas": 1}, False),
        (0, {"observedGeneration": 1}, False),
        (1, {"observedGeneration": 2}, False),
        (0, None, False),
    ],
)
def test_a_stateful_set_is_empty_once_its_controller_says_so(replicas: int, status: Any, empty: bool) -> None:
    item = {"metadata": {"generation": 2}, "spec": {"replicas": replicas}, "status": status}
    assert is_empty(item) is empty


def test_a_token_that_cannot_be_read_is_none() -> None:
    assert read_token("") is None
    assert read_token(base64.b64encode(b"[]").decode()) is None
