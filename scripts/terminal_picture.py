# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Draw what a terminal showed at the end: `terminal_picture.py TYPESCRIPT SVG`."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from rich.console import Console
from rich.text import Text

WIDTH = 100
# Without the web font that rich would name: the picture must not fetch anything.
SVG = """<svg class="rich-terminal" viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
<style>.{unique_id}-matrix {{ font-family: "DejaVu Sans Mono", Menlo, Consolas, monospace; font-size: {char_height}px;
line-height: {line_height}px; font-variant-east-asian: full-width; }}
.{unique_id}-title {{ font-size: 18px; font-weight: bold; font-family: sans-serif; }}
{styles}</style>
<defs><clipPath id="{unique_id}-clip-terminal"><rect x="0" y="0" width="{terminal_width}" height="{terminal_height}"/>
</clipPath>{lines}</defs>{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}<g class="{unique_id}-matrix">{matrix}</g></g></svg>
"""
ESCAPE = re.compile(r"\x1b\[(\?)?([0-9;]*)([A-Za-z])")


def main(typescript: Path, picture: Path) -> None:
    """Replay the output on a screen of lines, then draw it."""
    # As bytes first: reading as text would turn each return into a new line.
    text = typescript.read_bytes().decode(errors="replace")
    body = re.sub(r"^Script (started|done).*\n?", "", text, flags=re.MULTILINE)
    console = Console(record=True, width=WIDTH, file=open("/dev/null", "w"), force_terminal=True)  # noqa: SIM115
    for line in replay(body):
        console.print(Text.from_ansi(line))
    console.save_svg(str(picture), title="make demo", code_format=SVG)


def replay(text: str) -> list[str]:
    """Follow the few movements that our live view makes: up, erase, return; colours stay in the lines."""
    lines: list[str] = [""]
    row = 0
    position = 0
    while position < len(text):
        escape = ESCAPE.match(text, position)
        if escape:
            position = escape.end()
            count = int(escape[2].split(";")[0] or 1) if escape[2].split(";")[0].isdigit() or not escape[2] else 1
            if escape[3] == "A":
                row = max(0, row - count)
            elif escape[3] == "K":
                lines[row] = ""
            elif escape[3] == "J":
                del lines[row + 1 :]
                lines[row] = ""
            elif escape[3] == "m":
                lines[row] += escape[0]
            continue
        character = text[position]
        position += 1
        if character == "\n":
            row += 1
            if row == len(lines):
                lines.append("")
        elif character == "\r":
            if position < len(text) and text[position] != "\n":
                lines[row] = ""
        elif character >= " ":
            lines[row] += character
    return lines


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
