# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Several databases in one run of the real ansible-playbook: one that fails hides none of the others."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.unit.kubernetes.conftest import FakeApi, deployment, fake, listing
from tests.unit.test_timeline import PLAYBOOK, ROOT

__all__ = ["fake"]

PLAYBOOKS = ("database_failover", "steps/database_failover", "database_failback", "drill")
NAMES = [f"db{number:02}" for number in range(5)]
KNOW = (
    "from ansible_collections.platform.recovery.plugins.module_utils.journal import Journal; from pathlib import Path; "
    "import sys; Journal(Path(sys.argv[1]), 'r1').append('objectives', databases=sys.argv[2:])"
)
BREAKS = "{{ '' if inventory_hostname in broken.split(',') else 'way' }}"


def checkpoint(state: str, **options: Any) -> dict[str, Any]:
    return {"platform.recovery.checkpoint": {"state": state, **options}}


def play(hosts: str, *tasks: dict[str, Any]) -> dict[str, Any]:
    return {"name": f"On {hosts}", "hosts": hosts, "gather_facts": False, "tasks": list(tasks)}


def checklist() -> list[dict[str, Any]]:
    begin = checkpoint("begin", playbook="database_failover", run_id="r1", mode="failover")
    know = {"ansible.builtin.command": {"argv": ["{{ ansible_playbook_python }}", "-c", KNOW, "{{ folder }}", *NAMES]}}
    where = {"vars": {"folder": "{{ recovery_run.folder }}"}, "environment": {"PYTHONPATH": str(ROOT / ".collections")}}
    step = {"name": "Promote", **checkpoint("decision", gate=BREAKS, verdict="pass")}
    after = checkpoint("observation", what="{{ inventory_hostname }} goes on")
    return [
        play("localhost", {**begin, "register": "recovery_run"}, {**know, **where}),
        play("databases", checkpoint("phase", phase="promote"), step),
        play("databases", checkpoint("phase", phase="configure"), after),
        play("localhost", checkpoint("end")),
    ]


def on_services(kubeconfig: str, broken: list[str], way: str = "missing") -> list[dict[str, Any]]:
    """Give a checklist with a step on the services of all databases at once, and the next step on each itself."""
    services = [
        {
            "name": name,
            "value": "db.west",
            "clusters": {"one": {"kubeconfig": way if name in broken else kubeconfig}},
            "workloads": [{"cluster": "one", "namespace": "production", "name": f"{name}-service"}],
        }
        for name in NAMES
    ]
    repoint = {"clusters": {}, "workloads": [], "databases": services, "variable": "DB_HOST"}
    look = {
        "left_out": "{{ services.failures[inventory_hostname] | default({}) }}",
        "members": {"east": {"host": "127.0.0.1", "port": 1, "sslmode": "disable"}},
        "credentials": {"user": "nobody"},
        "target": "east",
    }
    *opening, configure, after, close = checklist()
    step = {"name": "Point", "platform.recovery.workload_repoint": repoint, "run_once": True, "register": "services"}
    configure["tasks"] = [checkpoint("phase", phase="configure"), step]
    after["tasks"] = [{"name": "Look", "platform.recovery.postgresql_observe": look}, after["tasks"][-1]]
    return [*opening, configure, after | {"vars": {"recovery_phase": {"name": "verify"}}}, close]


def on_databases(broken: list[str], *, first_lost: bool = False) -> list[dict[str, Any]]:
    """Give a checklist of which each step is one task for all databases themselves."""
    member = {"host": "127.0.0.1", "port": 1, "sslmode": "disable"}
    entries = [
        {
            "name": name,
            "target": "nowhere" if name in broken else "east",
            "left_out": {"what": "gone"} if first_lost else {},
        }
        for name in NAMES
    ]
    look = {
        "members": {"east": member},
        "credentials": {"user": "nobody", "password": "said-to-nobody"},
        "target": "east",
    }
    later = [
        {**entry, "target": "east", "left_out": f"{{{{ seen.failures['{entry['name']}'] | default({{}}) }}}}"}
        for entry in entries
    ]
    step = {
        "platform.recovery.postgresql_observe": {**look, "databases": entries},
        "run_once": True,
        "register": "seen",
    }
    after = {"platform.recovery.postgresql_observe": {**look, "databases": later}, "run_once": True, "register": "seen"}
    shown = checkpoint(
        "observation", what="went on: {{ seen.databases | sort | join(' ') }}; not: {{ seen.failures | join(' ') }}"
    )
    *opening, first, second, close = checklist()
    first["tasks"] = [checkpoint("phase", phase="confirm"), {"name": "Look", **step}]
    second["tasks"] = [{"name": "Look again", **after}, {**shown, "run_once": True}]
    return [*opening, first, second | {"vars": {"recovery_phase": {"name": "verify"}}}, close]


def run(folder: Path, broken: str, plays: list[dict[str, Any]] | None = None) -> tuple[int, str, dict[str, Any]]:
    local = {"ansible_connection": "local", "ansible_python_interpreter": "{{ ansible_playbook_python }}"}
    names: dict[str, Any] = {name: {} for name in NAMES}
    hosts = {"localhost": {}, **names}
    groups = {"databases": {"hosts": names}}
    (folder / "inventory.yml").write_text(json.dumps({"all": {"vars": local, "hosts": hosts, "children": groups}}))
    (folder / "play.yml").write_text(yaml.safe_dump(plays or checklist(), sort_keys=False))
    own = {
        "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
        "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".collections"),
        "COLUMNS": "100",
    }
    keep = {key: value for key, value in os.environ.items() if not key.startswith(("ANSIBLE_", "AWX_"))}
    command = [str(PLAYBOOK), "-i", "inventory.yml", "play.yml", "-e", f"broken={broken}"]
    done = subprocess.run(command, cwd=folder, env=keep | own, capture_output=True, text=True, timeout=240, check=False)
    report = json.loads((folder / ".recovery" / "runs" / "r1" / "report.json").read_text())
    return done.returncode, done.stdout, report


def test_one_that_fails_is_named_and_the_others_recover_and_a_re_run_ends_well(tmp_path: Path) -> None:
    code, output, report = run(tmp_path, "db03")
    outcomes = {entry["name"]: entry["outcome"] for entry in report["database_results"]}
    assert outcomes == {**dict.fromkeys(NAMES, "recovered"), "db03": "failed"}
    assert (code, report["exit_code"], report["outcome"]) == (2, 2, "failed")
    assert "1 of 5 databases did not come to the end" in output
    assert any(line.startswith("db03: ") for line in report["next_actions"])
    told = [entry["text"] for entry in report["timeline"]]
    assert [name for name in NAMES if f"{name} goes on" not in told] == ["db03"]
    phases = [(phase["name"], phase["outcome"]) for phase in report["phases"]]
    assert phases == [("promote", "failed"), ("configure", "ok")]

    code, _, report = run(tmp_path, "")
    assert (code, report["outcome"], report["attempts"]) == (0, "recovered", 2)
    assert {entry["outcome"] for entry in report["database_results"]} == {"recovered"}


@pytest.fixture
def services(fake: FakeApi) -> str:
    fake.script = lambda _: listing(*(deployment(f"{name}-service") for name in NAMES))
    return fake.kubeconfig()


def test_a_step_on_all_services_leaves_out_only_the_database_whose_services_failed(
    services: str, tmp_path: Path
) -> None:
    code, output, report = run(tmp_path, "", on_services(services, ["db01", "db03"]))
    outcomes = {entry["name"]: (entry["outcome"], entry["phase"]) for entry in report["database_results"]}
    left = ("failed", "configure")
    assert outcomes == {**dict.fromkeys(NAMES, ("recovered", None)), "db01": left, "db03": left}, output
    assert (code, report["exit_code"], report["outcome"]) == (2, 2, "failed")
    assert [(failure["host"], failure["task"]) for failure in report["failures"]] == [
        ("db01", "Point"),
        ("db03", "Point"),
    ]
    assert "db03 is left out: " in output
    assert "✘ Point on db03: " in output
    told = [entry["text"] for entry in report["timeline"]]
    assert [name for name in NAMES if f"{name} goes on" in told] == ["db00", "db02", "db04"]
    phases = [(phase["name"], phase["outcome"]) for phase in report["phases"]]
    assert phases == [("configure", "failed"), ("verify", "ok")]

    code, _, report = run(tmp_path, "", on_services(services, []))
    assert (code, report["outcome"], report["attempts"]) == (0, "recovered", 2)


def test_a_step_on_all_services_that_fails_for_all_names_each_and_nothing_follows(
    services: str, tmp_path: Path
) -> None:
    code, output, report = run(tmp_path, "", on_services(services, NAMES))
    assert code == 2, output
    assert {entry["outcome"] for entry in report["database_results"]} == {"failed"}
    assert [failure["host"] for failure in report["failures"]] == NAMES
    assert [phase["name"] for phase in report["phases"]] == ["configure"]


def test_refusals_by_a_step_on_all_services_end_as_those_of_each(services: str, tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.write_text(re.sub(r"127\.0\.0\.1:\d+", "127.0.0.1:1", Path(services).read_text()))
    code, output, report = run(tmp_path, "", on_services(services, NAMES, str(closed)))
    assert (code, report["exit_code"], report["outcome"]) == (2, 4, "refused"), output
    assert {entry["outcome"] for entry in report["database_results"]} == {"refused"}

    code, _, report = run(tmp_path, "", on_services(services, NAMES[1:], str(closed)))
    outcomes = [entry["outcome"] for entry in report["database_results"]]
    assert outcomes == ["recovered", "refused", "refused", "refused", "refused"]
    assert (code, report["exit_code"]) == (2, 2)


def test_a_step_on_all_databases_drops_out_only_the_one_that_fails(tmp_path: Path) -> None:
    code, output, report = run(tmp_path, "", on_databases(["db03"]))
    outcomes = {entry["name"]: (entry["outcome"], entry["phase"]) for entry in report["database_results"]}
    assert outcomes == {**dict.fromkeys(NAMES, ("recovered", None)), "db03": ("failed", "confirm")}, output
    assert (code, report["exit_code"], report["outcome"]) == (2, 2, "failed")
    assert [(failure["host"], failure["task"]) for failure in report["failures"]] == [("db03", "Look")]
    assert output.count("✘ Look on db03: ") == 1, output
    assert "✘ Look again" not in output
    assert "[db01] east: " in output
    assert "went on: db00 db01 db02 db04; not: db03" in [entry["text"] for entry in report["timeline"]]
    assert "said-to-nobody" not in output + json.dumps(report)


def test_a_step_that_fails_for_every_database_names_each_and_nothing_follows(tmp_path: Path) -> None:
    code, output, report = run(tmp_path, "", on_databases(NAMES))
    assert code == 2, output
    assert {entry["outcome"] for entry in report["database_results"]} == {"failed"}
    assert [failure["host"] for failure in report["failures"]] == NAMES
    assert "Look again" not in output


def test_where_every_database_is_left_out_the_phase_never_begins(tmp_path: Path) -> None:
    code, output, report = run(tmp_path, "", on_databases([], first_lost=True))
    assert code == 2
    assert "db04 is left out: gone" in output
    assert [phase["name"] for phase in report["phases"]] == ["confirm"]  # which the checklist entered itself


def test_where_all_fail_none_is_said_to_be_recovered(tmp_path: Path) -> None:
    code, _, report = run(tmp_path, ",".join(NAMES))
    assert code == 2
    assert {entry["outcome"] for entry in report["database_results"]} == {"failed"}
    assert report["outcome"] == "failed"


@pytest.mark.parametrize("playbook", PLAYBOOKS)
def test_only_what_concerns_all_databases_ends_the_run_for_all(playbook: str) -> None:
    plays = yaml.safe_load((ROOT / "playbooks" / f"{playbook}.yml").read_text())
    for entry in (play for play in plays if "hosts" in play):
        assert entry.get("any_errors_fatal", False) is (entry["hosts"] == "localhost"), entry["name"]
