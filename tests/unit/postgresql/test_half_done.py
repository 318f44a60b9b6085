# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A signal is obeyed when nothing is half done, in however many threads."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator

import pytest

from ansible_collections.platform.recovery.plugins.module_utils.errors import StepFailed
from ansible_collections.platform.recovery.plugins.module_utils.postgresql.fence import HalfDone, Interrupted

LIMIT = 10.0


@pytest.fixture
def obeyed() -> Iterator[list[str]]:
    """Note that the signal reached who had it before, among what else is noted."""
    seen: list[str] = []
    before = signal.signal(signal.SIGTERM, lambda _number, _frame: seen.append("obeyed"))
    yield seen
    signal.signal(signal.SIGTERM, before)


def test_what_is_begun_in_threads_is_undone_first(obeyed: list[str]) -> None:
    half_done, began = HalfDone(), threading.Barrier(3, timeout=LIMIT)
    errors: list[StepFailed] = []

    def drain() -> None:
        try:
            with half_done.watching(), half_done.begun():
                began.wait()
                assert half_done.interrupted.wait(LIMIT)
                obeyed.append("undone")
                raise Interrupted
        except StepFailed as error:
            errors.append(error)

    threads = [threading.Thread(target=drain) for _ in range(2)]

    def cancelled() -> None:
        with half_done.watching():
            for thread in threads:
                thread.start()
            began.wait()
            os.kill(os.getpid(), signal.SIGTERM)
            for thread in threads:
                thread.join(LIMIT)

    with pytest.raises(StepFailed, match="interrupted"):
        cancelled()
    assert obeyed == ["undone", "undone", "obeyed"]
    assert [error.observed for error in errors] == ["SIGTERM", "SIGTERM"]


def test_where_nothing_is_begun_it_is_obeyed_at_once_and_nothing_begins_after(obeyed: list[str]) -> None:
    half_done = HalfDone()

    def cancelled() -> None:
        with half_done.watching():
            os.kill(os.getpid(), signal.SIGTERM)
            assert obeyed == ["obeyed"]
            with half_done.begun():
                obeyed.append("begun")

    with pytest.raises(StepFailed, match="interrupted"):
        cancelled()
    assert obeyed == ["obeyed"]


def test_without_a_signal_nothing_is_different(obeyed: list[str]) -> None:
    half_done = HalfDone()
    with half_done.watching(), half_done.begun():
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    assert obeyed == ["obeyed"]
