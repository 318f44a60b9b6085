# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The command `recovery`."""

from __future__ import annotations

import argparse
import getpass
import json
import os
import shutil
import signal
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from .errors import WrongCall

if TYPE_CHECKING:
    from .result import Result

EXITS = """exit codes:
  0 done, every objective met          3 recovered, but an objective was missed
  1 the call was wrong, nothing done   4 refused by a gate; what was changed is named
  2 failed, next safe action is named  5 cancelled"""
CANCEL_SECONDS = 5.0
LISTED = 20


class Parser(argparse.ArgumentParser):
    """Bad arguments are exit code 1 here, not argparse's 2: that one means a failed recovery."""

    def error(self, message: str) -> NoReturn:
        """Refuse."""
        raise WrongCall(message, next_action=f"see {self.prog} --help")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command. Returns the exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        options = parser().parse_args(arguments)
        code: int = options.command(options)
    except WrongCall as error:
        print(f"recovery: {error.message}", file=sys.stderr)
        if error.next_action:
            print(f"Next: {error.next_action}", file=sys.stderr)
        if "--json" in arguments:
            _print_refusal(error)
        return error.exit_code
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nobody reads: no trace at exit either
        return 2
    return code


def parser() -> Parser:
    """Build the argument parser."""
    root = Parser(
        prog="recovery",
        description="Run and follow the recovery checklists of platform.recovery.",
        epilog=EXITS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = root.add_subparsers(metavar="COMMAND", required=True)

    run = commands.add_parser("run", help="run a checklist")
    run.add_argument("playbook", metavar="PLAYBOOK", help="its dashed name, such as database-failover")
    run.add_argument("-i", "--inventory", action="append", required=True, metavar="PATH")
    run.add_argument("--mode", help="plan, readiness, drill, switchover or failover")
    run.add_argument("--target", help="the region, database or service to recover to, or to recover")
    run.add_argument("--confirm", help="must equal the target for whatever changes production")
    run.add_argument("--detected-at", metavar="TIME", help="UTC stamp of the alert: the recovery time counts from it")
    run.add_argument("--run-id", metavar="ID", help="name of the run; the same name resumes it")
    run.add_argument("--check", action="store_true", help="say what would be done, and do nothing")
    _add_wishes(run)
    _add_journal(run)
    run.set_defaults(command=_run)

    resume = commands.add_parser("resume", help="run the same again: what is done is found done")
    resume.add_argument("run", metavar="RUN")
    resume.add_argument("-i", "--inventory", action="append", metavar="PATH", help="if not the same as before")
    resume.add_argument("--confirm", help="if the run was not started by this command")
    _add_wishes(resume)
    _add_journal(resume)
    resume.set_defaults(command=_resume)

    readiness = commands.add_parser("readiness", help="find out whether a recovery could be done (not yet available)")
    readiness.add_argument("-i", "--inventory", action="append", metavar="PATH")
    readiness.add_argument("--target")
    _add_json(readiness)
    _add_journal(readiness)
    readiness.set_defaults(command=_readiness)

    status = commands.add_parser("status", help="say how a run stands; the newest without a name")
    status.add_argument("run", metavar="RUN", nargs="?")
    _add_json(status)
    _add_journal(status)
    status.set_defaults(command=_status)

    cancel = commands.add_parser("cancel", help="end a run and everything it has started")
    cancel.add_argument("run", metavar="RUN")
    cancel.add_argument("--reason", help="why; it is journalled")
    _add_json(cancel)
    _add_journal(cancel)
    cancel.set_defaults(command=_cancel)

    report = commands.add_parser("report", help="show the report of a run")
    report.add_argument("run", metavar="RUN", nargs="?")
    report.add_argument("--format", choices=("text", "json", "html"), default="text")
    _add_json(report)
    _add_journal(report)
    report.set_defaults(command=_report)

    verify = commands.add_parser("verify-evidence", help="check that the journal of a run was not altered")
    verify.add_argument("run", metavar="RUN")
    _add_json(verify)
    _add_journal(verify)
    verify.set_defaults(command=_verify)

    listing = commands.add_parser("list", help="list the runs, the newest first")
    listing.add_argument("--all", action="store_true", help=f"more than the newest {LISTED}")
    _add_json(listing)
    _add_journal(listing)
    listing.set_defaults(command=_list)
    return root


def _add_wishes(command: argparse.ArgumentParser) -> None:
    command.add_argument("--reason", help="why; needed with any override")
    command.add_argument("--allow-data-loss", action="store_true", help="accept loss beyond the objective, this once")
    command.add_argument("--fence-statement", metavar="TEXT", help="state that the old primary is down")
    command.add_argument(
        "-e",
        "--extra-vars",
        action="append",
        default=[],
        metavar="VAR=VALUE|@FILE",
        help="a variable, or a file of them; put secrets into a file",
    )
    command.add_argument("--timeout", type=float, metavar="SECONDS", help="cancel the run after so long")
    command.add_argument("-v", "--verbose", action="store_true", help="show what ansible-playbook writes")
    _add_json(command)


def _add_json(command: argparse.ArgumentParser) -> None:
    command.add_argument("--json", action="store_true", help="print one JSON document and nothing else")


def _add_journal(command: argparse.ArgumentParser) -> None:
    command.add_argument("--journal", metavar="URL", help="where the journals are; default file:.recovery/runs")


def _run(options: argparse.Namespace) -> int:
    return _play(
        options,
        options.playbook,
        inventory=options.inventory,
        mode=options.mode,
        target=options.target,
        confirm=options.confirm,
        reason=options.reason,
        detected_at=options.detected_at,
        run_id=options.run_id,
        journal=options.journal,
        check=options.check,
    )


def _resume(options: argparse.Namespace) -> int:
    from . import folders
    from ._collection import module

    folder = folders.find(folders.sink(options.journal), options.run)
    before = folders.read_call(folder)
    started: Mapping[str, Any] = next(
        (r["data"] for r in folders.Tail(folder / folders.JOURNAL).read() if r["event"] == "run_started"), {}
    )
    known = {**{name: started.get(name) for name in ("playbook", "mode", "target", "reason", "check")}, **before}
    inventory = options.inventory or known.get("inventory")
    if not known.get("playbook") or not inventory:
        raise WrongCall(
            f"Run {folder.name} was not started by recovery run, so its inventory is not known",
            next_action=f"recovery resume {folder.name} --inventory PATH --confirm TARGET",
        )
    given, _files = _variables(options.extra_vars)
    missing = [name for name in known.get("variable_names") or () if name not in given]
    if missing:
        raise WrongCall(
            f"Run {folder.name} was given {', '.join(missing)}, whose values are not kept",
            next_action="give them again with -e",
        )
    for override in known.get("overrides") or ():
        if not getattr(options, override):
            print(f"The override {override} of the first call does not hold any more.", file=sys.stderr)
    outcome = module("report").load(folder)
    print(f"Resuming {folder.name}, which is {outcome['state']} ({outcome['outcome']}).", file=sys.stderr)
    return _play(
        options,
        known["playbook"],
        inventory=inventory,
        mode=known["mode"],
        target=known["target"],
        confirm=options.confirm or known.get("confirm"),
        reason=options.reason or known.get("reason"),
        run_id=folder.name,
        journal=f"file:{folder.absolute().parent}",
        check=bool(known.get("check")),
        more_files=known.get("variable_files") or (),
        cwd=known.get("cwd"),
    )


def _play(options: argparse.Namespace, playbook: str, *, more_files: Sequence[str] = (), **wish: Any) -> int:
    """Start, show, and judge; a signal cancels."""
    from . import session, views

    variables, files = _variables(options.extra_vars)
    view = views.choose(json=options.json, verbose=options.verbose, color=_color())
    run = session.start(
        playbook,
        variables=variables,
        variable_files=[*more_files, *files],
        allow_data_loss=options.allow_data_loss,
        fence_statement=options.fence_statement,
        timeout=options.timeout,
        on_output=view.output,
        **wish,
    )
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    with view:
        try:
            for event in run.events():
                view.show(event)
        except _Interrupted as interrupted:
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                signal.signal(number, signal.SIG_IGN)  # ending it takes three seconds at most
            cancelled = run.cancel(f"interrupted by {interrupted}")
            for event in run.events():
                view.show(event)
            for name in cancelled.remaining:
                print(f"Could not be ended: process {name}", file=sys.stderr)
    result = run.wait()
    if options.json:
        _print_json(result.report)
    else:
        _print_result(result)
    return result.exit_code


class _Interrupted(Exception):
    """A signal asked for the end."""


def _interrupt(number: int, _frame: object) -> NoReturn:
    raise _Interrupted(signal.Signals(number).name)


def _readiness(_options: argparse.Namespace) -> int:
    raise WrongCall(
        "readiness is not available yet: it comes with a later version",
        next_action="recovery run PLAYBOOK --mode plan says what would happen now, and changes nothing",
    )


def _status(options: argparse.Namespace) -> int:
    from . import folders
    from ._collection import module

    folder = folders.find(folders.sink(options.journal), options.run)
    report = module("report").load(folder)
    owner = folders.working(folder)
    phase = report["phases"][-1] if report["phases"] else None
    state = "running" if owner and report["state"] != "finished" else report["state"]
    status = {
        "run_id": report["run_id"],
        "state": state,
        "outcome": None if state == "running" else report["outcome"],
        "exit_code": None if state == "running" else report["exit_code"],
        "playbook": report["playbook"],
        "mode": report["mode"],
        "target": report["target"],
        "started_at": report["started_at"],
        "seconds": report["seconds"],
        "phase": phase,
        "pid": owner.runner.pid if owner else None,
        "folder": str(folder),
    }
    if options.json:
        _print_json(status)
    else:
        words = module("report_words")
        print(f"{words.title(report)} · {report['mode'] or 'run'} · {report['run_id']}")
        if state == "running":
            print(f"Running since {report['started_at']} in process {status['pid']}")
        else:
            print(f"{words.headline(report)} after {words.duration(report['seconds'])}")
        if phase:
            print(f"Last phase: {phase['title']} ({phase['outcome']})")
        for line in report["next_actions"] if state != "running" else ():
            print(f"Next: {line}")
    return 0


def _cancel(options: argparse.Namespace) -> int:
    from . import folders
    from ._collection import module
    from .processes import end, of_run

    folder = folders.find(folders.sink(options.journal), options.run)
    owner = folders.working(folder)
    if owner is None:
        raise WrongCall(
            f"Run {folder.name} is not going on in a process that recovery started on this machine",
            next_action="interrupt a plain ansible-playbook with Ctrl-C where it runs",
        )
    reason = f"cancelled by {getpass.getuser()}@{socket.gethostname()}"
    reason += f": {options.reason}" if options.reason else ""
    if owner.runner.alive:
        folders.write(folder / folders.CANCEL, reason)
    deadline = time.monotonic() + CANCEL_SECONDS
    # Whoever runs it ends it; the file of the owner goes when that is done.
    while owner.runner.alive and (folder / folders.OWNER).exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    remaining = [f"{left.pid} {left.command}" for left in end(owner.mark, owner.playbook)]
    folders.stop_canary(folder)
    report = module("report").load(folder)
    if report["state"] != "finished":
        journal = module("journal").Journal(folder, report["run_id"])
        journal.append("run_ended", outcome="cancelled", why=reason, remaining=remaining)
        report = module("report").render(folder)
    for name in (folders.OWNER, folders.CANCEL):
        (folder / name).unlink(missing_ok=True)
    if options.json:
        _print_json({"run_id": report["run_id"], "outcome": report["outcome"], "remaining": remaining})
    elif not remaining:
        print(f"Run {report['run_id']} is {report['outcome']}; no process of it is left.")
    for name in remaining:
        print(f"Could not be ended: process {name}", file=sys.stderr)
    return 2 if remaining or of_run(owner.mark) else 0


def _report(options: argparse.Namespace) -> int:
    from . import folders
    from ._collection import module

    folder = folders.find(folders.sink(options.journal), options.run)
    report = module("report").load(folder)
    if options.json or options.format == "json":
        _print_json(report)
    elif options.format == "html":
        sys.stdout.write(module("report_html").html(report))
    else:
        print(_text(report, folder))
    return 0


def _verify(options: argparse.Namespace) -> int:
    from . import folders
    from ._collection import module

    folder = folders.find(folders.sink(options.journal), options.run)
    report = module("report").load(folder)
    journal = report["journal"]
    intact = journal["first_bad"] is None
    verdict = {
        "run_id": report["run_id"],
        "intact": intact,
        "records": journal["records"],
        "last_hash": journal["last_hash"],
        "first_bad": journal["first_bad"],
        "flaw": journal["flaw"],
        "signed": False,
    }
    if options.json:
        _print_json(verdict)
    elif intact:
        print(f"The chain of {journal['records']} records is whole; it ends with {journal['last_hash']}.")
        print("Nothing is signed yet: who can write the folder could have made the whole chain anew. Compare that hash")
        print("with one kept elsewhere.")
    else:
        print(f"Record {journal['first_bad']} cannot be trusted, nor what follows: {journal['flaw']}.")
    return 0 if intact else 2


def _list(options: argparse.Namespace) -> int:
    from . import folders
    from ._collection import module

    root = folders.sink(options.journal)
    known = folders.runs(root)
    rows = []
    for folder in known if options.all else known[:LISTED]:
        report = module("report").load(folder)
        running = report["state"] != "finished" and folders.working(folder) is not None
        rows.append(
            {
                "run_id": report["run_id"],
                "state": "running" if running else report["state"],
                "outcome": None if running else report["outcome"],
                **{name: report[name] for name in ("playbook", "mode", "target", "started_at", "seconds")},
            }
        )
    if options.json:
        _print_json(rows)
        return 0
    if not rows:
        print(f"There is no run in {root} yet.")
    for row in rows:
        how = row["outcome"] or row["state"]
        print(f"{row['run_id']:<48} {how:<10} {row['mode'] or '-':<10} {row['target'] or '-'}")
    return 0


def _variables(texts: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
    """Read -e as ansible-playbook does: VAR=VALUE gives text, JSON gives what it says, @FILE is left to Ansible."""
    variables: dict[str, Any] = {}
    files: list[str] = []
    for text in texts:
        name, separator, value = text.partition("=")
        if text.startswith("@"):
            files.append(str(Path(text[1:]).expanduser()))
        elif text.lstrip().startswith("{"):
            try:
                variables.update(json.loads(text))
            except ValueError as error:
                raise WrongCall(f"-e was given JSON that cannot be read: {error}") from None
        elif separator and name.isidentifier():
            variables[name] = value
        else:
            # Not repeated in the message: it may be half of a secret.
            raise WrongCall("-e wants VAR=VALUE, JSON, or @FILE")
    return variables, files


def _print_result(result: Result) -> None:
    if result.folder:
        print(_text(result.report, result.folder))
        return
    for failure in result.failures:
        print(f"recovery: {failure.msg}", file=sys.stderr)
        if failure.next_action:
            print(f"Next: {failure.next_action}", file=sys.stderr)


def _text(report: Mapping[str, Any], folder: Path) -> str:
    from ._collection import module

    width = min(100, shutil.get_terminal_size().columns)
    text: str = module("report_text").text(report, folder=folder, color=_color(), width=width)
    return text


def _print_json(document: Any) -> None:
    print(json.dumps(document, indent=1, ensure_ascii=False))


def _print_refusal(error: WrongCall) -> None:
    from .result import unopened

    _print_json(
        unopened(run_id="", playbook="", mode=None, target=None, exit_code=error.exit_code, failure=error.failure())
    )


def _color() -> bool:
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


if __name__ == "__main__":
    sys.exit(main())
