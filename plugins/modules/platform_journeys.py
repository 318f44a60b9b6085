# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# The work is done by the action plugin of the same name; this file is its documentation and its argument spec.

from __future__ import annotations

DOCUMENTATION = r"""
module: platform_journeys
short_description: Use the platform from end to end, through the name that its clients use
version_added: 0.2.0
author: The platform.recovery authors (@platform-recovery)
description:
  - Makes all journeys side by side. Each is a few requests one after the other, every one on a connection of its own to whatever address the
    resolver gives at that moment, and ends at the first answer that is not as described.
  - Every journey is a verdict of its own in the journal and in the report, with its time. All are made, whatever one of them comes to; then
    the task fails if one did not succeed, or if a store of O(stores) was read back by none.
  - What a journey creates stays, under a key that begins with C(journey-) and the run's id. Describe a last step that removes it, where the
    platform can do that.
requirements: [dnspython in the Python that runs Ansible, where a resolver is named]
extends_documentation_fragment:
  - platform.recovery.validation
options:
  journeys:
    description: The journeys, a mapping of a name to what is done.
    type: dict
    required: true
    suboptions:
      steps:
        description: The requests, in their order.
        type: list
        elements: dict
        required: true
        suboptions:
          method:
            description: The method.
            type: str
            default: GET
          path:
            description: The path, below O(url). C({unique}) stands for a key that nobody has used yet, the same in the whole journey.
            type: str
            required: true
          body:
            description: What is sent, as JSON. C({unique}) is put in here as well.
            type: dict
          status:
            description: The status that is right.
            type: int
            default: 200
          present:
            description: >-
              A mapping of dotted paths into the answer, such as C(file.version_id), to the store that is proved to hold something if the path
              does.
            type: dict
            default: {}
          same:
            description: Dotted paths that hold what the first answer of the journey holds there.
            type: list
            elements: str
            default: []
          within_seconds:
            description: How long the request is made again until its answer is right. 0 makes it once.
            type: float
            default: 0
  stores:
    description: The stores that have to be read back, by the names that C(present) gives them.
    type: list
    elements: str
    default: []
  timeout_seconds:
    description: How long each request has for its answer.
    type: float
    default: 5
attributes:
  check_mode:
    description: Says what would be asked, and asks nothing.
    support: full
  diff_mode:
    description: There is nothing to show.
    support: none
"""

EXAMPLES = r"""
- name: Create a user and read it back from every store
  platform.recovery.platform_journeys:
    url: https://app.example.com
    journeys:
      a user:
        steps:
          - method: POST
            path: /v1/user-service/rows
            body: {key: "{unique}", value: a user}
            status: 201
          - path: /v1/user-service/rows/{unique}
            same: [id, key]
            present: {id: database, session.id: sessions, event.offset: events}
    stores: [database, sessions, events]
"""

RETURN = r"""
lines:
  description: Short facts for people.
  returned: always
  type: list
  elements: str
  sample: ["journey a user: passed; database, sessions, events read back in 0.04 s"]
seconds:
  description: What the task took.
  returned: always
  type: float
verdict:
  description: V(passed) or V(failed); in check mode V(unknown).
  returned: success or failure of a journey
  type: str
journeys:
  description: How each went.
  returned: success or failure of a journey
  type: dict
  contains:
    verdict: {description: "V(passed) or V(failed).", type: str, returned: always}
    seconds: {description: What it took., type: float, returned: always}
    stores: {description: What was read back., type: list, elements: str, returned: always}
    trouble: {description: What was wrong., type: str, returned: on failure}
    steps: {description: "Each request, what it took, and what was wrong with its answer.", type: list, elements: dict, returned: always}
"""
