# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Amazon Application Recovery Controller: a routing control a region, switched through the cluster's own endpoints.

A cluster has five endpoints in five regions, of which any three keep it working; they are asked one after the other.
All controls are switched in one request, so that safety rules see the state before and after it and nothing in between.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import PreconditionFailed, StepFailed
from .aws import Aws, Unreachable, client
from .model import Change, short
from .provider import Provider

SERVICE = "route53-recovery-cluster"
# Where the configuration of all clusters is kept; only reading the rules beforehand needs it.
CONFIG, CONFIG_REGION = "route53-recovery-control-config", "us-west-2"
ON, OFF = "On", "Off"


@dataclass(frozen=True)
class Rule:
    """A safety rule: what must hold of `controls` for a change of `guarded` ones to be taken."""

    arn: str
    name: str
    controls: frozenset[str]
    guarded: frozenset[str]
    asserts: bool  # of the state after the change; a gating rule asks for the one before
    kind: str
    threshold: int
    inverted: bool

    def holds(self, states: Mapping[str, str]) -> bool:
        """Tell whether the rule is kept in these states. A control that is not known counts as off."""
        on = sum(states.get(arn) == ON for arn in self.controls)
        least = {"AND": len(self.controls), "OR": 1}.get(self.kind, self.threshold)
        return (on >= least) != self.inverted


def rule_of(row: Mapping[str, Any]) -> Rule:
    """Read a safety rule."""
    asserts = "ASSERTION" in row
    content = row["ASSERTION"] if asserts else row["GATING"]
    config = content["RuleConfig"]
    controls = frozenset(content["AssertedControls" if asserts else "GatingControls"])
    return Rule(
        arn=content["SafetyRuleArn"],
        name=content["Name"],
        controls=controls,
        guarded=controls if asserts else frozenset(content["TargetControls"]),
        asserts=asserts,
        kind=config["Type"],
        threshold=int(config["Threshold"]),
        inverted=bool(config["Inverted"]),
    )


def broken(rules: Sequence[Rule], before: Mapping[str, str], after: Mapping[str, str]) -> list[Rule]:
    """List the rules that forbid to go from one state to the other."""
    touched = {arn for arn in after if after[arn] != before.get(arn)}
    return [
        rule
        for rule in rules
        if rule.guarded & touched and not rule.holds({**before, **after} if rule.asserts else before)
    ]


class RoutingControls(Provider):
    """See above."""

    def plan(self, target: str) -> list[Change]:
        """Read the controls' states, and the safety rules where they can be read."""
        controls: Mapping[str, str] = self.zone.settings["controls"]
        if target not in controls:
            raise PreconditionFailed(
                f"{short(self.zone.name)} has no routing control for {target}",
                wanted=f"arc.controls.{target}",
                observed=", ".join(controls) or "no control",
                next_action="name the routing control of every region, then run again",
            )
        before = {
            arn: self._ask("get_routing_control_state", RoutingControlArn=arn)["RoutingControlState"]
            for arn in controls.values()
        }
        after = {arn: ON if region == target else OFF for region, arn in controls.items()}
        if before == after:
            return []
        self._require_rules(before, after)
        names = tuple(short(record.name) for record in self.zone.records)
        return [
            Change(f"routing control {region}", before[arn], after[arn], names, (arn, after[arn]))
            for region, arn in controls.items()
            if before[arn] != after[arn]
        ]

    def apply(self, changes: Sequence[Change]) -> None:
        """Switch all controls in one request."""
        self.work.guard()
        entries = [
            {"RoutingControlArn": arn, "RoutingControlState": state} for arn, state in (one.payload for one in changes)
        ]
        words: dict[str, Any] = {"UpdateRoutingControlStateEntries": entries}
        if self.zone.settings["override_safety_rules"]:
            words["SafetyRulesToOverride"] = self.zone.settings["override_safety_rules"]
        try:
            self._ask("update_routing_control_states", **words)
            self.work.changed = True
        except StepFailed as error:
            if error.fields.get("code") != "ConflictException":
                raise
            raise refused(short(self.zone.name), str(error.observed)) from None

    def _ask(self, verb: str, **words: Any) -> Any:
        trouble: Unreachable | None = None
        for endpoint in self.zone.settings["endpoints"]:
            made = client(SERVICE, self.zone.account, endpoint["region"], endpoint["url"])
            try:
                return Aws(made, f"the routing cluster in {endpoint['region']}", self.work.deadline).call(verb, **words)
            except Unreachable as error:
                trouble = error
        raise trouble or PreconditionFailed(
            f"{short(self.zone.name)} names no endpoint of its routing cluster",
            wanted="arc.endpoints",
            next_action="name the five endpoints of the cluster, then run again",
        )

    def _require_rules(self, before: Mapping[str, str], after: Mapping[str, str]) -> None:
        panel = self.zone.settings["control_panel"]
        if not panel:
            return
        api = Aws(client(CONFIG, self.zone.account, CONFIG_REGION, None), "ARC's configuration", self.work.deadline)
        try:
            rows = api.call("list_safety_rules", ControlPanelArn=panel)["SafetyRules"]
        except StepFailed as error:
            # The cluster itself keeps them whatever we know: that its configuration cannot be read stops nobody.
            self.work.notes.append(f"the safety rules could not be read beforehand: {error.observed}")
            return
        overridden = set(self.zone.settings["override_safety_rules"])
        found = [rule for rule in broken([rule_of(row) for row in rows], before, after) if rule.arn not in overridden]
        if found:
            raise refused(short(self.zone.name), ", ".join(rule.name for rule in found))


def refused(zone: str, observed: str) -> PreconditionFailed:
    """Say that a safety rule stands in the way. It is there because somebody wanted it."""
    return PreconditionFailed(
        f"A safety rule forbids to switch the routing controls of {zone}",
        wanted="every safety rule is kept",
        observed=observed,
        next_action=(
            "do what the rule asks for first; or, if it must not count this time, name it under "
            "arc.override_safety_rules and run again with a reason"
        ),
        gate=f"safety rules of {zone}",
    )
