# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Routing controls: what safety rules forbid, by table, and what is asked of ARC, by botocore's model of it."""

from __future__ import annotations

import time
from typing import Any

import pytest

boto3 = pytest.importorskip("boto3")
from botocore.exceptions import EndpointConnectionError  # noqa: E402
from botocore.stub import Stubber  # noqa: E402

from ansible_collections.platform.recovery.plugins.module_utils.dns import provider_arc  # noqa: E402
from ansible_collections.platform.recovery.plugins.module_utils.dns.model import Record, Zone  # noqa: E402
from ansible_collections.platform.recovery.plugins.module_utils.dns.provider import Work  # noqa: E402
from ansible_collections.platform.recovery.plugins.module_utils.dns.provider_arc import (  # noqa: E402
    RoutingControls,
    broken,
    rule_of,
)
from ansible_collections.platform.recovery.plugins.module_utils.errors import (  # noqa: E402
    PreconditionFailed,
    StepFailed,
)

WEST, EAST = "us-west-2", "us-east-1"
PANEL = "arn:aws:route53-recovery-control::123456789012:controlpanel/0123456789abcdef0123456789abcdef"
ARN = {region: f"{PANEL}/routingcontrol/{number:016}" for number, region in enumerate((WEST, EAST))}
RULE = f"{PANEL}/safetyrule/0123456789abcdef"
GATE = f"{PANEL}/routingcontrol/{9:016}"


def assertion(kind: str, threshold: int, inverted: bool = False) -> dict[str, Any]:
    config = {"Type": kind, "Threshold": threshold, "Inverted": inverted}
    common = {"SafetyRuleArn": RULE, "Name": "one-at-least", "RuleConfig": config, "ControlPanelArn": PANEL}
    return {"ASSERTION": {**common, "AssertedControls": list(ARN.values()), "Status": "DEPLOYED", "WaitPeriodMs": 5000}}


def gating() -> dict[str, Any]:
    config = {"Type": "AND", "Threshold": 1, "Inverted": False}
    common = {"SafetyRuleArn": RULE, "Name": "master-switch", "RuleConfig": config, "ControlPanelArn": PANEL}
    controls = {"GatingControls": [GATE], "TargetControls": list(ARN.values())}
    return {"GATING": {**common, **controls, "Status": "DEPLOYED", "WaitPeriodMs": 5000}}


@pytest.mark.parametrize(
    ("rule", "before", "after", "kept"),
    [
        pytest.param(assertion("ATLEAST", 1), "On Off", "Off On", True, id="moved in one request"),
        pytest.param(assertion("ATLEAST", 1), "On Off", "Off Off", False, id="all off"),
        pytest.param(assertion("ATLEAST", 2), "On Off", "Off On", False, id="two wanted"),
        pytest.param(assertion("AND", 1), "On On", "Off On", False, id="all wanted"),
        pytest.param(assertion("OR", 1), "On Off", "Off On", True, id="any wanted"),
        pytest.param(assertion("ATLEAST", 2, True), "On Off", "Off On", True, id="fewer than two wanted"),
        pytest.param(assertion("ATLEAST", 1), "Off Off", "Off Off", True, id="nothing is touched"),
        pytest.param(gating(), "On Off", "Off On", False, id="the gate is closed"),
    ],
)
def test_safety_rules(rule: dict[str, Any], before: str, after: str, kept: bool) -> None:
    states = [dict(zip(ARN.values(), text.split(), strict=True)) for text in (before, after)]
    assert (broken([rule_of(rule)], *states) == []) is kept


def test_an_open_gate_lets_through() -> None:
    states = [dict(zip(ARN.values(), text.split(), strict=True)) for text in ("On Off", "Off On")]
    assert broken([rule_of(gating())], {**states[0], GATE: "On"}, states[1]) == []


def state(region: str, value: str) -> tuple[str, dict[str, Any], dict[str, Any]]:
    return (
        "get_routing_control_state",
        {"RoutingControlArn": ARN[region]},
        {"RoutingControlArn": ARN[region], "RoutingControlState": value},
    )


ENTRIES = {
    "UpdateRoutingControlStateEntries": [
        {"RoutingControlArn": ARN[WEST], "RoutingControlState": "Off"},
        {"RoutingControlArn": ARN[EAST], "RoutingControlState": "On"},
    ]
}
RULES = ("list_safety_rules", {"ControlPanelArn": PANEL}, {"SafetyRules": [assertion("ATLEAST", 1)]})


def provider(monkeypatch: pytest.MonkeyPatch, *answers: Any, **settings: Any) -> RoutingControls:
    """A zone whose ARC expects these calls in this order; None is an endpoint that does not answer."""
    waiting = list(answers)

    def client(service: str, account: Any, region: str, endpoint: str | None) -> Any:
        del account
        made = boto3.client(
            service,
            region_name=region,
            endpoint_url=endpoint,
            aws_access_key_id="planted",
            aws_secret_access_key="planted-secret-key",
        )
        answer = waiting.pop(0)
        if answer is None:

            def silent(**_: Any) -> None:
                raise EndpointConnectionError(endpoint_url=str(endpoint))

            made.meta.events.register("before-send", silent)
            return made
        verb, expected, given = answer
        stub = Stubber(made)
        if isinstance(given, str):
            stub.add_client_error(verb, given, "a rule forbids it", expected_params=expected)
        else:
            stub.add_response(verb, given, expected)
        stub.activate()
        return made

    monkeypatch.setattr(provider_arc, "client", client)
    endpoints = [{"url": f"https://cell-{n}.example/v1", "region": region} for n, region in enumerate((EAST, WEST))]
    given = {"endpoints": endpoints, "controls": ARN, "control_panel": PANEL, "override_safety_rules": [], **settings}
    record = Record("app.example.com.", "A", {})
    zone = Zone("example.com.", "arc", {}, (record,), (), (), given)
    return RoutingControls(zone, Work(time.monotonic() + 10))


def test_controls_are_switched_in_one_request(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = ("update_routing_control_states", ENTRIES, {})
    found = provider(monkeypatch, state(WEST, "On"), state(EAST, "Off"), RULES, asked)
    changes = found.plan(EAST)
    assert [(one.what, one.before, one.after) for one in changes] == [
        ("routing control us-west-2", "On", "Off"),
        ("routing control us-east-1", "Off", "On"),
    ]
    found.apply(changes)
    assert found.work.changed


def test_nothing_is_left_to_switch(monkeypatch: pytest.MonkeyPatch) -> None:
    assert provider(monkeypatch, state(WEST, "Off"), state(EAST, "On")).plan(EAST) == []


def test_an_endpoint_that_is_lost_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.sleep", lambda _: None)
    answers = (None, state(WEST, "Off"), state(EAST, "On"))
    assert provider(monkeypatch, *answers).plan(EAST) == []


def test_rules_that_cannot_be_read_stop_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    silent = ("list_safety_rules", {"ControlPanelArn": PANEL}, "AccessDeniedException")
    found = provider(monkeypatch, state(WEST, "On"), state(EAST, "Off"), silent)
    assert len(found.plan(EAST)) == 2
    assert "could not be read" in found.work.notes[0]


@pytest.mark.parametrize(
    ("rules", "answers"),
    [
        pytest.param(assertion("ATLEAST", 2), (), id="seen beforehand"),
        pytest.param(
            assertion("ATLEAST", 1),
            (("update_routing_control_states", ENTRIES, "ConflictException"),),
            id="said by the cluster",
        ),
    ],
)
def test_a_safety_rule_is_a_refusal(monkeypatch: pytest.MonkeyPatch, rules: Any, answers: Any) -> None:
    read = ("list_safety_rules", {"ControlPanelArn": PANEL}, {"SafetyRules": [rules]})
    found = provider(monkeypatch, state(WEST, "On"), state(EAST, "Off"), read, *answers)
    with pytest.raises(PreconditionFailed, match="safety rule"):
        found.apply(found.plan(EAST))
    assert not found.work.changed


def test_a_rule_is_overridden_by_its_name_only(monkeypatch: pytest.MonkeyPatch) -> None:
    read = ("list_safety_rules", {"ControlPanelArn": PANEL}, {"SafetyRules": [assertion("ATLEAST", 2)]})
    asked = ("update_routing_control_states", {**ENTRIES, "SafetyRulesToOverride": [RULE]}, {})
    answers = (state(WEST, "On"), state(EAST, "Off"), read, asked)
    found = provider(monkeypatch, *answers, override_safety_rules=[RULE])
    found.apply(found.plan(EAST))


def test_no_endpoint_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.sleep", lambda _: None)
    with pytest.raises(StepFailed, match="could not be asked"):
        provider(monkeypatch, None, None).plan(EAST)
