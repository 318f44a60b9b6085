# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# The work is done by the action plugin of the same name; this file is its documentation and its argument spec.

from __future__ import annotations

DOCUMENTATION = r"""
module: platform_performance
short_description: Remember the platform's performance, or compare it with what is remembered
version_added: 0.2.0
author: The platform.recovery authors (@platform-recovery)
description:
  - Puts a load of a given rate on the platform for a given time by vegeta, and takes response time, throughput and errors from its report. The
    rate is kept whether answers come or not, so that a platform which became slow is not spared.
  - With O(state=remembered) the figures become the baseline, unless the platform is ill. With O(state=compared) each of the three is a verdict in
    the journal and in the report. Without a baseline, or with one of another load, response time and throughput are V(unknown), which is never
    taken for passed.
  - A verdict that is not V(passed) does not fail the task, for the platform serves. It is an objective that was not met.
requirements: [vegeta 12 on the controller]
extends_documentation_fragment:
  - platform.recovery.validation
  - platform.recovery.validation.load
options:
  state:
    description: Whether the figures become the baseline, or are compared with it.
    type: str
    choices: [compared, remembered]
    default: compared
  response_times:
    description: The response time has to be below so many times that of the baseline.
    type: float
    default: 2
  throughput_share:
    description: There have to be more good answers a second than this share of the baseline's.
    type: float
    default: 0.8
  errors_share:
    description: Fewer requests than this share may fail.
    type: float
    default: 0.01
  statistic:
    description: Which response time counts.
    type: str
    choices: [mean, p50, p95, p99]
    default: p95
  fast_seconds:
    description: A response time below this is never too slow, whatever the baseline was.
    type: float
    default: 0
attributes:
  check_mode:
    description: Says what would be asked and which baseline there is, and puts no load on anything.
    support: full
  diff_mode:
    description: There is nothing to show.
    support: none
"""

EXAMPLES = r"""
- name: Compare the performance with what it was before
  platform.recovery.platform_performance:
    url: https://app.example.com
    memory: .recovery/runs/platform.performance.json
    requests:
      - {path: /v1/user-service/rows/known}
    rate: 200
    seconds: 30
"""

RETURN = r"""
lines:
  description: Short facts for people.
  returned: always
  type: list
  elements: str
  sample: ["performance response time: passed; p95 6.1 ms, was 5.4 ms"]
seconds:
  description: What the task took.
  returned: always
  type: float
verdict:
  description: "V(passed), V(failed) or, where nothing can be compared, V(unknown)."
  returned: success
  type: str
figures:
  description: What came back; not in check mode.
  returned: success
  type: dict
  contains: &figures
    requests: {description: How many were made., type: int, returned: always}
    throughput: {description: Good answers a second., type: float, returned: always}
    errors: {description: The share that failed., type: float, returned: always}
    mean: {description: Mean response time in seconds., type: float, returned: always}
    p50: {description: Half of the responses were faster., type: float, returned: always}
    p95: {description: 95 of 100 were faster., type: float, returned: always}
    p99: {description: 99 of 100 were faster., type: float, returned: always}
    troubles: {description: The first kinds of failures., type: list, elements: str, returned: always}
baseline:
  description: The figures that are remembered, and C(taken_at). None if there is no baseline.
  returned: success
  type: dict
  contains: *figures
"""
