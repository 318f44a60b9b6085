# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# The work is done by the action plugin of the same name; this file is its documentation and its argument spec.

from __future__ import annotations

DOCUMENTATION = r"""
module: checkpoint
short_description: Open, time, annotate and close a recovery run
version_added: 0.1.0
author: The platform.recovery authors (@platform-recovery)
description:
  - Writes the milestones of a run into its journal, an append-only file of JSON lines in which each record carries the
    hash of the one before. Report, metrics and evidence are computed from it and from nothing else.
  - Runs inside the controller's process and costs a few milliseconds, so that measuring does not slow down what is measured.
  - In check mode, and in the mode V(plan), it journals as well. The journal is then marked as that of a plan.
options:
  state:
    description:
      - V(begin) opens the run, or the one that already is called O(run_id). Register its result as C(recovery_run), on
        C(localhost) if later plays work on other hosts; by that all later tasks find the run.
      - V(phase) closes the phase that is open and opens the next one. It does nothing if the phase of that name is open, so
        that several hosts enter a phase together.
      - V(decision) records what a gate observed, what it wanted, and what was decided.
      - V(observation) records facts worth keeping.
      - V(event) records an event of a fixed type, for programs that follow the journal. Not in check mode.
      - V(next_action) records what people should do next.
      - V(end) closes the run, computes its outcome and renders the report.
    type: str
    required: true
    choices: [begin, phase, decision, observation, event, next_action, end]
  playbook:
    description: For O(state=begin), the checklist, as its dashed name. Required there.
    type: str
  scenario:
    description: For O(state=begin), the scenario of the disaster recovery plan.
    type: str
  mode:
    description: For O(state=begin), the mode of the run.
    type: str
    choices: [plan, readiness, drill, switchover, failover]
    default: failover
  target:
    description: For O(state=begin), the region, database or service that is recovered to or recovered.
    type: str
  reason:
    description: For O(state=begin), why, in the operator's words.
    type: str
  initiator:
    description:
      - For O(state=begin), who started the run.
      - Without it C(recovery_initiator), then the person behind the job of AWX, then user and host of the controller.
    type: str
  detected_at:
    description:
      - For O(state=begin), the RFC 3339 stamp of the alert. The recovery clock starts there, unless it lies after the begin.
        A stamp more than a minute in the future is refused.
      - Without it the clock starts at the first write that clients saw fail before the run, else at the start of the run.
    type: str
  objectives:
    description: For O(state=begin), what the run is measured against, where it is known that early.
    type: list
    elements: dict
    suboptions:
      name:
        description: Which objective.
        type: str
        required: true
        choices: [rto, rpo]
      target_seconds:
        description: The objective in seconds.
        type: float
        required: true
  run_id:
    description:
      - For O(state=begin), the name of the run. Made up from time and playbook where it is not given.
      - The name of an earlier run resumes it. Its journal goes on and its first clock is kept.
    type: str
  journal:
    description:
      - For O(state=begin), the URL of the journal's sink, as C(file:/path) or C(s3://bucket/prefix).
      - Where a store is not AWS, its address and region are named as in
        C(s3://bucket/prefix?endpoint=https://minio.example.com:9000&region=us-east-1). Credentials come from where boto3
        finds them, and never from here.
      - With object storage the run's folder is written first, below C(.recovery/runs) of the working folder, and copied.
        A history of this run that only the sink has is brought here and gone on with.
    type: str
    default: file:.recovery/runs
  evidence_key:
    description:
      - For O(state=begin), the file of the SSH key that signs the evidence of the run when it ends. A private key without a
        passphrase, or the public half of one that an agent or a hardware token holds.
      - Without it the evidence is not signed, and report and evidence say so.
    type: str
  phase:
    description:
      - For O(state=phase), a short name of the phase, such as V(promote). Required there.
      - The end of a phase whose name says C(verify) or C(integrity) counts as the recovery where no canary ran.
    type: str
  title:
    description: For O(state=phase), the phase in words. The name of the play where it is not given.
    type: str
  budget_seconds:
    description: For O(state=phase), how long the phase may take. V(0) sets no budget.
    type: float
  gate:
    description: For O(state=decision), which question was decided. Required there.
    type: str
  observed:
    description: For O(state=decision), what was seen.
    type: raw
  wanted:
    description: For O(state=decision), what was asked for.
    type: raw
  verdict:
    description: For O(state=decision), what was decided.
    type: str
    choices: [pass, refuse, override]
    default: pass
  by:
    description: For O(state=decision), who or what decided. The initiator of the run where an override names nobody.
    type: str
  what:
    description: For O(state=observation), what was observed. Required there.
    type: str
  event:
    description:
      - For O(state=event), its type. Required there.
      - V(incident_activated) says that those who respond to an incident are to be called.
      - V(notification_due) says that people outside are to be told something now. Nobody is told by the run itself.
    type: str
    choices: [incident_activated, notification_due]
  lines:
    description: For O(state=observation) and O(state=event), the facts in short sentences for people.
    type: list
    elements: str
  facts:
    description: For O(state=observation) and O(state=event), the facts for programs.
    type: dict
  next_actions:
    description: For O(state=next_action) and O(state=end), what people should do next.
    type: list
    elements: str
  outcome:
    description:
      - For O(state=end), how the run ended.
      - >-
        Without it V(planned) in check mode and in the mode V(plan), else V(failed) or V(refused) if a step failed since the run was
        started or resumed, else V(recovered).
    type: str
    choices: [recovered, failed, refused, cancelled, planned, ready, not_ready]
attributes:
  check_mode:
    description: Can run in check mode without changing the platform.
    support: full
    details: The journal is written, and marked as that of a plan.
  diff_mode:
    description: Shows what changes.
    support: none
"""

EXAMPLES = r"""
- name: Open the run
  platform.recovery.checkpoint:
    state: begin
    playbook: database-failover
    scenario: "Scenario 2: database failure"
    mode: failover
    target: us-east-1
    objectives:
      - {name: rto, target_seconds: 1800}
      - {name: rpo, target_seconds: 3600}
  register: recovery_run

- name: Begin to promote the standby
  platform.recovery.checkpoint:
    state: phase
    phase: promote
    title: Promote the standby
    budget_seconds: 300

- name: Record that the incident commander accepted the loss
  platform.recovery.checkpoint:
    state: decision
    gate: expected loss
    observed: 4 h 10 min
    wanted: at most 1 h
    verdict: override

- name: Close the run
  platform.recovery.checkpoint:
    state: end
    next_actions:
      - Rejoin us-west-2 with platform.recovery.database_failback
"""

RETURN = r"""
id:
  description: The name of the run.
  returned: when O(state=begin)
  type: str
  sample: 20261123T103000Z-database-failover-3f9a
folder:
  description: The run's folder, which holds journal and report.
  returned: when O(state=begin)
  type: str
  sample: /srv/recovery/.recovery/runs/20261123T103000Z-database-failover-3f9a
resumed:
  description: Whether the run was there before.
  returned: when O(state=begin)
  type: bool
playbook:
  description: The checklist, as its dashed name.
  returned: when O(state=begin)
  type: str
  sample: database-failover
mode:
  description: The mode of the run.
  returned: when O(state=begin)
  type: str
  sample: failover
target:
  description: What is recovered, or where to.
  returned: when O(state=begin)
  type: str
  sample: us-east-1
check:
  description: Whether the run is in check mode.
  returned: when O(state=begin)
  type: bool
started_at:
  description: When the run was first started.
  returned: when O(state=begin)
  type: str
  sample: "2026-11-23T10:30:00.000Z"
clock:
  description: From when the recovery time counts as far as it is known, and how that is known.
  returned: when O(state=begin) or O(state=phase)
  type: dict
  sample: {started_at: "2026-11-23T10:29:41.000Z", how: the alert}
objectives:
  description: What the run is measured against as far as it is known, and what has been measured.
  returned: when O(state=begin), O(state=phase) or O(state=end)
  type: list
  elements: dict
  sample: [{name: rto, target_seconds: 1800.0, measured_seconds: 3.2, met: true, how: from the alert to the first acknowledged write}]
phase:
  description: The phase that is open now.
  returned: when O(state=phase)
  type: dict
  sample: {name: promote, title: Promote the standby, budget_seconds: 300.0, started_at: "2026-11-23T10:30:01.210Z"}
outcome:
  description: How the run ended.
  returned: when O(state=end)
  type: str
  sample: recovered
exit_code:
  description: The exit code that the outcome stands for.
  returned: when O(state=end)
  type: int
  sample: 0
report:
  description: Path of the report for people.
  returned: when O(state=end)
  type: str
  sample: /srv/recovery/.recovery/runs/20261123T103000Z-database-failover-3f9a/report.html
lines:
  description: What was recorded, in words; for the other states a warning if the report could not be written, or the evidence not signed.
  returned: always
  type: list
  elements: str
  sample: ["expected loss: override; observed 4 h 10 min, wanted at most 1 h"]
"""
