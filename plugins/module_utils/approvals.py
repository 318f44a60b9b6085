# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Approvals: what people sign with their SSH keys, and whether it is enough for this run.

A run asks with a request, which says what it would do and carries a number drawn for it. An approval is a statement
about one request, signed by `ssh-keygen -Y sign`: no server and no identity provider has a part in it, it can be
carried on a stick, and a key on a hardware token makes it a second factor. Needs the standard library only, because
the command `recovery approve` is the other half of it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal

from . import signature
from .clock import parse, stamp
from .errors import BadInput, PreconditionFailed, StepFailed
from .journal import canonical

SCHEMA = 1
GATE = "approvals"
# What ssh-keygen mixes into each signature, so that none made for another purpose can be shown here.
NAMESPACE = "platform.recovery"
REQUEST_FILE, FOLDER = "approval-request.json", "approvals"
MOST_BYTES = 64 * 1024
CLOCK_SKEW_SECONDS = 60.0
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,99}")
PUBLIC_KEY = re.compile(r"(ssh|sk-ssh|ecdsa|sk-ecdsa)-[a-z0-9@.-]+ [A-Za-z0-9+/=]+( [^\r\n]*)?")

Flaw = Literal[
    "unreadable", "not an approver", "altered", "wrong key", "wrong scope", "replayed", "expired", "self-approval"
]
Verify = Callable[[str, str, Sequence[str]], "Flaw | None"]


@dataclass(frozen=True)
class Rule:
    """What the platform description asks for. `keys` and `accounts` are those of every person by name."""

    needed: int
    approvers: tuple[str, ...]
    keys: Mapping[str, Sequence[str]]
    accounts: Mapping[str, Sequence[str]]
    valid_seconds: float
    break_glass_seconds: float
    awx_workflow: str | None = None

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> Rule:
        """Read what the platform description asks for."""
        people = options["people"]
        return cls(
            needed=options["needed"],
            approvers=tuple(options["approvers"] or people),
            keys={name: tuple(person["keys"]) for name, person in people.items()},
            accounts={name: tuple(person["accounts"]) for name, person in people.items()},
            valid_seconds=options["valid_seconds"],
            break_glass_seconds=options["break_glass_seconds"],
            awx_workflow=options["awx_workflow"],
        )

    @property
    def wanted(self) -> str:
        """Say it in words."""
        return f"{self.needed} of {', '.join(self.approvers)}, none of them who started the run"


@dataclass(frozen=True)
class Request:
    """What is to be approved: the scope, and the one run that it is for."""

    platform: str
    playbook: str
    mode: str
    target: str
    description: str
    overrides: tuple[str, ...]
    run_id: str
    nonce: str
    requested_at: str
    initiators: tuple[str, ...]

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> Request:
        """Read one. Raises ValueError."""
        texts = {field.name: data.get(field.name) for field in fields(cls)}
        lists = {name: texts.pop(name) for name in ("overrides", "initiators")}
        if not all(isinstance(value, str) for value in texts.values()):
            raise ValueError("a field is missing")
        if not all(isinstance(value, (list, tuple)) for value in lists.values()):
            raise ValueError("a list is missing")
        return cls(**texts, **{name: tuple(str(item) for item in value or ()) for name, value in lists.items()})  # type: ignore[arg-type]

    def outside(self, asked: Request) -> list[str]:
        """Say in what this run goes beyond what was asked for then."""
        names = ("platform", "playbook", "mode", "target")
        found = [
            f"it is for {name} {getattr(asked, name)!r}, this run has {getattr(self, name)!r}"
            for name in names
            if getattr(asked, name) != getattr(self, name)
        ]
        if asked.description != self.description:
            found.append("the platform description is another one by now")
        more = sorted(set(self.overrides) - set(asked.overrides))
        return found + ([f"it does not cover {', '.join(more)}"] if more else [])


@dataclass(frozen=True)
class Judged:
    """One approval as it was found: whose, until when, and what is wrong with it."""

    source: str
    approver: str
    flaw: Flaw | None
    why: str
    break_glass: bool = False
    reason: str = ""
    expires: str = ""

    def describe(self) -> str:
        """Say it in a line."""
        if self.flaw:
            return f"{self.source}: {self.flaw}, {self.why}"
        kind = "approved by break-glass" if self.break_glass else "approved"
        return f"{self.approver} {kind}" + (f" ({self.reason})" if self.reason else "") + f", until {self.expires}"


@dataclass(frozen=True)
class Decision:
    """What all approvals come to."""

    verdict: Literal["pass", "override", "refuse"]
    observed: str
    by: str
    approvers: tuple[str, ...] = ()


def persons(initiators: Iterable[str], rule: Rule) -> set[str]:
    """Find who of the named people started a run, by name and by the accounts that they are known to use."""
    seen: set[str] = set()
    for initiator in initiators:
        account, _, behind = initiator.lower().partition(" (")
        told = {account.strip(), behind.removeprefix("as ").rstrip(")").strip()} - {""}
        seen |= told | {name.split("@")[0] for name in told}
    return {name for name, accounts in rule.accounts.items() if seen & {name.lower(), *(a.lower() for a in accounts)}}


def statement(
    request: Request, approver: str, now: float, seconds: float, *, reason: str = "", break_glass: bool = False
) -> str:
    """Write down what an approver signs."""
    return canonical(
        {
            "schema": SCHEMA,
            "purpose": "approval of a platform.recovery run",
            "request": json.loads(json.dumps(asdict(request))),
            "approver": approver,
            "approved_at": stamp(now),
            "expires_at": stamp(now + seconds),
            "reason": reason,
            "break_glass": break_glass,
        }
    ).decode("utf-8")


def written(text: str, armoured: str) -> str:
    """Give the content of an approval's file."""
    return json.dumps({"schema": SCHEMA, "statement": text, "signature": armoured}, indent=1) + "\n"


def judge(
    source: str, content: str, rule: Rule, request: Request, initiators: set[str], now: float, verify: Verify
) -> Judged:
    """Judge one approval's file. What it says counts only after its signature; then the first flaw is named."""
    try:
        file = json.loads(content)
        text, armoured = str(file["statement"]), str(file["signature"])
        said = json.loads(text)
        approver, asked = str(said["approver"]), Request.of(said["request"])
        given, until = parse(said["approved_at"]), parse(said["expires_at"])
        schema, break_glass, reason = said["schema"], said["break_glass"] is True, str(said["reason"]).strip()
        if schema != SCHEMA:
            raise ValueError(f"schema {schema!r} instead of {SCHEMA}")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        return Judged(source, "", "unreadable", f"it is no approval of this version: {error}")

    def flawed(flaw: Flaw | None, why: str = "") -> Judged:
        return Judged(source, approver, flaw, why, break_glass, reason, stamp(until))

    if approver not in rule.approvers:
        return flawed("not an approver", f"{approver!r} is none of {', '.join(rule.approvers)}")
    broken = verify(text, armoured, rule.keys[approver])
    if broken:
        whys = {"altered": "its text is not what was signed", "wrong key": f"it is signed by none of {approver}'s keys"}
        return flawed(broken, whys[broken])
    outside = request.outside(asked)
    if outside:
        return flawed("wrong scope", "; ".join(outside))
    if asked.run_id != request.run_id:
        return flawed("replayed", f"it was given for run {asked.run_id}")
    if asked.nonce != request.nonce:
        return flawed("replayed", f"it was given for an earlier request of this run, of {asked.requested_at}")
    limit = rule.break_glass_seconds if break_glass else rule.valid_seconds
    if given > now + CLOCK_SKEW_SECONDS:
        return flawed("expired", f"it is dated {stamp(given)}, which is still to come")
    if until - given > limit + 1:
        return flawed("wrong scope", f"it is to last {until - given:g} s, where {limit:g} s are allowed")
    if now >= until:
        return flawed("expired", f"it held until {stamp(until)}")
    if break_glass:
        return flawed(None) if reason else flawed("wrong scope", "break-glass without a reason")
    if approver in initiators:
        return flawed("self-approval", f"{approver} started this run")
    return flawed(None)


def decide(judged: Sequence[Judged], rule: Rule, initiators: set[str]) -> Decision:
    """Count people, not files. One break-glass is enough, and is an override."""
    good = {item.approver: item for item in judged if item.flaw is None and not item.break_glass}
    said = [item.describe() for item in judged] or ["no approval was found"]
    if len(good) >= rule.needed:
        return Decision("pass", "; ".join(said), ", ".join(sorted(good)), tuple(sorted(good)))
    glass = next((item for item in judged if item.flaw is None and item.break_glass), None)
    if glass:
        own = ", who started the run" if glass.approver in initiators else ""
        by = f"break-glass by {glass.approver}{own}: {glass.reason}"
        return Decision("override", "; ".join(said), by, (glass.approver,))
    return Decision("refuse", f"{len(good)} of {rule.needed}: " + "; ".join(said), "observation")


def refusal(
    decision: Decision, judged: Sequence[Judged], rule: Rule, request: Request, file: Path
) -> PreconditionFailed:
    """Make the error of too few approvals, with the reason of each that does not count."""
    flaws = list(dict.fromkeys(item.flaw for item in judged if item.flaw))
    kinds = f" ({', '.join(flaws)})" if flaws else ""
    return PreconditionFailed(
        f"This run is not approved{kinds}",
        wanted=rule.wanted,
        observed=decision.observed,
        next_action=(
            f"have {file} approved: recovery approve {request.run_id} --as NAME --key FILE; what that writes belongs "
            f"into {file.parent / FOLDER} or recovery_approvals; then run again with recovery_run_id={request.run_id}"
        ),
        gate=GATE,
        request=str(file),
        refused=[asdict(item) for item in judged if item.flaw],
        flaws=flaws or ["too few"],
    )


def collect(paths: Iterable[Path]) -> list[tuple[str, str]]:
    """Read approvals from files and from folders, each content once. Raises BadInput for a file that is not there."""
    found: dict[str, str] = {}
    for path in paths:
        files = sorted(path.glob("*.json")) if path.is_dir() else [path]
        for file in files:
            try:
                with open(file, encoding="utf-8", errors="replace") as stream:
                    content = stream.read(MOST_BYTES)
            except OSError as error:
                raise BadInput(
                    f"The approval {file} cannot be read",
                    wanted="a file that recovery approve wrote, or a folder of such",
                    observed=error.strerror,
                    next_action="correct recovery_approvals and run again; nothing was touched",
                ) from error
            found.setdefault(content, file.name)
    return [(name, content) for content, name in found.items()]


def sign(text: str, key: Path) -> str:
    """Sign a text in the presence of who approves. Raises StepFailed."""
    return signature.sign(text.encode(), key, NAMESPACE, attended=True).decode("ascii")


def verify(text: str, armoured: str, keys: Sequence[str]) -> Flaw | None:
    """Hold a signature against a person's keys. Raises PreconditionFailed where it cannot be checked."""
    data = armoured.encode("utf-8", "replace")
    try:
        key = signature.fingerprint(data, NAMESPACE)
        signature.check(text.encode("utf-8", "replace"), data, NAMESPACE)
    except signature.SignatureRefused:
        return "altered"
    except StepFailed as error:
        raise PreconditionFailed(
            f"The approvals cannot be checked: {error.what}",
            wanted=error.wanted,
            observed=error.observed,
            next_action=f"{error.next_action} and run again; nothing was touched",
            gate=GATE,
        ) from error
    return None if key in map(signature.key_fingerprint, keys) else "wrong key"
