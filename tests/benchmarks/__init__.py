# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Benchmarks. Each compares within one run, and states ratios: absolute times belong to one machine on one day."""
