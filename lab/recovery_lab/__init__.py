# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab: a multi-region platform of real servers as local, unprivileged processes on loopback addresses."""

__version__ = "0.1.0"
