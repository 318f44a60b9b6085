# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Validation: what an answer has to be like, what performance comes to, and whose word counts, by table."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.platform.recovery.plugins.module_utils import clock, report
from ansible_collections.platform.recovery.plugins.module_utils.errors import BadInput, PreconditionFailed, StepFailed
from ansible_collections.platform.recovery.plugins.module_utils.report_html import html
from ansible_collections.platform.recovery.plugins.module_utils.report_words import headline
from ansible_collections.platform.recovery.plugins.module_utils.validation import (
    acceptance,
    journeys,
    load,
    performance,
    readiness,
)
from ansible_collections.platform.recovery.plugins.module_utils.validation.front import Answer, Front
from ansible_collections.platform.recovery.plugins.module_utils.validation.journeys import Step, Travelled
from ansible_collections.platform.recovery.plugins.module_utils.validation.load import Figures, Load
from ansible_collections.platform.recovery.plugins.module_utils.validation.model import Finding, overall
from ansible_collections.platform.recovery.plugins.module_utils.validation.performance import Baseline, Limits

STEP = Step("GET", "/rows/{unique}", None, 200, {"event.offset": "events"}, ("id",), 0)


@pytest.mark.parametrize(
    ("answer", "wrong"),
    [
        (Answer(200, {"id": 1, "event": {"offset": 0}}), None),
        (Answer(201, {"id": 1, "event": {"offset": 0}}), "it was answered 201 instead of 200"),
        (Answer(503, {"error": "gone"}), "it was answered 503 (gone) instead of 200"),
        (Answer(trouble="no answer within 5 s"), "it was answered no answer within 5 s instead of 200"),
        (Answer(200, {"id": 1}), "events cannot be read back: event.offset is missing"),
        (Answer(200, {"id": 1, "event": None}), "events cannot be read back: event.offset is missing"),
        (
            Answer(200, {"id": 1, "event": {"error": "EOF"}}),
            "events cannot be read back: event.offset is missing (EOF)",
        ),
        (Answer(200, {"id": 2, "event": {"offset": 0}}), "id is not what it was at first"),
        (Answer(200, {"event": {"offset": 0}}), "id is not what it was at first"),
    ],
)
def test_an_answer_has_to_be_as_described(answer: Answer, wrong: str | None) -> None:
    assert journeys.flaw(STEP, answer, {"id": 1}) == wrong


def test_the_key_is_put_in_everywhere() -> None:
    assert journeys.filled({"key": "{unique}", "list": ["a {unique}", 1]}, "k") == {"key": "k", "list": ["a k", 1]}


@pytest.mark.parametrize(
    ("wanted", "verdict"), [([], None), (["database", "files"], "failed"), (["database", "events"], "passed")]
)
def test_every_store_is_read_back_by_a_journey_that_succeeds(wanted: list[str], verdict: str | None) -> None:
    made = [Travelled("a", 1, None, ("database", "events")), Travelled("b", 1, "it failed", ("files",))]
    found = journeys.stores_finding(made, wanted)
    assert (found and found.verdict) == verdict


FIGURES = Figures(requests=1000, throughput=100.0, errors=0.0, mean=0.01, p50=0.01, p95=0.02, p99=0.05)
LIMITS = Limits(2.0, 0.8, 0.01, "p95", 0.0)
LOAD = Load((load.Request("GET", "/", None, 1),), 100, 10, 5.0, 10)
BASELINE = Baseline("2026-11-29T10:00:00.000Z", "run", LOAD.settings, FIGURES)


@pytest.mark.parametrize(
    ("change", "limits", "verdicts"),
    [
        ({}, {}, ("passed", "passed", "passed")),
        ({"p95": 0.0399}, {}, ("passed", "passed", "passed")),
        ({"p95": 0.04}, {}, ("failed", "passed", "passed")),
        ({"p95": 0.04}, {"fast_seconds": 0.05}, ("passed", "passed", "passed")),
        ({"p95": 0.04}, {"statistic": "mean"}, ("passed", "passed", "passed")),
        ({"throughput": 80.1}, {}, ("passed", "passed", "passed")),
        ({"throughput": 80.0}, {}, ("passed", "failed", "passed")),
        ({"throughput": 0.0, "errors": 1.0}, {}, ("passed", "failed", "failed")),
        ({"errors": 0.0099}, {}, ("passed", "passed", "passed")),
        ({"errors": 0.01}, {}, ("passed", "passed", "failed")),
        ({"requests": 0}, {}, ("passed", "passed", "failed")),
    ],
)
def test_performance_against_the_baseline(
    change: dict[str, Any], limits: dict[str, Any], verdicts: tuple[str, ...]
) -> None:
    found = performance.compare(BASELINE, LOAD, replace(FIGURES, **change), replace(LIMITS, **limits))
    assert tuple(one.verdict for one in found) == verdicts
    assert all((one.share is None or one.share < 1) == (one.verdict == "passed") for one in found if one.share)


@pytest.mark.parametrize(
    ("baseline", "now", "words"),
    [
        (None, LOAD, "no baseline is remembered"),
        (BASELINE, replace(LOAD, rate=50), "other rate"),
        (BASELINE, replace(LOAD, requests=(load.Request("GET", "/x", None, 1),), seconds=5), "other requests, seconds"),
    ],
)
def test_what_nothing_can_be_compared_with_is_unknown(baseline: Baseline | None, now: Load, words: str) -> None:
    found = performance.compare(baseline, now, FIGURES, LIMITS)
    assert [one.verdict for one in found] == ["unknown", "unknown", "passed"]
    assert words in found[0].observed
    assert overall(found) == "unknown"


def test_the_baseline_is_kept_whole(tmp_path: Path) -> None:
    path = tmp_path / "runs/platform.performance.json"
    assert performance.recall(str(path)) is None
    performance.memorise(str(path), BASELINE)
    known = performance.recall(str(path))
    assert known is not None
    assert known.figures == FIGURES
    assert known.differs(LOAD) is None
    assert [one.name for one in path.parent.iterdir()] == [path.name]
    path.write_text("{}")
    with pytest.raises(StepFailed, match="cannot be read"):
        performance.recall(str(path))


def test_an_ill_platform_is_not_remembered() -> None:
    with pytest.raises(PreconditionFailed, match="not well"):
        performance.require_health(replace(FIGURES, errors=0.5), LIMITS)


def options(**change: Any) -> dict[str, Any]:
    request = {"method": "POST", "path": "/rows", "body": {"key": "{unique}"}, "weight": 1}
    common = {"rate": 10, "seconds": 2, "timeout_seconds": 1.0, "most_connections": 5, "most_requests": 100}
    return {"requests": [request, {**request, "method": "GET", "body": None, "weight": 3}], **common, **change}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"requests": []}, "requests is"),
        ({"rate": 0}, "rate is 0"),
        ({"seconds": -1}, "seconds is -1"),
        ({"rate": 51}, "most_requests is 100"),
    ],
)
def test_a_load_is_bounded(change: dict[str, Any], words: str) -> None:
    with pytest.raises(BadInput, match=words):
        Load.of(options(**change))


def test_the_kinds_of_requests_are_mixed_by_their_weights() -> None:
    front = Front("http://app.example", authorization="Bearer token")
    targets = [json.loads(line) for line in Load.of(options()).targets(front, "run")]
    assert [one["method"] for one in targets] == ["POST", "GET", "GET", "GET"] * 5
    assert targets[0]["url"] == "http://app.example/rows"
    assert targets[0]["header"]["Authorization"] == ["Bearer token"]
    assert json.loads(base64.b64decode(targets[4]["body"])) == {"key": "load-run-4"}
    assert "body" not in targets[1]


@pytest.mark.parametrize("text", ["", "{}", '{"latencies": {}}', "[]"])
def test_a_report_that_cannot_be_read_is_said(text: str) -> None:
    with pytest.raises(StepFailed, match="report cannot be read"):
        load.figures(text)


@pytest.mark.parametrize(
    ("days", "load_", "verdict", "words"),
    [
        (None, LOAD, "not_ready", "no baseline is remembered"),
        (1, LOAD, "ready", "1.0 days old"),
        (31, LOAD, "not_ready", "31.0 days old"),
        (1, replace(LOAD, rate=1), "not_ready", "taken with other rate"),
    ],
)
def test_readiness_knows_the_baseline(
    tmp_path: Path, days: float | None, load_: Load, verdict: str, words: str
) -> None:
    path, now = str(tmp_path / "memory.json"), clock.parse(BASELINE.taken_at) + 86400 * (days or 0)
    if days is not None:
        performance.memorise(path, BASELINE)
    generator, baseline = readiness.checks(path, load_, "no-such-program", 30, now)
    assert (generator.verdict, baseline.verdict) == ("not_ready", verdict)
    assert words in baseline.observed
    assert (baseline.mend is None) == (verdict == "ready")


def test_a_baseline_that_cannot_be_read_is_not_ready(tmp_path: Path) -> None:
    (tmp_path / "memory.json").write_text("?")
    _, found = readiness.checks(str(tmp_path / "memory.json"), LOAD, "sh", 30, 0)
    assert (found.verdict, "cannot be read" in found.observed) == ("not_ready", True)


SAID = {"verdict": "accepted", "statement": "all is right", "signature": None}


@pytest.mark.parametrize(
    ("keys", "said", "flaw", "verdict", "words"),
    [
        ([], None, None, "pending", "nothing was said yet"),
        ([], SAID, None, "passed", "accepted: all is right"),
        ([], {**SAID, "verdict": "rejected"}, None, "failed", "rejected: all is right"),
        (["key"], SAID, None, "pending", "does not count: not signed"),
        (["key"], {**SAID, "signature": "s"}, "wrong key", "pending", "does not count: wrong key"),
        (["key"], {**SAID, "signature": "s"}, None, "passed", "accepted: all is right"),
    ],
)
def test_acceptance(keys: list[str], said: Any, flaw: Any, verdict: str, words: str) -> None:
    asked: list[str] = []

    def verify(text: str, armoured: str, known: Any) -> Any:
        asked.append(text)
        assert (armoured, known) == ("s", keys)
        return flaw

    [found] = acceptance.judge("run", {"maria": {"keys": keys}}, {"maria": said} if said else {}, verify)
    assert found.verdict == verdict
    assert words in found.observed
    assert all('"run_id":"run"' in text and '"acceptor":"maria"' in text for text in asked)


def record(event: str, data: dict[str, Any], second: int) -> dict[str, Any]:
    time = f"2026-11-29T10:00:{second:02}.000Z"
    return {"schema": 1, "seq": second, "time": time, "run_id": "r", "event": event, "data": data, "hash": "h"}


@pytest.mark.parametrize(
    ("verdicts", "code", "words"),
    [
        ([], 0, "Recovered"),
        (["passed"], 0, "Recovered"),
        (["passed", "pending"], 3, "Recovered, acceptance pending"),
        (["unknown", "pending"], 3, "Recovered, validation not proven"),
        (["unknown", "failed"], 3, "Recovered, validation failed"),
    ],
)
def test_the_report_tells_what_is_open(verdicts: list[Any], code: int, words: str) -> None:
    found = [
        Finding("performance", f"<n{number}>", verdict, "seen", "wanted", seconds=0.1, share=0.5 * number)
        for number, verdict in enumerate(verdicts)
    ]
    # What an earlier attempt found is not what there is now.
    story = [("run_started", {"mode": "failover"}), ("validated", Finding("journey", "x", "failed", "", "").record())]
    story += [("run_resumed", {}), *(("validated", one.record()) for one in found)]
    story.append(("run_ended", {"outcome": "recovered"}))
    made = report.build(record(event, data, second) for second, (event, data) in enumerate(story))
    assert [one["verdict"] for one in made["validations"]] == verdicts
    assert (made["exit_code"], headline(made)) == (code, words)
    page = html({**made, "journal": {**made["journal"], "first_bad": None, "flaw": None}})
    assert page.count('class="chart" role="img" aria-label="journeys') == bool(verdicts)
    assert "<n0>" not in page
    text = report.text(made)
    assert all(f"<n{number}>" in text for number in range(len(verdicts)))
