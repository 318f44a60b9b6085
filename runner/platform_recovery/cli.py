# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The command `recovery`."""

from __future__ import annotations

import argparse
import getpass
import io
import json
import os
import queue
import shutil
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from .errors import WrongCall

if TYPE_CHECKING:
    from types import FrameType

    from .result import Result
    from .session import Run
    from .views import View

EXITS = """exit codes:
  0 done, every objective met          3 recovered, but an objective was missed
  1 the call was wrong, nothing done   4 refused by a gate; what was changed is named
  2 failed, next safe action is named  5 cancelled"""
LISTED = 20


class Parser(argparse.ArgumentParser):
    """Bad arguments are exit code 1 here, not argparse's 2: that one means a failed recovery."""

    def error(self, message: str) -> NoReturn:
        """Refuse."""
        raise WrongCall(message, next_action=f"see {self.prog} --help")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command. Returns the exit code.

    Whatever breaks is exit code 2: Python's own 1 would promise that nothing was touched.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal without ✔ is no reason to fail
    try:
        options = parser().parse_args(arguments)
        code: int = options.command(options)
        sys.stdout.flush()
    except WrongCall as error:
        return _refuse(arguments, error.exit_code, error.failure())
    except BrokenPipeError:
        _silence()
        return 2
    except KeyboardInterrupt:  # not while a run goes on: see _Signals
        return _refuse(arguments, 5, {"kind": "cancelled", "msg": "Interrupted", "next_action": None})
    except Exception as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        known = isinstance(error, OSError) or hasattr(error, "next_action")
        where = "" if known else f" ({type(error).__name__} at {Path(place.filename).name}:{place.lineno})"
        failure = {"kind": "failed", "msg": f"{error}{where}", "next_action": getattr(error, "next_action", None)}
        return _refuse(arguments, 2, failure)
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

    readiness = commands.add_parser("readiness", help="check whether a recovery could be done, change nothing")
    readiness.add_argument("-i", "--inventory", action="append", required=True, metavar="PATH")
    readiness.add_argument("--target", help="the region to recover to; not needed where there is only one")
    readiness.add_argument("--run-id", metavar="ID", help="name of the run")
    _add_ways(readiness)
    _add_journal(readiness)
    readiness.set_defaults(command=_readiness, allow_data_loss=False, fence_statement=None)

    lint = commands.add_parser("lint", help="find what a recovery would need and only the lost region has")
    lint.add_argument(
        "paths", nargs="*", metavar="PATH", help="checklists, roles or manifests; the collection's own else"
    )
    lint.add_argument("-i", "--inventory", action="append", default=[], metavar="PATH", help="with the description")
    lint.add_argument(
        "--lost", action="append", default=[], metavar="REGION", help="a region that may be lost; each primary one else"
    )
    _add_json(lint)
    lint.set_defaults(command=_lint)

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

    approve = commands.add_parser("approve", help="approve a run that was refused for want of approvals")
    approve.add_argument("request", metavar="RUN|FILE", help="the run, or the request that it left in its folder")
    approve.add_argument(
        "--as", dest="name", required=True, metavar="NAME", help="your name in the platform description"
    )
    approve.add_argument("--key", required=True, metavar="FILE", help="your SSH key; its .pub file if an agent has it")
    approve.add_argument("--reason", help="why; break-glass needs one")
    approve.add_argument(
        "--break-glass", action="store_true", help="let your signature alone be enough; every report says so"
    )
    approve.add_argument(
        "--valid", type=float, metavar="SECONDS", help="how long it holds; the longest allowed if left out"
    )
    approve.add_argument(
        "--output", metavar="FILE", help="where it is written; in approvals/ beside the request if left out"
    )
    _add_json(approve)
    _add_journal(approve)
    approve.set_defaults(command=_approve)

    evidence = commands.add_parser("evidence", help="make the evidence of a run anew, as to sign it afterwards")
    evidence.add_argument("run", metavar="RUN")
    evidence.add_argument("--key", metavar="FILE", help="the SSH key to sign with; the run's own if left out")
    _add_json(evidence)
    _add_journal(evidence)
    evidence.set_defaults(command=_evidence)

    verify = commands.add_parser("verify-evidence", help="check that a run, or its bundle, is as it was when it ended")
    verify.add_argument("run", metavar="RUN|BUNDLE", help="a run, its folder, or the file evidence.tar of one")
    verify.add_argument(
        "--allowed-signers",
        metavar="FILE",
        help="public keys of those who may sign, as in ssh-keygen(1); what is not signed by one of them fails then",
    )
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
    _add_ways(command)


def _add_ways(command: argparse.ArgumentParser) -> None:
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
    command.add_argument(
        "--journal", metavar="URL", help="where the journals are, file: or s3:; default file:.recovery/runs"
    )


def _run(options: argparse.Namespace) -> int:
    variables, files = _variables(options.extra_vars)
    return _play(
        options,
        options.playbook,
        variables,
        files,
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

    folder = _find(options.journal, options.run)
    folders.refuse_second(folder, folder.name)
    known = _known(folder)
    inventory = options.inventory or known.get("inventory")
    if not known.get("playbook") or not inventory:
        raise WrongCall(
            f"Run {folder.name} was not started by recovery run, so its inventory is not known",
            next_action=f"recovery resume {folder.name} --inventory PATH --confirm TARGET",
        )
    given, files = _variables(options.extra_vars)
    missing = [name for name in known.get("variable_names") or () if name not in given]
    if missing and not files:  # what a file holds is Ansible's to read: it may be vaulted
        raise WrongCall(
            f"Run {folder.name} was given {', '.join(missing)}, whose values are not kept",
            next_action="give them again with -e VAR=VALUE, or in a file with -e @FILE",
        )
    for override in known.get("overrides") or ():
        if not getattr(options, override):
            print(f"The override {override} of the first call does not hold any more.", file=sys.stderr)
    outcome = module("report").load(folder)
    print(f"Resuming {folder.name}, which is {outcome['state']} ({outcome['outcome']}).", file=sys.stderr)
    return _play(
        options,
        known["playbook"],
        given,
        [*(known.get("variable_files") or ()), *files],
        inventory=inventory,
        mode=known["mode"],
        target=known["target"],
        confirm=options.confirm or known.get("confirm"),
        reason=options.reason or known.get("reason"),
        detected_at=known.get("detected_at"),
        run_id=folder.name,
        journal=folders.url(folder.absolute().parent),
        check=bool(known.get("check")),
        cwd=known.get("cwd"),
    )


def _find(journal: str | None, name: str | None) -> Path:
    """Find a run here, after what a sink in object storage holds of it was brought here."""
    from . import folders

    _warn(folders.fetch(journal, name, most=None if name else 1))
    return folders.find(folders.sink(journal), name)


def _warn(trouble: str | None) -> None:
    if trouble:
        print(f"recovery: {trouble}", file=sys.stderr)


def _known(folder: Path) -> dict[str, Any]:
    """Give how a run was called, by the word that was left in its folder, and else by its journal."""
    from . import folders

    starts = folders.attempts(folder)
    started = starts[0]["data"] if starts else {}
    names = ("playbook", "mode", "target", "reason", "check", "detected_at")
    left = {name: value for name, value in folders.read_call(folder).items() if value is not None}
    return {**{name: started.get(name) for name in names}, **left}


def _play(
    options: argparse.Namespace, playbook: str, variables: Mapping[str, Any], files: Sequence[str], **wish: Any
) -> int:
    """Start, show, and judge. A signal cancels; lost output does not.

    Who closes the terminal or the pipe has not said that the run shall end, and a failover half done is worse than one
    that nobody watches. So it goes on to its end, can be followed and cancelled from elsewhere, and the exit code is
    the run's. Any other failure of this process ends the run, because nobody would own it then.
    """
    from . import session, views

    view = views.choose(json=options.json, verbose=options.verbose, color=_color())
    with _Signals() as signals:
        run = session.start(
            playbook,
            variables=variables,
            variable_files=files,
            allow_data_loss=options.allow_data_loss,
            fence_statement=options.fence_statement,
            timeout=options.timeout,
            on_output=view.output,
            **wish,
        )
        try:
            with view:
                signals.watch(run, view)
                _show(run, view)
            result = run.wait()
        except BaseException:
            run.cancel("recovery itself failed")
            raise
    try:
        if options.json:
            _print_json(result.report)
        else:
            _print_result(result)
        for name in run.cancelled.remaining if run.cancelled else ():
            print(f"Could not be ended: process {name}", file=sys.stderr)
        sys.stdout.flush()
    except (OSError, KeyboardInterrupt):
        _silence()
    return result.exit_code


def _show(run: Run, view: View) -> None:
    """Show a run to its end."""
    from ._collection import module
    from .events import RunResumed

    for event in run.events():
        try:
            if isinstance(event, RunResumed) and run.folder:
                view.recall(module("report").load(run.folder))
            view.show(event)
        except Exception as error:  # what cannot be shown is being done all the same
            view.say(f"{event.event} cannot be shown: {error!r}")


class _Signals:
    """Hears Ctrl-C and SIGTERM from before a run is started until it is over: the first cancels, another one kills.

    Nothing is raised, since that could be between a run that was started and the variable that holds it. A hang-up
    only means that nobody looks any more.
    """

    def __init__(self) -> None:
        self._heard: queue.SimpleQueue[int] = queue.SimpleQueue()  # may be filled in a signal handler
        self._before: dict[int, Any] = {}
        self._run: Run | None = None

    def __enter__(self) -> _Signals:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._before[number] = signal.signal(number, self._hear)
        self._before[signal.SIGHUP] = signal.signal(signal.SIGHUP, signal.SIG_IGN)
        return self

    def __exit__(self, *_error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def watch(self, run: Run, view: View) -> None:
        """Cancel this run when a signal comes, or has come."""
        self._run = run
        threading.Thread(target=self._cancel, args=(run, view), daemon=True).start()

    def _hear(self, number: int, _frame: FrameType | None) -> None:
        if self._run and self._run.cancelled:
            self._run.hurry()
        self._heard.put(number)

    def _cancel(self, run: Run, view: View) -> None:
        name = signal.Signals(self._heard.get()).name
        view.say(f"Ending the run ({name}); once more kills what is left at once")
        run.cancel(f"interrupted by {name}")


def _readiness(options: argparse.Namespace) -> int:
    variables, files = _variables(options.extra_vars)
    return _play(
        options,
        "readiness",
        variables,
        files,
        inventory=options.inventory,
        mode="readiness",
        target=options.target,
        run_id=options.run_id,
        journal=options.journal,
    )


def _lint(options: argparse.Namespace) -> int:
    from . import lint

    found = lint.lint(options.paths, options.inventory, options.lost)
    if options.json:
        _print_json(found.document())
    else:
        print("\n".join(found.lines()))
    code: int = found.document()["exit_code"]
    return code


def _status(options: argparse.Namespace) -> int:
    from . import attached
    from ._collection import module

    folder = _find(options.journal, options.run)
    report = module("report").load(folder)
    status = asdict(attached.status(folder, report))
    status["folder"] = str(folder)
    state, phase = status["state"], status["phase"]
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
    from .attached import AttachedRun

    run = AttachedRun(_find(options.journal, options.run))
    reason = f"cancelled by {getpass.getuser()}@{socket.gethostname()}"
    reason += f": {options.reason}" if options.reason else ""
    remaining = run.cancel(reason).remaining
    status = run.status()
    if options.json:
        _print_json({"run_id": status.run_id, "outcome": status.outcome, "remaining": list(remaining)})
    elif not remaining:
        print(f"Run {status.run_id} is {status.outcome}; no process of it is left.")
    for name in remaining:
        print(f"Could not be ended: process {name}", file=sys.stderr)
    return 2 if remaining else 0


def _report(options: argparse.Namespace) -> int:
    from ._collection import module

    folder = _find(options.journal, options.run)
    report = module("report").load(folder)
    if options.json or options.format == "json":
        _print_json(report)
    elif options.format == "html":
        sys.stdout.write(module("report_html").html(report))
    else:
        print(_text(report, folder))
    return 0


def _approve(options: argparse.Namespace) -> int:
    from .approve import Answer, approve, read, words

    path = Path(options.request)
    if not path.is_file():
        from ._collection import module

        path = _find(options.journal, options.request) / module("approvals").REQUEST_FILE
    asked = read(path)
    # On the way of whatever ssh-keygen asks, so that nobody signs what he has not seen.
    print("\n".join(words(asked)), file=sys.stderr)
    answer = Answer(options.name, Path(options.key), options.reason or "", options.break_glass, options.valid)
    written = approve(asked, answer, Path(options.output) if options.output else None)
    if options.json:
        _print_json(written)
    else:
        print(
            f"{written['approver']} approves run {written['run_id']} until {written['expires_at']}: {written['file']}"
        )
    return 0


def _evidence(options: argparse.Namespace) -> int:
    from . import folders
    from ._collection import module

    folder = _find(options.journal, options.run)
    folders.refuse_second(folder, folder.name)
    if options.key and not Path(options.key).is_file():
        raise WrongCall(f"There is no key {options.key}")
    module("report").render(folder)
    sealed = module("evidence").seal(folder, options.key)
    if options.json:
        _print_json({"run_id": folder.name, "bundle": str(sealed.path), "key": sealed.key, "not_signed": sealed.why})
    else:
        print(sealed.words())
    return 0


def _verify(options: argparse.Namespace) -> int:
    from ._collection import module

    evidence = module("evidence")
    allowed = Path(options.allowed_signers) if options.allowed_signers else None
    if allowed and not allowed.is_file():
        raise WrongCall(f"There is no file of allowed signers {allowed}")
    bundle = Path(options.run)
    if bundle.is_file():
        verdict = evidence.verify(bundle.read_bytes(), allowed)
    else:
        verdict = evidence.verify_folder(_find(options.journal, options.run), allowed)
    if options.json:
        _print_json(verdict.as_dict())
    else:
        print("\n".join(verdict.words()))
    return 0 if verdict.intact and (verdict.signed or allowed is None) else 2


def _list(options: argparse.Namespace) -> int:
    from . import folders

    root = folders.sink(options.journal)
    _warn(folders.fetch(options.journal, most=None if options.all else LISTED))
    known = folders.runs(root)
    rows = [_row(folder) for folder in (known if options.all else known[:LISTED])]
    if options.json:
        _print_json(rows)
        return 0
    if not rows:
        print(f"There is no run in {root} yet.")
    for row in rows:
        how = row["outcome"] or row["state"]
        print(f"{row['run_id']:<48} {how:<10} {row['mode'] or '-':<10} {row['target'] or '-'}")
    return 0


def _row(folder: Path) -> dict[str, Any]:
    """Sum up a run. One that cannot be read, as a later version's, must not hide the others."""
    from . import folders
    from ._collection import module

    told = ("playbook", "mode", "target", "started_at", "seconds")
    try:
        report = module("report").load(folder)
    except Exception as error:
        print(f"recovery: {folder.name} cannot be read: {error}", file=sys.stderr)
        return {"run_id": folder.name, "state": "unreadable", "outcome": None, **dict.fromkeys(told)}
    running = report["state"] != "finished" and folders.worker(folder) is not None
    return {
        "run_id": report["run_id"],
        "state": "running" if running else report["state"],
        "outcome": None if running else report["outcome"],
        **{name: report[name] for name in told},
    }


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
    other = (sys.stdout.encoding or "").lower().replace("-", "") != "utf8"
    print(json.dumps(document, indent=1, ensure_ascii=other))


def _refuse(arguments: Sequence[str], code: int, failure: Mapping[str, Any]) -> int:
    """Say why there is nothing else to say."""
    from .result import unopened

    try:
        print(f"recovery: {failure['msg']}", file=sys.stderr)
        if failure["next_action"]:
            print(f"Next: {failure['next_action']}", file=sys.stderr)
        if "--json" in arguments:
            _print_json(unopened(run_id="", playbook="", mode=None, target=None, exit_code=code, failure=failure))
        sys.stdout.flush()
    except OSError:
        _silence()
    return code


def _silence() -> None:
    """Nobody reads any more: leave no trace at exit either."""
    from .views import silence

    for stream in (sys.stdout, sys.stderr):
        silence(stream)


def _color() -> bool:
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


if __name__ == "__main__":
    sys.exit(main())
