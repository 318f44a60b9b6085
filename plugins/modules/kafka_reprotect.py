# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# The work is done by the action plugin of the same name; this file is its documentation and its argument spec.

from __future__ import annotations

DOCUMENTATION = r"""
module: kafka_reprotect
short_description: Mirror Kafka clusters to a region that was lost, once it is back
version_added: 0.2.0
author: The platform.recovery authors (@platform-recovery)
description:
  - Starts the brokers of the region that was lost, closes them at the first moment at which they answer, names what is there and nowhere else,
    and starts the mirror to them from where both regions were the same.
  - O(target) is the region that takes the writes now.
  - Nothing is deleted. Records that never left the lost region stay in its topics, before those that are mirrored to it from now on.
  - A cluster that came back empty is mirrored to from the first record.
requirements: [confluent-kafka in the Python that runs Ansible, ssh]
extends_documentation_fragment:
  - platform.recovery.kafka
options:
  timeout_seconds:
    description: How long the brokers may take to answer.
    type: float
    default: 60
  stop_seconds:
    description: How long a unit may take to start.
    type: float
    default: 20
attributes:
  check_mode:
    description: Observes for real, then returns what would change.
    support: full
  diff_mode:
    description: Nothing is shown.
    support: none
"""

EXAMPLES = r"""
- name: Mirror the events to the west again
  platform.recovery.kafka_reprotect:
    target: us-east-1
    stores: "{{ event_stores }}"
    credentials: "{{ recovery_credentials }}"
"""

RETURN = r"""
lines:
  description: Short facts for people; a line for each partition with records that never left the lost region.
  returned: always
  type: list
  elements: str
target:
  description: The region that takes the writes.
  returned: success
  type: str
stores:
  description: "What became of each store, as M(platform.recovery.kafka_failover) returns it."
  returned: success
  type: dict
"""
