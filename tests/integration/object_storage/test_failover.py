# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role as a play against real servers. What was lost is counted by a client of our own, not by the role."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.platform.recovery.plugins.action.object_storage_failover import (
    ActionModule,
    request_from,
    result_of,
)
from ansible_collections.platform.recovery.plugins.module_utils.errors import RecoveryError
from ansible_collections.platform.recovery.plugins.module_utils.journal import Journal
from ansible_collections.platform.recovery.plugins.module_utils.object_storage import failover
from ansible_collections.platform.recovery.plugins.module_utils.object_storage.model import stores_of
from ansible_collections.platform.recovery.plugins.module_utils.object_storage.readiness import checks
from ansible_collections.platform.recovery.plugins.module_utils.run import Run
from ansible_collections.platform.recovery.plugins.module_utils.schema import Validator
from ansible_collections.platform.recovery.plugins.plugin_utils.action import Call
from tests.integration.object_storage.world import (
    APPLICATION,
    BUCKETS,
    EAST,
    REPLICATOR,
    ROOT,
    SECRETS,
    WEST,
    World,
    credentials,
    eventually,
    store,
)

CLONE = Path(__file__).resolve().parents[3]
ROLE = "object_storage_failover"
LOST = {"mode": "failover", "lost_regions": [WEST], "reason": "the west burns"}


def play(world: World, *entries: str, words: tuple[str, ...] = (), **values: Any) -> tuple[int, Any, str]:
    """Call entry points of the role; gives the exit code, the result, and what was printed."""
    run = values.pop("recovery_run", None)
    wishes = {"stores": {"files": store(world)}, "credentials": credentials(), "target": EAST, **values}
    variables: dict[str, Any] = {f"{ROLE}_{name}": value for name, value in wishes.items()}
    variables |= {"recovery_run": run} if run else {}
    tasks: list[dict[str, Any]] = [
        {"name": entry, "ansible.builtin.import_role": {"name": f"platform.recovery.{ROLE}", "tasks_from": entry}}
        for entry in entries
    ]
    kept = world.folder / "result.json"
    keep = {"content": f"{{{{ {ROLE}_result | to_json }}}}", "dest": str(kept), "mode": "0600"}
    tasks.append({"name": "Keep the result", "ansible.builtin.copy": keep, "check_mode": False, "diff": False})
    path = world.folder / "play.yml"
    content = {"hosts": "localhost", "connection": "local", "gather_facts": False, "vars": variables, "tasks": tasks}
    path.write_text(yaml.safe_dump([content]))
    command = [str(Path(sys.executable).parent / "ansible-playbook"), "-i", "localhost,", str(path), *words]
    environment = {
        **os.environ,
        "ANSIBLE_COLLECTIONS_PATH": str(CLONE / ".collections"),
        "ANSIBLE_STDOUT_CALLBACK": "ansible.builtin.default",
        "ANSIBLE_PYTHON_INTERPRETER": sys.executable,
    }
    done = subprocess.run(command, env=environment, cwd=world.folder, capture_output=True, text=True, check=False)
    result = json.loads(kept.read_text()) if kept.exists() else None
    kept.unlink(missing_ok=True)
    text = done.stdout + done.stderr
    assert not any(secret in text for secret in SECRETS)
    return done.returncode, result, text


def role(world: World, *entries: str, **values: Any) -> Any:
    """Call entry points that must succeed; gives the result."""
    code, result, text = play(world, *entries, **values)
    assert code == 0, text
    return result


def validated(world: World, **values: Any) -> dict[str, Any]:
    """Fill in and check options as the action plugin does."""
    given = {"stores": {"files": store(world)}, "credentials": credentials(), "target": EAST, **values}
    options, problems = Validator(maps=ActionModule.MAPS).check(ActionModule.OPTIONS, given)
    assert not problems, problems
    return options


def done(world: World, **values: Any) -> Any:
    """Do what the verb does, in this process: a play for each call would take a minute for all of them."""
    options = validated(world, **values)
    call = Call(options=options, check=False, diff=False, run=None, task_vars={}, template=lambda value: value)
    request = request_from(call)
    result = result_of(failover.move(stores_of(options), request), request)
    assert not any(secret in repr(result) for secret in SECRETS)
    return result


def refused(world: World, **values: Any) -> str:
    """Try what must not be done; gives what is said."""
    with pytest.raises(RecoveryError) as error:
        done(world, **values)
    assert not any(secret in str(error.value) for secret in SECRETS)
    return str(error.value)


class Load:
    """An application that puts, overwrites and deletes until it is refused; knows what was acknowledged."""

    def __init__(self, world: World, region: str) -> None:
        self.acknowledged: set[str] = set()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(world, region), daemon=True)
        self._thread.start()

    def _run(self, world: World, region: str) -> None:
        number = 0
        while not self._ended.is_set():
            number += 1
            key = f"load/{number % 40:02}"
            try:
                version = world.delete(region, key) if number % 7 == 6 else world.put(region, key, b"%d" % number)
            except Exception:  # refused, or cut off: what it was is not this client's business
                self._ended.wait(0.01)
                continue
            self.acknowledged.add(version)

    def end(self) -> set[str]:
        self._ended.set()
        self._thread.join()
        return self.acknowledged


def fill(world: World, region: str = WEST) -> None:
    """Objects of every kind: overwritten, deleted, deleted and put again."""
    for number in range(30):
        world.put(region, f"folder{number % 3}/{number:02}", b"%d" % number)
    for number in range(0, 30, 5):
        world.put(region, f"folder{number % 3}/{number:02}", b"again")
        world.delete(region, f"folder{number % 3}/{number:02}")
    world.put(region, "folder0/00", b"back")
    world.put(region, "top", b"of all")


def test_a_switchover_under_load_loses_nothing_and_back_again(world: World) -> None:
    fill(world)
    load = Load(world, WEST)
    eventually(lambda: len(load.acknowledged) > 50)
    result = role(world, "preflight", "main", "verify", words=("--diff",))
    acknowledged = load.end()
    files = result["stores"]["files"]
    assert (files["primary"], files["rpo"]["lost"], files["protected"]) == (EAST, 0, True), files
    assert (result["changed"], files["steps"]) == (False, [])
    assert acknowledged <= world.ids(EAST)
    # Version ids, delete markers and what is the latest: the same on both sides.
    assert world.versions(EAST) == world.versions(WEST)
    assert any(marker for _, _, marker, _ in world.versions(EAST))
    assert (world.may_write(WEST), world.may_write(EAST)) == (False, True)
    assert not done(world)["changed"]
    load = Load(world, EAST)
    eventually(lambda: len(load.acknowledged) > 20)
    result = role(world, "rollback", former_target=WEST)
    assert result["stores"]["files"]["rpo"]["lost"] == 0
    assert load.end() <= world.ids(WEST)
    assert (world.may_write(WEST), world.may_write(EAST)) == (True, False)
    eventually(lambda: world.versions(EAST) == world.versions(WEST))


def test_the_west_is_lost_and_comes_back(world: World, tmp_path: Path) -> None:
    fill(world)
    eventually(lambda: world.versions(EAST) == world.versions(WEST))
    # The east is out of reach for a while: the west goes on, nothing arrives.
    world.kill(EAST)
    unsent = {world.put(WEST, "folder1/new", b"n"), world.put(WEST, "top", b"newer"), world.delete(WEST, "folder2/02")}
    world.kill(WEST)
    world.start(EAST)
    assert not unsent & world.ids(EAST)

    text = refused(world)
    assert "a switchover would lose" in text
    text = refused(world, mode="failover")
    assert "nobody has said that it is lost" in text
    assert not world.may_write(EAST)

    Journal.open(tmp_path / "run", "run")
    result = role(world, "main", recovery_run={"id": "run", "folder": str(tmp_path / "run")}, **LOST)
    files = result["stores"]["files"]
    assert (files["primary"], files["rpo"]["lost"], files["protected"]) == (EAST, None, False)
    assert 0 < files["rpo"]["seconds"] < 120
    assert "cannot be asked" in files["rpo"]["how"]
    assert any("run the same again" in one for one in result["next_actions"])
    assert world.may_write(EAST)
    newer = world.put(EAST, "top", b"of the east")
    world.delete(EAST, "folder1/04")
    result = done(world, **LOST)
    assert not result["changed"]

    world.start(WEST)
    # What the west still wants to send is refused at the east, whatever it tries.
    result = role(world, "main", recovery_run={"id": "run", "folder": str(tmp_path / "run")}, **LOST)
    files = result["stores"]["files"]
    assert {row["version_id"] for row in files["never_arrived"]} == unsent == world.ids(WEST) - world.ids(EAST)
    assert files["rpo"]["lost"] == len(unsent)
    assert {row["key"] for row in files["never_arrived"] if row["delete_marker"]} == {"folder2/02"}
    assert files["protected"], files
    assert (world.may_write(WEST), world.may_write(EAST)) == (False, True)
    assert world.ids(EAST) <= world.ids(WEST)
    assert world.get(EAST, "top") == world.get(WEST, "top") == b"of the east"
    assert newer in world.ids(WEST)
    result = done(world, **LOST)
    assert (result["changed"], result["stores"]["files"]["rpo"]["lost"]) == (False, len(unsent))

    # A failback would give clients what the east never had.
    text = refused(world, target=WEST)
    assert "would give clients something else" in text
    result = done(world, discard_unreplicated=True, reason="looked at")
    assert result["stores"]["files"]["discarded"] == len(unsent)
    done(world, target=WEST)
    assert not done(world, target=WEST)["changed"]
    eventually(lambda: world.versions(EAST) == world.versions(WEST))
    assert (world.may_write(WEST), world.may_write(EAST)) == (True, False)

    records = [(one["event"], one["data"]) for one in Run.at("run", tmp_path / "run").journal.records()]
    gates = {data["gate"]: data["verdict"] for event, data in records if event == "decision"}
    assert gates == {"fence of files": "override", "loss of files": "pass"}
    losses = [data["rpo"]["lost"] for event, data in records if event == "action"]
    assert losses == [None, len(unsent)]
    assert not any(secret in (tmp_path / "run/journal.jsonl").read_text() for secret in SECRETS)


def test_a_west_that_comes_back_accepts_no_write_at_any_moment(world: World) -> None:
    world.put(WEST, "first")
    eventually(lambda: world.ids(EAST) == world.ids(WEST))
    world.kill(WEST)
    done(world, **LOST)
    load = Load(world, WEST)
    world.start(WEST)
    time.sleep(1)  # for the client to try, not for the guard to act
    assert load.end() == set()
    assert "applications may no longer write here" in (world.folder / f"{WEST}.log").read_text()
    done(world, **LOST)
    # It is no fence for a primary: back in the west, its guard lets it be.
    done(world, target=WEST)
    world.kill(WEST)
    world.start(WEST)
    assert world.may_write(WEST)


def test_a_west_that_only_we_do_not_reach_is_fenced_by_its_guard(world: World) -> None:
    fill(world)
    eventually(lambda: world.versions(EAST) == world.versions(WEST))
    cut_off = store(world)
    cut_off["members"][WEST]["endpoint"] = "https://127.6.9.9:9000"
    assert world.may_write(WEST)
    done(world, stores={"files": cut_off}, **LOST)
    eventually(lambda: not world.may_write(WEST), seconds=3)
    assert world.may_write(EAST)
    # What was written in between is listed by the next run.
    result = done(world, **LOST)
    never = {row["version_id"] for row in result["stores"]["files"]["never_arrived"]}
    assert never == world.ids(WEST) - world.ids(EAST)


def test_a_west_that_comes_back_empty_is_filled(world: World) -> None:
    fill(world)
    eventually(lambda: world.versions(EAST) == world.versions(WEST))
    world.kill(WEST)
    done(world, **LOST)
    world.put(EAST, "late", b"l")
    world.lose(WEST)
    result = done(world, **LOST)
    assert result["stores"]["files"]["protected"]
    assert world.versions(EAST) <= world.versions(WEST)


def test_refusals_touch_nothing(world: World) -> None:
    fill(world)
    eventually(lambda: world.versions(EAST) == world.versions(WEST))
    wrong = {**credentials(), ROOT.user: {"user": ROOT.user, "password": "not-the-secret"}}
    code, _, text = play(world, "main", credentials=wrong)
    assert code == 2, text
    assert "SignatureDoesNotMatch" in text
    assert "not-the-secret" not in text
    root = store(world, writers=[ROOT.user])
    text = refused(world, stores={"files": root})
    assert "nothing can be denied to it" in text
    world.kill(EAST)
    text = refused(world)
    assert "does not answer, so nothing can move there" in text
    assert world.may_write(WEST)
    # With nobody to take it a backlog stays; writes are let in again.
    world.start(EAST)
    world.minio(EAST).make_user(REPLICATOR, f"recovery-fence-{BUCKETS[EAST]}", "files-replicator")
    world.put(WEST, "stuck")
    text = refused(world, timeout_seconds=3)
    assert "no replication brings it" in text
    assert world.may_write(WEST)


def test_a_backlog_that_does_not_drain_lets_writes_in_again(world: World) -> None:
    world.put(WEST, "first")
    eventually(lambda: world.ids(EAST) == world.ids(WEST))
    # The east refuses what it is sent for a reason that its doors do not show.
    world.minio(EAST).make_policy(
        "files-replicator", "Allow", ["s3:ListBucket", "s3:GetBucketVersioning"], BUCKETS[EAST]
    )
    world.put(WEST, "stuck")
    text = refused(world, timeout_seconds=3)
    assert "writes are let in again" in text
    assert (world.may_write(WEST), world.may_write(EAST)) == (True, False)


def looked(world: World, **values: Any) -> dict[str, tuple[str, str]]:
    """Make the checks of readiness, in this process."""
    [found] = stores_of(validated(world, **values))
    return {one.check: (one.verdict, one.observed) for one in checks(found, EAST)}


def test_readiness(world: World) -> None:
    fill(world)
    eventually(lambda: world.versions(EAST) == world.versions(WEST))
    result = role(world, "readiness")
    found = {one["check"]: (one["verdict"], one["observed"]) for one in result["checks"]}
    assert {verdict for verdict, _ in found.values()} == {"ready"}, found
    assert len(found) == 7
    client = world.s3(WEST, ROOT)
    client.delete_bucket_replication(Bucket=BUCKETS[WEST])
    world.put(WEST, "lonely")
    world.minio(EAST).make_user(APPLICATION, "files-user")
    world.put(EAST, "folder0/03", b"by mistake")
    found = looked(world, stores={"files": store(world, objectives={"rpo_seconds": 0})})
    for check in ("replication", f"who may write to {EAST}", "backlog", "contents"):
        assert found[check][0] == "not_ready", found
    world.kill(EAST)
    found = looked(world)
    assert (found[f"bucket in {EAST}"][0], found["replication"][0]) == ("unknown", "unknown"), found


@pytest.mark.slow
def test_thousands_of_objects_are_compared_in_seconds(world: World) -> None:
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda n: world.put(WEST, f"many{n % 8}/{n:05}"), range(6000)))
    eventually(lambda: len(world.ids(EAST)) == 6000, seconds=120)
    result = done(world)
    assert result["stores"]["files"]["versions"] == 6000
    assert result["seconds"] < 30
