# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a provider's answers lead to: fenced, stated, refused; and how an old primary comes back."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from ansible_collections.platform.recovery.plugins.module_utils.errors import PreconditionFailed
from ansible_collections.platform.recovery.plugins.module_utils.postgresql import decide, fence, observe, provided
from ansible_collections.platform.recovery.plugins.module_utils.postgresql.model import (
    Credentials,
    DatabaseView,
    Member,
    MemberState,
    Receiver,
)
from ansible_collections.platform.recovery.plugins.module_utils.postgresql.places import RdsPlace, ResourcePlace
from ansible_collections.platform.recovery.plugins.module_utils.postgresql.provided import HandedOver
from ansible_collections.platform.recovery.plugins.module_utils.service_manager import UnitStatus

FENCED = UnitStatus("fenced, no pod is left", True, "inactive", "masked")
TOLD = UnitStatus("fenced, and its port is silent", True, "active", "masked")
FREE = UnitStatus("not fenced", True, "active", "enabled")
SILENT = UnitStatus("its API does not answer", answered=False)
CNPG = ResourcePlace("cloudnativepg", "west", "db", "platform")
ZALANDO = ResourcePlace("zalando", "west", "db", "platform")
REPLICA = RdsPlace("us-west-2", instance="platform")
WEST, EAST = Member("west", "west.example", resource=CNPG), Member("east", "east.example", resource=CNPG)


@dataclass
class Provider(provided.Provider):
    """Answers as it is told to."""

    shows: UnitStatus = FREE
    after: UnitStatus = FENCED
    asked: list[str] = field(default_factory=list)
    in_hand: str | None = None

    def taken_back(self, name: str, target: str, *, seconds: float) -> str | None:
        self.asked.append(f"taken back {name} by {target} {seconds:g}")
        return self.in_hand

    def status(self, name: str, *, seconds: float) -> UnitStatus:
        self.asked.append(f"status {name} {seconds:g}")
        return self.shows

    def stepped_down(self, name: str, *, seconds: float) -> str | None:
        return f"{name} holds its token after {seconds:g}"

    def stop_for_good(self, name: str, *, seconds: float) -> UnitStatus:
        self.asked.append(f"stop {name} {seconds:g}")
        return self.after

    def hand_over(self, source: str, target: str, *, seconds: float) -> HandedOver | None:
        self.asked.append(f"hand over {source} {target} {seconds:g}")
        return HandedOver("stepped down", True)

    def promote(self, target: str, *, stepped_down: Sequence[str], seconds: float) -> bool:
        raise AssertionError(f"a fence promotes nobody: {target}, {stepped_down}, {seconds}")

    def close(self) -> None:
        """Nothing is open."""


def state(name: str, *, recovery: bool | None = None, streaming: bool = False) -> MemberState:
    receiver = Receiver("streaming") if streaming else None
    return MemberState(
        name,
        name,
        recovery is not None,
        None if recovery is not None else "refused",
        "refused",
        recovery,
        receiver=receiver,
    )


@pytest.fixture(autouse=True)
def seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let SQL show what the provider said: a source that is a standby."""
    monkeypatch.setattr(fence, "look_at", lambda session: state(session.member.name, recovery=True))


def fenced(
    provider: Provider, west: bool | None, *, mode: str = "failover", statement: str | None = None, east: bool = True
) -> tuple[list[fence.Fenced], list[str]]:
    guarded: list[str] = []
    request = fence.FenceRequest(
        "east",
        mode,
        statement,
        "power cut",
        provider_seconds=9,
        guard=lambda: guarded.append("asked"),  # type: ignore[arg-type]
    )
    states = {"west": state("west", recovery=west), "east": state("east", recovery=east)}
    units = {"west": provider.shows} if west is None else {}
    members = {"west": WEST, "east": EAST}
    runner = fence.Runner(members, Credentials("postgres"), request, states, units, provider)
    return runner.carry_out(runner.choose()), guarded


@pytest.mark.parametrize(
    ("provider", "west", "mode", "statement", "proof", "asked"),
    [
        pytest.param(Provider(), None, "failover", None, "stopped", ["stop west 9"], id="it can be fenced"),
        pytest.param(Provider(FENCED), None, "failover", None, "stopped", [], id="it is fenced"),
        pytest.param(Provider(after=TOLD), None, "failover", "off", "statement", ["stop west 2"], id="told and stated"),
        pytest.param(Provider(SILENT), None, "failover", "off", "statement", [], id="out of reach and stated"),
        pytest.param(Provider(), False, "switchover", None, "standby", ["hand over west east 9"], id="handed over"),
        pytest.param(Provider(), True, "switchover", None, "standby", [], id="has stepped down"),
    ],
)
def test_how_a_member_is_fenced(
    provider: Provider, west: bool | None, mode: str, statement: str | None, proof: str, asked: list[str]
) -> None:
    [outcome], guarded = fenced(provider, west, mode=mode, statement=statement)
    assert (outcome.proof, provider.asked, len(guarded)) == (proof, asked, len(asked))


@pytest.mark.parametrize(
    ("provider", "west", "words"),
    [
        pytest.param(Provider(after=TOLD), None, "nothing proves that it did.*recovery_fence_statement", id="no proof"),
        pytest.param(Provider(SILENT), None, "not proven stopped.*its API does not answer", id="out of reach"),
        pytest.param(Provider(), False, "recovery_mode=switchover", id="alive"),
    ],
)
def test_when_a_fence_is_refused(provider: Provider, west: bool | None, words: str) -> None:
    with pytest.raises(PreconditionFailed) as refused:
        fenced(provider, west)
    assert re.search(words, str(refused.value))


@pytest.mark.parametrize(
    ("in_hand", "proof", "then"),
    [
        pytest.param("it starts as a standby", "standby", [], id="what runs it sees to it"),
        pytest.param(None, "stopped", ["stop west 9"], id="nobody sees to it"),
    ],
)
def test_who_is_silent_beside_the_new_primary(in_hand: str | None, proof: str, then: list[str]) -> None:
    provider = Provider(in_hand=in_hand)
    [outcome], guarded = fenced(provider, None, east=False)
    assert (outcome.proof, outcome.changed, len(guarded)) == (proof, bool(then), len(then))
    assert provider.asked == ["taken back west by east 1.5", *then]


@pytest.mark.parametrize(
    ("unit", "alive"),
    [pytest.param(FENCED, False), pytest.param(FREE, None), pytest.param(TOLD, None), pytest.param(SILENT, None)],
)
def test_a_provider_knows_fences_and_not_life(unit: UnitStatus, alive: bool | None) -> None:
    [said] = observe.provider_evidence(Provider(unit), [WEST], 1)
    assert (said.alive, said.fenced, said.observed) == (alive, unit.fenced, unit.observed)


@pytest.mark.parametrize(
    ("member", "words"),
    [
        (WEST, "CloudNativePG clone west anew"),
        (Member("west", "w", resource=ZALANDO), "section standby that names east"),
        (Member("west", "w", rds=REPLICA), "new read replica of east in us-west-2"),
        (Member("west", "w", rds=RdsPlace("us-west-2", cluster="c", global_cluster="g")), "by itself"),
        (
            Member("west", "w", rds=RdsPlace("us-west-2", cluster="c", global_cluster="g", failover="detach")),
            "add a new",
        ),
    ],
)
def test_how_an_old_primary_comes_back(member: Member, words: str) -> None:
    view = DatabaseView({"west": state("west"), "east": state("east", recovery=False)})
    lines, [action] = provided.rejoin_lines({"west": member, "east": EAST}, view, "east")
    assert lines == ["west does not follow east"]
    assert words in action
    with pytest.raises(PreconditionFailed, match=words):
        provided.refuse_rebuild(member, state("west"), "east")


def test_who_follows_is_left_in_peace() -> None:
    follows = state("west", recovery=True, streaming=True)
    provided.refuse_rebuild(WEST, follows, "east")
    provided.refuse_rebuild(Member("west", "w"), state("west"), "east")
    view = DatabaseView({"west": follows, "east": state("east", recovery=False)})
    assert provided.rejoin_lines({"west": WEST, "east": EAST}, view, "east") == (["west follows already"], [])


def test_who_needs_no_provider_gets_none() -> None:
    with provided.provider_of({"west": Member("west", "w")}, lambda: None) as found:
        assert found is None
    for member in (WEST, Member("west", "w", rds=REPLICA)):
        with provided.provider_of({"west": member}, lambda: None) as found:
            assert found is not None


def test_a_switchover_that_was_cut_short_goes_on() -> None:
    states = {name: state(name, recovery=True) for name in ("west", "east")}
    members = {"west": WEST, "east": EAST}
    evidence = observe.witnesses(members, states, target="east", managers=(), look_again=lambda _: {})
    evidence += tuple(observe.stepped_down(Provider(), states, "east", 1))
    assert [(item.member, item.fenced) for item in evidence] == [("west", True)]
    for said, verdict in ((evidence, "pass"), ((), "refuse")):
        view = DatabaseView(states, said)
        judged = decide.judge(view, "east")
        assert decide.mode_gate(view, judged, decide.Request("east", "switchover")).verdict == verdict
