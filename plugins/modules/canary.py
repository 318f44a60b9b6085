# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# The work is done by the action plugin of the same name; this file is its documentation and its argument spec.

from __future__ import annotations

DOCUMENTATION = r"""
module: canary
short_description: Measure outage and loss from outside, by writing numbered rows through the application's edge
version_added: 0.1.0
author: The platform.recovery authors (@platform-recovery)
description:
  - Starts a small client in a process of its own. It writes numbered rows through the application's own endpoint while the
    recovery goes on, and survives the controller's death. Each attempt leaves one line in C(writes.log) of its folder.
  - The outage is the time from the last acknowledged write before to the first one after. The loss is the set of
    acknowledged writes that the database which is primary now does not hold.
  - A write whose answer never came may have been committed or not. It is counted as unknown, never as acknowledged.
  - It is an instrument. Starting and stopping it changes nothing of the platform, and is never reported as a change.
  - All durations are those of a clock of the client's own, which also counts while the machine is suspended, so that a step
    of the wall clock cannot bend them. All stamps are shown in the machine's present wall clock.
  - What may be wrong with the figures is said in RV(outage.how) and RV(rpo_how), such as times when the client was kept from
    running, when nobody watched, or whose log was rotated away.
options:
  state:
    description:
      - V(started) starts a canary, or attaches to the one that already runs in O(folder).
      - V(measured) waits for an acknowledged write after O(after), then gives outage and loss. The canary runs on.
      - V(stopped) ends the canary and waits until its last writes are written down.
    type: str
    choices: [started, measured, stopped]
    default: started
  folder:
    description:
      - Where the canary keeps its log. One canary runs per folder.
      - The default is the folder C(canary) in the folder of the run. Give that of a canary that is left running for ever
        to attach to it.
    type: path
  url:
    description: The application's edge, C(http) or C(https), without user or password. Needed to start.
    type: str
  service:
    description: The service it writes to. Needed to start.
    type: str
  path:
    description: Where rows are posted; the default is C(/v1/SERVICE/rows). The body is JSON with C(key) and C(value).
    type: str
  prefix:
    description: First part of each key; a dash and the number follow. The default names the run and the time.
    type: str
  interval_seconds:
    description: A new write is started each interval, whatever became of those before.
    type: float
    default: 0.02
  timeout_seconds:
    description: How long an answer is waited for.
    type: float
    default: 1.0
  workers:
    description:
      - The most writes under way at once, 64 at the utmost.
      - The default keeps the pace even while every write hangs, and O(timeout_seconds) may then be at most 62 times
        O(interval_seconds). With fewer, no new write is started while all hang, and RV(outage.how) says so.
    type: int
  max_seconds:
    description: The canary ends by itself after this time, should nobody stop it.
    type: float
    default: 14400.0
  forever:
    description:
      - No end by itself. The log is rotated, so that memory and disk stay bounded; of older times the sums of each second remain.
      - Choose a longer O(interval_seconds) then, and remove old rows in the application now and then.
    type: bool
    default: false
  ca_file:
    description: Certificates that an C(https) edge is checked by, if not the system's.
    type: path
  resolver:
    description: >-
      A caching resolver as C(address:port), that is asked for the host of O(url) each time the TTL is over, instead of the system's.
    type: str
  authorization:
    description:
      - Value of an C(Authorization) header, where the edge wants one.
      - It reaches the client by its standard input, and stands in no argument list, environment or file.
    type: str
  after:
    description:
      - With V(measured), a write acknowledged after this time is waited for (RFC 3339). The default is now.
      - In check mode nothing is waited for or read back, and the outage so far is given.
    type: str
  since:
    description:
      - Begin of the window in which the outage is looked for (RFC 3339). An outage that reaches into it counts as a whole.
      - The default is the begin of the run; without a run, the whole log.
    type: str
  until:
    description: End of that window (RFC 3339). The default is the end of the log.
    type: str
  deadline_seconds:
    description: How long V(measured) waits.
    type: float
    default: 30.0
  quiet_seconds:
    description: With V(measured), wait also until no write has failed for so long.
    type: float
    default: 0.0
  lookback_seconds:
    description:
      - Writes acknowledged so long before the failure, or before O(since) if that is earlier, are read back as well.
      - Where the log of that time was rotated away, RV(rpo_seconds) is null and RV(rpo_how) says how many could not be checked.
    type: float
    default: 3600.0
  member:
    description: The database member that is primary now. Without it nothing is read back, and the loss is unknown.
    type: dict
    suboptions:
      name:
        description: Its name in messages.
        type: str
        required: true
      host:
        description: Its name, as its certificate has it.
        type: str
        required: true
      address:
        description: Where it is reached, if not by O(member.host).
        type: str
      port:
        description: Its port.
        type: int
        default: 5432
      sslmode:
        description: As libpq has it.
        type: str
        default: verify-full
      sslrootcert:
        description: Certificates that it is checked by.
        type: path
  credentials:
    description: The account that reads the rows back.
    type: dict
    suboptions:
      user:
        description: Name of the account.
        type: str
        required: true
      password:
        description: Its password.
        type: str
  database:
    description: The SQL database that holds the rows.
    type: str
  table:
    description: The table that holds the rows, with its schema if need be.
    type: str
  key_column:
    description: The column of the key; it needs an index.
    type: str
    default: key
attributes:
  check_mode:
    description: Can run in check mode and say what would happen without changing anything.
    support: full
  diff_mode:
    description: Gives details of what has changed, or would change, in diff mode.
    support: none
"""

EXAMPLES = r"""
- name: Watch the application from outside
  platform.recovery.canary:
    state: started
    url: https://edge.us-west-2.example.com
    service: user-service

- name: Measure outage and loss
  platform.recovery.canary:
    state: measured
    after: "{{ pg_promote_result.promoted_at }}"
    member: "{{ recovery_database.members['us-east-1'] | combine({'name': 'us-east-1'}) }}"
    credentials: "{{ recovery_credentials.postgresql_admin }}"
    database: platform_db
    table: users
  register: canary_measured

- name: Stop watching
  platform.recovery.canary:
    state: stopped
"""

RETURN = r"""
attached:
  description: Whether the canary ran already.
  returned: when O(state=started)
  type: bool
  sample: false
folder:
  description: The folder of the canary.
  returned: when O(state=started) or O(state=stopped)
  type: str
  sample: /srv/recovery/.recovery/runs/20261123T103000Z-database-failover-1f2e/canary
pid:
  description: The process of the canary.
  returned: when O(state=started) or O(state=stopped), and not in check mode
  type: int
  sample: 4711
prefix:
  description: First part of its keys.
  returned: when O(state=started), and not in check mode
  type: str
  sample: canary-20261123T103000Z-database-failover-1f2e-20261123T103001Z
stopped:
  description: Whether a canary ran and was stopped, or would be.
  returned: when O(state=stopped)
  type: bool
  sample: true
outage:
  description:
    - The longest time without an acknowledged write in which an attempt failed or had to wait, as report.json holds it.
    - RV(outage.seconds) is 0 where there was none, and null while it lasts.
    - Without an acknowledged write before the failure it is a lower bound, RV(outage.last_acknowledged_before) is null, and
      RV(outage.how) says so.
    - Where RV(outage.unwatched_seconds) is not 0 it is an upper bound, because the canary did not run for so much of it.
    - Null in check mode where no canary was started.
  returned: when O(state=measured)
  type: dict
  sample:
    first_failed_at: 2026-11-23T10:30:02.014Z
    last_acknowledged_before: 2026-11-23T10:30:01.998Z
    first_acknowledged_after: 2026-11-23T10:30:03.870Z
    seconds: 1.872
    acknowledged_writes: 1204
    lost_writes: 2
    failed_writes: 61
    unknown_writes: 1
    interruptions: 1
    unwatched_seconds: 0.0
    probe: a write every 20 ms by POST /v1/user-service/rows through https://edge.us-west-2.example.com
    how: from the last acknowledged write before to the first one after
acknowledged_writes:
  description: Acknowledged writes in the window.
  returned: when O(state=measured)
  type: int
  sample: 1204
lost_writes:
  description: How many acknowledged writes the database does not hold; null where nothing was read back.
  returned: when O(state=measured)
  type: int
  sample: 2
lost:
  description: The lost writes, the first thousand, each with the time of its acknowledgement.
  returned: when O(state=measured)
  type: list
  elements: dict
  sample: [{key: canary-x-101, acknowledged_at: "2026-11-23T10:30:01.977Z"}]
checked_writes:
  description: How many acknowledged writes were read back.
  returned: when O(state=measured)
  type: int
  sample: 1204
checked_since:
  description: When the oldest of them was acknowledged.
  returned: when O(state=measured)
  type: str
  sample: 2026-11-23T10:29:38.014Z
unchecked_writes:
  description: How many older ones could not be read back, because their log was rotated away.
  returned: when O(state=measured)
  type: int
  sample: 0
rpo_seconds:
  description: >-
    From the acknowledgement of the oldest lost write to the failure; 0 if none was lost, null if that was not measured.
  returned: when O(state=measured)
  type: float
  sample: 0.037
rpo_how:
  description: How that is known, or why not.
  returned: when O(state=measured)
  type: str
  sample: all 1204 acknowledged writes from 2026-11-23T10:29:38.014Z on were read back
waited_seconds:
  description: How long was waited for the acknowledged write.
  returned: when O(state=measured)
  type: float
  sample: 0.4
lines:
  description: What an operator should read.
  returned: when O(state=started) or O(state=measured)
  type: list
  elements: str
"""
