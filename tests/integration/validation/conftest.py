# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One world for all of these tests, well at the start of each."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.integration.validation.world import Illness, World, running


@pytest.fixture(scope="package")
def standing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with running(tmp_path_factory.mktemp("validation")) as world:
        yield world


@pytest.fixture
def world(standing: World) -> World:
    """The application is well and empty."""
    standing.app.ill = Illness()
    standing.app.rows.clear()
    standing.app.asked.clear()
    standing.app.authorizations.clear()
    return standing
