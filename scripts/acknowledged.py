# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Wait until a canary's log holds a number of acknowledged writes: `acknowledged.py LOG COUNT`. Exits 1 after 30 s."""

from __future__ import annotations

import sys
import time
from pathlib import Path


def main(log: Path, wanted: int) -> int:
    """Count lines that end in 201."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        count = sum(line.rstrip().endswith(b"201") for line in log.read_bytes().splitlines()) if log.exists() else 0
        if count >= wanted:
            print(f"   {count} writes acknowledged")
            return 0
        time.sleep(0.05)
    print(f"   only {count} writes were acknowledged in 30 s: is the lab healthy? recovery-lab status", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2])))
