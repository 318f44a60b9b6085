# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The example service as its callers see it: a real server, real requests, real runs of the small checklist."""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from platform_recovery import folders
from platform_recovery.processes import of_run

from .conftest import HERE, RUNNER, Place

EXAMPLES = HERE.parents[2] / "examples"
ADDRESS = "127.83.41.1"  # of no region of the lab
TOKEN = "a-token-for-the-tests"


@dataclass
class Service:
    """The service in its own process, which can be stopped and started again over the same folder."""

    place: Place
    playbooks: list[Path]
    process: subprocess.Popen[str] | None = field(default=None)
    port: int = 0

    def start(self) -> None:
        environment = {
            **self.place.environment,
            "PYTHONPATH": f"{RUNNER}:{EXAMPLES}",
            "RECOVERY_SERVICE_TOKEN": TOKEN,
            "RECOVERY_SERVICE_INVENTORY": self.place.inventory,
            "RECOVERY_SERVICE_PLAYBOOKS": ",".join(map(str, self.playbooks)),
            "RECOVERY_SERVICE_FOLDER": str(self.place.cwd),
            "RECOVERY_SERVICE_LISTEN": f"{ADDRESS}:0",
        }
        log = self.place.cwd / "service.log"
        with log.open("w") as file:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "http_service"], env=environment, cwd=self.place.cwd, stderr=file, stdout=file,
                text=True,
            )  # fmt: skip
        deadline = time.monotonic() + 60
        while not (found := re.search(rf"running on http://{ADDRESS}:(\d+)", log.read_text())):
            assert self.process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
        self.port = int(found[1])

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        if self.process and self.process.poll() is None:
            self.process.send_signal(number)
            self.process.wait(30)

    def open(self, method: str, path: str, body: Any = None, **headers: str) -> http.client.HTTPResponse:
        connection = http.client.HTTPConnection(ADDRESS, self.port, timeout=90)
        text = body if isinstance(body, (str, type(None))) else json.dumps(body)
        connection.request(method, path, text, {"Authorization": f"Bearer {TOKEN}", **headers})
        return connection.getresponse()

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        with self.open(method, path, body, **headers) as answer:
            text = answer.read()
            return answer.status, json.loads(text) if text else None

    def events(self, run_id: str, after: int | None = None) -> Iterator[dict[str, Any]]:
        """Follow the stream of events; ends with it."""
        headers = {} if after is None else {"Last-Event-ID": str(after)}
        with self.open("GET", f"/runs/{run_id}/events", **headers) as answer:
            if answer.status == 204:
                return
            assert (answer.status, answer.getheader("content-type", "")[:17]) == (200, "text/event-stream")
            told: dict[str, Any] = {}
            for line in answer:
                name, _, value = line.decode().rstrip("\n").partition(": ")
                if name:
                    told[name] = value
                elif told:
                    yield {**told, "id": int(told["id"]), "data": json.loads(told["data"])}
                    told = {}


@pytest.fixture
def service(place: Place) -> Iterator[Service]:
    slow = place.cwd / "slow_checklist.yml"
    slow.write_text((HERE / "checklist.yml").read_text().replace("pause: 0", "pause: 300"))
    started = Service(place, [HERE / "checklist.yml", slow])
    started.start()
    yield started
    started.stop()
    for folder in folders.runs(place.cwd / ".recovery/runs"):
        assert folders.worker(folder) is None, "a run was left behind"


def test_a_run_from_its_start_to_its_report(service: Service) -> None:
    wish = {"playbook": "checklist", "run_id": "r", "target": "us-east-1", "confirm": "us-east-1", "reason": "a test"}
    with service.open("POST", "/runs", wish) as answer:
        begun = json.loads(answer.read())
        assert (answer.status, answer.getheader("location")) == (201, "/runs/r")
    assert (begun["run_id"], begun["target"]) == ("r", "us-east-1")
    told = list(service.events("r"))
    assert [event["id"] for event in told] == list(range(1, len(told) + 1))
    assert (told[0]["event"], told[-1]["event"]) == ("run_started", "run_ended")
    assert told[0]["data"]["data"]["reason"] == "a test"
    code, after = service.ask("GET", "/runs/r")
    assert (code, after["state"], after["outcome"], after["exit_code"]) == (200, "finished", "recovered", 0)
    assert after["report"]["next_actions"] == ["Plan the way back"]
    assert list(service.events("r", after=told[2]["id"])) == told[3:]
    with service.open("GET", "/runs/r/events", **{"Last-Event-ID": str(told[-1]["id"])}) as answer:
        assert answer.status == 204
    code, refused = service.ask("POST", "/runs/r/cancel")
    assert (code, "not going on" in refused["message"]) == (409, True)


def test_runs_are_there_after_the_service_was_restarted_or_killed(service: Service) -> None:
    assert service.ask("POST", "/runs", {"playbook": "slow-checklist", "run_id": "r"})[0] == 201
    assert service.ask("POST", "/runs", {"playbook": "slow-checklist", "run_id": "r"})[0] == 409
    seen = []
    for event in service.events("r"):
        seen.append(event)
        if event["event"] == "decision":
            break
    owner = folders.Owner.read(service.place.cwd / ".recovery/runs/r")
    assert owner is not None
    for number in (signal.SIGTERM, signal.SIGKILL):
        service.stop(number)
        assert owner.alive
        service.start()
        assert service.ask("GET", "/runs/r")[1]["state"] == "running"
    stream = service.events("r", after=seen[-1]["id"])
    code, ended = service.ask("POST", "/runs/r/cancel", {"reason": "wrong region"})
    assert (code, ended) == (200, {"run_id": "r", "reason": "wrong region", "remaining": []})
    assert of_run(owner.mark) == set()
    rest = list(stream)
    assert [event["id"] for event in seen + rest] == list(range(1, len(seen + rest) + 1))
    assert rest[-1]["data"]["data"]["outcome"] == "cancelled"
    assert service.ask("GET", "/runs/r")[1]["exit_code"] == 5


def test_an_open_stream_hears_what_happens_and_does_not_hold_up_a_stop(service: Service) -> None:
    assert service.ask("POST", "/runs", {"playbook": "slow-checklist", "run_id": "r"})[0] == 201
    first, second = service.events("r"), service.events("r")
    assert next(first) == next(second)
    first.close()  # a reader that goes away is nobody else's business
    assert next(second)["id"] == 2
    service.stop()
    with contextlib.suppress(http.client.HTTPException, OSError):  # cut off in the middle
        list(second)
    service.start()
    assert service.ask("POST", "/runs/r/cancel")[0] == 200


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ({}, ("playbook", None, "one of checklist, slow-checklist")),
        ({"playbook": "/etc/passwd.yml"}, ("playbook", "/etc/passwd.yml", "one of checklist, slow-checklist")),
        ({"mode": "failovr"}, ("mode", "failovr", "one of plan, readiness, drill, switchover, failover")),
        ({"targt": "x"}, ("targt", "x", "did you mean target")),
        ({"timeout": 0}, ("timeout", 0, "seconds above 0")),
        ({"timeout": True}, ("timeout", True, "seconds above 0")),
        ({"allow_data_loss": "yes"}, ("allow_data_loss", "yes", "true or false")),
        ({"run_id": ".."}, ("run_id", "..", "letters, digits")),
        ({"detected_at": "yesterday"}, ("detected_at", "yesterday", "2026-01-31T03:00:00Z")),
        ({"reason": "{{ lookup('pipe', 'id') }}"}, ("reason", "{{ lookup('pipe', 'id') }}", "without template marks")),
        ({"reason": ["x"]}, ("reason", ["x"], "text")),
        ([], ("", "list", "an object")),
        ("not json", ("", "not json", "a JSON object")),
    ],
)
def test_bad_input_is_422_naming_key_value_and_what_was_expected(
    refusing: Service, body: Any, problem: tuple[str, Any, str]
) -> None:
    if isinstance(body, dict) and "playbook" not in body and problem[0] != "playbook":
        body = {"playbook": "checklist", **body}
    code, answer = refusing.ask("POST", "/runs", body)
    assert code == 422
    (found,) = answer["problems"]
    assert (found["key"], found["value"]) == problem[:2]
    assert problem[2] in found["expected"]
    assert not (refusing.place.cwd / ".recovery").exists()


def test_who_has_no_token_hears_nothing(refusing: Service) -> None:
    for given in ("", "Bearer", f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}", f"Basic {TOKEN}", "Bearer ä"):
        for method, path in (("POST", "/runs"), ("GET", "/runs/r"), ("GET", "/runs/r/events"), ("GET", "/nothing")):
            code, answer = refusing.ask(method, path, Authorization=given)
            assert (code, "bearer token" in answer["message"]) == (401, True)
    for path in ("/runs/none", "/runs/none/events", "/runs/..%2F..", "/nothing"):
        assert refusing.ask("GET", path)[0] == 404
    assert refusing.ask("POST", "/runs", "x" * 70_000)[0] == 413
    process = refusing.process
    assert process
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
    assert children == ""  # nothing was started for anybody


@pytest.fixture(scope="module")
def refusing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One service for all that is refused."""
    cwd = tmp_path_factory.mktemp("refusing")
    slow = cwd / "slow_checklist.yml"
    slow.write_text((HERE / "checklist.yml").read_text())
    started = Service(Place(cwd), [HERE / "checklist.yml", slow])
    started.start()
    yield started
    started.stop()


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("TOKEN", "short", "16 characters"),
        ("INVENTORY", "nowhere", "inventory that exists"),
        ("PLAYBOOKS", "", "database-failover"),
        ("LISTEN", "8080", "HOST:PORT"),
    ],
)
def test_wrong_settings_are_named_and_nothing_is_served(place: Place, name: str, value: str, words: str) -> None:
    environment = {
        **place.environment,
        "PYTHONPATH": f"{RUNNER}:{EXAMPLES}",
        "RECOVERY_SERVICE_TOKEN": TOKEN,
        "RECOVERY_SERVICE_INVENTORY": place.inventory,
        "RECOVERY_SERVICE_PLAYBOOKS": "database-failover",
        f"RECOVERY_SERVICE_{name}": value,
    }
    argv = [sys.executable, "-m", "http_service"]
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, words in done.stderr) == (1, True)
    assert TOKEN not in done.stderr
