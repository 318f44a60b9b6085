# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Faults have their counts at the end of the output, and their results in the ledger."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.integration.checklists.conftest import _up, healthy
from tests.support import ledger

__all__ = ["_up", "healthy"]

COUNTS = pytest.StashKey[list[str]]()


@pytest.fixture
def tell(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Say something that stands at the end of the output, whether the test fails or not."""
    return request.config.stash.setdefault(COUNTS, []).append


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    lines = config.stash.get(COUNTS, [])
    if lines:
        terminalreporter.section("faults")
        for line in lines:
            terminalreporter.line(line)
    ledger.publish()
