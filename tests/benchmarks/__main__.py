# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run the benchmarks: `python -m tests.benchmarks [NAME ...]`.

A table for people, build/benchmarks/NAME.json for programs.
"""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

NAMES = ("checkpoint", "promotion", "launch", "workloads", "many", "names")
RESULTS = Path("build/benchmarks")


def main(names: list[str]) -> int:
    """Run those named, or all. Each module offers `bench() -> {rows, claims}`."""
    unknown = sorted(set(names) - set(NAMES))
    if unknown:
        print(f"no such benchmark: {', '.join(unknown)}; there are {', '.join(NAMES)}", file=sys.stderr)
        return 2
    missed = []
    RESULTS.mkdir(parents=True, exist_ok=True)
    for name in names or NAMES:
        result = importlib.import_module(f"tests.benchmarks.bench_{name}").bench()
        (RESULTS / f"{name}.json").write_text(json.dumps(result, indent=2) + "\n")
        print(f"\n{name}")
        for row in result["rows"]:
            print("  " + "  ".join(f"{cell!s:<28}" for cell in row))
        for claim, figure, limit in result["claims"]:
            verdict = "holds" if figure <= limit else "MISSED"
            print(f"  {verdict}: {claim}: {figure:.3g} (at most {limit:g})")
            missed += [] if figure <= limit else [claim]
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
