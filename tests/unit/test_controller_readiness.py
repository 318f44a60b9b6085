# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run needs of its controller: each thing that is missing is named with its key."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ansible_collections.platform.recovery.plugins.module_utils import controller_readiness as controller


def platform(folder: Path, **changes: Any) -> dict[str, Any]:
    for name in ("key", "known"):
        (folder / name).touch(mode=0o600)
    fence = {"identity_file": str(folder / "key"), "known_hosts_file": str(folder / "known")}
    member = {"fence": fence, "patroni": None}
    database = {"provider": "streaming", "credentials": "admin", "members": {"west": member}, "patroni": None}
    return {
        "databases": {"db": database},
        "zones": {"example.com": {"provider": "rfc2136", "credentials": "tsig"}},
        "approvals": {"needed": 2},
        "canary": None,
        **changes,
    }


ACCOUNTS = {"admin": {"user": "a", "password": "x"}, "tsig": {"user": "t", "password": "y"}}


def bad(description: dict[str, Any], accounts: dict[str, Any] | None = None) -> dict[str, str]:
    checks = controller.checks(description, ACCOUNTS if accounts is None else accounts)
    assert all(check.mend for check in checks if check.verdict != "ready")
    return {check.check: check.observed for check in checks if check.verdict != "ready"}


def test_a_controller_that_has_all_of_it_is_ready(tmp_path: Path) -> None:
    assert bad(platform(tmp_path)) == {}
    assert controller.libraries_of(platform(tmp_path)) == {"psycopg2": "PostgreSQL", "dns": "asking name servers"}
    aws = platform(tmp_path, zones={"z": {"provider": "arc", "credentials": None}})
    assert "boto3" in controller.libraries_of(aws)


def test_programs_and_libraries_that_are_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "dns" else name)
    assert set(bad(platform(tmp_path))) == {"program ssh", "program ssh-keygen", "library dns"}


def test_a_key_that_others_can_read_and_one_that_is_not_there(tmp_path: Path) -> None:
    description = platform(tmp_path)
    (tmp_path / "key").chmod(0o640)
    assert bad(description) == {"databases.db.members.west.fence.identity_file": f"{tmp_path / 'key'} has mode 0640"}
    (tmp_path / "key").chmod(0o600)
    (tmp_path / "known").unlink()
    assert set(bad(description)) == {"databases.db.members.west.fence.known_hosts_file"}


def test_an_empty_password_is_one_that_a_lookup_did_not_find(tmp_path: Path) -> None:
    assert set(bad(platform(tmp_path), {**ACCOUNTS, "tsig": {"user": "t", "password": ""}})) == {"account tsig"}
    assert bad(platform(tmp_path), {**ACCOUNTS, "tsig": {"user": "t", "password": None}}) == {}
