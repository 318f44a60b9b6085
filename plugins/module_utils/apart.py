# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One task for many databases: each is worked on by itself, and one that fails stops no other.

A thread each and not a process each: what Ansible needs to begin a task costs more than most of what a step does.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from .errors import BadInput, PreconditionFailed, RecoveryError, StepFailed
from .report_words import counted

R = TypeVar("R")

# A thread costs little, and most of its time it waits for a server. More at a time than this gain nothing.
SIDE_BY_SIDE = 64


def attempt_all(names: Sequence[str], work: Callable[[str], R]) -> tuple[dict[str, R], dict[str, RecoveryError]]:
    """Call `work` for each at the same time. Gives what each gave, and what stood in the way of the others.

    An error that is none of ours is a defect: it is raised. The threads are daemons: an interrupted controller does
    not wait for them. The calling thread does its share, so one name costs no thread.
    """
    queue = deque(names)
    answers: dict[str, R | RecoveryError] = {}
    defects: list[BaseException] = []

    def drain() -> None:
        while not defects:
            try:
                name = queue.popleft()
            except IndexError:
                return
            try:
                answers[name] = work(name)
            except RecoveryError as error:
                answers[name] = error
            except BaseException as error:  # carried over to the calling thread below
                defects.append(error)

    threads = [
        threading.Thread(target=drain, name=f"database-{number}", daemon=True)
        for number in range(1, min(len(names), SIDE_BY_SIDE))
    ]
    for thread in threads:
        thread.start()
    drain()
    for thread in threads:
        # An interrupt that reached this thread is passed on at once; the others end by themselves.
        if not defects:
            thread.join()
    if defects:
        raise defects[0]
    failures = {name: answer for name in names if isinstance(answer := answers[name], RecoveryError)}
    return {name: answer for name in names if not isinstance(answer := answers[name], RecoveryError)}, failures


def none_left(failures: Mapping[str, RecoveryError]) -> RecoveryError:
    """Make the error of databases of which each has one: that of an only one is its own."""
    if len(failures) == 1:
        only = next(iter(failures.values()))
        only.each = failures
        return only
    kinds = {type(error) for error in failures.values()}
    kind = next((kind for kind in (PreconditionFailed, BadInput) if kinds == {kind}), StepFailed)
    error = kind(
        f"It could be done for none of {counted(len(failures), 'database')}",
        observed="; ".join(f"{name}: {told(one)}" for name, one in failures.items()),
        next_action=next(one.next_action for one in failures.values()),
        changed=any(one.fields.get("changed") for one in failures.values()),
    )
    error.each = failures
    return error


def told(error: RecoveryError) -> str:
    """Give an error with what was seen, in a part of a line."""
    return f"{error.what} ({error.observed})" if error.observed else error.what
