# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What tests of whole checklists share: the lab from outside, and a client that is not the canary."""
