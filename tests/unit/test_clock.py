# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest

from ansible_collections.platform.recovery.plugins.module_utils import clock


def test_stamps_are_utc_with_milliseconds_and_read_back() -> None:
    assert clock.stamp(1764066600.1239) == "2025-11-25T10:30:00.123Z"
    assert clock.parse("2025-11-25T10:30:00.123Z") == pytest.approx(1764066600.123)


@pytest.mark.parametrize("text", ["2025-11-25T11:30:00+01:00", "2025-11-25T10:30:00", "2025-11-25T10:30:00Z "])
def test_reads_any_offset_and_takes_a_missing_one_as_utc(text: str) -> None:
    assert clock.parse(text) == 1764066600.0


@pytest.mark.parametrize("text", ["", "yesterday", "10:30", "2025-13-01T00:00:00Z"])
def test_refuses_what_is_no_stamp(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        clock.parse(text)
