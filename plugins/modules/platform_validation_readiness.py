# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# The work is done by the action plugin of the same name; this file is its documentation and its argument spec.

from __future__ import annotations

DOCUMENTATION = r"""
module: platform_validation_readiness
short_description: Check whether the platform's performance could be compared after an event
version_added: 0.2.0
author: The platform.recovery authors (@platform-recovery)
description:
  - Looks for the load generator, and for a baseline that can be read, was taken with the same load and is not too old. Asks the platform nothing.
  - Never refuses; each check says how it is mended.
requirements: [vegeta 12 on the controller]
extends_documentation_fragment:
  - platform.recovery.validation.load
options:
  most_days:
    description: How old the baseline may be.
    type: float
    default: 30
attributes:
  check_mode:
    description: Changes nothing in any case.
    support: full
  diff_mode:
    description: There is nothing to show.
    support: none
"""

EXAMPLES = r"""
- name: Check whether there is a baseline
  platform.recovery.platform_validation_readiness:
    memory: .recovery/runs/platform.performance.json
    requests:
      - {path: /v1/user-service/rows/known}
"""

RETURN = r"""
lines:
  description: Short facts for people.
  returned: always
  type: list
  elements: str
  sample: ["✘ performance, baseline: no baseline is remembered"]
seconds:
  description: What the task took.
  returned: always
  type: float
checks:
  description: "Every check with C(role), C(subject), C(check), C(verdict), C(observed), C(wanted) and C(mend)."
  returned: always
  type: list
  elements: dict
"""
