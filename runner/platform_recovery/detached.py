# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A run that outlives the process that asked for it: a keeper, a process of its own, owns it instead."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Unpack

from . import folders, session
from .attached import AttachedRun
from .call import Call, Wishes
from .errors import Busy, WrongCall
from .result import Result

# Not -m: that would let the working folder, or a PYTHONPATH that the playbook inherits, decide what is imported.
KEEPER = "import sys; sys.path.insert(0, sys.argv[1]); from platform_recovery.detached import keep; keep()"


class NotOpened(Exception):
    """The run ended before it was opened, so there is nothing to attach to; `result` says why."""

    def __init__(self, result: Result) -> None:
        failure = result.failures[0] if result.failures else None
        super().__init__(failure.msg if failure else f"the run was {result.outcome} before it was opened")
        self.result = result


def launch(
    playbook: str,
    *,
    inventory: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    journal: str | None = None,
    cwd: str | os.PathLike[str] | None = None,
    **wish: Unpack[Wishes],
) -> AttachedRun:
    """Start a run in a process of its own, which goes on when this one ends. Takes what `start` takes but `on_output`.

    Returns when the run is opened, so that from then on `attach` finds it by its id, from any process. Raises WrongCall
    as `start` does, and NotOpened if it ended before. Its journal lies in `journal` (the default sink if left out),
    whatever the inventory says: it has to be found again.
    """
    call = Call.of(playbook, inventory, journal=journal, cwd=cwd, **wish)
    root = call.guessed_folder.parent
    folders.refuse_second(call.guessed_folder, call.run_id)
    words = _words(call, root)
    keeper = subprocess.Popen(
        [sys.executable, "-c", KEEPER, str(Path(__file__).resolve().parents[1])],
        cwd=call.cwd, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip
    threading.Thread(target=keeper.wait, name=f"recovery-keeper-{call.run_id}", daemon=True).start()
    try:
        answer = _ask(keeper, words)
    except BaseException:
        keeper.terminate()  # nobody would know that it goes on
        raise
    return _understood(answer, root / call.run_id)


def _words(call: Call, root: Path) -> bytes:
    """Spell a call for the keeper: through a pipe, for it may hold secrets."""
    names = ("mode", "target", "confirm", "reason", "detected_at", "run_id", "allow_data_loss", "fence_statement")
    wish = {name: getattr(call, name) for name in (*names, "check", "timeout")}
    wish |= {"playbook": call.playbook, "inventory": call.inventory, "variable_files": call.variable_files}
    wish |= {"variables": dict(call.variables), "cwd": str(call.cwd), "journal": folders.url(root)}
    try:
        return json.dumps(wish).encode()
    except (TypeError, ValueError) as error:
        raise WrongCall(f"A variable cannot be given to another process: {error}") from None


def _ask(keeper: subprocess.Popen[bytes], words: bytes) -> Mapping[str, Any]:
    assert keeper.stdin
    assert keeper.stdout
    with keeper.stdout as answers:
        with contextlib.suppress(BrokenPipeError), keeper.stdin as asked:
            asked.write(words)
        line = answers.readline()
    answer: dict[str, Any] = json.loads(line) if line else {}
    return answer


def _understood(answer: Mapping[str, Any], folder: Path) -> AttachedRun:
    if answer.get("opened"):
        return AttachedRun(folder)
    if "report" in answer:
        raise NotOpened(Result.from_report(answer["report"]))
    failure = answer.get("refused")
    if failure:
        kind = Busy if failure["kind"] == Busy.kind else WrongCall
        raise kind(failure["msg"], next_action=failure["next_action"])
    raise RuntimeError(f"The process that keeps run {folder.name} ended without a word")


def keep() -> None:
    """Own a run: the keeper's whole life. SIGTERM and Ctrl-C cancel the run."""
    heard: queue.SimpleQueue[int] = queue.SimpleQueue()  # may be filled in a signal handler
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _frame: heard.put(number))
    answers = sys.stdout.buffer
    try:
        run = session.start(**json.load(sys.stdin.buffer))
    except WrongCall as error:
        _answer(answers, {"refused": error.failure()})
        return
    threading.Thread(
        target=lambda: run.cancel(f"interrupted by {signal.Signals(heard.get()).name}"), daemon=True
    ).start()
    opened = False
    for _event in run.events():
        if not opened:
            opened = True
            _answer(answers, {"opened": True})
    result = run.wait()
    if not opened:
        _answer(answers, {"report": result.report})


def _answer(answers: IO[bytes], words: Mapping[str, Any]) -> None:
    """Tell who launched, if he is still there."""
    with contextlib.suppress(OSError):
        answers.write(json.dumps(words).encode() + b"\n")
        answers.flush()
