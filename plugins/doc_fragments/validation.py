# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options of every module that uses the platform as its clients do."""

from __future__ import annotations


class ModuleDocFragment:
    """See the modules that extend it."""

    DOCUMENTATION = r"""
options:
  url:
    description: Where clients come in, by the name that they use, such as C(https://app.example.com).
    type: str
    required: true
  resolver:
    description: The resolver that is asked for the name, as clients would ask. Left out, that of the controller.
    type: dict
    suboptions:
      address:
        description: Its address.
        type: str
        required: true
      port:
        description: Its port.
        type: int
        default: 53
  ca_file:
    description: Certificate authority of an https URL, where it is not one that the system knows.
    type: path
  authorization:
    description: What the header C(Authorization) is to hold.
    type: str
"""
