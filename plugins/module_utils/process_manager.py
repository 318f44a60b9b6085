# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Servers that no service manager runs: their process is found by its data directory, which is also what fences it.

DIR.fenced beside the data directory DIR is to such a server what a masked unit is to a service manager: whoever starts
it looks for that first. The answer has the words of a service manager, and is read like one.
"""

from __future__ import annotations

import shlex

SCRIPT = r"""
set -u
export LC_ALL=C

alive() {
  pid=$(sed -n 1p "$data/postmaster.pid" 2>/dev/null)
  case $pid in '' | *[!0-9]*) return 1 ;; esac
  kill -0 "$pid" 2>/dev/null || return 1
  case $(sed -n 's/^State:[[:space:]]*\(.\).*/\1/p' "/proc/$pid/status" 2>/dev/null) in Z | X) return 1 ;; esac
  tr '\0' '\n' <"/proc/$pid/cmdline" 2>/dev/null | grep -qF "$data"
}

main() {
  if [ "$verb" != show ]; then
    : >"$data.fenced" || exit 1
    : >"$data/standby.signal"
    ! alive || kill "-$signal" "$pid"
    tries=0
    while alive && [ "$tries" -lt "$tries_most" ]; do
      tries=$((tries + 1))
      sleep 0.02
    done
  fi
  if alive; then echo ActiveState=active; echo "MainPID=$pid"; else echo ActiveState=inactive; echo MainPID=0; fi
  if [ -e "$data.fenced" ]; then echo UnitFileState=masked; else echo UnitFileState=enabled; fi
}
main </dev/null
"""


def script(verb: str, data: str, *, signal: str = "INT", seconds: float = 1.0) -> str:
    """Give the script that shows a server's process, or fences it: marks it, signals it and waits for its end."""
    values = {"verb": verb, "data": data, "signal": signal, "tries_most": int(seconds / 0.02)}
    return "".join(f"{name}={shlex.quote(str(value))}\n" for name, value in values.items()) + SCRIPT
