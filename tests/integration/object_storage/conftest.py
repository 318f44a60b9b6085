# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A new world for each of these tests: it takes two seconds."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.integration.object_storage.world import World, running, seed


@pytest.fixture
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """The west is primary, the east its standby, both are empty."""
    with running(tmp_path_factory.mktemp("world")) as world:
        seed(world)
        yield world
