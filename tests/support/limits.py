# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The size of the files that a running server may write: what a full disk does to it, without a disk."""

from __future__ import annotations

import os
import subprocess
from contextlib import suppress

from tests.support.killer import below


def limit_files(pid: int | None, most: int | None) -> None:
    """Limit the size of files that a process and its children may write, as their own account: it needs no right."""
    for one in below(pid) if pid else []:
        with suppress(OSError):
            owner = os.stat(f"/proc/{one}")
            argv = ["prlimit", "--pid", str(one), f"--fsize={'unlimited' if most is None else most}:"]
            subprocess.run(argv, check=False, capture_output=True, user=owner.st_uid, group=owner.st_gid)
