# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run the lab's command as `python -m recovery_lab`."""

from .cli import main

raise SystemExit(main())
