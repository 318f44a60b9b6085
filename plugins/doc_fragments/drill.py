# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options of every module of a drill."""

from __future__ import annotations


class ModuleDocFragment:
    """See the modules that extend it."""

    DOCUMENTATION = r"""
options:
  platform:
    description: The platform description, with every default filled in, as M(platform.recovery.platform_description) gives it for a drill.
    type: dict
    required: true
  credentials:
    description: A mapping of a name to the account behind it, with C(user) and C(password).
    type: dict
    required: true
    suboptions:
      user:
        description: Name of the account.
        type: str
        required: true
      password:
        description: Its password.
        type: str
  target:
    description: The region whose standby and clusters the scratch is made of.
    type: str
    required: true
  connect_seconds:
    description: Deadline of a connection.
    type: float
    default: 5.0
  statement_seconds:
    description: Deadline of a statement, and of a call to an API server.
    type: float
    default: 30.0
"""
