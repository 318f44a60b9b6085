# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role as a play, against an application that is well, slow, failing or dropping, through a real name server."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.platform.recovery.plugins.module_utils import report
from ansible_collections.platform.recovery.plugins.module_utils.run import Run
from tests.integration.validation.world import NAME, PORT, RESOLVER, URL, Illness, World

CLONE = Path(__file__).resolve().parents[3]
TOKEN = "Bearer planted-token"
JOURNEYS = {
    "a user": {
        "steps": [
            {
                "method": "POST",
                "path": "/v1/user-service/rows",
                "body": {"key": "{unique}", "value": "new"},
                "status": 201,
            },
            {
                "path": "/v1/user-service/rows/{unique}",
                "same": ["id", "value"],
                "present": {"id": "database", "session.id": "sessions", "event.offset": "events"},
                "within_seconds": 1,
            },
        ]
    },
    "a plugin": {
        "steps": [
            {
                "method": "POST",
                "path": "/v1/plugin-service/rows",
                "body": {"key": "{unique}", "value": "new"},
                "status": 201,
            },
            {
                "path": "/v1/plugin-service/rows/{unique}",
                "present": {"id": "database", "file.version_id": "files"},
            },
        ]
    },
}
# Two cores that others use as well lose a request now and then: that is for one test to judge, not for all.
NOISE = {"errors_share": 0.3, "fast_seconds": 1.0}
LOAD = [
    {"method": "POST", "path": "/v1/user-service/rows", "body": {"key": "{unique}", "value": "x"}, "weight": 2},
    {"path": "/v1/user-service/rows/known"},
]


def play(folder: Path, world: World, *entries: str, words: tuple[str, ...] = (), **values: Any) -> tuple[int, Any, str]:
    """Run entry points of the role in one run; gives the exit code, the result and what was printed."""
    variables: dict[str, Any] = {
        "recovery_run": {"id": "validation", "folder": str(folder / "runs/validation")},
        "platform_validation_url": URL,
        "platform_validation_resolver": RESOLVER,
        "platform_validation_authorization": TOKEN,
        "platform_validation_journeys": JOURNEYS,
        "platform_validation_stores": ["database", "sessions", "events", "files"],
        "platform_validation_requests": LOAD,
        "platform_validation_memory": str(folder / "runs/platform.performance.json"),
        "platform_validation_generator": str(world.vegeta),
        "platform_validation_rate": 60,
        "platform_validation_seconds": 1,
        "platform_validation_timeout_seconds": 2,
        **{f"platform_validation_{name}": value for name, value in values.items()},
    }
    role = "platform.recovery.platform_validation"
    tasks: list[dict[str, Any]] = [
        {"name": f"Call {entry}", "ansible.builtin.import_role": {"name": role, "tasks_from": entry}}
        for entry in entries
    ]
    (folder / "runs/validation").mkdir(parents=True, exist_ok=True)
    run = Run.at("validation", folder / "runs/validation")
    run.journal.append("run_started", playbook="validation", mode="failover", initiator="nobody")
    keep = {"content": "{{ platform_validation_result | to_json }}", "dest": f"{folder}/result.json", "mode": "0600"}
    tasks.append({"name": "Keep the result", "ansible.builtin.copy": keep, "check_mode": False})
    path = folder / "play.yml"
    content = {"hosts": "localhost", "connection": "local", "gather_facts": False, "vars": variables, "tasks": tasks}
    path.write_text(yaml.safe_dump([content]))
    command = [str(Path(sys.executable).parent / "ansible-playbook"), "-i", "localhost,", str(path), *words]
    environment = {
        **os.environ,
        "ANSIBLE_COLLECTIONS_PATH": str(CLONE / ".collections"),
        "ANSIBLE_STDOUT_CALLBACK": "ansible.builtin.default",
        "ANSIBLE_PYTHON_INTERPRETER": sys.executable,
    }
    done = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, check=False)
    kept = folder / "result.json"
    result = json.loads(kept.read_text()) if kept.exists() else None
    kept.unlink(missing_ok=True)
    text = done.stdout + done.stderr
    assert TOKEN not in text.replace(f"platform_validation_authorization: {TOKEN}", "")
    return done.returncode, result, text


def told(folder: Path) -> dict[str, Any]:
    """What the report of the run says of each thing that was validated."""
    made = report.render(folder / "runs/validation")
    assert TOKEN not in (folder / "runs/validation/journal.jsonl").read_text()
    return {one["name"]: one for one in made["validations"]}


def remember(folder: Path, world: World) -> None:
    world.app.rows["known"] = {"key": "known", "id": 0, "value": "v", "at": 0.0}
    code, result, text = play(folder, world, "baseline", **NOISE)
    assert (code, result["verdict"]) == (0, "passed"), text


def test_a_platform_that_is_well(world: World, tmp_path: Path) -> None:
    remember(tmp_path, world)
    accepted = {"maria": {"verdict": "accepted", "statement": "orders are right"}}
    acceptors: dict[str, Any] = {"maria": {}, "head of support": {}}
    code, result, text = play(tmp_path, world, "preflight", acceptors=acceptors, words=("--check",))
    assert (code, result["journeys"]["verdict"]) == (0, "unknown"), text
    world.app.asked.clear()
    code, result, text = play(tmp_path, world, "main", acceptors=acceptors, statements=accepted, **NOISE)
    assert code == 0, text
    assert result["journeys"]["verdict"] == result["performance"]["verdict"] == "passed", result
    assert result["acceptance"]["pending"] == ["head of support"]
    assert result["performance"]["figures"]["requests"] == 60
    # By the name, at the address that the name server gives, with what authorises.
    assert {host for host, _ in world.app.asked} == {f"{NAME}:{PORT}"}
    assert world.app.authorizations == {TOKEN}
    verdicts = {name: one["verdict"] for name, one in told(tmp_path).items()}
    assert verdicts == {
        "a user": "passed",
        "a plugin": "passed",
        "all stores": "passed",
        "response time": "passed",
        "throughput": "passed",
        "errors": "passed",
        "maria": "passed",
        "head of support": "pending",
    }
    html = (tmp_path / "runs/validation/report.html").read_text()
    assert "journeys and what they took" in html
    assert "performance against its limits" in html
    assert "recovery_journey_seconds" in (tmp_path / "runs/validation/metrics.prom").read_text()


@pytest.mark.parametrize(
    ("ill", "name", "words"),
    [
        (Illness(lost_stores={"event"}), "a user", "events cannot be read back: event.offset is missing (gone)"),
        (Illness(event_after=30), "a user", "events cannot be read back: event.offset is missing"),
        (Illness(forgets=True), "a user", "value is not what it was at first"),
        (Illness(lost_stores={"file"}), "all stores", "not read back: files"),
        (Illness(status=503), "a plugin", "it was answered 503 (the database cannot be used) instead of 201"),
        (Illness(seconds=3), "a plugin", "no answer within 2 s"),
        (Illness(drops_every=1), "a plugin", "Remote end closed connection"),
    ],
)
def test_a_journey_that_does_not_reach_its_end(
    world: World, tmp_path: Path, ill: Illness, name: str, words: str
) -> None:
    world.app.ill = ill
    code, _result, text = play(tmp_path, world, "journeys")
    assert code == 2, text
    found = told(tmp_path)
    assert found[name]["verdict"] == "failed"
    assert words in found[name]["observed"], found[name]
    # Whatever one of them comes to, the other is made.
    assert {"a user", "a plugin"} <= set(found)


def test_an_event_that_comes_a_moment_later_is_waited_for(world: World, tmp_path: Path) -> None:
    world.app.ill = Illness(event_after=0.3)
    code, result, text = play(tmp_path, world, "journeys")
    assert code == 0, text
    assert 0.3 <= result["journeys"]["a user"]["seconds"] < 1.5


def test_performance_that_is_not_what_it_was(world: World, tmp_path: Path) -> None:
    remember(tmp_path, world)
    before = (tmp_path / "runs/platform.performance.json").read_text()
    bad: dict[str, tuple[Illness, dict[str, Any]]] = {
        "response time": (Illness(seconds=0.3), {}),
        "errors": (Illness(drops_every=10), {}),
        "throughput": (Illness(seconds=0.5), {"most_connections": 4, "fast_seconds": 60}),
    }
    for name, (ill, more) in bad.items():
        world.app.ill = ill
        code, result, text = play(tmp_path, world, "performance", **more)
        assert (code, result["verdict"]) == (0, "failed"), text
        assert told(tmp_path)[name]["verdict"] == "failed", (name, told(tmp_path))
        assert result["next_actions"]
    # An ill platform is not what later ones are compared with.
    world.app.ill = Illness(status=503)
    code, _result, text = play(tmp_path, world, "baseline")
    assert code == 2, text
    assert "is not remembered" in text
    assert (tmp_path / "runs/platform.performance.json").read_text() == before


def test_what_nothing_can_be_compared_with_is_not_passed(world: World, tmp_path: Path) -> None:
    world.app.rows["known"] = {"key": "known", "id": 0, "value": "v", "at": 0.0}
    code, result, text = play(tmp_path, world, "performance", **NOISE)
    assert (code, result["verdict"]) == (0, "unknown"), text
    found = told(tmp_path)
    assert "no baseline is remembered" in found["response time"]["observed"]
    assert (found["throughput"]["verdict"], found["errors"]["verdict"]) == ("unknown", "passed")
    remember(tmp_path, world)
    _code, result, _text = play(tmp_path, world, "performance", rate=30, **NOISE)
    assert result["verdict"] == "unknown", result
    assert "other rate" in told(tmp_path)["response time"]["observed"]


def test_readiness_asks_for_a_baseline_before_it_is_needed(world: World, tmp_path: Path) -> None:
    for verdict in ("not_ready", "ready"):
        code, result, text = play(tmp_path, world, "readiness")
        assert code == 0, text
        assert {one["check"]: one["verdict"] for one in result["checks"]} == {
            "load generator": "ready",
            "baseline": verdict,
        }
        if verdict == "not_ready":
            remember(tmp_path, world)


def test_wrong_calls_ask_nothing(world: World, tmp_path: Path) -> None:
    for values, words in (
        ({"rate": 100000}, "most_requests is 20000"),
        ({"generator": "no-such-program"}, "'no-such-program' was not found"),
        ({"url": NAME}, "is none"),
    ):
        code, _result, text = play(tmp_path, world, "performance", **values)
        assert code == 2
        assert words in text, text
    code, _result, text = play(tmp_path, world, "journeys", url=f"http://other.{NAME}:{PORT}")
    assert code == 2
    assert "gives no address" in text
    assert not world.app.asked
