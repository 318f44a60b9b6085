# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The command without a playbook behind it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import platform_recovery as pr
from platform_recovery import cli
from platform_recovery.call import Call
from platform_recovery.errors import WrongCall
from platform_recovery.result import unopened


@pytest.mark.parametrize(
    ("texts", "variables", "files"),
    [
        ([], {}, []),
        (["a=1", "b=x=y", "c="], {"a": "1", "b": "x=y", "c": ""}, []),
        (['{"a": 1, "b": [true]}', "@/x/y.yml"], {"a": 1, "b": [True]}, ["/x/y.yml"]),
    ],
)
def test_variables(texts: list[str], variables: dict[str, Any], files: list[str]) -> None:
    assert cli._variables(texts) == (variables, files)


@pytest.mark.parametrize("text", ["planted", "=planted", "a b=planted", '{"a": planted'])
def test_wrong_variables_are_not_repeated(text: str) -> None:
    with pytest.raises(WrongCall) as caught:
        cli._variables([text])
    assert "planted" not in caught.value.message


def test_a_refused_call_has_every_field_of_a_report(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["run", "no-such", "-i", "/", "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    fields = (
        "schema run_id playbook scenario mode target initiator reason outcome objectives outage phases decisions "
        "next_actions exit_code"
    )
    assert set(fields.split()) <= set(report)
    assert pr.Result.from_report(report).exit_code == 1


def test_a_result_reads_a_report_with_fields_it_does_not_know() -> None:
    report = unopened(
        run_id="r", playbook="p", mode=None, target=None, exit_code=4, failure={"kind": "refused", "msg": "no"}
    )
    report["phases"] = [{"name": "confirm", "outcome": "ok", "attempt": 1, "news": 1}]
    report["outage"] = {"seconds": 1.5, "news": 1}
    result = pr.Result.from_report(report)
    assert (result.outcome, result.phases[0].name) == ("refused", "confirm")
    assert result.outage is not None
    assert result.outage.seconds == 1.5


def test_what_is_remembered_of_a_call_holds_no_value_of_a_variable(tmp_path: Path) -> None:
    (tmp_path / "hosts").write_text("")
    call = Call.of(
        "database_failover", "hosts", cwd=tmp_path, variables={"db_password": "planted"}, allow_data_loss=True,
        fence_statement="it is off", target="us-east-1", confirm="us-east-1",
    )  # fmt: skip
    text = json.dumps(call.remembered())
    assert "planted" not in text + repr(call)
    assert call.remembered()["overrides"] == ["allow_data_loss", "fence_statement"]
    assert call.remembered()["variable_names"] == ["db_password"]
    assert call.extra_variables()["recovery_allow_data_loss"] is True
    assert call.extra_variables()["recovery_run_id"] == call.run_id
    assert call.name == "database-failover"


def test_importing_the_package_is_cheap() -> None:
    code = (
        "import sys, platform_recovery.cli; print([m for m in ('ansible_runner', 'yaml', 'rich') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True,
                          env={"PYTHONPATH": str(Path(pr.__file__).parents[1])})  # fmt: skip
    assert done.stdout.strip() == "[]"


def test_unknown_names_are_no_attributes() -> None:
    assert all(getattr(pr, name) for name in pr.__all__)
    with pytest.raises(AttributeError):
        pr.nothing  # noqa: B018
