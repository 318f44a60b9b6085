# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One world for all of these tests, as new at the start of each."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest

from tests.integration.dns.world import (
    AUTHORITIES,
    DYNAMIC,
    KNOT,
    MANY,
    VALUES,
    WEST,
    World,
    answers,
    ask,
    eventually,
    running,
    start_knot,
)


@pytest.fixture(scope="package")
def standing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with running(tmp_path_factory.mktemp("world")) as world:
        yield world


@pytest.fixture
def world(standing: World) -> World:
    """All names lead to the west, everybody is well."""
    for edge in standing.edges.values():
        edge.status = 200
    for name in ("api", "knot"):
        standing.end(name)
        shutil.rmtree(standing.folder / name)
    standing.start_api()
    start_knot(standing)
    eventually(lambda: all(ask(server, MANY[0]) == [VALUES[WEST]] for server in AUTHORITIES.values()))
    eventually(lambda: answers(KNOT, f"app.{DYNAMIC}"))
    return standing
