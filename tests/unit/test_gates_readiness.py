# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks of the gates, of the journal's sink, and of the canary's edge; nothing is taken, asked for or written."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.platform.recovery.plugins.module_utils import canary_readiness, gates_readiness, lease
from ansible_collections.platform.recovery.plugins.module_utils.approvals import Rule
from ansible_collections.platform.recovery.plugins.module_utils.canary_readiness import Edge
from ansible_collections.platform.recovery.plugins.module_utils.errors import BadInput, StepTimeout
from ansible_collections.platform.recovery.plugins.module_utils.lease_file import FileStore
from ansible_collections.platform.recovery.plugins.module_utils.readiness import Check, Checklist, line

NOW = time.time()
ME = lease.Holder("me", "here", "mine")
OTHER = lease.Holder("ann", "elsewhere", "theirs", "database-failover", "east", pid=7)
RULE = Rule(2, ("ann", "bob", "eve"), dict.fromkeys(("ann", "bob", "eve"), ("k",)), {"ann": ("al",)}, 60, 60)


def home(folder: Path) -> dict[str, Any]:
    return {"provider": "file", "folder": str(folder), "name": "recovery-x"}


def verdicts(checks: list[Check]) -> dict[str, str]:
    return {check.check: check.verdict for check in checks}


@pytest.mark.parametrize(
    ("record", "verdict"),
    [
        (None, "ready"),
        (lease.Record(3), "ready"),
        (lease.Record(3, OTHER, NOW - 5, NOW - 1, 30), "not_ready"),
        (lease.Record(3, OTHER, NOW - 9000, NOW - 9000, 30), "ready"),
    ],
)
def test_a_lease_is_looked_at_and_left_as_it_is(tmp_path: Path, record: lease.Record | None, verdict: str) -> None:
    folder = tmp_path / "leases"
    if record:
        assert FileStore(folder / "recovery-x.lease").write(record, 0)
    before = sorted(str(path) for path in tmp_path.rglob("*"))
    found = gates_readiness.lease_checks([home(folder)], ME, NOW)
    assert verdicts(found) == {"lease": verdict, "right to take it": "ready"}
    assert sorted(str(path) for path in tmp_path.rglob("*")) == before
    if verdict == "not_ready":
        assert "run theirs (database-failover to east)" in found[0].observed


def test_a_home_that_cannot_be_opened_hides_no_other(tmp_path: Path) -> None:
    broken = {"provider": "kubernetes", "cluster": "c", "kubeconfig": str(tmp_path / "none"), "context": None}
    homes = [{**broken, "name": "x", "namespace": "default"}, home(tmp_path)]
    found = gates_readiness.lease_checks(homes, ME, NOW)
    assert [(check.subject, check.verdict) for check in found] == [
        ("lease, cluster c", "not_ready"),
        ("lease, file", "ready"),
        ("lease, file", "ready"),
    ]


@pytest.mark.parametrize(
    ("rule", "who", "verdict"),
    [
        (None, "al@host", "ready"),
        (RULE, "root@host", "ready"),
        (RULE, "al@host", "ready"),
        (replace(RULE, needed=3), "al@host", "not_ready"),
        (replace(RULE, keys={"ann": ("k",)}), "root@host", "not_ready"),
    ],
)
def test_enough_people_must_be_able_to_approve(rule: Rule | None, who: str, verdict: str) -> None:
    rule = rule and replace(rule, accounts={n: rule.accounts.get(n, ()) for n in rule.approvers})
    assert gates_readiness.approval_check(rule, [who]).verdict == verdict


def test_objectives_have_to_be_there() -> None:
    databases = [{"name": n, "objectives": {"rto_seconds": s, "rpo_seconds": 0}} for n, s in (("a", 60), ("b", 0))]
    assert [check.verdict for check in gates_readiness.objective_checks(databases)] == ["ready", "not_ready"]


def test_the_sink_is_judged_by_its_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sink = tmp_path / "not" / "yet"

    def disk(free: int, files: int, total: int) -> os.statvfs_result:
        return os.statvfs_result((4096, 4096, 0, 0, free, total, files, files, 0, 255))

    for free, files, total, verdict in (
        (1 << 20, 5000, 9000, "ready"),
        (1 << 20, 0, 0, "ready"),
        (1 << 20, 10, 9000, "not_ready"),
        (10, 5000, 9000, "not_ready"),
    ):
        found = disk(free, files, total)
        monkeypatch.setattr(os, "statvfs", lambda _, found=found: found)
        assert verdicts(gates_readiness.sink_checks(sink)) == {"sink": "ready", "room": verdict}
    assert not sink.parent.exists()


@pytest.mark.parametrize(("name", "verdict"), [(None, "ready"), ("key", "ready"), ("nothing", "not_ready")])
def test_a_key_that_is_named_must_be_there(tmp_path: Path, name: str | None, verdict: str) -> None:
    (tmp_path / "key").touch()
    assert gates_readiness.evidence_check(name and str(tmp_path / name)).verdict == verdict


@contextmanager
def edge(status: int) -> Iterator[tuple[Edge, list[tuple[str, str, str | None]]]]:
    asked: list[tuple[str, str, str | None]] = []

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            asked.append((self.command, self.path, self.headers.get("Authorization")))
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_GET = do_POST = answer  # noqa: N815 - the names that http.server calls

        def log_message(self, *_: Any) -> None:
            return

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_address[1]}/base"
        yield Edge(url, "/v1/s/rows", authorization="Basic x", timeout=10.0), asked
        server.shutdown()


@pytest.mark.parametrize(
    ("status", "verdict"), [(404, "ready"), (200, "ready"), (401, "not_ready"), (403, "not_ready"), (503, "not_ready")]
)
def test_the_edge_is_read_and_not_written(status: int, verdict: str) -> None:
    with edge(status) as (place, asked):
        assert canary_readiness.edge_check(place).verdict == verdict
    [(method, path, authorization)] = asked
    assert (method, authorization) == ("GET", "Basic x")
    assert path.startswith("/base/v1/s/rows/readiness-")


def test_an_edge_that_is_not_there_and_a_canary_that_does_not_run_are_not_ready(tmp_path: Path) -> None:
    assert canary_readiness.edge_check(Edge("http://127.0.0.1:1", "/x")).verdict == "not_ready"
    assert canary_readiness.edge_check(Edge("gopher://x", "/x")).verdict == "not_ready"
    assert canary_readiness.own_check(tmp_path).verdict == "not_ready"


@pytest.mark.parametrize(
    ("error", "verdict"), [(BadInput("wrong", next_action="do"), "not_ready"), (StepTimeout("slow"), "unknown")]
)
def test_an_error_is_a_check_like_any_other(error: Exception, verdict: str) -> None:
    def look() -> list[Check]:
        raise error

    [check] = Checklist("role", "thing").attempt("question", look)
    assert (check.verdict, bool(check.mend)) == (verdict, True)
    assert line(check).startswith(f"thing, question: {'not ready' if verdict == 'not_ready' else 'cannot tell'}")
