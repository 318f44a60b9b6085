# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lease in a real API server."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from ansible_collections.platform.recovery.plugins.module_utils import lease, lease_homes
from ansible_collections.platform.recovery.plugins.module_utils.errors import PreconditionFailed
from ansible_collections.platform.recovery.plugins.module_utils.kubernetes.lease import LeaseStore
from ansible_collections.platform.recovery.plugins.module_utils.lease import Grant, HomeSilent
from ansible_collections.platform.recovery.plugins.module_utils.run import controller
from tests.integration.kubernetes.plane import NAMESPACE, Plane
from tests.unit.test_lease import race

PATH = f"/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases/recovery-site"


def store(plane: Plane, seconds: float = 10.0, namespace: str = NAMESPACE) -> LeaseStore:
    home = {
        "provider": "kubernetes",
        "cluster": "plane",
        "kubeconfig": str(plane.kubeconfig),
        "context": None,
        "namespace": namespace,
        "name": "recovery-site",
    }
    [opened] = lease_homes.open_stores([home], seconds)
    assert isinstance(opened, LeaseStore)
    return opened


def holder(run_id: str) -> lease.Holder:
    return lease.holder("alice@ops1", run_id, controller(), "database-failover", "us-east-1")


@pytest.fixture
def home(plane: Plane) -> Iterator[LeaseStore]:
    opened = store(plane)
    yield opened
    opened.close()
    if opened.read()[1]:
        plane.call("DELETE", PATH)


def test_taken_renewed_and_given_back(plane: Plane, home: LeaseStore) -> None:
    grant, _ = lease.take(home, holder("r1"), 30.0)
    first = plane.call("GET", PATH)["spec"]
    assert (first["holderIdentity"], first["leaseTransitions"], first["leaseDurationSeconds"]) == ("r1", 1, 30)
    lease.confirm(home, grant, beat=True)
    assert plane.call("GET", PATH)["spec"]["renewTime"] > first["renewTime"]
    with pytest.raises(PreconditionFailed, match="r1"):
        lease.take(home, holder("r2"), 30.0)
    assert lease.release(home, grant)
    assert lease.take(home, holder("r2"), 30.0)[0].term == 2


def test_of_two_controllers_in_the_same_instant_one_works_fifty_times(plane: Plane, home: LeaseStore) -> None:
    other = store(plane)
    for number in range(50):
        results = race([home, other], [holder(f"a{number}"), holder(f"b{number}")])
        [grant] = [result for result in results if isinstance(result, Grant)]
        [refusal] = [result for result in results if isinstance(result, PreconditionFailed)]
        assert refusal.fields["holder"]["term"] == grant.term == number + 1
        assert lease.release(home, grant)
    other.close()


def test_a_frozen_server_is_a_silent_home_and_what_was_certain_stays_so_for_a_while(
    plane: Plane, home: LeaseStore
) -> None:
    grant, _ = lease.take(home, holder("r1"), 30.0)
    hasty = store(plane, 1.0)
    held = lease.Held([(hasty, grant)])
    held.guard()
    plane.processes["apiserver"].send_signal(signal.SIGSTOP)
    try:
        held.guard()
        held.certain_until = 0.0
        with pytest.raises(HomeSilent, match="unreachable"):
            held.guard()
    finally:
        plane.processes["apiserver"].send_signal(signal.SIGCONT)
    held.guard()
    hasty.close()


def test_a_namespace_that_is_missing_is_named(plane: Plane) -> None:
    missing = store(plane, namespace="not-there")
    with pytest.raises(PreconditionFailed, match="create the namespace not-there"):
        lease.take(missing, holder("r1"), 30.0)
    missing.close()
