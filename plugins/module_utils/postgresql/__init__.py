# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""PostgreSQL: what is observed of a database's members, what may be decided from it, and how it is done."""
