# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""`python -m http_service` serves until it is told to stop; the runs that it started go on."""

from __future__ import annotations

import os
import sys

import uvicorn

from .app import create
from .settings import Settings, WrongSettings

# Open event streams would hold up a stop for ever: clients come back with the number of their last event.
STOP_SECONDS = 3


def main() -> int:
    """Serve."""
    try:
        settings = Settings.take(os.environ)
    except WrongSettings as error:
        print(f"http_service: {error}", file=sys.stderr)
        return 1
    uvicorn.run(create(settings), host=settings.host, port=settings.port, timeout_graceful_shutdown=STOP_SECONDS)
    return 0


sys.exit(main())
