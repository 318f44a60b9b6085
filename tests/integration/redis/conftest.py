# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One world for all of these tests, as new at the start of each."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from recovery_lab import identity
from tests.integration.redis.world import World, running


@pytest.fixture(scope="package")
def standing() -> Iterator[World]:
    # Not below pytest's own folder, which the servers' user may not enter.
    folder = Path(tempfile.mkdtemp(prefix="recovery-redis-", dir="/var/tmp"))
    try:
        identity.own(folder)
        with running(folder) as world:
            yield world
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def world(standing: World) -> World:
    """The west is primary, the east follows, both Sentinels know it."""
    standing.renew()
    return standing
