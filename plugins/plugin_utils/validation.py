# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the verbs that validate the platform have in common: their journal, and keys that nobody has used yet."""

from __future__ import annotations

import time
from collections.abc import Sequence

from ansible_collections.platform.recovery.plugins.module_utils.validation.model import EVENT, Finding
from ansible_collections.platform.recovery.plugins.plugin_utils.action import Call


def stamp(call: Call) -> str:
    """Give what makes keys new, and tells whose they are where somebody finds them."""
    now = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    return f"{call.run.id if call.run else 'alone'}-{now}-{time.time_ns() % 1_000_000:06}"


def record(call: Call, findings: Sequence[Finding], lines: Sequence[str] = ()) -> None:
    """Journal each finding as what it is; what would be done, or was only noted, is an observation."""
    if call.run is None:
        return
    if lines:
        what = "plan: validation" if call.check else "validation"
        call.run.journal.append("observation", what=what, lines=list(lines))
    for finding in findings:
        call.run.journal.append(EVENT, **finding.record())
