# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest

from tests.support.platform import healthy_lab, lab, lab_version


@pytest.fixture(scope="session", autouse=True)
def _up() -> None:
    lab("up", "--fresh", "--profile", "small", "--postgresql", lab_version())


@pytest.fixture
def healthy() -> None:
    """Bring the lab back to its first healthy state, data included."""
    healthy_lab()
