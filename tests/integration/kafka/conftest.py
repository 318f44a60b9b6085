# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One world for all of these tests, in the order in which they stand: each finds it as the one before has left it."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.kafka.world import World, running


@pytest.fixture(scope="package")
def world() -> Iterator[World]:
    # A socket's path must be short.
    with tempfile.TemporaryDirectory(prefix="kafka-") as folder, running(Path(folder)) as world:
        before = os.environ["PATH"]
        os.environ["PATH"] = f"{folder}/bin:{before}"
        yield world
        if os.environ.get("KAFKA_LOGS"):
            shutil.copytree(
                folder, os.environ["KAFKA_LOGS"], dirs_exist_ok=True, ignore=shutil.ignore_patterns("data", "hosts")
            )
        os.environ["PATH"] = before
