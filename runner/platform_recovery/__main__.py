# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""`python -m platform_recovery` is `recovery`."""

import sys

from .cli import main

sys.exit(main())
