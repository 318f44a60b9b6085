# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters for `playbooks/group_vars`: nothing else knows both the description and the inputs of roles."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansible_collections.platform.recovery.plugins.module_utils.step_inputs import inputs, known


class FilterModule:
    """See known.yml and inputs.yml beside this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Give them by name."""
        return {"known": known, "inputs": inputs}
