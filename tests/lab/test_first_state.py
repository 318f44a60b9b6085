# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is put back, and what is left alone: objects, files, observations. No server."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from recovery_lab import contents, copies, databases, identity, leftovers, network
from recovery_lab.contents import Item

from .test_network import LINKS


def item(kind: str, name: str, *, uid: str = "", owner: str = "", namespace: str = "", **more: Any) -> Item:
    version = "apps/v1" if kind in ("Deployment", "ReplicaSet") else "v1"
    metadata: dict[str, Any] = {"name": name} | ({"namespace": namespace} if namespace else {})
    ending = more.pop("ending", False)
    content = {"apiVersion": version, "kind": kind, "metadata": metadata, **more}
    return Item(f"/{namespace}/{kind}/{name}", content, uid or f"{kind}-{name}", "1", owner, ending)


SPACE = item("Namespace", "p")
APP = item("Deployment", "app", namespace="p", spec={"replicas": 2})
SET = item("ReplicaSet", "app-1", namespace="p", owner=APP.uid)
POD = item("Pod", "app-1-x", namespace="p", owner=SET.uid)
MAP = item("ConfigMap", "map", namespace="p", data={"a": "b"})
WANTED = {one.path: one.content for one in (SPACE, APP, MAP)}
WHOLE = [SPACE, APP, SET, POD, MAP]


def changed(one: Item, **more: Any) -> Item:
    return Item(one.path, {**one.content, **more}, one.uid, "2", one.owner, more.get("ending", False))


def without(*gone: Item) -> list[Item]:
    return [one for one in WHOLE if one not in gone]


EXTRA_SPACE = item("Namespace", "q")
IN_IT = item("ConfigMap", "map", namespace="q")
ORPHAN = item("Pod", "lost", namespace="p", owner="somebody who is gone")
ENDING = Item(SPACE.path, SPACE.content, SPACE.uid, "2", "", ending=True)


@pytest.mark.parametrize(
    ("seen", "remove", "change", "make"),
    [
        (WHOLE, [], [], []),
        (without(MAP), [], [], [MAP]),
        ([*WHOLE, EXTRA_SPACE, IN_IT], [EXTRA_SPACE, IN_IT], [], []),
        ([*WHOLE, ORPHAN], [ORPHAN], [], []),
        ([SPACE, APP, SET, POD, changed(MAP, data={})], [], [MAP], []),
        # A workload goes with all that it owns, the owner first, and is made again.
        ([POD, SET, changed(APP, spec={"replicas": 3}), SPACE, MAP], [APP, SET, POD], [], [APP]),
        # What keeps an owner that stays is the owner's affair, at any depth.
        ([*WHOLE, item("Pod", "app-1-y", namespace="p", owner=SET.uid)], [], [], []),
        # A namespace that is being deleted takes all along.
        ([POD, MAP, APP, SET, ENDING], [SPACE, MAP, APP, SET, POD], [], [SPACE, APP, MAP]),
        ([], [], [], [SPACE, APP, MAP]),
    ],
)
def test_what_is_done_for_the_first_state(
    seen: list[Item], remove: list[Item], change: list[Item], make: list[Item]
) -> None:
    plan = contents.compare(WANTED, seen)
    assert [one.path for one in plan.remove] == [one.path for one in remove]
    assert [one.path for one, _ in plan.change] == [one.path for one in change]
    assert [path for path, _ in plan.make] == [one.path for one in make]
    assert plan.size == len(remove) + len(change) + len(make)


def test_a_plan_names_what_differs() -> None:
    plan = contents.compare(WANTED, [])
    assert plan.summary == "//Namespace/p, /p/Deployment/app, /p/ConfigMap/map"
    assert contents.compare({**WANTED, "/x": MAP.content, "/y": MAP.content}, []).summary.endswith(" and 2 more")


@pytest.mark.parametrize(
    ("one", "kept"),
    [
        (
            {
                "kind": "ConfigMap",
                "metadata": {"name": "m", "uid": "u", "managedFields": [], "labels": {"a": "b"}},
                "data": {},
            },
            {"kind": "ConfigMap", "metadata": {"name": "m", "labels": {"a": "b"}}, "data": {}},
        ),
        (
            {"kind": "Lease", "metadata": {"name": "n"}, "spec": {"renewTime": "now"}},
            {"kind": "Lease", "metadata": {"name": "n"}},
        ),
        (
            {
                "kind": "Node",
                "metadata": {"name": "n"},
                "spec": {"taints": [{"key": "node.kubernetes.io/not-ready"}, {"key": "mine"}]},
                "status": {"conditions": []},
            },
            {"kind": "Node", "metadata": {"name": "n"}, "spec": {"taints": [{"key": "mine"}]}},
        ),
        (
            {"kind": "Node", "metadata": {"name": "n"}, "spec": {"taints": [{"key": "node.kubernetes.io/not-ready"}]}},
            {"kind": "Node", "metadata": {"name": "n"}, "spec": {}},
        ),
    ],
)
def test_only_what_somebody_wanted_counts(one: dict[str, Any], kept: dict[str, Any]) -> None:
    assert contents.essence(one) == kept


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    """A folder with a file, a file in a folder, and a link; and its copy, as `cp --archive` makes it."""
    folder = tmp_path / "data"
    (folder / "base").mkdir(parents=True)
    (folder / "base" / "1").write_text("rows")
    (folder / "control").write_text("state 1")
    (folder / "link").symlink_to("control")
    (folder / "base").chmod(0o700)
    subprocess.run(["cp", "--archive", folder, tmp_path / "kept"], check=True)
    return tmp_path / "kept"


def listing(folder: Path) -> dict[str, tuple[Any, ...]]:
    found = {}
    for path in [folder, *folder.rglob("*")]:
        stat = path.lstat()
        text = str(path.readlink()) if path.is_symlink() else path.read_text() if path.is_file() else ""
        found[str(path.relative_to(folder))] = (stat.st_mode, stat.st_uid, stat.st_gid, stat.st_mtime_ns, text)
    return found


CHANGES: dict[str, Callable[[Path], Any]] = {
    "nothing": lambda _: None,
    "as many other bytes": lambda folder: (folder / "control").write_text("state 2"),
    "more bytes": lambda folder: (folder / "base/1").write_text("rows and rows"),
    "a new file": lambda folder: (folder / "base/2").write_text(""),
    "a new folder": lambda folder: (folder / "new/deep").mkdir(parents=True),
    "a missing file": lambda folder: (folder / "control").unlink(),
    "a missing folder": lambda folder: ((folder / "base/1").unlink(), (folder / "base").rmdir()),
    "another link": lambda folder: ((folder / "link").unlink(), (folder / "link").symlink_to("base")),
    "a folder for a file": lambda folder: ((folder / "control").unlink(), (folder / "control").mkdir()),
    "a file for a folder": lambda folder: (
        (folder / "base/1").unlink(),
        (folder / "base").rmdir(),
        (folder / "base").write_text(""),
    ),
    "another mode": lambda folder: (folder / "base").chmod(0o755),
    "a whole other folder": lambda folder: subprocess.run(["rm", "-r", folder], check=True),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_folder_is_brought_back_to_its_copy(kept: Path, change: str) -> None:
    folder = kept.with_name("data")
    before = listing(kept)
    CHANGES[change](folder)
    copies.bring_back(kept, folder)
    assert listing(folder) == before == listing(kept)


def test_what_has_not_changed_is_not_written_again(kept: Path) -> None:
    folder = kept.with_name("data")
    same = (folder / "base/1").stat().st_ino
    (folder / "control").write_text("x")
    copies.bring_back(kept, folder)
    assert (folder / "base/1").stat().st_ino == same


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
def test_a_copy_belongs_to_whom_the_original_did(kept: Path) -> None:
    os.chown(kept / "control", identity.NOBODY, identity.NOBODY)
    copies.bring_back(kept, kept.with_name("data"))
    assert (kept.with_name("data") / "control").stat().st_uid == identity.NOBODY


def test_a_missing_copy_brings_nothing_back(kept: Path) -> None:
    folder = kept.with_name("data")
    before = listing(folder)
    with pytest.raises(FileNotFoundError):
        copies.bring_back(kept.with_name("none"), folder)
    assert listing(folder) == before


def test_databases_differ_by_what_was_asked() -> None:
    first: dict[str, Any] = {"us-west-2": {"slots": [["a", True]], "next": [["7"]]}, "us-east-1": {"slots": []}}
    now: dict[str, Any] = {"us-west-2": {"slots": [("a", True)], "next": [("8",)]}, "us-east-1": {"slots": []}}
    assert databases.differences(first, now) == ["us-west-2/postgresql: next"]
    assert databases.differences(first, now, ignored="next") == []
    now["us-east-1"] = {"slots": [("b", False)]}
    assert databases.differences(first, now, ignored="next") == ["us-east-1/postgresql: slots"]


def test_strangers_end_and_what_belongs_to_a_server_does_not(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    words = ["sh", "-c", "sleep 60 & echo; wait"]
    family, stranger = (
        subprocess.Popen(words, cwd=tmp_path, stdout=subprocess.PIPE, start_new_session=True, **identity.drop())
        for _ in range(2)
    )
    try:
        for one in (family, stranger):
            assert one.stdout
            one.stdout.readline()
        assert leftovers.end(tmp_path, kept={family.pid}) == 2
        assert stranger.wait(5) == -9
        assert family.poll() is None
        # Who is kept alone, like a supervisor, shields no orphan that was handed to it.
        assert leftovers.end(tmp_path, alone={family.pid}) == 1
        assert family.wait(5) is not None
    finally:
        for one in (family, stranger):
            one.kill()
            one.wait()


def test_all_links_open_without_a_pause_and_strange_ones_go(monkeypatch: pytest.MonkeyPatch) -> None:
    proxies: dict[str, Any] = {
        link.name: {"listen": link.listen, "upstream": link.upstream, "enabled": False, "toxics": [{}]}
        for link in LINKS[:-1]
    }
    proxies["mine"] = {"listen": "127.0.0.9:1", "upstream": "127.0.0.9:2", "enabled": True, "toxics": []}
    proxies[LINKS[0].name]["upstream"] = "127.0.0.9:3"

    def call(method: str, path: str, body: Any = None, done: int = 0) -> Any:
        """Do as toxiproxy does."""
        del done
        if method == "DELETE":
            del proxies[path.removeprefix("/proxies/")]
        elif path == "/populate":
            for row in body:
                proxies.setdefault(row["name"], {**row, "toxics": []})
        elif path == "/reset":
            for row in proxies.values():
                row |= {"enabled": True, "toxics": []}
        return dict(proxies)

    monkeypatch.setattr(network, "call", call)
    begin = time.monotonic()
    network.open_all(LINKS)
    assert time.monotonic() - begin < network.HEAD_START_SECONDS
    assert {name: (row["listen"], row["upstream"]) for name, row in proxies.items()} == {
        link.name: (link.listen, link.upstream) for link in LINKS
    }
