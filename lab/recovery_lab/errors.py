# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one error that the lab raises on purpose: a sentence for the person at the terminal."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable


class LabError(Exception):
    """Something the user has to know: what was attempted, on what, what was seen, what to do next."""


def nearest(value: str, valid: Iterable[str]) -> str:
    """End a sentence: with "; did you mean 'x'?" for the nearest valid name, or with a full stop if none is near."""
    matches = difflib.get_close_matches(value, list(valid), n=1, cutoff=0.5)
    return f"; did you mean {matches[0]!r}?" if matches else "."


def with_advice(said: str) -> str:
    """Add to a server's last words what to do where it found its address taken."""
    if "address already in use" not in said.lower():
        return said
    place = next(iter(re.findall(r"127(?:\.\d+){3}(?::\d+)?", said)), "its address")
    return f"{said}\nAnother program listens on {place}: `ss -ltnp` names it. End it and run `recovery-lab up` again."
