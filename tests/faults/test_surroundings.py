# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a controller works with is not well: a cluster's API, the journal's object storage, its own clock."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import boto3
import pytest

from tests.faults.test_killed_controller import FAILOVER, RERUN_CODES
from tests.faults.test_steps import until
from tests.integration.checklists.test_refusals import changed_inventory
from tests.integration.journal.conftest import SECRET, Server
from tests.support import ledger
from tests.support.double import Double
from tests.support.platform import EAST, ROOT, WEST, Ended, command, environment, failover
from tests.support.standing import standing as standing_now
from tests.support.standing import wait_for_standing, writers
from tests.support.unwell_api import KINDS, UnwellApi

pytestmark = [pytest.mark.lab, pytest.mark.usefixtures("healthy")]

SEED = int(os.environ.get("RECOVERY_FAULTS_SEED", "1"))
# A request with trouble is asked again; at this share a run meets dozens of them.
SHARE = 0.2
IN_CI = ("mixed",)


def unwell_inventory(folder: Path, apis: dict[str, UnwellApi]) -> Path:
    """Copy the lab's inventory and lead it to the APIs that are unwell."""

    def change(description: dict[str, Any]) -> None:
        for region, api in apis.items():
            path = api.write(folder / f"{region}.kubeconfig")
            description["recovery_platform"]["clusters"][region]["kubeconfig"] = str(path)

    return changed_inventory(folder, change)


def recovered(ended: Ended) -> None:
    assert ended.code in RERUN_CODES, ended.output
    assert ended.report["outcome"] == "recovered"
    assert writers() == [EAST]


@pytest.mark.parametrize(
    "kind", [kind if kind in IN_CI else pytest.param(kind, marks=pytest.mark.slow) for kind in (*KINDS, "mixed")]
)
def test_an_api_that_is_now_and_then_unwell_is_asked_again(
    tmp_path: Path, kind: str, tell: Callable[[str], None]
) -> None:
    kinds = tuple(one for one in KINDS if one != "half_open") if kind == "mixed" else (kind,)
    # Each half-open connection costs the time that a request may take; a few are enough to see that they end.
    share, most = (SHARE, 3) if kind == "half_open" else (SHARE, None)
    FAILOVER.prepare()
    with ExitStack() as stack:
        apis = {
            region: stack.enter_context(
                UnwellApi(ROOT / f".lab/kubeconfig/{region}.yml", kinds, share, SEED + number, most)
            )
            for number, region in enumerate((WEST, EAST))
        }
        inventory = unwell_inventory(tmp_path, apis)
        ended = failover(tmp_path, inventory=str(inventory), **FAILOVER.wish)
        again = None if ended.code in RERUN_CODES else failover(tmp_path, inventory=str(inventory), **FAILOVER.wish)
    troubled = sum(api.troubled for api in apis.values())
    said = f"API {kind}: {troubled} of {sum(api.asked for api in apis.values())} requests had trouble"
    if again is not None:
        # Where a step gave up it said so, and another run goes on from there.
        assert kind == "half_open", ended.output
        assert ended.report["failures"], ended.output
        recovered(again)
        said += "; the second run recovered"
    else:
        recovered(ended)
    tell(f"{said} (seed {SEED})")
    ledger.note("Kubernetes API that is unwell", kind, "ok", requests=troubled)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_an_api_that_is_never_well_ends_the_run_in_time_and_names_the_cluster(tmp_path: Path, kind: str) -> None:
    FAILOVER.prepare()
    with UnwellApi(ROOT / f".lab/kubeconfig/{EAST}.yml", (kind,), 1.0, SEED) as api:
        ended = failover(tmp_path, inventory=str(unwell_inventory(tmp_path, {EAST: api})), **FAILOVER.wish)
    assert ended.code != 0
    assert f"luster {EAST}" in ended.output
    assert writers() == []
    recovered(failover(tmp_path, **FAILOVER.wish))
    ledger.note("Kubernetes API that is never well", kind, "ok")


@pytest.fixture
def storage(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """Object storage with an empty bucket, and the way to it."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAPLANTED")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    server = Server()
    boto3.client("s3", endpoint_url=server.endpoint).create_bucket(Bucket="journals")
    yield server
    server.end()


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["frozen", "gone"])
@pytest.mark.parametrize("phase", ["confirm", "promote"])
def test_a_sink_that_goes_down_in_the_middle_stops_nothing_and_is_named(
    tmp_path: Path, storage: Server, phase: str, fault: str
) -> None:
    FAILOVER.prepare()
    wish = FAILOVER.wish | {"recovery_journal": f"s3://journals/runs?endpoint={storage.endpoint}"}
    run_id = f"sink-{fault}-{phase}-{os.getpid()}"
    process = subprocess.Popen(
        command(run_id, tmp_path, wish), cwd=ROOT, env=environment(), stdout=subprocess.PIPE, text=True
    )
    # A journal with a bucket stands in the usual folder.
    folder = ROOT / ".recovery/runs" / run_id
    until(lambda: f'"phase":"{phase}"' in read(folder / "journal.jsonl"), 60, f"phase {phase}")
    storage.freeze() if fault == "frozen" else storage.end()
    output = process.communicate(timeout=240)[0]
    ended = Ended(process.returncode, output, folder)
    recovered(ended)
    assert any(record["event"] == "sink_down" for record in ended.journal), output
    ledger.note("S3 sink down in mid-run", f"{fault} in {phase}", "ok")


def read(path: Path) -> str:
    return path.read_text() if path.exists() else ""


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [3600, -3600, 90, -90])
@pytest.mark.parametrize(
    "step",
    [
        "pg_fence : Stop the old primary for good and prove it",
        "service_repoint : Point all services to the new primary",
    ],
)
def test_a_clock_that_jumps_in_the_middle_changes_no_outcome(
    tmp_path: Path, seconds: int, step: str, tell: Callable[[str], None]
) -> None:
    FAILOVER.prepare()
    double = Double(tmp_path / "double", step, clock_seconds=seconds)
    ended = failover(tmp_path, surroundings=double.environment(), **FAILOVER.wish)
    assert double.begun()
    assert ended.code in RERUN_CODES, ended.output
    assert ended.report["outcome"] == "recovered"
    assert all(phase["seconds"] is None or phase["seconds"] >= 0 for phase in ended.report["phases"])
    measured = {objective["name"]: objective["measured_seconds"] for objective in ended.report["objectives"]}
    assert all(value is None or value >= 0 for value in measured.values()), measured
    wanted = standing_now()
    again = failover(tmp_path, **FAILOVER.wish)
    assert again.code in RERUN_CODES, again.output
    assert not [record for record in again.journal if record["event"] == "action" and record["data"].get("changed")]
    assert wait_for_standing(wanted) == []
    tell(f"clock by {seconds} s at {step}: exit {ended.code}, measured {measured}")
    ledger.note("Clock steps of the controller", f"{seconds} s at {step}", "ok")
