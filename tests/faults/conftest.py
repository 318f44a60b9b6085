# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
from tests.integration.checklists.conftest import _up, healthy

__all__ = ["_up", "healthy"]
