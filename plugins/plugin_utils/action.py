# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one way in which our action plugins are called.

They run inside the controller's process: a step costs 15 ms there and 200 ms as a module. The module of the same name
beside each holds its documentation, and that documentation is the argument spec.
"""

from __future__ import annotations

import contextlib
import importlib
import threading
import time
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar

import yaml
from ansible.plugins.action import ActionBase

from ansible_collections.platform.recovery.plugins.module_utils import apart, lease_homes, phases, schema, sink
from ansible_collections.platform.recovery.plugins.module_utils.errors import PreconditionFailed, RecoveryError
from ansible_collections.platform.recovery.plugins.module_utils.report_path import STEP_EVENT
from ansible_collections.platform.recovery.plugins.module_utils.run import Run
from ansible_collections.platform.recovery.plugins.plugin_utils.heartbeat import Heartbeat

if TYPE_CHECKING:
    from collections.abc import Callable

# The option of those steps on one database that follow one on many, and of an entry of `databases`.
LEFT_OUT = "left_out"
# Of verbs that work on one database: many in one task, each with its name and its own options.
DATABASES = "databases"
PLUGINS = "ansible_collections.platform.recovery.plugins"
Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True)
class Call:
    """What an action is given: validated options, the mode of the task, and the open run if there is one."""

    options: dict[str, Any]
    check: bool
    diff: bool
    run: Run | None
    task_vars: Mapping[str, Any] = field(repr=False)
    template: Callable[[Any], Any] = field(repr=False)
    # Asked by every verb right before it changes something: raises PreconditionFailed where another has taken over.
    guard: Callable[[], None] = field(repr=False, default=lambda: None)
    # Journals what failed for one of several databases while the task goes on, and gives it as the result shows it.
    failed: Callable[[str, RecoveryError], dict[str, Any]] = field(repr=False, default=lambda _, error: told(error))

    def with_failures(self, result: dict[str, Any], failures: Mapping[str, RecoveryError]) -> dict[str, Any]:
        """Complete a result by what failed for some of the databases that it is about."""
        return {**result, "failures": {name: self.failed(name, error) for name, error in failures.items()}}


def told(error: RecoveryError) -> dict[str, Any]:
    """Give an error as a task's result shows it."""
    return {**error.as_result(), "msg": str(error), "changed": bool(error.fields.get("changed"))}


def left_out(host: str, failure: Mapping[str, Any]) -> dict[str, Any]:
    """Give the result of a step that leaves its database out, because an earlier step on many databases failed for it.

    That one has journalled it. Here it becomes what Ansible knows: a failed host, on which nothing more is done.
    """
    what = f"{host} is left out: {failure.get('what')}"
    return {**failure, "what": what, "msg": what, "left_out": True, "failed": True, "changed": False}


def all_left_out(databases: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Give the result of a step on many databases of which none stands any more."""
    failures = {entry["name"]: left_out(entry["name"], entry[LEFT_OUT]) for entry in databases}
    what = "nothing is done: " + "; ".join(failure["what"] for failure in failures.values())
    return {"what": what, "msg": what, "left_out": True, "failed": True, "changed": False, "failures": failures}


def put_together(results: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Make one result of those of many databases."""
    several = len(results) > 1
    actions = [text for result in results.values() for text in result.get("next_actions") or []]
    return {
        "changed": any(result.get("changed") for result in results.values()),
        "databases": dict(results),
        "lines": [
            f"[{name}] {line}" if several else line
            for name, result in results.items()
            for line in result.get("lines") or []
        ],
        "next_actions": list(dict.fromkeys(actions)),
    }


def advise(call: Call, result: Mapping[str, Any]) -> None:
    """Journal what an action found is to be done next, so that the report ends with it. A plan leaves nothing to do."""
    if call.run and not call.check:
        for text in result.get("next_actions") or []:
            call.run.journal.append("next_action", text=text)


def refused(run: Run, verb: str, error: RecoveryError) -> None:
    """Journal a gate's refusal, whatever raised it. Gates that were decided together stand in the journal already."""
    if isinstance(error, PreconditionFailed) and "gates" not in error.fields:
        with contextlib.suppress(RecoveryError):
            said = {"observed": error.observed or error.what, "wanted": error.wanted, "by": "observation"}
            run.journal.append("decision", gate=error.fields.get("gate") or verb, verdict="refuse", **said)


@contextlib.contextmanager
def guarding(variables: Mapping[str, Any]) -> Iterator[Callable[[], None]]:
    """Give the question that each change asks first. Once it was asked the step shows signs of life while it works."""
    heartbeat = Heartbeat()
    lock = threading.Lock()
    with lease_homes.guarding(variables) as guard:

        def ask() -> None:
            guard()
            with lock:  # the databases of a step on many ask at the same time
                heartbeat.follow(lease_homes.registered(variables) or {})

        try:
            yield ask
        finally:
            heartbeat.stop()


def secured(run: Run | None, guard: Callable[[], None]) -> Callable[[], None]:
    """Give what is asked before each change: does the sink hold the story, and at the last: is the lease ours?"""

    def ask() -> None:
        if run:
            sink.secure(run.folder, run.journal)
        guard()

    return ask


def documented_options(module: str) -> dict[str, Any]:
    """Read a module's options from its DOCUMENTATION and from the fragments that it extends."""
    document = yaml.load(importlib.import_module(f"{PLUGINS}.modules.{module}").DOCUMENTATION, Loader=Loader)
    options: dict[str, Any] = {}
    for name in document.get("extends_documentation_fragment") or []:
        options |= fragment_options(name)
    return options | (document.get("options") or {})


def fragment_options(name: str) -> dict[str, Any]:
    """Read the options of one of our fragments, `platform.recovery.FILE[.PART]`."""
    file, _, part = name.removeprefix("platform.recovery.").partition(".")
    fragment = importlib.import_module(f"{PLUGINS}.doc_fragments.{file}").ModuleDocFragment
    text = getattr(fragment, (part or "documentation").upper())
    return dict(yaml.load(text, Loader=Loader)["options"])


class RecoveryAction(ActionBase):  # type: ignore[misc]  # ansible-core ships no types
    """Validates, acts, and turns errors into results and journal records."""

    MODULE: ClassVar[str]
    MAPS: ClassVar[frozenset[str]] = frozenset()
    # Whether `act` works on one database, and a task may give many.
    APART: ClassVar[bool] = False
    OPTIONS: ClassVar[dict[str, Any]]

    TRANSFERS_FILES = False
    _requires_connection = False
    _supports_check_mode = True
    _supports_async = False
    _supports_diff = True

    def __init_subclass__(cls, **kwargs: Any) -> None:
        # Ansible loads the class once in its main process and forks for each task: what is read here is read once.
        super().__init_subclass__(**kwargs)
        cls.OPTIONS = documented_options(cls.MODULE)

    @abstractmethod
    def act(self, call: Call) -> dict[str, Any]:
        """Do the work. Returns the task's result; raises RecoveryError."""

    def side_by_side(self) -> contextlib.AbstractContextManager[None]:
        """Surround the work on many databases, each of which has a thread."""
        return contextlib.nullcontext()

    def opened(self, variables: Mapping[str, Any]) -> Run | None:
        """Give the run that this call belongs to."""
        return Run.from_vars(variables)

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Ansible's entry point."""
        del tmp
        variables: Mapping[str, Any] = task_vars or {}
        result: dict[str, Any] = super().run(None, task_vars)
        begin = time.monotonic()
        run = self.opened(variables)
        host = str(variables.get("inventory_hostname") or "")
        databases = self._task.args.get(DATABASES) if self.APART else None
        # Before the phase of the play is entered: where all are left out it never begins.
        if databases and all(entry.get(LEFT_OUT) for entry in databases):
            return result | all_left_out(databases)
        failure = None if databases else self._task.args.get(LEFT_OUT)
        # A lease leaves out clusters, by the same word: that is a list.
        if failure and isinstance(failure, Mapping):
            return result | left_out(host, failure)
        phase = None
        try:
            phase = self._phase(run, variables)
            entered = phases.enter(run, phase) if run and phase else None
            options = {} if databases else self._validated(self._task.args)
            if run:
                # A password that came from a lookup or a vault is known here for the first time.
                run.learn_secrets(self._task.args if databases else options)
            with guarding(variables) as guard:
                call = Call(
                    options=options,
                    check=bool(self._task.check_mode),
                    diff=bool(self._task.diff),
                    run=run,
                    task_vars=variables,
                    template=self._templar.template,
                    guard=secured(run, guard),
                    failed=lambda name, error: self._failed(run, variables, {name: error}, error),
                )
                result.setdefault("changed", False)
                result.update(self._act_on_each(call, databases) if databases else self.act(call))
            if entered:
                result |= {"entered": entered, "lines": [*entered["lines"], *result.get("lines", [])]}
            if not self._task.no_log:
                advise(call, result)
        except RecoveryError as error:
            failures = error.each or {host: error}
            result.update({**self._failed(run, variables, failures, error), "failed": True})
        result["seconds"] = round(time.monotonic() - begin, 4)
        if run and phase and phase.side_by_side:
            with contextlib.suppress(RecoveryError):
                run.journal.append(
                    STEP_EVENT, phase=phase.name, host=host, task=self._task.get_name(), seconds=result["seconds"]
                )
        return result

    def _act_on_each(self, call: Call, databases: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Work on each database that still stands, all at the same time. Raises where it failed for all of them."""
        before = {entry["name"]: left_out(entry["name"], entry[LEFT_OUT]) for entry in databases if entry.get(LEFT_OUT)}
        standing = {entry["name"]: entry for entry in databases if entry["name"] not in before}

        def work(name: str) -> dict[str, Any]:
            return self.act(replace(call, options=self._of_database(standing[name])))

        with self.side_by_side():
            results, failures = apart.attempt_all(list(standing), work)
        if not results:
            raise apart.none_left(failures)
        told = call.with_failures(put_together(results), failures)
        return {**told, "failures": {**before, **told["failures"]}}

    def _failed(
        self, run: Run | None, variables: Mapping[str, Any], failures: Mapping[str, RecoveryError], error: RecoveryError
    ) -> dict[str, Any]:
        """Journal what failed, under the names for which it did, and give the error as the result shows it."""
        if run is None:
            return told(error)
        run.learn_credentials(variables, self._templar.template)
        for name, one in failures.items():
            refused(run, self.MODULE, one)
            run.step_failed(self._task.get_name(), self.MODULE, one, host=name, hidden=bool(self._task.no_log))
        return dict(run.journal.redacted(told(error)))

    def _phase(self, run: Run | None, variables: Mapping[str, Any]) -> phases.Phase | None:
        """Give the phase that the play declares; the first action in it enters it, and says so in its result."""
        value = self._templar.template(variables.get(phases.VARIABLE)) if run else None
        return phases.declared(value, str(variables.get("ansible_play_name") or ""))

    def _of_database(self, entry: Mapping[str, Any]) -> dict[str, Any]:
        """Give the options for one of many databases: its own, and those that all have in common."""
        common = {name: value for name, value in self._task.args.items() if name not in (DATABASES, LEFT_OUT)}
        own = {name: value for name, value in entry.items() if name != "name"}
        return self._validated({**common, **own}, f" for {entry['name']}")

    def _validated(self, given: Mapping[str, Any], where: str = "") -> dict[str, Any]:
        options, problems = schema.Validator(maps=self.MAPS).check(self.OPTIONS, given)
        schema.refuse(problems, f"The call of {self.MODULE}{where}", "correct the key named here and run again")
        return options
