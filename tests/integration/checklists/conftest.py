# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest

from tests.support.platform import healthy_lab, lab, lab_version


@pytest.fixture(scope="session", autouse=True)
def _up() -> None:
    # An unhealthy lab is no error here: each test resets what it does not find healthy.
    lab("up", "--profile", "small", "--postgresql", lab_version(), ok=False)


@pytest.fixture
def healthy() -> None:
    """Bring the lab back to its first healthy state, data included."""
    healthy_lab()
