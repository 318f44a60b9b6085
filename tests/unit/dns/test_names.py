# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is described, what servers say of it, and how throttling is waited out: tables, no server."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.platform.recovery.plugins.module_utils.dns import aws, model, provider_rfc2136
from ansible_collections.platform.recovery.plugins.module_utils.dns.asking import Answer
from ansible_collections.platform.recovery.plugins.module_utils.dns.failover import View, leads
from ansible_collections.platform.recovery.plugins.module_utils.dns.model import NameServer, Record
from ansible_collections.platform.recovery.plugins.module_utils.errors import BadInput, PreconditionFailed, StepFailed
from ansible_collections.platform.recovery.plugins.module_utils.schema import Validator
from ansible_collections.platform.recovery.plugins.plugin_utils.action import documented_options

MAPS = frozenset({"zones", "zones.targets", "credentials"})
WEST, EAST = "us-west-2", "us-east-1"
TARGETS = {
    WEST: {"values": ["192.0.2.1"], "probe": "tcp://192.0.2.1:443"},
    EAST: {"values": ["198.51.100.1"], "probe": "tcp://198.51.100.1:443"},
}
RECORD = Record("app.example.com.", "A", {WEST: frozenset({"192.0.2.1"}), EAST: frozenset({"198.51.100.1"})})
TO_WEST, TO_EAST = Answer(frozenset({"192.0.2.1"}), 60), Answer(frozenset({"198.51.100.1"}), 60)
SILENT = Answer(trouble="no answer within 2 s")


def zone(**more: Any) -> model.Zone:
    entry = {"targets": TARGETS, "records": [{"name": "App.example.com"}], **more}
    given = {"zones": {"example.com": entry}, "credentials": {"key": {"user": "me"}}, "target": EAST}
    options, problems = Validator(maps=MAPS).check(documented_options("dns_failover"), given)
    assert not problems
    return model.zones_of(options)[0]


def test_a_zone_is_read() -> None:
    found = zone()
    assert (found.provider, found.records) == ("route53_health_checks", (RECORD,))


def test_a_record_has_values_of_its_own() -> None:
    rows = [
        {"name": "v6.example.com", "type": "AAAA", "values": {WEST: ["2001:DB8::0:1"], EAST: ["2001:db8::2"]}},
        {"name": "www.example.com", "type": "CNAME", "values": {EAST: ["Edge.East.example.net"]}},
    ]
    first, second = zone(records=rows).records
    assert first.values[WEST] == frozenset({"2001:db8::1"})
    assert second.values[EAST] == frozenset({"edge.east.example.net."})


@pytest.mark.parametrize(
    ("more", "words"),
    [
        pytest.param({"records": [{"name": "app.example.org"}]}, "a name in example.com", id="another zone's name"),
        pytest.param({"credentials": "other"}, "an entry of credentials", id="no such account"),
        pytest.param({"provider": "rfc2136"}, "zones.example.com.rfc2136", id="no server to update"),
        pytest.param({"records": [{"name": "a.example.com", "values": {WEST: "x"}}]}, "a list of values", id="no list"),
    ],
)
def test_what_cannot_be_is_said(more: dict[str, Any], words: str) -> None:
    with pytest.raises(BadInput, match=words):
        zone(**more)


def test_no_secret_is_shown() -> None:
    assert "planted" not in repr(model.Account("me", "planted"))


@pytest.mark.parametrize(
    ("answer", "good"),
    [
        pytest.param(TO_EAST, True, id="the target"),
        pytest.param(TO_WEST, False, id="another region"),
        pytest.param(Answer(TO_EAST.values | TO_WEST.values, 60), False, id="both"),
        pytest.param(Answer(), False, id="nothing"),
        pytest.param(SILENT, False, id="silence"),
    ],
)
def test_what_leads_to_the_target(answer: Answer, good: bool) -> None:
    assert leads(answer, RECORD.values[EAST]) is good


def test_one_of_several_addresses_is_enough() -> None:
    assert leads(TO_EAST, TO_EAST.values | {"198.51.100.2"})


@pytest.mark.parametrize(
    ("authorities", "resolvers", "everywhere", "tail"),
    [
        pytest.param([TO_EAST, TO_EAST], [TO_EAST], True, 0, id="all there"),
        pytest.param([TO_EAST, TO_EAST], [Answer(TO_WEST.values, 17)], True, 17, id="what a cache has left"),
        pytest.param([TO_WEST, TO_EAST], [TO_EAST], False, 60, id="one server behind"),
        pytest.param([TO_EAST, SILENT], [TO_EAST], True, 0, id="a silent server says nothing wrong"),
        pytest.param([SILENT, SILENT], [TO_EAST], False, 0, id="nobody there"),
    ],
)
def test_what_everybody_says(authorities: list[Answer], resolvers: list[Answer], everywhere: bool, tail: int) -> None:
    said = [
        {NameServer(f"{n}"): {RECORD.key: answer} for n, answer in enumerate(rows)} for rows in (authorities, resolvers)
    ]
    view = View({RECORD.key: RECORD.values[EAST]}, *said)
    assert (view.everywhere, view.tail()) == (everywhere, tail)


def test_an_update_is_planned_from_what_is_known_only() -> None:
    assert provider_rfc2136.planned(RECORD, TO_EAST, EAST) is None
    change = provider_rfc2136.planned(RECORD, TO_WEST, EAST)
    assert change is not None
    assert (change.before, change.after) == ("192.0.2.1", "198.51.100.1")
    for answer, words in ((Answer(frozenset({"203.0.113.9"}), 5), "somebody else"), (Answer(), "does not exist")):
        with pytest.raises(PreconditionFailed, match=words):
            provider_rfc2136.planned(RECORD, answer, EAST)


class Patience:
    """An API that says the same a number of times, and a clock that stands until somebody sleeps."""

    def __init__(self, *answers: Any) -> None:
        self.answers, self.now, self.calls = list(answers), 0.0, 0

    def list_things(self) -> Any:
        self.calls += 1
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def asked(self, deadline: float = 30) -> aws.Aws:
        return aws.Aws(self, "Route 53", deadline, clock=lambda: self.now, sleep=self.sleep)


def error(code: str, status: int = 400) -> Exception:
    exceptions = pytest.importorskip("botocore.exceptions")
    said = {"Error": {"Code": code, "Message": "said so"}, "ResponseMetadata": {"HTTPStatusCode": status}}
    found: Exception = exceptions.ClientError(said, "ListThings")
    return found


@pytest.mark.parametrize("said", [("Throttling", 400), ("Whatever", 429), ("PriorRequestNotComplete", 400), ("", 500)])
def test_throttling_is_waited_out(said: tuple[str, int]) -> None:
    api = Patience(error(*said), error(*said), error(*said), {"things": []})
    assert api.asked().call("list_things") == {"things": []}
    assert (api.calls, 0 < api.now < 2) == (4, True)


def test_throttling_ends_with_the_deadline() -> None:
    api = Patience(error("Throttling", 429))
    with pytest.raises(aws.Unreachable, match="no longer throttled"):
        api.asked(deadline=60).call("list_things")
    assert 50 < api.now <= 60
    assert api.calls < 50


def test_what_is_refused_is_not_asked_again() -> None:
    api = Patience(error("AccessDenied", 403))
    with pytest.raises(StepFailed, match="grant this right in IAM") as said:
        api.asked().call("list_things")
    assert (api.calls, said.value.fields["code"]) == (1, "AccessDenied")


def test_a_call_without_credentials_is_a_wrong_call() -> None:
    exceptions = pytest.importorskip("botocore.exceptions")
    api = Patience(exceptions.NoCredentialsError())
    with pytest.raises(BadInput, match="No credentials for Route 53"):
        api.asked().call("list_things")
    assert api.calls == 1


def test_an_api_that_is_down_is_not_asked_for_long() -> None:
    exceptions = pytest.importorskip("botocore.exceptions")
    api = Patience(exceptions.EndpointConnectionError(endpoint_url="https://route53.example"))
    with pytest.raises(aws.Unreachable, match="check the way to Route 53"):
        api.asked(deadline=600).call("list_things")
    assert (api.calls, api.now < 2) == (aws.ATTEMPTS, True)
