# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The command `recovery-lab`."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from . import faults, fetched, lifecycle, logs, supervisor
from .errors import LabError
from .screen import Screen
from .state import state_folder
from .survey import Row, Survey, stopped, survey
from .topology import POSTGRESQL_VERSIONS, PROFILES

TARGET = "region, region/server or region/server/instance, as `status` prints them"


def main(arguments: list[str] | None = None) -> int:
    """Run one command; give its exit code."""
    # Whatever the caller's is: the lab's user has to read what root writes here.
    os.umask(0o022)
    options = parser().parse_args(arguments)
    command: Callable[[argparse.Namespace, Screen], int] = options.command
    try:
        return command(options, Screen())
    except LabError as error:
        print(f"recovery-lab: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        # The reader, such as `head`, has seen enough. Python would complain once more when it flushes at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (OSError, ValueError) as error:
        print(
            f"recovery-lab: {type(error).__name__}: {error}. The lab's folder is {state_folder()}; if it is damaged, "
            f"end the lab (`recovery-lab down`) and let RECOVERY_LAB_STATE name a new one.",
            file=sys.stderr,
        )
        return 1
    except KeyboardInterrupt:
        print("recovery-lab: interrupted", file=sys.stderr)
        return 130


def parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    root = argparse.ArgumentParser(prog="recovery-lab", description="A platform of real servers, to break.")
    commands = root.add_subparsers(required=True, metavar="COMMAND")
    one = commands.add_parser("build", help="find, fetch or build the programs of a profile, and start nothing")
    one.add_argument("--profile", choices=PROFILES, default="small")
    one.set_defaults(command=_build)
    one = commands.add_parser("up", help="bring the lab up, or complete it")
    one.add_argument("--profile", choices=PROFILES, help="default: that of the last time, else small")
    one.add_argument("--postgresql", choices=POSTGRESQL_VERSIONS, help="major version; default: the last one, else 18")
    one.add_argument("--fresh", action="store_true", help="in its first healthy state, whatever it is in now")
    one.set_defaults(command=_up)
    commands.add_parser("down", help="end every process; the data stays").set_defaults(command=_down)
    commands.add_parser("reset", help="back to the first healthy state, data included").set_defaults(command=_reset)
    one = commands.add_parser("status", help="show every server and what it does")
    one.add_argument("--json", action="store_true", help="one JSON document, with what a client needs to connect")
    one.set_defaults(command=_status)
    one = commands.add_parser("break", help="do a fault to a target")
    one.add_argument("fault", metavar="FAULT", help=", ".join(faults.FAULTS))
    one.add_argument("target", metavar="TARGET", help=TARGET)
    one.set_defaults(command=_break)
    one = commands.add_parser("heal", help="undo faults; without a target all of them")
    one.add_argument("target", metavar="TARGET", nargs="?", help=TARGET)
    one.set_defaults(command=_heal)
    one = commands.add_parser("logs", help="show the last lines of a target's logs")
    one.add_argument("target", metavar="TARGET", help=TARGET)
    one.add_argument("--lines", type=int, default=40, help="how many of each log (default 40)")
    one.set_defaults(command=_logs)
    return root


def _build(options: argparse.Namespace, screen: Screen) -> int:
    fetched.find(options.profile, screen.progress)
    screen.say(f"The programs of profile {options.profile} are there.")
    return 0


def _up(options: argparse.Namespace, screen: Screen) -> int:
    return 0 if lifecycle.up(screen, options.profile, options.postgresql, fresh=options.fresh).healthy else 1


def _down(_: argparse.Namespace, screen: Screen) -> int:
    lifecycle.down(screen)
    return 0


def _reset(_: argparse.Namespace, screen: Screen) -> int:
    return 0 if lifecycle.reset(screen).healthy else 1


def _status(options: argparse.Namespace, screen: Screen) -> int:
    lab = lifecycle.load(screen)
    found = survey(lab) if supervisor.running_here(lab.state) else stopped(lab)
    if options.json:
        settings = {"postgresql_version": lab.postgresql.version, "state_folder": str(lab.state.root)}
        print(json.dumps(document(found, lab.layout.profile) | settings, indent=2))
    else:
        print(table(found))
    return 0


def document(found: Survey, profile: str) -> dict[str, Any]:
    """Give the status for programs."""
    servers = [asdict(row) for row in found.rows]
    return {"profile": profile, "healthy": found.healthy, "servers": servers, "problems": found.problems}


def table(found: Survey) -> str:
    """Give the status for people."""
    width = 2 + max(len(name) for row in found.rows for name in (row.target, *_labels(row)))
    lines = [f"{'TARGET':<{width}}{'STATE':<10}{'WHAT':<16}{'ADDRESS':<18}{'PID':>8}{'MIB':>6}"]
    for row in found.rows:
        state = "fenced" if row.masked else row.state
        place = f"{row.address}:{row.port}"
        what = row.role or row.kind
        pid = row.pid or "-"
        lines.append(f"{row.target:<{width}}{state:<10}{what:<16}{place:<18}{pid:>8}{row.resident_mib:>6.0f}")
        for label, one in zip(_labels(row), row.instances, strict=False):
            lines.append(f"{label:<{width}}{one['state']:<10}{'':<34}{one['pid'] or '-':>8}{one['resident_mib']:>6.0f}")
    lines += ["", "healthy" if found.healthy else "not healthy: " + "; ".join(found.problems)]
    return "\n".join(lines)


def _labels(row: Row) -> list[str]:
    """Name a server's processes below it, where there are several."""
    return [f"  {one['target']}" for one in row.instances] if len(row.instances) > 1 else []


def _break(options: argparse.Namespace, screen: Screen) -> int:
    with lifecycle.acting(screen) as lab:
        faults.inflict(lab, options.fault, options.target)
    screen.say(f"{options.target}: {options.fault} done in {screen.elapsed:.1f} s.")
    return 0


def _heal(options: argparse.Namespace, screen: Screen) -> int:
    with lifecycle.acting(screen) as lab:
        faults.heal(lab, options.target)
    return 0 if lifecycle.settle(lab).healed else 1


def _logs(options: argparse.Namespace, screen: Screen) -> int:
    print(logs.show(lifecycle.load(screen), options.target, options.lines))
    return 0
