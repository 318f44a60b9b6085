# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# The work is done by the action plugin of the same name; this file is its documentation and its argument spec.

from __future__ import annotations

DOCUMENTATION = r"""
module: platform_acceptance
short_description: Take in what people say who have to accept the platform as it is now
version_added: 0.2.0
author: The platform.recovery authors (@platform-recovery)
description:
  - Judges what each of those who are asked has said. Who has said nothing, or nothing that counts, is V(pending), and so is the whole; silence
    is never taken for consent.
  - Each is a verdict in the journal and in the report. Run again with the same run id once they have spoken.
options:
  acceptors:
    description: Who has to accept, a mapping of their names to how they are known.
    type: dict
    required: true
    suboptions:
      keys:
        description: >-
          Their public SSH keys. Whoever has one signs C(to_sign) of the result by C(ssh-keygen -Y sign -n platform.recovery -f KEY FILE); of who
          has none, the word of the operator is enough.
        type: list
        elements: str
        default: []
  statements:
    description: What was said, a mapping of a name of O(acceptors) to it.
    type: dict
    default: {}
    suboptions:
      verdict:
        description: Whether they accept.
        type: str
        choices: [accepted, rejected]
        required: true
      statement:
        description: What they say.
        type: str
        required: true
      signature:
        description: Their armoured signature of the text, where they have keys.
        type: str
attributes:
  check_mode:
    description: Judges for real, and journals nothing.
    support: full
  diff_mode:
    description: There is nothing to show.
    support: none
"""

EXAMPLES = r"""
- name: Ask for acceptance
  platform.recovery.platform_acceptance:
    acceptors:
      maria: {}
      head of support: {}
    statements:
      maria: {verdict: accepted, statement: orders and invoices are right}
"""

RETURN = r"""
lines:
  description: Short facts for people.
  returned: always
  type: list
  elements: str
  sample: ["acceptance maria: passed; accepted: orders and invoices are right"]
seconds:
  description: What the task took.
  returned: always
  type: float
verdict:
  description: "V(passed), V(failed) or V(pending)."
  returned: success
  type: str
pending:
  description: Who has not said anything that counts.
  returned: success
  type: list
  elements: str
to_sign:
  description: Of those with keys who are pending, the text that accepts.
  returned: success
  type: dict
"""
