# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest

from tests.support.platform import lab, lab_version


@pytest.fixture(scope="session", autouse=True)
def _up() -> None:
    lab("up", "--fresh", "--profile", "full", "--postgresql", lab_version())
