# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Approvals, signed and checked by the real ssh-keygen."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.platform.recovery.plugins.action import approval
from ansible_collections.platform.recovery.plugins.module_utils import approvals, report, schema
from ansible_collections.platform.recovery.plugins.module_utils.approvals import Request, Rule
from ansible_collections.platform.recovery.plugins.module_utils.errors import BadInput, PreconditionFailed
from ansible_collections.platform.recovery.plugins.module_utils.evidence import verify_folder
from ansible_collections.platform.recovery.plugins.module_utils.report_html import html
from ansible_collections.platform.recovery.plugins.module_utils.report_metrics import prometheus
from ansible_collections.platform.recovery.plugins.module_utils.report_text import text
from ansible_collections.platform.recovery.plugins.module_utils.run import Run
from ansible_collections.platform.recovery.plugins.plugin_utils.action import Call
from platform_recovery import approve as approve_module
from platform_recovery import cli
from tests.support.keys import make_key, public

NOW = 1_800_000_000.0
PEOPLE = ("alice", "bob", "carol", "mallory")
REQUEST = Request(
    platform="lab",
    playbook="database-failover",
    mode="failover",
    target="us-east-1",
    description="sha256:1",
    overrides=(),
    run_id="r1",
    nonce="n1",
    requested_at="2027-01-15T08:00:00.000Z",
    initiators=("alice@ops1",),
)


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("keys")
    return {name: make_key(folder / name) for name in PEOPLE}


@pytest.fixture(scope="session")
def people(keys: dict[str, Path]) -> dict[str, Any]:
    known = {n: {"keys": [public(keys[n])], "accounts": []} for n in PEOPLE[:3]}
    known["carol"]["accounts"] = ["carol.c@example.com"]
    return known


@pytest.fixture
def rule(people: dict[str, Any]) -> Rule:
    names = tuple(people)
    kept = {n: people[n]["keys"] for n in names}
    return Rule(2, names, kept, {n: people[n]["accounts"] for n in names}, 3600, 600)


def signed(keys: dict[str, Path], name: str, request: Request = REQUEST, *, key: str | None = None, **more: Any) -> str:
    now, seconds = more.pop("now", NOW), more.pop("seconds", 600.0)
    said = approvals.statement(request, name, now, seconds, **more)
    return approvals.written(said, approvals.sign(said, keys[key or name]))


def altered(content: str) -> str:
    file = json.loads(content)
    file["statement"] = file["statement"].replace("us-east-1", "us-east-2")
    return json.dumps(file)


def judged(content: str, rule: Rule, initiators: Sequence[str] = ("alice@ops1",)) -> approvals.Judged:
    persons = approvals.persons(initiators, rule)
    return approvals.judge("a.json", content, rule, REQUEST, persons, NOW + 1, approvals.verify)


def test_a_good_approval(keys: dict[str, Path], rule: Rule) -> None:
    found = judged(signed(keys, "bob", reason="seen it"), rule)
    assert (found.flaw, found.approver, found.expires) == (None, "bob", "2027-01-15T08:10:00.000Z")
    assert "bob approved (seen it), until" in found.describe()


@pytest.mark.parametrize(
    ("flaw", "why", "changes"),
    [
        ("self-approval", "alice started this run", {"name": "alice"}),
        ("expired", "held until 2027-01-15T08:00:00", {"name": "bob", "now": NOW - 600}),
        ("expired", "still to come", {"name": "bob", "now": NOW + 3600}),
        ("wrong scope", "playbook 'region-failover'", {"name": "bob", "playbook": "region-failover"}),
        ("wrong scope", "target 'us-west-2', this run has 'us-east-1'", {"name": "bob", "target": "us-west-2"}),
        ("wrong scope", "mode 'switchover'", {"name": "bob", "mode": "switchover"}),
        ("wrong scope", "platform description is another", {"name": "bob", "description": "sha256:2"}),
        ("wrong scope", "last 7200 s, where 3600 s", {"name": "bob", "seconds": 7200.0}),
        ("wrong key", "none of bob's keys", {"name": "bob", "key": "mallory"}),
        ("wrong key", "none of bob's keys", {"name": "bob", "key": "carol"}),
        ("not an approver", "'mallory' is none of alice, bob, carol", {"name": "mallory"}),
        ("replayed", "given for run r0", {"name": "bob", "run_id": "r0"}),
        ("replayed", "earlier request of this run", {"name": "bob", "nonce": "n0"}),
    ],
)
def test_each_flaw_is_refused_with_its_reason(
    keys: dict[str, Path], rule: Rule, flaw: str, why: str, changes: dict[str, Any]
) -> None:
    scope = {name: changes.pop(name) for name in list(changes) if hasattr(REQUEST, name)}
    found = judged(signed(keys, request=replace(REQUEST, **scope), **changes), rule)
    assert found.flaw == flaw
    assert why in found.why


def test_an_approval_covers_the_overrides_that_it_was_asked_for_and_no_others(
    keys: dict[str, Path], rule: Rule
) -> None:
    wider = replace(REQUEST, overrides=("allow_data_loss",))
    content = signed(keys, "bob")
    found = approvals.judge("a", content, rule, wider, set(), NOW + 1, approvals.verify)
    assert (found.flaw, found.why) == ("wrong scope", "it does not cover allow_data_loss")
    assert judged(signed(keys, "bob", wider), rule).flaw is None


@pytest.mark.parametrize(
    ("content", "flaw"),
    [("{}", "unreadable"), ("no", "unreadable"), ('{"statement": "{}", "signature": ""}', "unreadable")],
)
def test_what_is_no_approval_is_unreadable(rule: Rule, content: str, flaw: str) -> None:
    assert judged(content, rule).flaw == flaw


def test_what_was_altered_after_it_was_signed_is_told_apart(keys: dict[str, Path], rule: Rule) -> None:
    assert judged(altered(signed(keys, "bob")), rule).flaw == "altered"
    file = json.loads(signed(keys, "bob"))
    assert judged(json.dumps({**file, "signature": "nonsense"}), rule).flaw == "altered"
    other = ["ssh-keygen", "-Y", "sign", "-f", str(keys["bob"]), "-n", "git"]
    done = subprocess.run(other, input=file["statement"], capture_output=True, text=True, check=True)
    assert judged(json.dumps({**file, "signature": done.stdout}), rule).flaw == "altered"


@pytest.mark.parametrize(
    ("initiator", "person"),
    [
        ("alice@ops1", {"alice"}),
        ("Alice", {"alice"}),
        ("bob@ops1 (as root)", {"bob"}),
        ("bob@ops1 (as alice)", {"alice", "bob"}),
        ("carol.c@example.com (job 7)", {"carol"}),
        ("root@ops1", set()),
        ("a schedule or workflow (job 7)", set()),
        ("alicex@ops1", set()),
    ],
)
def test_who_started_a_run_is_known_by_name_and_account(rule: Rule, initiator: str, person: set[str]) -> None:
    assert approvals.persons([initiator], rule) == person


@pytest.mark.parametrize(
    ("names", "verdict", "by"),
    [
        ([], "refuse", "observation"),
        (["bob"], "refuse", "observation"),
        (["bob", "bob"], "refuse", "observation"),
        (["bob", "alice"], "refuse", "observation"),
        (["bob", "carol"], "pass", "bob, carol"),
        (["bob", "!alice"], "override", "break-glass by alice, who started the run: fire"),
        (["!bob"], "override", "break-glass by bob: fire"),
        (["bob", "carol", "!alice"], "pass", "bob, carol"),
    ],
)
def test_people_are_counted(keys: dict[str, Path], rule: Rule, names: list[str], verdict: str, by: str) -> None:
    contents = [
        signed(keys, name.lstrip("!"), reason="fire", break_glass=name.startswith("!"), seconds=600 - number)
        for number, name in enumerate(names)
    ]
    found = approvals.decide([judged(content, rule) for content in contents], rule, {"alice"})
    assert (found.verdict, found.by) == (verdict, by)


def test_break_glass_needs_a_reason_and_lasts_shortly(keys: dict[str, Path], rule: Rule) -> None:
    assert judged(signed(keys, "bob", break_glass=True), rule).why == "break-glass without a reason"
    long = judged(signed(keys, "bob", break_glass=True, reason="fire", seconds=3600.0), rule)
    assert "where 600 s are allowed" in long.why


class Gate:
    """The verb, called as its base class calls it, in a run of its own sink."""

    def __init__(self, sink: Path, people: dict[str, Any], run_id: str = "r1") -> None:
        self.run = Run.at(run_id, sink / run_id)
        self.run.folder.mkdir(parents=True, exist_ok=True)
        self.people = people

    def start(self, initiator: str = "alice@ops1", **more: Any) -> None:
        started = {"playbook": "database-failover", "mode": "failover", "initiator": initiator, **more}
        self.run.journal.append("run_started", **started)

    def pass_(self, *, check: bool = False, variables: Any = None, **more: Any) -> dict[str, Any]:
        given = {
            "people": self.people, "platform": "lab", "playbook": "database-failover", "mode": "failover",
            "target": "us-east-1", "description": "sha256:1", **more,
        }  # fmt: skip
        action: Any = approval.ActionModule
        options, problems = schema.Validator(maps=action.MAPS).check(action.OPTIONS, given)
        assert not problems, [str(problem) for problem in problems]
        call = Call(options, check, False, self.run, {"recovery_initiator": "alice@ops1", **(variables or {})}, str)
        result: dict[str, Any] = action.__new__(action).act(call)
        return result

    def refused(self, **more: Any) -> PreconditionFailed:
        with pytest.raises(PreconditionFailed) as caught:
            self.pass_(**more)
        assert caught.value.kind == "refused"
        return caught.value

    @property
    def request(self) -> Path:
        return self.run.folder / approvals.REQUEST_FILE


def approve(gate: Gate, keys: dict[str, Path], name: str, *options: str) -> int:
    return cli.main(["approve", str(gate.request), "--as", name, "--key", str(keys[name]), *options])


def test_refused_then_approved_by_the_command_then_passed(
    tmp_path: Path, keys: dict[str, Path], people: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    gate = Gate(tmp_path, people)
    gate.start()
    first = gate.refused()
    assert "recovery approve r1 --as NAME" in str(first.next_action)
    assert first.fields["flaws"] == ["too few"]
    assert "2 of alice, bob, carol, none of them who started the run" in str(first)
    assert approve(gate, keys, "bob", "--reason", "west is down") == 0
    said = capsys.readouterr()
    assert "Checklist database-failover, mode failover, to us-east-1" in said.err
    assert "started by alice@ops1" in said.err
    assert "bob approves run r1 until" in said.out
    assert "1 of 2: bob approved (west is down)" in str(gate.refused())
    assert (
        cli.main(["approve", "r1", "--as", "carol", "--key", str(keys["carol"]), "--journal", f"file:{tmp_path}"]) == 0
    )
    assert gate.pass_()["approvers"] == ["bob", "carol"]
    [decision] = [r["data"] for r in gate.run.journal.records() if r["event"] == "decision"]
    assert (decision["gate"], decision["verdict"], decision["by"]) == ("approvals", "pass", "bob, carol")
    assert gate.run.journal.verify() is None
    assert gate.pass_()["approvers"] == ["bob", "carol"]  # the same run goes on


def test_what_led_to_the_approval_is_signed_when_the_gate_passes(
    tmp_path: Path, keys: dict[str, Path], people: Any
) -> None:
    gate = Gate(tmp_path, people)
    gate.start(evidence_key=str(keys["mallory"]))
    gate.refused()
    for name in ("bob", "carol"):
        assert approve(gate, keys, name) == 0
    assert gate.pass_(check=True)["lines"]
    assert verify_folder(gate.run.folder).signed_until == 0
    assert gate.pass_()["lines"][-1] == "The journal is signed up to record 3"
    assert [r["event"] for r in gate.run.journal.records()][-2:] == ["decision", "head_signed"]
    allowed = tmp_path / "allowed"
    allowed.write_text(f"controller {public(keys['mallory'])}")
    found = verify_folder(gate.run.folder, allowed)
    assert (found.intact, found.signature, found.signed_until) == (True, "none", 3)


def test_an_approval_is_worth_nothing_elsewhere(tmp_path: Path, keys: dict[str, Path], people: Any) -> None:
    gate = Gate(tmp_path / "one", people)
    gate.start()
    gate.refused()
    for name in ("bob", "carol"):
        assert approve(gate, keys, name, "--json") == 0
    used = [str(gate.run.folder / "approvals")]
    gate.pass_()
    other = Gate(tmp_path / "one", people, "r2")
    other.start()
    assert other.refused(approvals=used).fields["flaws"] == ["replayed"]
    # Another controller with a sink of its own, which is told the same name.
    there = Gate(tmp_path / "two", people, "r1")
    there.start()
    assert "earlier request of this run" in str(there.refused(approvals=used))
    # The same run once it has recovered: what comes then is another failover.
    gate.run.journal.append("run_ended", outcome="failed")
    gate.pass_()
    gate.run.journal.append("run_ended", outcome="recovered")
    assert gate.refused().fields["flaws"] == ["replayed"]


def test_a_change_of_scope_is_asked_anew(tmp_path: Path, keys: dict[str, Path], people: Any) -> None:
    gate = Gate(tmp_path, people)
    gate.start()
    gate.refused()
    for name in ("bob", "carol"):
        approve(gate, keys, name)
    assert gate.refused(overrides=["allow_data_loss"]).fields["flaws"] == ["wrong scope"]
    assert json.loads(gate.request.read_text())["request"]["overrides"] == ["allow_data_loss"]
    approve(gate, keys, "bob")
    approve(gate, keys, "carol")
    assert gate.pass_(overrides=["allow_data_loss"])["approvers"] == ["bob", "carol"]


def test_whoever_resumes_is_an_initiator_too_and_a_claimed_name_does_not_hide_an_account(
    tmp_path: Path, keys: dict[str, Path], people: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(tmp_path, people)
    gate.start("somebody")
    gate.run.journal.append("run_resumed", initiator="bob@ops1")
    monkeypatch.setenv("LOGNAME", "carol")
    monkeypatch.delenv("SUDO_USER", raising=False)
    gate.refused(variables={"recovery_initiator": "somebody"})
    approve(gate, keys, "bob")
    approve(gate, keys, "carol")
    found = gate.refused(variables={"recovery_initiator": "somebody"})
    assert found.fields["flaws"] == ["self-approval"]
    assert "bob started this run" in str(found)
    assert "carol started this run" in str(found)


def test_break_glass_is_a_loud_mark_in_every_report(tmp_path: Path, keys: dict[str, Path], people: Any) -> None:
    gate = Gate(tmp_path, people)
    gate.start()
    gate.refused()
    assert approve(gate, keys, "alice", "--break-glass") == 1  # no reason
    assert approve(gate, keys, "alice", "--break-glass", "--reason", "alone on call") == 0
    assert gate.pass_()["lines"][0].startswith("BREAK-GLASS: break-glass by alice, who started the run: alone on call")
    made = report.render(gate.run.folder)
    [mark] = made["marks"]
    assert "alone on call" in mark
    assert "BREAK-GLASS" in text(made)
    assert '<p class="mark" role="alert">BREAK-GLASS' in html(made)
    assert 'recovery_break_glass{playbook="database-failover"' in prometheus(made)
    assert made["decisions"][-1]["verdict"] == "override"


def test_a_plan_asks_nobody_and_says_what_is_missing(tmp_path: Path, people: Any) -> None:
    gate = Gate(tmp_path, people)
    gate.start()
    assert gate.pass_(check=True)["lines"] == ["approvals: 0 of 2: no approval was found"]
    assert not gate.request.exists()


@pytest.mark.parametrize(
    ("variables", "passes"),
    [
        ({}, False),
        ({"awx_workflow_job_name": "Failover"}, False),
        ({"awx_workflow_job_id": 12, "awx_workflow_job_name": "Other"}, False),
        ({"awx_workflow_job_id": 12, "awx_workflow_job_name": "Failover"}, True),
        ({"tower_workflow_job_id": 12, "tower_workflow_job_name": "Failover"}, True),
    ],
)
def test_an_approval_node_of_awx_stands_in_where_its_workflow_is_named(
    tmp_path: Path, people: Any, variables: dict[str, Any], passes: bool
) -> None:
    gate = Gate(tmp_path, people)
    gate.start()
    if not passes:
        gate.refused(awx_workflow="Failover", variables=variables)
        return
    assert "who approved is in its record" in gate.pass_(awx_workflow="Failover", variables=variables)["lines"][0]
    gate.refused(variables=variables)  # not named: it counts for nothing


def test_a_file_that_is_not_there_is_a_mistake_of_the_call(tmp_path: Path, people: Any) -> None:
    gate = Gate(tmp_path, people)
    gate.start()
    with pytest.raises(BadInput, match=r"none.json cannot be read"):
        gate.pass_(approvals=[str(tmp_path / "none.json")])


def test_without_ssh_keygen_nothing_is_believed(
    tmp_path: Path, keys: dict[str, Path], rule: Rule, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = signed(keys, "bob")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(PreconditionFailed, match="openssh-client"):
        judged(content, rule)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--as", "mallory"], "mallory is no approver"),
        (["--as", "bob", "--valid", "999999"], "14400 s at most"),
        (["--as", "bob", "--key", "/no/key"], "no such file"),
    ],
)
def test_the_command_refuses_what_the_gate_would(
    tmp_path: Path, keys: dict[str, Path], people: Any, options: list[str], said: str, capsys: Any
) -> None:
    gate = Gate(tmp_path, people)
    gate.start()
    gate.refused()
    assert cli.main(["approve", str(gate.request), "--key", str(keys["bob"]), *options]) == 1
    assert said in capsys.readouterr().err
    assert cli.main(["approve", "nothing-like-it", "--as", "bob", "--key", "x", "--journal", f"file:{tmp_path}"]) == 1
    (tmp_path / "other").write_text("{}")
    assert cli.main(["approve", str(tmp_path / "other"), "--as", "bob", "--key", "x"]) == 1


def test_a_key_that_cannot_sign_is_said_to(tmp_path: Path, people: Any, capsys: Any) -> None:
    gate = Gate(tmp_path, people)
    gate.start()
    gate.refused()
    (tmp_path / "key").write_text("no key")
    assert cli.main(["approve", str(gate.request), "--as", "bob", "--key", str(tmp_path / "key")]) == 1
    assert "cannot sign with" in capsys.readouterr().err


def test_a_request_writes_over_nothing_on_the_approvers_terminal(tmp_path: Path) -> None:
    asked = approve_module.Asked(tmp_path, replace(REQUEST, initiators=("alice\x1b[2A\r",)), 1, ("bob",), 1.0, 1.0)
    text = "\n".join(approve_module.words(asked))
    assert "alice\\x1b[2A\\x0d" in text
    assert "\x1b" not in text
