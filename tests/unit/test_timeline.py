# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""checkpoint and timeline in real runs of ansible-playbook: what the journal holds, and what an operator sees."""

from __future__ import annotations

import json
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.platform.recovery.plugins.module_utils import clock
from ansible_collections.platform.recovery.plugins.module_utils.journal import Journal
from ansible_collections.platform.recovery.plugins.module_utils.report import render

ROOT = Path(__file__).resolve().parents[2]
PLAYBOOK = Path(sys.executable).with_name("ansible-playbook")
INVENTORY = """
all:
  vars: {ansible_connection: local, ansible_python_interpreter: "{{ ansible_playbook_python }}"}
  hosts: {localhost: {}, platform_db: {}, other_db: {}}
"""
OPEN = """
- name: Confirm the failure
  hosts: localhost
  gather_facts: false
  tasks:
    - name: Open the run
      platform.recovery.checkpoint:
        state: begin
        playbook: database_failover
        run_id: r1
        mode: "{{ recovery_mode | default('failover') }}"
        target: us-east-1
        objectives: [{name: rto, target_seconds: 1800}, {name: rpo, target_seconds: 3600}]
        detected_at: "{{ detected | default('') }}"
      register: recovery_run
    - platform.recovery.checkpoint: {state: phase, phase: confirm, budget_seconds: 120}
    - platform.recovery.checkpoint:
        state: observation
        what: vantage points
        lines: [us-west-2 refuses connections, us-east-1 is 0 bytes behind]
"""
CLOSE = """
- name: Verify data integrity
  hosts: localhost
  gather_facts: false
  tasks:
    - platform.recovery.checkpoint: {state: phase, phase: verify}
    - name: Close the run
      platform.recovery.checkpoint: {state: end, next_actions: [Rejoin us-west-2]}
"""


def middle(tasks: str, hosts: str = "localhost") -> str:
    head = (
        f"\n- name: Promote the standby\n  hosts: {hosts}\n  gather_facts: false\n  any_errors_fatal: true\n  tasks:\n"
    )
    return head + "    - platform.recovery.checkpoint: {state: phase, phase: promote, budget_seconds: 300}\n" + tasks


@dataclass
class Ran:
    code: int
    output: str
    folder: Path
    records: list[dict[str, Any]] = field(default_factory=list)

    @property
    def events(self) -> list[str]:
        return [record["event"] for record in self.records]

    @property
    def report(self) -> dict[str, Any]:
        return dict(json.loads((self.folder / "report.json").read_text()))


class Stage:
    """A folder with an inventory and a playbook to run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "inventory.yml").write_text(INVENTORY)
        (folder / "ansible.cfg").write_text("[defaults]\nlocalhost_warning = false\n")

    def command(self, playbook: str, *options: str) -> list[str]:
        (self.folder / "play.yml").write_text(playbook)
        return [str(PLAYBOOK), "-i", "inventory.yml", "play.yml", *options]

    def environment(self, callback: str = "platform.recovery.timeline") -> dict[str, str]:
        keep = {key: value for key, value in os.environ.items() if not key.startswith(("ANSIBLE_", "AWX_"))}
        return {
            **keep,
            "ANSIBLE_CONFIG": str(self.folder / "ansible.cfg"),
            "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".collections"),
            "ANSIBLE_STDOUT_CALLBACK": callback,
            "COLUMNS": "100",
        }

    def run(self, playbook: str, *options: str, callback: str = "platform.recovery.timeline", **settings: str) -> Ran:
        done = subprocess.run(
            self.command(playbook, *options),
            cwd=self.folder,
            env=self.environment(callback) | settings,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
        )
        return self.seen(done.returncode, done.stdout)

    def seen(self, code: int, output: str) -> Ran:
        folder = self.folder / ".recovery" / "runs" / "r1"
        journal = Journal(folder, "r1")
        records = list(journal.records()) if journal.path.exists() else []
        assert not records or journal.verify() is None
        assert "Traceback" not in output
        assert "failed for plugin" not in output
        assert "in callback plugin" not in output
        return Ran(code, output, folder, records)


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)


def test_a_good_run_reads_like_the_checklist_and_is_measured(stage: Stage) -> None:
    ran = stage.run(OPEN + middle("    - {name: Plain task, ansible.builtin.debug: {msg: x}}\n") + CLOSE)
    assert ran.code == 0
    assert ran.events == [
        "run_started",
        "provenance",
        "forecast",
        "phase_started",
        "observation",
        "phase_ended",
        "phase_started",
        "phase_ended",
        "phase_started",
        "next_action",
        "phase_ended",
        "run_ended",
    ]
    started = ran.records[0]["data"]
    assert started["playbook"] == "database-failover"
    assert "@" in started["initiator"]
    assert set(started["versions"]) == {"platform.recovery", "ansible-core", "python"}
    assert [record["data"]["title"] for record in ran.records if record["event"] == "phase_started"] == [
        "Confirm the failure",
        "Promote the standby",
        "Verify data integrity",
    ]
    assert (ran.report["outcome"], ran.report["state"], ran.report["exit_code"]) == ("recovered", "finished", 0)
    assert (ran.folder / "metrics.prom").exists()
    for line in (
        r"^1/3  Confirm the failure$",
        r"^2/3  Promote the standby$",
        r"^ {7}us-west-2 refuses connections$",
        r"✔ [0-9.]+ s of 5:00 +RTO 00:0\d\.\d of 30:00$",
        r"RECOVERED$",
        r"^RTO +[0-9.]+ s of 30 min +met",
        r"Report .*/r1/report.html",
    ):
        assert re.search(line, ran.output, re.MULTILINE), line
    for noise in ("TASK [", "PLAY RECAP", "Plain task", "{", "\033["):
        assert noise not in ran.output


def test_a_checkpoint_costs_at_most_a_few_milliseconds(stage: Stage) -> None:
    many = "    - platform.recovery.checkpoint: {state: phase, phase: 'p{{ item }}'}\n"
    many += "      loop: [1, 2, 3, 4, 5, 6, 7, 8]\n      register: cost\n"
    tell = (
        "    - platform.recovery.checkpoint: {state: observation, what: cost,"
        " facts: {best: \"{{ cost.results | map(attribute='seconds') | min }}\"}}\n"
    )
    ran = stage.run(OPEN + middle(many + tell) + CLOSE)
    seconds = next(r["data"]["facts"]["best"] for r in ran.records if r["data"].get("what") == "cost")
    # The promise is 20 ms; tests share the machine with others.
    assert float(seconds) < 0.03


BREAK = "    - {name: Break, ansible.builtin.command: \"sh -c 'echo boom >&2; exit 3'\"}\n"
FOREIGN = {
    "command": (BREAK, "Break", "boom"),
    "template": ("    - {name: Break, ansible.builtin.debug: {msg: '{{ nowhere }}'}}\n", "Break", "nowhere"),
    "arguments": (
        "    - {name: Break, platform.recovery.checkpoint: {state: '{{ nowhere }}'}}\n",
        "Break",
        "nowhere",
    ),
    "loop": (
        "    - {name: Break, ansible.builtin.command: 'sh -c \"echo {{ item }}; exit {{ item }}\"', loop: [0, 3]}\n",
        "Break",
        "non-zero",
    ),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_the_failure_of_any_task_is_told_journalled_and_closes_the_run(stage: Stage, name: str) -> None:
    tasks, task, says = FOREIGN[name]
    ran = stage.run(OPEN + middle(tasks) + CLOSE)
    assert ran.code == 2
    failures = [record["data"] for record in ran.records if record["event"] == "step_failed"]
    assert len(failures) == 1
    assert failures[0]["task"] == task
    assert says in failures[0]["msg"]
    assert ran.events[-1] == "run_ended"
    assert (ran.report["outcome"], ran.report["state"], ran.report["exit_code"]) == ("failed", "finished", 2)
    assert ran.report["phases"][-1]["outcome"] == "failed"
    assert says in ran.output
    assert "recovery_run_id=r1" in ran.output
    assert '"changed"' not in ran.output


def test_our_own_failures_are_journalled_once_and_shown_in_words(stage: Stage) -> None:
    ran = stage.run(OPEN + middle("    - {name: Wrong, platform.recovery.checkpoint: {state: decision}}\n") + CLOSE)
    assert ran.events.count("step_failed") == 1
    assert ran.report["exit_code"] == 1
    for words in ("✘ Wrong: bad input", "needs gate", "observed nothing", "wanted   gate", "next     give gate"):
        assert words in ran.output


def test_an_unreachable_host(stage: Stage) -> None:
    tasks = "    - {name: Reach, ansible.builtin.ping: {}, vars: {ansible_connection: ssh, ansible_host: 127.0.0.1,"
    ran = stage.run(OPEN + middle(tasks + " ansible_port: 1}}\n", hosts="platform_db") + CLOSE)
    assert ran.code != 0
    assert "platform_db cannot be reached" in ran.output
    assert ran.report["failures"][0]["host"] == "platform_db"


def test_what_is_allowed_to_fail_does_not_fail_the_run(stage: Stage) -> None:
    ran = stage.run(OPEN + middle(BREAK.replace("}\n", ", ignore_errors: true}\n")) + CLOSE)
    assert ran.code == 0
    assert "which is allowed here" in ran.output
    assert "step_failed" not in ran.events
    assert ran.report["outcome"] == "recovered"


def test_nothing_of_a_task_with_no_log_is_shown_or_journalled(stage: Stage) -> None:
    tasks = BREAK.replace("boom", "planted-canary").replace("}\n", ", no_log: true}\n")
    ran = stage.run(OPEN + middle(tasks) + CLOSE)
    assert ran.code == 2
    for text in (ran.output, *(path.read_text() for path in ran.folder.iterdir())):
        assert "planted-canary" not in text
    assert "hidden" in ran.report["failures"][0]["msg"]


@pytest.mark.parametrize("verbosity", ["", "-v", "-vvv"])
def test_credentials_that_a_foreign_task_prints_are_redacted(stage: Stage, verbosity: str) -> None:
    credentials = json.dumps({"recovery_credentials": {"admin": {"user": "u", "password": "planted-canary"}}})
    tasks = "    - {name: Break, ansible.builtin.fail: {msg: 'login with {{ recovery_credentials.admin.password }}'}}\n"
    ran = stage.run(OPEN + middle(tasks) + CLOSE, "-e", credentials, *([verbosity] if verbosity else []))
    texts = [path.read_text() for path in ran.folder.iterdir()]
    if verbosity != "-vvv":  # there Ansible itself prints what tasks returned
        texts.append(ran.output)
    for text in texts:
        assert "planted-canary" not in text


LOOKUP = {"recovery_credentials": {"admin": {"user": "u", "password": "{{ lookup('file', 'password') }}"}}}
TELLS = "login with {{ recovery_credentials.admin.password }}"
TELLING = {
    "foreign": f"    - {{name: Break, ansible.builtin.fail: {{msg: '{TELLS}'}}}}\n",
    "ours": f"    - {{name: Break, platform.recovery.checkpoint: {{state: '{TELLS}'}}}}\n",
}


@pytest.mark.parametrize("callback", ["platform.recovery.timeline", "default"])
@pytest.mark.parametrize("whose", TELLING)
def test_credentials_that_a_lookup_gives_are_redacted_too(stage: Stage, whose: str, callback: str) -> None:
    (stage.folder / "password").write_text("planted-canary\n")
    ran = stage.run(OPEN + middle(TELLING[whose]) + CLOSE, "-e", json.dumps(LOOKUP), callback=callback)
    assert ran.code == 2
    texts = [path.read_text() for path in ran.folder.iterdir()]
    if (whose, callback) != ("foreign", "default"):  # nothing of ours sees what it prints
        texts.append(ran.output)
        assert "[redacted]" in ran.output
    for text in texts:
        assert "planted-canary" not in text


def test_differences_are_redacted(stage: Stage) -> None:
    credentials = json.dumps({"recovery_credentials": {"admin": {"user": "u", "password": "planted-canary"}}})
    copy = (
        "    - ansible.builtin.copy: {content: 'pin planted-canary\n', dest: '{{ playbook_dir }}/out', mode: '0600'}\n"
    )
    ran = stage.run(OPEN + middle(copy) + CLOSE, "--diff", "-e", credentials)
    assert ran.code == 0
    assert "+pin [redacted]" in ran.output


@pytest.mark.parametrize("way", ["end_play", "tags"])
def test_a_playbook_that_stops_early_did_not_recover_and_says_so_by_its_exit_code(stage: Stage, way: str) -> None:
    if way == "end_play":
        ran = stage.run(OPEN + middle("    - ansible.builtin.meta: end_play\n"))
    else:
        ran = stage.run(
            (OPEN + middle("") + CLOSE).replace("register:", "tags: some\n      register:"), "--tags", "some"
        )
    assert (ran.code, ran.report["outcome"], ran.report["exit_code"]) == (2, "failed", 2)
    assert "before the end of its checklist" in ran.output


def test_a_run_is_found_without_facts_and_never_in_a_fact_cache(stage: Stage) -> None:
    cache = stage.folder / "cache"
    settings = {
        "ANSIBLE_INJECT_FACT_VARS": "false",
        "ANSIBLE_CACHE_PLUGIN": "jsonfile",
        "ANSIBLE_CACHE_PLUGIN_CONNECTION": str(cache),
    }
    observe = "    - platform.recovery.checkpoint: {state: observation, what: x}\n"
    first = stage.run(OPEN + middle(observe, hosts="platform_db") + CLOSE, **settings)
    assert (first.code, first.report["outcome"]) == (0, "recovered")
    assert not any("recovery_run" in path.read_text() for path in cache.glob("*"))
    later = stage.run(middle(observe), **settings)
    assert later.code == 2
    assert "found no open run" in later.output
    assert later.records == first.records


def test_a_begin_that_fails_writes_into_no_run(stage: Stage) -> None:
    begin = "    - platform.recovery.checkpoint: {state: begin, run_id: 'a/b', playbook: x}\n"
    ran = stage.run(OPEN + middle(begin) + CLOSE, callback="default")
    assert ran.code == 2
    assert "step_failed" not in ran.events


def test_side_by_side_hosts_enter_a_phase_together(stage: Stage) -> None:
    ran = stage.run(OPEN + middle("", hosts="platform_db,other_db") + middle("", hosts="platform_db,other_db") + CLOSE)
    assert [r["data"]["phase"] for r in ran.records if r["event"] == "phase_started"] == [
        "confirm",
        "promote",
        "verify",
    ]
    assert [phase["name"] for phase in ran.report["phases"]] == ["confirm", "promote", "verify"]


@pytest.mark.parametrize(("detected", "accepted"), [(30, True), (3600, False)])
def test_an_alert_from_the_future(stage: Stage, detected: float, accepted: bool) -> None:
    stamp = clock.stamp(time.time() + detected)
    ran = stage.run(OPEN + CLOSE, "-e", f"detected={stamp}")
    assert (ran.code == 0) is accepted
    if accepted:
        assert ran.report["clock"]["how"] == "the start of the run"
    else:
        assert "lies in the future" in ran.output
        assert stamp in ran.output
        assert not ran.events


def test_a_full_disk_does_not_stop_a_recovery_for_its_report(stage: Stage) -> None:
    # What cannot be replaced by a file stands for what cannot be written.
    page = "{{ recovery_run.folder }}/report.html"
    block = f"    - ansible.builtin.command: sh -c 'rm {page} && mkdir -p {page}/x'\n"
    go_on = "    - platform.recovery.checkpoint: {state: phase, phase: next}\n"
    ran = stage.run(OPEN + middle(block + go_on) + CLOSE)
    assert "The report could not be written, the run goes on" in ran.output
    assert "Close the run: failed" in ran.output
    assert "recovery report r1" in " ".join(ran.output.split())
    assert ran.events.count("phase_started") == 4
    assert not list(ran.folder.glob(".report*"))
    assert "run_ended" in ran.events
    assert ran.code == 2


def test_a_task_of_ours_with_no_log_is_journalled_once_and_without_words(stage: Stage) -> None:
    task = "    - {name: Break, platform.recovery.checkpoint: {state: planted-canary}, no_log: true}\n"
    ran = stage.run(OPEN + middle(task) + CLOSE)
    failures = [record["data"] for record in ran.records if record["event"] == "step_failed"]
    assert [(failure["kind"], "hidden" in failure["msg"]) for failure in failures] == [("bad_input", True)]
    for text in (ran.output, *(path.read_text() for path in ran.folder.iterdir())):
        assert "planted-canary" not in text


@pytest.mark.parametrize("options", [["--check"], ["-e", "recovery_mode=plan"]])
def test_a_plan_is_journalled_and_marked_so(stage: Stage, options: list[str]) -> None:
    ran = stage.run(OPEN + middle("") + CLOSE, *options)
    assert ran.code == 0
    assert (ran.report["outcome"], ran.report["exit_code"]) == ("planned", 0)
    assert ran.records[0]["data"]["check"] is (options == ["--check"])


def test_running_again_resumes(stage: Stage) -> None:
    first = stage.run(OPEN + middle(BREAK) + CLOSE)
    again = stage.run(OPEN + middle("") + CLOSE)
    assert (first.code, again.code) == (2, 0)
    assert "Resuming run r1" in again.output
    assert "run_resumed" in again.events
    assert (again.report["outcome"], again.report["attempts"]) == ("recovered", 2)
    assert again.report["started_at"] == first.report["started_at"]


def test_other_hosts_find_the_run_and_are_named(stage: Stage) -> None:
    lines = "    - platform.recovery.checkpoint: {state: observation, what: x, lines: ['seen']}\n"
    ran = stage.run(OPEN + middle(lines, hosts="platform_db,other_db") + CLOSE)
    assert ran.code == 0
    assert "[platform_db] seen" in ran.output
    assert "[other_db] seen" in ran.output


def test_without_the_callback_journal_and_report_are_there_too(stage: Stage) -> None:
    good = stage.run(OPEN + middle("") + CLOSE, callback="default")
    assert "PLAY RECAP" in good.output
    assert good.report["outcome"] == "recovered"
    bad = stage.run(OPEN + middle(BREAK) + CLOSE, callback="default")
    assert (bad.report["outcome"], bad.report["state"]) == ("failed", "unfinished")


def test_other_playbooks_look_as_ever(stage: Stage) -> None:
    playbook = "- hosts: localhost\n  gather_facts: false\n  tasks:\n" + BREAK.replace("exit 3", "exit 0")
    ours, default = stage.run(playbook), stage.run(playbook, callback="default")
    assert ours.output == default.output
    assert "PLAY RECAP" in ours.output


SLEEP = "    - {name: Wait, ansible.builtin.command: sleep 30}\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_interrupted_run_is_cancelled_and_says_how_to_go_on(stage: Stage, number: signal.Signals) -> None:
    process = subprocess.Popen(
        stage.command(OPEN + middle(SLEEP) + CLOSE),
        cwd=stage.folder,
        env=stage.environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    wait_for(stage.folder / ".recovery/runs/r1/journal.jsonl", '"promote"')
    time.sleep(0.5)
    begin = time.monotonic()
    process.send_signal(number)
    output, _ = process.communicate(timeout=20)
    assert time.monotonic() - begin < 10
    ran = stage.seen(process.returncode, output.replace("Traceback", "") if number == signal.SIGINT else output)
    assert ran.code != 0
    assert ran.events[-2:] == ["run_interrupted", "run_ended"]
    assert (ran.report["outcome"], ran.report["exit_code"]) == ("cancelled", 5)
    assert "CANCELLED" in ran.output
    assert "recovery_run_id=r1" in ran.output


def test_a_killed_run_leaves_a_report_and_can_be_resumed(stage: Stage) -> None:
    process = subprocess.Popen(
        stage.command(OPEN + middle(SLEEP) + CLOSE),
        cwd=stage.folder,
        env=stage.environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    wait_for(stage.folder / ".recovery/runs/r1/journal.jsonl", '"promote"')
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    ran = stage.seen(process.returncode, "")
    assert (ran.report["state"], ran.report["outcome"]) == ("unfinished", "failed")
    controller = ran.report["controller"]
    assert (controller["pid"], controller["host"]) == (process.pid, socket.gethostname())
    assert controller["started"] > 0
    again = stage.run(OPEN + middle("") + CLOSE).report
    assert again["outcome"] == "recovered"
    assert again["controller"]["pid"] != process.pid


def test_a_terminal_shows_a_live_clock_and_keeps_the_lines_clean(stage: Stage) -> None:
    leader, follower = os.openpty()
    environment = {k: v for k, v in stage.environment().items() if k not in ("CI", "NO_COLOR")}
    process = subprocess.Popen(
        stage.command(OPEN + middle(SLEEP.replace("30", "1")) + CLOSE),
        cwd=stage.folder,
        env={**environment, "TERM": "xterm"},
        stdin=subprocess.DEVNULL,
        stdout=follower,
        stderr=follower,
    )
    os.close(follower)
    output = b""
    while select.select([leader], [], [], 60)[0]:
        try:
            chunk = os.read(leader, 65536)
        except OSError:
            break
        if not chunk:
            break
        output += chunk
    os.close(leader)
    assert process.wait() == 0
    shown = output.decode()
    assert re.search(
        r"\r\033\[2m2/3 Promote the standby  ·  [0-9.]+ s of 5:00  ·  Wait  ·  RTO 00:0\d\.\d of 30:00", shown
    )
    assert "RECOVERED" in shown
    assert shown.rstrip("\r\n").endswith("report.html")


def wait_for(path: Path, content: str) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if path.exists() and content in path.read_text():
            return
        time.sleep(0.05)
    raise AssertionError(f"{content} never came into {path}")


ONCE = "    - {name: Work, ansible.builtin.debug: {msg: x}}\n"


def past(stage: Stage, count: int) -> None:
    """Leave runs that went through, each with its phases taking seconds."""
    for number in range(count):
        folder = stage.folder / f".recovery/runs/past-{number}"
        journal = Journal.open(folder, folder.name)
        journal.append("run_started", playbook="database-failover", mode="failover", target="us-east-1", check=False)
        for phase, seconds in (("confirm", 1.0), ("promote", 4.0), ("verify", 1.0)):
            journal.append("phase_started", phase=phase)
            journal.append("action", what=phase, changed=True)
            journal.append("phase_ended", phase=phase, seconds=seconds, outcome="ok")
        journal.append("run_ended", outcome="recovered")
        render(folder)


def test_a_plan_says_how_long_it_would_take(stage: Stage) -> None:
    none = stage.run(OPEN + CLOSE, "-e", "recovery_mode=plan")
    assert "Forecast: none: no run like this" in none.output
    shutil.rmtree(none.folder)
    past(stage, 3)
    ran = stage.run(OPEN + CLOSE, "-e", "recovery_mode=plan")
    assert re.search(
        r"^ {7}Forecast: failover [0-9.]+ s, 9 of 10 within [0-9.]+ s \(3 runs\)$", ran.output, re.MULTILINE
    )
    [entry] = ran.report["forecast"]["modes"]
    assert {phase["name"]: phase["seconds"]["median"] for phase in entry["phases"]} == {
        "confirm": 1.0, "promote": 4.0, "verify": 1.0,
    }  # fmt: skip
    assert "outlook" not in ran.events


def test_the_outlook_is_shown_and_journalled_while_a_task_works(stage: Stage) -> None:
    past(stage, 3)
    # The task comes to its end only when the journal says so, and nothing else happens meanwhile.
    waiting = (
        "    - name: Work on\n      ansible.builtin.command: >-\n        timeout 100 sh -c\n"
        "        'until grep -q missed .recovery/runs/r1/journal.jsonl; do sleep 0.1; done'\n"
    )
    detected = clock.stamp(time.time() - 1790)
    ran = stage.run(OPEN + middle(waiting) + CLOSE, "-e", f"detected={detected}")
    assert ran.code == 0
    said = [record["data"]["verdict"] for record in ran.records if record["event"] == "outlook"]
    assert said[-1] == "missed"
    assert set(said) <= {"on_time", "at_risk", "missed"}
    assert "MISSED" in ran.output
    in_time = stage.run((OPEN + middle(ONCE) + CLOSE).replace("run_id: r1", "run_id: r2"))
    assert re.search(r"RTO 00:\d\d\.\d of 30:00 on time, (30|29) min.* left$", in_time.output, re.MULTILINE)
