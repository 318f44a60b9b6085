# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# ruff: noqa: E402
"""Show a recovery run as a checklist against the clock, and journal what the collection's own actions cannot see."""

from __future__ import annotations

DOCUMENTATION = r"""
name: timeline
type: stdout
short_description: A recovery run as a checklist against its objectives
version_added: 0.1.0
author: The platform.recovery authors (@platform-recovery)
description:
  - Shows each play of a recovery playbook as a line of the checklist, with the facts by which it was decided, the
    time it took, its budget, and the recovery clock against the objective, with what past runs say of the time left.
  - Says of a failure what was observed, what was wanted and what to do next, in words and never as JSON.
  - Journals what no action of the collection can, which is failures of other tasks, unreachable hosts and
    interruptions. Closes the run that such an end leaves open.
  - A playbook that opens a run and comes to its end without closing it, as after C(--tags), C(--limit) or
    C(end_play), did not recover. The run is journalled as failed, and C(ansible-playbook) then ends with exit code 2
    though no task failed.
  - While a run holds its platform's lease it is renewed from here, and given back at the end whatever that is. With
    another callback each step renews it while it works; it then expires after a failure.
  - On a terminal a status line shows the clock while a task works. It is off where the output is no terminal, in CI,
    and with E(NO_COLOR).
  - Playbooks that open no recovery run, and everything from C(-vv) on, look as with
    P(ansible.builtin.default#callback).
  - Results of tasks with C(no_log) are neither shown nor journalled.
extends_documentation_fragment:
  - default_callback
  - result_format_callback
requirements:
  - set as stdout in configuration
"""

import atexit
import contextlib
import gc
import os
import shutil
import signal
import sys
import textwrap
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from types import FrameType
from typing import Any

from ansible import constants
from ansible.plugins.callback.default import CallbackModule as Default
from ansible.plugins.loader import filter_loader, test_loader
from ansible.template import Templar
from ansible.utils import color

from ansible_collections.platform.recovery.plugins.plugin_utils.bytecode import install

# Before anything else of ours is imported.
install()

from ansible_collections.platform.recovery.plugins.module_utils import clock, sink
from ansible_collections.platform.recovery.plugins.module_utils.errors import RecoveryError
from ansible_collections.platform.recovery.plugins.module_utils.evidence import conclude
from ansible_collections.platform.recovery.plugins.module_utils.forecast import outlook
from ansible_collections.platform.recovery.plugins.module_utils.journal import JournalError
from ansible_collections.platform.recovery.plugins.module_utils.report import build, load, text
from ansible_collections.platform.recovery.plugins.module_utils.report_words import budget, duration
from ansible_collections.platform.recovery.plugins.module_utils.report_words import clock as ticking
from ansible_collections.platform.recovery.plugins.module_utils.run import HIDDEN, Run
from ansible_collections.platform.recovery.plugins.plugin_utils.companion import Companion
from ansible_collections.platform.recovery.plugins.plugin_utils.heartbeat import give_back
from ansible_collections.platform.recovery.plugins.plugin_utils.pump import warm

CHECKPOINT = "platform.recovery.checkpoint"
LEASE = "platform.recovery.recovery_lease"
OURS = "platform.recovery."
INDENT = "       "
WIDEST = 110
REFRESH_SECONDS = 0.2
# Where a terminal is only pretended, or nobody looks at it.
NO_LIVE = ("NO_COLOR", "ANSIBLE_NOCOLOR", "CI", "AWX_ISOLATED_DATA_DIR", "RECOVERY_NO_LIVE")
MOST_FAILURE_LINES = 12
# What ansible-playbook ends with where a host failed.
STOPPED_EXIT = 2


class _StatusLine:
    """One line at the bottom of a terminal, rewritten by a thread.

    It writes to the descriptor and not to `sys.stdout`: Ansible forks for each task, and a stream's lock that this
    thread happens to hold would stay locked in the child for ever.
    """

    def __init__(self, content: Any) -> None:
        self._content = content
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    @staticmethod
    def wanted() -> bool:
        """Tell whether somebody sits in front of it."""
        return sys.stdout.isatty() and os.environ.get("TERM") != "dumb" and not any(os.environ.get(n) for n in NO_LIVE)

    def start(self) -> None:
        """Begin to show it, once."""
        if self._thread is None and self.wanted():
            self._thread = threading.Thread(target=self._run, name="recovery-status-line", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """End it and leave no trace."""
        if self._thread:
            self._stop.set()
            self._thread.join(timeout=1)
            self.erase()

    def erase(self) -> None:
        """Make room for a line of ordinary output."""
        if self._thread:
            with self._lock:
                self._write("\r\033[K")

    def _run(self) -> None:
        while not self._stop.wait(REFRESH_SECONDS):
            line = self._content()[: shutil.get_terminal_size().columns - 1]
            with self._lock:
                # The cursor goes back to the start, so that what others print writes over it.
                self._write(f"\r\033[2m{line}\033[0m\033[K\r")

    @staticmethod
    def _write(text: str) -> None:
        try:
            os.write(1, text.encode("utf-8", "replace"))
        except OSError:
            return


def _load_filters() -> None:
    """Load Jinja's filters and tests once, before Ansible forks for the tasks: each would load them again, 25 ms."""
    filter_loader.get("ansible.builtin.bool")
    test_loader.get("ansible.builtin.defined")


def _pass_over(number: int, frame: FrameType | None) -> None:
    """Take no notice of a signal: the end that it asks for is under way."""


class CallbackModule(Default):  # type: ignore[misc]  # ansible-core ships no types
    """See DOCUMENTATION."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "platform.recovery.timeline"

    def __init__(self) -> None:
        super().__init__()
        self._recovery = False
        self._run: Run | None = None
        self._play_count = 0
        self._play_number = 0
        self._play_name = ""
        self._play_begin = 0.0
        self._play_failed = False
        self._play_open = False
        self._hosts: set[str] = set()
        self._failed_items: dict[tuple[str, str], dict[str, Any]] = {}
        self._task_name = ""
        self._task_begin = 0.0
        self._budget: float | None = None
        self._zero: float | None = None
        self._objectives: dict[str, dict[str, Any]] = {}
        self._report: Mapping[str, Any] | None = None
        self._signal: int | None = None
        self._owner = os.getpid()
        self._handlers: dict[int, Any] = {}
        self._status = _StatusLine(self._status_text)
        self._companion = Companion()
        self._lease: Mapping[str, Any] | None = None

    # What Ansible calls, in the order in which a run sees it

    def v2_playbook_on_start(self, playbook: Any) -> None:
        """Find out whether this is a recovery, and how long its checklist is."""
        plays = playbook.get_plays()
        self._recovery = any(_opens_run(play) for play in plays)
        self._play_count, self._play_number = len(plays), 0
        if self._recovery:
            _load_filters()
            # What is here now lives to the end. A worker whose collector went through it would copy all of its pages.
            gc.freeze()
        if self._default():
            super().v2_playbook_on_start(playbook)

    def v2_playbook_on_play_start(self, play: Any) -> None:
        """Begin a line of the checklist."""
        self._close_play()
        self._play = play
        self._play_number += 1
        self._play_name = play.get_name().strip()
        self._play_begin, self._play_failed, self._play_open = time.monotonic(), False, True
        self._budget = None
        self._hosts = set()
        if self._recovery:
            self._status.start()
            width = len(str(self._play_count))
            self._say(f"{self._play_number:>{width}}/{self._play_count}  {self._play_name}", "bold")
        if self._default():
            super().v2_playbook_on_play_start(play)

    def v2_runner_on_start(self, host: Any, task: Any) -> None:
        """Learn on how many hosts the play works."""
        self._hosts.add(str(host))
        if self._default():
            super().v2_runner_on_start(host, task)

    def v2_playbook_on_task_start(self, task: Any, is_conditional: bool) -> None:
        """Remember what is under way."""
        self._task_name, self._task_begin = task.get_name().strip(), time.monotonic()
        if self._run is None and _opens(task):
            self._warm_sink(task)
        if self._default():
            super().v2_playbook_on_task_start(task, is_conditional)

    def v2_playbook_on_handler_task_start(self, task: Any) -> None:
        """Remember what is under way."""
        self._task_name, self._task_begin = task.get_name().strip(), time.monotonic()
        if self._default():
            super().v2_playbook_on_handler_task_start(task)

    def v2_runner_on_ok(self, result: Any) -> None:
        """Show the facts that a step found, or that it changed something."""
        data = _data(result)
        if result._task.action in (CHECKPOINT, "checkpoint"):
            self._take_in(data)
        elif result._task.action == LEASE:
            self._keep(data)
        if data.get("entered"):
            self._take_in(data["entered"])
        if self._recovery and "results" not in data:
            self._show(result, data)
            self._show_failures(result, data)
        if self._default():
            super().v2_runner_on_ok(result)

    def v2_runner_item_on_ok(self, result: Any) -> None:
        """Show the same for one item of a loop."""
        if self._recovery:
            self._show(result, _data(result))
        if self._default():
            super().v2_runner_item_on_ok(result)

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        """Say what failed in words, and journal it where the step could not."""
        data = _data(result)
        if self._recovery:
            self._failed(result, data, ignored=ignore_errors)
        if self._default():
            super().v2_runner_on_failed(result, ignore_errors)

    def v2_runner_item_on_failed(self, result: Any) -> None:
        """Say what failed for one item of a loop."""
        if self._recovery:
            data = _data(result)
            # Kept, because what comes for the whole loop afterwards does not say everywhere which of its items failed.
            self._failed_items.setdefault(_place(result), data)
            self._learn_secrets(result)
            self._explain(result, data, ignored=bool(result._task.ignore_errors))
        if self._default():
            super().v2_runner_item_on_failed(result)

    def v2_runner_on_unreachable(self, result: Any) -> None:
        """Say that a host could not be reached."""
        if self._recovery:
            data = {**_data(result), "what": f"{result._host.get_name()} cannot be reached", "unreachable": True}
            self._failed(result, data, ignored=bool(result._task.ignore_unreachable))
        if self._default():
            super().v2_runner_on_unreachable(result)

    def v2_runner_on_skipped(self, result: Any) -> None:
        """Pass over, but for the curious."""
        if self._recovery and self._display.verbosity == 1:
            self._say(f"{INDENT}skipped  {result._task.get_name()}", "dim")
        if self._default():
            super().v2_runner_on_skipped(result)

    def v2_runner_item_on_skipped(self, result: Any) -> None:
        """Pass over."""
        if self._default():
            super().v2_runner_item_on_skipped(result)

    def v2_runner_retry(self, result: Any) -> None:
        """Pass over."""
        if self._default():
            super().v2_runner_retry(result)

    def v2_playbook_on_include(self, included_file: Any) -> None:
        """Pass over."""
        if self._default():
            super().v2_playbook_on_include(included_file)

    def v2_on_file_diff(self, result: Any) -> None:
        """Show differences without a banner."""
        if not self._recovery:
            super().v2_on_file_diff(result)
            return
        data = _data(result)
        for entry in data.get("results") or [data]:
            if isinstance(entry, Mapping) and entry.get("diff") and entry.get("changed"):
                self._learn_secrets(result)
                difference = self._redacted(self._get_diff(entry["diff"]).rstrip("\n"))
                self._say(textwrap.indent(difference, INDENT))

    def v2_playbook_on_no_hosts_matched(self) -> None:
        """Say that a line of the checklist has nothing to work on."""
        if self._recovery:
            self._say(f"{INDENT}nothing to work on", "dim")
        else:
            super().v2_playbook_on_no_hosts_matched()

    def v2_playbook_on_no_hosts_remaining(self) -> None:
        """Say nothing that the failure has not said."""
        if self._default():
            super().v2_playbook_on_no_hosts_remaining()

    def v2_playbook_on_stats(self, stats: Any) -> None:
        """Close the run if nobody did, and sum up."""
        self._close_play()
        self._status.stop()
        if self._default() or self._run is None:
            super().v2_playbook_on_stats(stats)
        if self._run:
            stopped = self._finish(self._run)
            self._run = None
            if stopped:
                # Ansible counts failed tasks, and here none failed: only so does it end with an error.
                raise SystemExit(STOPPED_EXIT)

    # What is shown

    def _default(self) -> bool:
        return not self._recovery or self._display.verbosity >= 2

    def _say(self, line: str, tone: str = "") -> None:
        self._status.erase()
        self._display.display(_painted(line, tone))

    def _show(self, result: Any, data: Mapping[str, Any]) -> None:
        lines = data.get("lines")
        # What is one task for all hosts says itself of which it speaks.
        where = f"[{result._host.get_name()}] " if len(self._hosts) > 1 and not result._task.run_once else ""
        if isinstance(lines, list) and lines:
            for line in lines:
                self._tell(f"{where}{self._redacted(line)}")
        elif data.get("changed"):
            self._say(f"{INDENT}{where}changed: {result._task.get_name()}", "yellow")
        elif self._display.verbosity == 1:
            self._say(f"{INDENT}{where}ok       {result._task.get_name()}", "dim")

    def _show_failures(self, result: Any, data: Mapping[str, Any]) -> None:
        """Say what failed for some of the databases that a step of ours worked on at once. It has journalled that."""
        failures = data.get("failures")
        if not result._task.action.startswith(OURS) or not isinstance(failures, Mapping):
            return
        for name, failure in failures.items():
            if failure.get("left_out"):
                continue  # told by the step that failed for it
            self._play_failed = True
            self._explain(result, failure, ignored=False, host=name)

    def _tell(self, line: str, first: str = "", tone: str = "", most: int = MOST_FAILURE_LINES) -> None:
        """Print one fact, wrapped under its own beginning."""
        width = min(WIDEST, shutil.get_terminal_size((100, 24)).columns)
        start = INDENT + first
        for part in textwrap.wrap(
            line, width, initial_indent=start, subsequent_indent=" " * len(start), max_lines=most, placeholder=" …"
        ):
            self._say(part, tone)

    def _failed(self, result: Any, data: Mapping[str, Any], *, ignored: bool) -> None:
        if data.get("left_out"):
            self._tell(self._redacted(data["what"]))  # the step that failed for it has said and journalled why
            return
        item = self._failed_items.pop(_place(result), None)
        failure = item or data
        self._learn_secrets(result)
        if item is None:  # those of a loop were told one by one
            self._explain(result, data, ignored=ignored)
        if ignored:
            return
        self._play_failed = True
        if self._run and not self._journalled(self._run, result, failure):
            self._run.failed(
                task=result._task.get_name(),
                action=result._task.action,
                host=result._host.get_name(),
                kind="failed",
                msg=_message(failure),
                next_action="Read what the task said, remove the cause, and run again: it resumes",
            )

    def _journalled(self, run: Run, result: Any, failure: Mapping[str, Any]) -> bool:
        """Tell whether a step of ours has journalled its failure itself: its fields say so, unless they are hidden."""
        if not result._task.action.startswith(OURS):
            return False
        if not _hidden(failure):
            return bool(failure.get("kind"))
        with contextlib.suppress(JournalError, OSError):
            last = list(run.journal.records())[-1]
            return bool(last["event"] == "step_failed" and last["data"].get("task") == result._task.get_name())
        return False

    def _explain(self, result: Any, data: Mapping[str, Any], *, ignored: bool, host: str = "") -> None:
        kind = str(data.get("kind") or ("unreachable" if data.get("unreachable") else "failed")).replace("_", " ")
        where = f" on {host or result._host.get_name()}" if host or len(self._hosts) > 1 else ""
        suffix = ", which is allowed here" if ignored else ""
        self._say(f"{INDENT}✘ {result._task.get_name()}{where}: {kind}{suffix}", "yellow" if ignored else "red")
        for line in _message(data).splitlines() or [""]:
            self._tell(self._redacted(line), "  ")
        for name, label in (("observed", "observed"), ("wanted", "wanted"), ("next_action", "next")):
            if data.get(name):
                self._tell(self._redacted(data[name]), f"  {label:<9}", "cyan" if name == "next_action" else "")

    def _close_play(self) -> None:
        if not self._play_open or not self._recovery:
            return
        self._play_open = False
        spent = time.monotonic() - self._play_begin
        limit = f" of {budget(self._budget)}" if self._budget else ""
        over = self._budget is not None and spent > self._budget
        mark = "✘" if self._play_failed else "✔"
        took = f"{INDENT}{mark} {duration(round(spent, 2))}{limit}{' (over budget)' if over else ''}"
        tone = "red" if self._play_failed else "yellow" if over else "green"
        self._say(f"{_painted(f'{took:<50}', tone)} {_painted(self._recovery_clock(), 'dim')}")

    def _recovery_clock(self) -> str:
        """Show the clock against the objective, or the verdict once there is one."""
        if self._report and self._report["mode"] == "readiness":
            return ""  # nothing is recovered
        objective = self._objectives.get("rto") or {}
        goal = objective.get("target_seconds")
        against = f" of {budget(goal)}" if goal else ""
        measured = objective.get("measured_seconds")
        if measured is not None:
            verdict = {True: " met", False: " missed"}.get(objective["met"], "")
            return f"RTO {ticking(measured)}{against}{verdict}"
        if self._zero is None:
            return ""
        elapsed = time.time() - self._zero
        late = " MISSED" if goal and elapsed > goal else self._outlook()
        return f"RTO {ticking(elapsed)}{against}{late}"

    def _outlook(self) -> str:
        """Say whether the recovery comes in time, where past runs tell."""
        looks = outlook(self._report, time.time()) if self._report else None
        if looks is None or looks.verdict == "unknown":
            return ""
        word = "AT RISK" if looks.verdict == "at_risk" else looks.verdict.replace("_", " ")
        return f" {word}, {duration(round(looks.left_seconds))} left"

    def _status_text(self) -> str:
        now = time.monotonic()
        limit = f" of {budget(self._budget)}" if self._budget else ""
        parts = [
            f"{self._play_number}/{self._play_count} {self._play_name}",
            f"{duration(round(now - self._play_begin, 1))}{limit}",
            self._task_name,
            self._recovery_clock(),
        ]
        return "  ·  ".join(part for part in parts if part)

    # The run

    def _take_in(self, data: Mapping[str, Any]) -> None:
        """Learn what run is open, in which phase, and from when the clock runs."""
        if data.get("id") and data.get("folder"):
            self._recovery = True
            self._run = Run.at(str(data["id"]), str(data["folder"]))
            self._companion.follow(self._run, foretell=bool(data.get("clock")) and not data.get("check"))
            self._watch_signals()
            verb = "Resuming run" if data.get("resumed") else "Run"
            marks = [str(data[key]) for key in ("mode", "target") if data.get(key)]
            marks += ["check mode: nothing is changed"] if data.get("check") else []
            self._say(f"{INDENT}{verb} {data['id']} · {' · '.join(marks)}", "dim")
        if data.get("phase"):
            self._budget = data["phase"].get("budget_seconds")
        if data.get("clock"):
            self._zero = clock.parse(data["clock"]["started_at"]) if data["clock"].get("started_at") else None
        for objective in data.get("objectives") or []:
            self._objectives[objective["name"]] = dict(objective)
        if self._run and data.get("clock"):
            with contextlib.suppress(JournalError):
                self._report = build(self._run.journal.records())

    def _keep(self, data: Mapping[str, Any]) -> None:
        """Show signs of life for a lease that was taken."""
        if data.get("grants"):
            self._lease = data
            self._companion.keep_lease(data)

    def _finish(self, run: Run) -> bool:
        """Close the run in the journal if it is open, render, and show the summary. Tells whether it just stopped."""
        stopped = False
        self._companion.end()
        lease, self._lease = self._lease, None
        try:
            if lease and give_back(lease):
                run.journal.append("observation", what="lease", lines=["the platform's lease is given back"])
            report = load(run.folder)
            if report["state"] == "unfinished":
                outcome = self._outcome(run, report)
                stopped = outcome == "failed" and not _failures(report)
                run.journal.append("run_ended", outcome=outcome)
            sink.secure_end(run.folder, run.journal)
            run.render()
            hindered = conclude(run.folder)
            hindered += sink.finish(run.folder, run.journal)
            report = load(run.folder)
        except (RecoveryError, JournalError, OSError) as error:
            self._say(f"The report of run {run.id} could not be made: {error}", "red")
            return stopped
        width = min(WIDEST, shutil.get_terminal_size((100, 24)).columns)
        self._say("")
        self._say(text(report, folder=run.folder, color=color.ANSIBLE_COLOR, width=width, phases=False).rstrip("\n"))
        for line in hindered:
            self._say(line, "yellow")
        return stopped

    def _outcome(self, run: Run, report: Mapping[str, Any]) -> str:
        """Say how a run ended that its checklist did not end itself."""
        if self._signal is not None:
            run.journal.append("run_interrupted", signal=signal.Signals(self._signal).name)
            return "cancelled"
        if _failures(report):
            return str(report["outcome"])
        if report["check"] or report["mode"] == "plan":
            return "planned"
        run.failed(
            task=self._task_name,
            kind="failed",
            msg="the playbook stopped before the end of its checklist",
            next_action="Run it again without --tags, --limit, --step and --start-at-task",
        )
        return "failed"

    def _warm_sink(self, task: Any) -> None:
        """Prepare for the sink that the run will be opened with; where that cannot be told it costs time later."""
        with contextlib.suppress(Exception):
            manager = self._play.get_variable_manager()
            host = manager._inventory.get_hosts(self._play.hosts)[0]
            variables = manager.get_vars(play=self._play, host=host, task=task)
            templar = Templar(loader=self._play.get_loader(), variables=variables)
            warm(str(templar.template(task.args.get("journal") or "")))

    def _learn_secrets(self, result: Any) -> None:
        """Know the credentials before a foreign task's words are shown or journalled."""
        if self._run is None or self._play is None:
            return
        manager = self._play.get_variable_manager()
        variables = manager.get_vars(play=self._play, host=result._host)
        self._run.learn_credentials(variables, Templar(loader=self._play.get_loader(), variables=variables).template)

    def _redacted(self, value: Any) -> str:
        return str(self._run.journal.redacted(value) if self._run else value)

    # Interruptions

    def _watch_signals(self) -> None:
        """Turn SIGTERM and SIGINT into the same orderly end, and see to it that the run is closed at exit."""
        if self._handlers or threading.current_thread() is not threading.main_thread():
            return
        for number in (signal.SIGINT, signal.SIGTERM):
            self._handlers[number] = signal.signal(number, self._interrupted)
        atexit.register(self._at_exit)

    def _interrupted(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self._owner:
            # A worker inherited this; it has nothing to tidy up and must die as before.
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
            return
        self._signal = number
        # Not SIG_IGN: for a second SIGTERM that is under way already, Python would print a traceback of its own.
        signal.signal(signal.SIGTERM, _pass_over)
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        # Newer ansible-core stops its workers in its own handler and then raises KeyboardInterrupt.
        before = self._handlers[signal.SIGINT]
        if callable(before):
            before(signal.SIGINT, frame)
        raise KeyboardInterrupt

    def _at_exit(self) -> None:
        """Close the run that an interrupt or a crash left open."""
        if os.getpid() != self._owner or self._run is None:
            return
        self._status.stop()
        self._finish(self._run)
        self._run = None


def _failures(report: Mapping[str, Any]) -> list[Any]:
    return [failure for failure in report["failures"] if failure["attempt"] == report["attempts"]]


def _data(result: Any) -> dict[str, Any]:
    """Return a task's result under the old and the new name of the attribute."""
    data = getattr(result, "result", None)
    return dict(data if isinstance(data, Mapping) else result._result)


def _place(result: Any) -> tuple[str, str]:
    return str(result._task._uuid), str(result._host)


def _hidden(data: Mapping[str, Any]) -> bool:
    return "censored" in data or bool(data.get("_ansible_no_log"))


def _message(data: Mapping[str, Any]) -> str:
    """Put a failure in words, for tasks that are not ours as well."""
    if _hidden(data):
        return HIDDEN
    parts = [str(data.get("what") or data.get("msg") or "it gave no reason").strip()]
    if data.get("unreachable") and data.get("what") and data.get("msg"):
        parts.append(str(data["msg"]).strip())
    for stream in ("stderr", "module_stderr", "stdout"):
        said = str(data.get(stream) or "").strip()
        if said:
            parts += said.splitlines()[-5:]
            break
    return "\n".join(parts)


def _opens_run(play: Any) -> bool:
    """Tell whether a play opens a recovery run, as far as can be told before it runs."""
    blocks = [*play.pre_tasks, *play.tasks, *(block for role in play.roles for block in role.get_task_blocks())]
    return any(_opens(task) for task in _tasks(blocks))


def _opens(task: Any) -> bool:
    return bool(task.action == CHECKPOINT and (task.args or {}).get("state", "begin") == "begin")


def _tasks(entries: Iterable[Any]) -> Iterator[Any]:
    for entry in entries:
        if hasattr(entry, "block"):
            yield from _tasks([*entry.block, *entry.rescue, *entry.always])
        else:
            yield entry


def _painted(line: str, tone: str) -> str:
    if tone in ("bold", "dim"):
        return f"\033[{'1' if tone == 'bold' else '2'}m{line}\033[0m" if color.ANSIBLE_COLOR else line
    colours = {"red": constants.COLOR_ERROR, "yellow": constants.COLOR_CHANGED, "green": constants.COLOR_OK}
    return str(color.stringc(line, colours.get(tone, tone))) if tone else line
