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

    LOAD = r"""
options:
  memory:
    description: The file that remembers the baseline, beside the runs so that it outlives them.
    type: path
    required: true
  requests:
    description: What is asked. Requests that write leave behind what they wrote.
    type: list
    elements: dict
    required: true
    suboptions:
      method:
        description: The method.
        type: str
        default: GET
      path:
        description: The path, below the URL. C({unique}) stands for a key that nobody has used yet.
        type: str
        required: true
      body:
        description: What is sent, as JSON. C({unique}) is put in here as well.
        type: dict
      weight:
        description: How often it is asked among the others.
        type: int
        default: 1
  rate:
    description: Requests a second.
    type: int
    default: 50
  seconds:
    description: For how long.
    type: int
    default: 10
  timeout_seconds:
    description: How long each request has for its answer.
    type: float
    default: 5
  most_connections:
    description: The most connections at a time. What would need more is not asked at the given rate.
    type: int
    default: 100
  most_requests:
    description: A bound on rate times seconds, so that a slip of the pen is no attack.
    type: int
    default: 20000
  generator:
    description: The load generator, a path or a name that is looked for.
    type: str
    default: vegeta
"""
