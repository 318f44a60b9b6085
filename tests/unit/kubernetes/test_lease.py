# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lease in a Lease: against an API server that knows resourceVersions."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass, field
from typing import Any

import pytest

from ansible_collections.platform.recovery.plugins.module_utils import lease
from ansible_collections.platform.recovery.plugins.module_utils.errors import PreconditionFailed
from ansible_collections.platform.recovery.plugins.module_utils.kubernetes.fleet import Settings, build
from ansible_collections.platform.recovery.plugins.module_utils.kubernetes.lease import HOLDER, LeaseStore
from ansible_collections.platform.recovery.plugins.module_utils.kubernetes.repoint import repoint
from ansible_collections.platform.recovery.plugins.module_utils.lease import Grant, HomeSilent, LeaseLost
from ansible_collections.platform.recovery.plugins.module_utils.run import controller
from tests.unit.kubernetes.conftest import FakeApi, Reply, Request, deployment, listing
from tests.unit.test_lease import race

PATH = "/apis/coordination.k8s.io/v1/namespaces/default/leases"


@dataclass
class Leases:
    """What an API server does with one Lease."""

    item: dict[str, Any] | None = None
    version: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)
    lose_answers: int = 0

    def __call__(self, request: Request) -> Reply:
        with self.lock:
            reply = self.answer(request)
            if request.method != "GET" and reply.status < 300 and self.lose_answers:
                self.lose_answers -= 1
                return Reply(drop=True)  # carried out, and nobody hears of it
            return reply

    def answer(self, request: Request) -> Reply:
        if request.method == "GET":
            return Reply(200, self.item) if self.item else Reply(404, {"message": "not found"})
        if request.method == "POST" and self.item:
            return Reply(409, {"message": "already exists"})
        if request.method == "PUT":
            if self.item is None:
                return Reply(404, {"message": "not found"})
            if request.body["metadata"].get("resourceVersion") != str(self.version):
                return Reply(409, {"message": "the object has been modified"})
        self.version += 1
        body = json.loads(json.dumps(request.body))
        body["metadata"]["resourceVersion"] = str(self.version)
        self.item = body
        return Reply(201 if request.method == "POST" else 200, body)


def store(fake: FakeApi, seconds: float = 5.0) -> LeaseStore:
    return LeaseStore(fake.client(request_seconds=seconds), "default", "recovery-prod", seconds)


def holder(run_id: str, **more: Any) -> lease.Holder:
    return lease.holder("alice@ops1", run_id, controller(), "database-failover", "us-east-1", **more)


def test_taken_renewed_and_given_back_as_kubectl_shows_it(fake: FakeApi) -> None:
    fake.script = Leases()
    home = store(fake)
    grant, before = lease.take(home, holder("r1"), 30.0)
    assert before == lease.Record()
    assert fake.script.item is not None
    spec = fake.script.item["spec"]
    assert (spec["holderIdentity"], spec["leaseDurationSeconds"], spec["leaseTransitions"]) == ("r1", 30, 1)
    assert spec["renewTime"].endswith("000Z")
    assert len(spec["renewTime"]) == len("2026-11-23T10:30:00.000000Z")
    assert json.loads(fake.script.item["metadata"]["annotations"][HOLDER])["who"] == "alice@ops1"
    fake.script.item["metadata"]["labels"] = {"kept": "yes"}
    lease.confirm(home, grant, beat=True)
    assert lease.release(home, grant)
    assert fake.script.item["spec"]["holderIdentity"] == ""
    assert fake.script.item["spec"]["leaseTransitions"] == 1
    assert fake.script.item["metadata"]["labels"] == {"kept": "yes"}
    assert lease.take(home, holder("r2"), 30.0)[0].term == 2


def test_of_two_controllers_in_the_same_instant_one_works_fifty_times(fake: FakeApi) -> None:
    fake.script = Leases()
    stores = [store(fake), store(fake)]
    for number in range(50):
        holders = [holder(f"a{number}"), holder(f"b{number}")]
        results = race(stores, holders)
        [grant] = [result for result in results if isinstance(result, Grant)]
        [refusal] = [result for result in results if isinstance(result, PreconditionFailed)]
        winner = next(one for one in holders if one.nonce == grant.nonce)
        assert refusal.fields["holder"]["run_id"] == winner.run_id
        assert f"by alice@ops1, process {winner.pid} on {winner.host}, since" in str(refusal)
        assert grant.term == number + 1
        assert lease.release(stores[0], grant)


def test_an_answer_that_got_lost_is_found_to_have_been_ours(fake: FakeApi) -> None:
    fake.script = Leases(lose_answers=1)
    home, me = store(fake), holder("r1")
    grant, _ = lease.take(home, me, 30.0)
    assert (grant.term, grant.nonce) == (1, me.nonce)
    fake.script.lose_answers = 1
    assert lease.confirm(home, grant, beat=True).term == 1


def test_a_lease_of_another_program_is_respected(fake: FakeApi) -> None:
    fake.script = Leases({"metadata": {"name": "x"}, "spec": {"holderIdentity": "somebody", "leaseTransitions": 3}})
    item = fake.script.item
    assert item is not None
    item["spec"] |= {"renewTime": "2099-01-01T00:00:00.123456Z", "leaseDurationSeconds": 15}
    with pytest.raises(PreconditionFailed, match="somebody"):
        lease.take(store(fake), holder("r1"), 30.0)
    item["spec"]["renewTime"] = "2020-01-01T00:00:00.000000Z"
    item["metadata"]["annotations"] = {HOLDER: "not JSON"}
    item["metadata"]["resourceVersion"] = "0"
    assert lease.take(store(fake), holder("r1"), 30.0)[0].term == 4


@pytest.mark.parametrize(
    ("reply", "silent", "hint"),
    [
        (Reply(403, {"message": "no"}), True, "allow get, create and update on leases"),
        (Reply(401, {"message": "no"}), True, "recovery_lost_clusters"),
        (Reply(422, {"message": "bad"}), False, "run it again"),
        (Reply(drop=True), True, "recovery_lost_clusters with a recovery_reason"),
    ],
)
def test_a_home_that_cannot_keep_it(fake: FakeApi, reply: Reply, silent: bool, hint: str) -> None:
    fake.script = lambda _: reply
    with pytest.raises(PreconditionFailed) as caught:
        lease.take(store(fake, 1.0), holder("r1"), 30.0)
    assert isinstance(caught.value, HomeSilent) is silent
    assert hint in str(caught.value.next_action)
    assert caught.value.fields["gate"] == "lease"


def test_a_namespace_that_is_missing_is_named(fake: FakeApi) -> None:
    fake.script = lambda _: Reply(404, {"message": "namespace not found"})
    with pytest.raises(PreconditionFailed, match="create the namespace default"):
        lease.take(store(fake), holder("r1"), 30.0)


def test_a_stale_holder_patches_no_workload(fake: FakeApi) -> None:
    fake.script = lambda request: listing(deployment()) if request.method == "GET" else Reply(200, deployment())

    def guard() -> None:
        raise LeaseLost("not ours any more", gate="lease")

    targets = [{"cluster": "c", "namespace": "production", "name": "user-service", "kind": "Deployment"}]
    wanted = {"c": {"kubeconfig": fake.kubeconfig()}}
    fleet, found = build(wanted, targets, Settings(timeout_seconds=5, guard=guard))
    with pytest.raises(LeaseLost):
        repoint(fleet, found, "DB_HOST", "db.east")
    assert fake.asked("PATCH") == []
    repoint(fleet, found, "DB_HOST", "db.west")  # nothing to change, so nobody is asked
    fleet, found = build(wanted, targets, Settings(timeout_seconds=5, guard=lambda: None))
    assert repoint(fleet, found, "DB_HOST", "db.east")["changed"]
    fleet.close()
