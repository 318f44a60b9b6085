# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Twenty real databases in one run, one of them beyond rescue."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.many import databases, inventory
from tests.support.platform import failover, variables

pytestmark = [pytest.mark.lab, pytest.mark.slow, pytest.mark.usefixtures("healthy")]
COUNT = 20


def test_of_twenty_databases_nineteen_recover_and_the_broken_one_is_named(tmp_path: Path) -> None:
    with databases(COUNT) as made:
        *_, broken = made
        place = inventory(made, tmp_path)
        for database in made:
            database.west.act("kill")
        broken.east.act("stop")
        ended = failover(tmp_path, inventory=place, run_id="many", **variables())
        outcomes = {entry["name"]: entry["outcome"] for entry in ended.report["database_results"]}
        assert outcomes.pop(broken.name) != "recovered", ended.output
        assert set(outcomes.values()) == {"recovered"}, ended.output
        assert (ended.code, ended.report["exit_code"]) == (2, 2)
        assert "1 of 20 databases did not come to the end of the checklist" in ended.output
        assert any(line.startswith(f"{broken.name}: ") for line in ended.report["next_actions"])
        assert all(database.is_primary(database.east) for database in made if database is not broken)

        broken.east.act("start")
        again = failover(tmp_path, inventory=place, run_id="many", **variables())
        assert again.code == 0, again.output
        assert all(database.is_primary(database.east) for database in made)
