# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Show the logs behind a target."""

from __future__ import annotations

from . import faults, supervisor
from .addresses import NAMESPACE
from .errors import LabError
from .pods import Pod
from .provision import Lab
from .wait import NotYet


def show(lab: Lab, target: str, lines: int) -> str:
    """Give the last lines of each log of a target."""
    selection = faults.choose(lab, target)
    found = [
        f"==> {name}\n{supervisor.log_tail(lab.state, name, lines)}"
        for name in selection.processes
        if lab.state.log(name).exists()
    ]
    found += [f"==> {pod.target}\n{_of_pod(lab, pod, lines)}" for pod in selection.pods]
    if not found:
        raise LabError(f"{target} has no log yet: it never ran.")
    return "\n".join(found)


def _of_pod(lab: Lab, pod: Pod, lines: int) -> str:
    path = f"/api/v1/namespaces/{NAMESPACE}/pods/{pod.name}/log?tailLines={lines}"
    try:
        return str(lab.cluster(pod.region).call("GET", path, raw=True).decode(errors="replace")).rstrip()
    except (OSError, NotYet) as error:
        raise LabError(f"The log of {pod.target} is not to be had: {error}") from error
