# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A call, checked before anything is started, and turned into what ansible-runner is given."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypedDict

from . import folders
from ._collection import NAME, collections_path, module, playbooks
from .errors import WrongCall
from .processes import MARK

MODES = ("plan", "readiness", "drill", "switchover", "failover")
# Modes that are a playbook of their own: readiness checks what any checklist needs, a drill wraps the failover's plays.
OWN_PLAYBOOKS = {"readiness": ("readiness", None), "drill": ("drill", "database-failover")}
DEFAULT_COLLECTIONS = "~/.ansible/collections:/usr/share/ansible/collections"


class Wishes(TypedDict, total=False):
    """What a caller may say beside the playbook, its inventory and where it is run."""

    mode: str | None
    target: str | None
    confirm: str | None
    reason: str | None
    detected_at: str | None
    run_id: str | None
    allow_data_loss: bool
    fence_statement: str | None
    check: bool
    variables: Mapping[str, Any] | None
    variable_files: Sequence[str | os.PathLike[str]]
    timeout: float | None


@dataclass(frozen=True)
class Call:
    """What the caller wants."""

    playbook: str
    inventory: tuple[str, ...]
    mode: str | None = None
    target: str | None = None
    confirm: str | None = None
    reason: str | None = None
    detected_at: str | None = None
    run_id: str = ""
    journal: str | None = None
    allow_data_loss: bool = False
    fence_statement: str | None = None
    check: bool = False
    # May hold secrets: they reach the playbook through a private file, and nothing else.
    variables: Mapping[str, Any] = field(default_factory=dict, repr=False)
    variable_files: tuple[str, ...] = ()
    timeout: float | None = None
    cwd: Path = field(default_factory=Path.cwd)

    @classmethod
    def of(
        cls,
        playbook: str,
        inventory: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
        **wish: Any,
    ) -> Call:
        """Check a call. Raises WrongCall."""
        cwd = Path(wish.pop("cwd", None) or Path.cwd()).absolute()
        sources = [inventory] if isinstance(inventory, (str, os.PathLike)) else list(inventory)
        if not sources:
            raise WrongCall("No inventory is given", next_action="name one, such as inventories/production")
        paths = [str(cwd / os.fspath(source)) for source in sources]
        for path in paths:
            if not os.path.exists(path):
                raise WrongCall(f"The inventory {path} does not exist")
        files = tuple(str(cwd / os.fspath(path)) for path in wish.pop("variable_files", None) or ())
        for path in files:
            if not os.path.isfile(path):
                raise WrongCall(f"The file of variables {path} does not exist")
        mode = wish.get("mode")
        if mode is not None and mode not in MODES:
            match = folders.nearest(mode, list(MODES))
            hint = f"; did you mean {match!r}?" if match else ""
            raise WrongCall(f"There is no mode {mode!r}{hint}", next_action=f"the modes are {', '.join(MODES)}")
        playbook = _of_mode(playbook, mode, cwd)
        timeout = wish.get("timeout")
        if timeout is not None and timeout <= 0:
            raise WrongCall("The time-out must be more than 0 seconds")
        name, source = resolve(playbook, cwd)
        run_id = folders.run_id(wish.pop("run_id", None), name)
        variables = dict(wish.pop("variables", None) or {})
        if source != str(cwd / playbook):  # a playbook of the caller's own has variables of its own
            _refuse_misspelt(variables)
        return cls(
            playbook=playbook,
            inventory=tuple(paths),
            variable_files=files,
            cwd=cwd,
            run_id=run_id,
            variables=variables,
            **wish,
        )

    @property
    def name(self) -> str:
        """Give the playbook's dashed name."""
        return resolve(self.playbook, self.cwd)[0]

    @property
    def guessed_folder(self) -> Path:
        """Give the run folder as far as it can be told before the inventory was read."""
        journal = self.journal or self.variables.get("recovery_journal")
        return folders.sink(str(journal) if journal else None, self.cwd) / self.run_id

    def extra_variables(self) -> dict[str, Any]:
        """Give the variables of the playbook; what has a name of its own in the call wins."""
        named = {
            "recovery_mode": self.mode,
            "recovery_target": self.target,
            "recovery_confirm": self.confirm,
            "recovery_reason": self.reason,
            "recovery_detected_at": self.detected_at,
            "recovery_run_id": self.run_id,
            "recovery_journal": self.journal,
            "recovery_allow_data_loss": self.allow_data_loss or None,
            "recovery_fence_statement": self.fence_statement,
        }
        return {**self.variables, **{name: value for name, value in named.items() if value is not None}}

    def remembered(self) -> dict[str, Any]:
        """Give what `recovery resume` needs, without the values of variables: they may be secrets.

        Overrides are not among it. Whoever resumes knows more than who began, and has to say so again.
        """
        names = ("playbook", "mode", "target", "confirm", "reason", "detected_at", "run_id", "journal", "check")
        return {
            **{name: getattr(self, name) for name in names},
            "inventory": list(self.inventory),
            "variable_files": list(self.variable_files),
            "variable_names": sorted(self.variables),
            "overrides": [name for name in ("allow_data_loss", "fence_statement") if getattr(self, name)],
            "cwd": str(self.cwd),
        }

    def runner_arguments(self, private: Path, mark: str) -> dict[str, Any]:
        """Give the arguments of ansible-runner; secrets only in files below the private folder."""
        options = ["--check"] if self.check else []
        for path in self.variable_files:
            options += ["-e", "@" + shlex.quote(path)]
        return {
            "private_data_dir": str(private),
            "project_dir": str(self.cwd),  # which is where the playbook is run
            "playbook": resolve(self.playbook, self.cwd)[1],
            "inventory": list(self.inventory),
            "extravars": self.extra_variables(),
            "envvars": environment(private, mark),
            # A second is how long ansible-runner listens before it asks its cancel_callback.
            "settings": {"pexpect_timeout": 1, "suppress_output_file": True},
            "cmdline": " ".join(options) or None,
            "quiet": True,
            "fact_cache_type": "none",
        }


def _of_mode(playbook: str, mode: str | None, cwd: Path) -> str:
    """Give the playbook that this mode of a checklist is, where it is one of its own."""
    own, only = OWN_PLAYBOOKS.get(mode or "", ("", None))
    if not own or playbook.endswith((".yml", ".yaml")):
        return playbook
    name, _source = resolve(playbook, cwd)  # what is no playbook is refused all the same
    return own if only in (None, name) else playbook


def _refuse_misspelt(variables: Mapping[str, Any]) -> None:
    """Refuse what is nearly the name of a variable: Ansible would ignore it without a word."""
    for problem in module("variables").misspelt(variables):
        raise WrongCall(f"There is no variable {problem.value!r}; did you mean {problem.nearest!r}?")


def resolve(playbook: str, cwd: Path) -> tuple[str, str]:
    """Turn the name that was typed into the dashed name and what ansible-playbook is given. Raises WrongCall."""
    if playbook.endswith((".yml", ".yaml")):  # a playbook of the caller's own, which uses the collection
        path = cwd / playbook
        if not path.is_file():
            raise WrongCall(f"The playbook {path} does not exist")
        return path.stem.replace("_", "-"), str(path)
    known = playbooks()
    name = playbook.removeprefix(f"{NAME}.").replace("_", "-")
    if name not in known:
        match = folders.nearest(name, known)
        hint = f"; did you mean {match!r}?" if match else ""
        raise WrongCall(f"There is no playbook {playbook!r}{hint}", next_action=f"there are: {', '.join(known)}")
    return name, f"{NAME}.{name.replace('-', '_')}"


def environment(private: Path, mark: str) -> dict[str, str]:
    """Configure Ansible for one run, whatever ansible.cfg lies in the working folder."""
    own = str(collections_path())
    others = os.environ.get("ANSIBLE_COLLECTIONS_PATH") or DEFAULT_COLLECTIONS
    # The ansible-playbook beside this Python comes before any other.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    if not shutil.which("ansible-playbook", path=path):
        raise WrongCall("ansible-playbook is not installed", next_action="install ansible-core beside this package")
    return {
        MARK: mark,
        "PATH": path,
        "ANSIBLE_COLLECTIONS_PATH": own + os.pathsep + others,
        "ANSIBLE_STDOUT_CALLBACK": f"{NAME}.timeline",
        "ANSIBLE_RETRY_FILES_ENABLED": "False",
        "ANSIBLE_INVENTORY_UNPARSED_FAILED": "True",
        "ANSIBLE_INVENTORY_ANY_UNPARSED_IS_FAILED": "True",
        "ANSIBLE_LOCALHOST_WARNING": "False",
        "ANSIBLE_NOCOLOR": "True",
        # A host is a database: as many are recovered at the same time.
        "ANSIBLE_FORKS": os.environ.get("ANSIBLE_FORKS", "10"),
        # ansible-runner would switch it off.
        "ANSIBLE_HOST_KEY_CHECKING": os.environ.get("ANSIBLE_HOST_KEY_CHECKING", "True"),
        # A killed controller leaves its temporary files, which may hold secrets: they go with the private folder.
        "ANSIBLE_LOCAL_TEMP": str(private / "tmp"),
    }
