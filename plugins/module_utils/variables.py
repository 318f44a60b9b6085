# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The variables that an operator sets: their one list, from which docs/reference/variables.md is generated."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator

from .schema import Problem

VARIABLES = {
    "recovery_mode": (
        "C(plan), C(drill), C(switchover) or C(failover); the default is the last, for a failback C(switchover). "
        "C(readiness) is the playbook of that name."
    ),
    "recovery_target": "The region to recover to.",
    "recovery_confirm": "The target once more, typed by a person. A plan or a drill needs none.",
    "recovery_reason": "Why; it is journalled. Every override needs one.",
    "recovery_allow_data_loss": "C(true) accepts a loss beyond the objective, or an unknown one, for this run only.",
    "recovery_fence_statement": "Your word that the old primary is down and stays so, where no channel can prove it.",
    "recovery_lost_clusters": "A list: clusters that are lost with their region, by your word. They are left out.",
    "recovery_approvals": "Files that C(recovery approve) wrote, or folders of such, beside those in the run's folder.",
    "recovery_detected_at": "The UTC stamp of the alert, such as C(2026-11-23T10:30:00Z): the RTO clock starts there.",
    "recovery_initiator": "Who starts this; made out if left out.",
    "recovery_run_id": "A name for the run. The same one again goes on with the same run. Made up if left out.",
    "recovery_journal": "Where runs are kept: C(file:/path), else C(.recovery/runs); C(s3://bucket/prefix) beside it.",
    "recovery_evidence_key": "The SSH key that signs a run's evidence; without it the evidence is not signed.",
    "recovery_canary_folder": "The folder of a canary that runs for ever, to be heard instead of a new one.",
    "recovery_memory_folder": "Where each primary's last known position is remembered; beside the runs if left out.",
    "recovery_quiet_moment": (
        "What a failback refuses to begin beyond: a mapping with any of C(max_lag_bytes) (16 MiB), "
        "C(max_transaction_seconds) (60) and C(max_write_bytes_per_second) (32 MiB); 0 does not judge the last two."
    ),
    "recovery_sizes": "A file of remembered sizes, for workloads that carry none themselves (region checklists).",
    "recovery_certificate_days": "Readiness: for how many days more every certificate has to be good; 14 if left out.",
    "recovery_most_ttl_seconds": "Readiness: the longest TTL that a name which moves may have; 60 if left out.",
    "recovery_expected_differences": (
        "Readiness: a list of differences between the regions that are meant, each C(Kind/namespace/name) or "
        "C(Kind/namespace/name/key), C(*) standing for any text."
    ),
    "recovery_readiness_without": (
        "Readiness: a list of sections of the platform description, such as C(zones), that do not run at present."
    ),
    "recovery_platform": "The platform description.",
    "recovery_credentials": "The accounts that the description names; out of a vault.",
}
# What our own plays and roles keep under this prefix: the inputs and result of recovery_run, the lease, a play's phase.
OWN = ("recovery_run_", "recovery_lease_", "recovery_phase_")


def misspelt(names: Iterable[str]) -> Iterator[Problem]:
    """Find what is nearly the name of a variable: Ansible would ignore it without a word, a plan could run for real."""
    for name in sorted(names):
        if name in VARIABLES or not name.startswith("recovery_") or f"{name}_".startswith(OWN):
            continue
        if near := difflib.get_close_matches(name, VARIABLES, n=1, cutoff=0.85):
            yield Problem("variable", name, "a name of docs/reference/variables.md", near[0])
