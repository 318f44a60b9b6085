# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The same for a few things at once, a thread each: the zones or the stores of a task."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any


def one_at_a_time(action: Callable[..., None]) -> Callable[..., None]:
    """Let threads call something in turn."""
    lock = threading.Lock()

    def call(*words: Any) -> None:
        with lock:
            action(*words)

    return call


def at_once(action: Callable[[Any], Any], items: Sequence[Any], most: int | None = None) -> list[Any]:
    """Do the same for all side by side, `most` at a time; the first error comes through once all have ended."""
    with ThreadPoolExecutor(max_workers=max(1, min(len(items), most or len(items)))) as pool:
        return [future.result() for future in [pool.submit(action, item) for item in items]]
