# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Put load on the platform: vegeta, for a bounded time at a given rate.

Vegeta keeps its rate whether answers come or not (an open model): a platform that became slow is not spared by a client
that waits for it. It asks a resolver of its own choice, and says in one JSON document what came back.
"""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import BadInput, StepFailed
from .front import Front
from .journeys import filled

# What a stop may take beyond the time of the load and of its last answer.
GRACE_SECONDS = 10.0
NANOSECONDS = 1e9
MOST_ERRORS = 3


@dataclass(frozen=True)
class Request:
    """One kind of request, and how often it is made among the others."""

    method: str
    path: str
    body: Any
    weight: int


@dataclass(frozen=True)
class Load:
    """What is asked, how often and for how long."""

    requests: tuple[Request, ...]
    rate: int
    seconds: int
    timeout_seconds: float
    most_connections: int

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> Load:
        """Read it from validated options. Raises BadInput."""
        load = cls(
            requests=tuple(
                Request(one["method"], one["path"], one["body"], one["weight"]) for one in options["requests"]
            ),
            rate=options["rate"],
            seconds=options["seconds"],
            timeout_seconds=options["timeout_seconds"],
            most_connections=options["most_connections"],
        )
        for name, good, wanted in (
            ("requests", bool(load.requests), "at least one request"),
            ("requests", all(one.weight > 0 for one in load.requests), "a weight above 0 for each"),
            ("rate", load.rate > 0, "a number of requests a second above 0"),
            ("seconds", load.seconds > 0, "a number above 0"),
            ("most_requests", load.count <= options["most_requests"], f"at least rate times seconds, {load.count}"),
        ):
            if not good:
                raise BadInput(
                    f"{name} is {options[name]!r}",
                    wanted=wanted,
                    next_action=f"correct {name} and run again; no load was put on anything",
                )
        return load

    @property
    def count(self) -> int:
        """Give the number of requests."""
        return self.rate * self.seconds

    @property
    def settings(self) -> dict[str, Any]:
        """Give what two loads must have in common for their figures to be comparable."""
        requests = [[one.method, one.path, one.body, one.weight] for one in self.requests]
        return {"requests": requests, "rate": self.rate, "seconds": self.seconds, "timeout": self.timeout_seconds}

    def targets(self, front: Front, stamp: str) -> Iterator[str]:
        """Write each request as vegeta reads it, the kinds among each other by their weights."""
        wheel = [one for one in self.requests for _ in range(one.weight)]
        headers = {name: [value] for name, value in front.headers.items()}
        for number in range(self.count):
            one, unique = wheel[number % len(wheel)], f"load-{stamp}-{number}"
            target = {"method": one.method, "url": front.url + filled(one.path, unique), "header": headers}
            if one.body is not None:
                target["body"] = base64.b64encode(json.dumps(filled(one.body, unique)).encode()).decode()
            yield json.dumps(target)


@dataclass(frozen=True)
class Figures:
    """What came back. Response times in seconds, throughput in good answers a second, errors as a share."""

    requests: int
    throughput: float
    errors: float
    mean: float
    p50: float
    p95: float
    p99: float
    troubles: tuple[str, ...] = ()


def find(generator: str) -> str:
    """Give the program's path. Raises BadInput."""
    found = shutil.which(generator)
    if found is None:
        raise BadInput(
            f"The load generator {generator!r} was not found",
            wanted="vegeta 12 on the controller",
            next_action="install vegeta, or name its path as generator; no load was put on anything",
        )
    return found


def attack(front: Front, load: Load, generator: str, stamp: str) -> Figures:
    """Put the load on, and give what came back. Raises StepFailed."""
    program = find(generator)
    words = [program, "attack", "-format=json", "-lazy", f"-rate={load.rate}/s", f"-duration={load.seconds}s"]
    words += [f"-timeout={load.timeout_seconds:g}s", f"-max-workers={load.most_connections}"]
    words += [f"-max-connections={load.most_connections}", f"-connections={load.most_connections}"]
    if front.resolver:
        words += [f"-resolvers={front.resolver.address}:{front.resolver.port}"]
    if front.ca_file:
        words += [f"-root-certs={front.ca_file}"]
    with tempfile.TemporaryDirectory(prefix="recovery-load-") as folder:
        results = Path(folder) / "results"
        # Through standard input: what authorises is for nobody else to read.
        _run([*words, f"-output={results}"], "\n".join(load.targets(front, stamp)), load)
        return figures(_run([program, "report", "-type=json", str(results)], "", load))


def _run(words: Sequence[str], given: str, load: Load) -> str:
    limit = load.seconds + load.timeout_seconds + GRACE_SECONDS
    next_action = "see that vegeta 12 runs on the controller, and validate again"
    try:
        done = subprocess.run(words, input=given, capture_output=True, text=True, timeout=limit, check=False)
    except subprocess.TimeoutExpired as error:
        what = f"The load generator did not end within {limit:g} s"
        raise StepFailed(what, wanted=f"{load.count} requests within it", next_action=next_action) from error
    except OSError as error:
        raise StepFailed("The load generator could not be run", observed=str(error), next_action=next_action) from error
    if done.returncode:
        observed = (done.stderr.strip() or f"exit {done.returncode}").splitlines()[-1]
        raise StepFailed("The load generator failed", observed=observed, next_action=next_action)
    return done.stdout


def figures(text: str) -> Figures:
    """Read vegeta's report. Raises StepFailed."""
    try:
        told = json.loads(text)
        times = {name: told["latencies"][key] / NANOSECONDS for name, key in PERCENTILES.items()}
        return Figures(
            requests=int(told["requests"]),
            throughput=float(told["throughput"]),
            errors=1.0 - float(told["success"]),
            troubles=tuple(str(one)[:200] for one in (told.get("errors") or [])[:MOST_ERRORS]),
            **times,
        )
    except (ValueError, KeyError, TypeError) as error:
        raise StepFailed(
            "The load generator's report cannot be read",
            observed=f"{type(error).__name__}: {error}",
            wanted="the JSON of vegeta 12",
            next_action="install vegeta 12 on the controller, and validate again",
        ) from error


PERCENTILES = {"mean": "mean", "p50": "50th", "p95": "95th", "p99": "99th"}
