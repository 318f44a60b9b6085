# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fixtures: one control plane for all of these tests, empty at the start of each."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.integration.kubernetes.plane import Plane, Puppet, clean, running


@pytest.fixture(scope="package")
def control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plane]:
    with running(tmp_path_factory.mktemp("plane"), "127.6.0.2", "127.6.0.3") as plane:
        yield plane


@pytest.fixture(scope="package")
def puppet(control_plane: Plane) -> Puppet:
    node = Puppet(control_plane)
    node.start()
    return node


@pytest.fixture
def plane(control_plane: Plane, puppet: Puppet) -> Iterator[Plane]:
    yield control_plane
    puppet.release()
    clean(control_plane)
