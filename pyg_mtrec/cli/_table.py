"""Aligned text for a terminal of 80 to 100 columns."""

import os
import shutil
import sys
import textwrap
from collections.abc import Collection, Mapping, Sequence

from pyg_mtrec.runs._labels import metric_label


def render(header: Sequence[str], rows: Sequence[Sequence[str]], bold: Collection[int] = ()) -> str:
    r"""Returns a table, its first column flush left and the others flush right.

    Args:
        header: The names of the columns.
        rows: The cells.
        bold: Rows to show in bold on a terminal.
    """
    table = [list(header), *(list(row) for row in rows)]
    widths = [max(len(row[column]) for row in table) for column in range(len(header))]
    lines = []
    for row in table:
        cells = [row[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        lines.append("  ".join(cells).rstrip())
    rule = _rule_sign() * (sum(widths) + 2 * (len(widths) - 1))
    body = [emphasise(line) if index in bold else line for index, line in enumerate(lines[1:])]
    return "\n".join([lines[0], rule, *body])


def pairs(entries: Mapping[str, str], indent: str = "  ") -> str:
    r"""Returns names and values in two columns, long values wrapped."""
    width = max((len(name) for name in entries), default=0)
    lines = []
    for name, value in entries.items():
        head = f"{indent}{name.ljust(width)}  "
        lines.append(wrap(value, head, " " * len(head)))
    return "\n".join(lines)


def wrap(text: str, first: str = "", following: str = "") -> str:
    r"""Returns text in lines that fit the terminal, 80 to 100 columns wide."""
    width = max(80, min(100, shutil.get_terminal_size().columns))
    return textwrap.fill(
        text,
        width,
        initial_indent=first,
        subsequent_indent=following,
        break_long_words=False,
        break_on_hyphens=False,
    )


def number(value: float | None, digits: int = 4) -> str:
    r"""Returns a number for a cell, ``-`` where there is none."""
    return "-" if value is None else f"{value:.{digits}f}"


def definitions(metrics: Sequence[str], known: Mapping[str, str]) -> str:
    r"""Returns what the printed metrics mean, so that nobody has to guess."""
    entries = {}
    for metric in metrics:
        name = metric.partition("@")[0]
        text = known.get(metric, known.get(name))
        if text is not None:
            entries[metric_label(metric)] = text
    return pairs(entries)


def emphasise(text: str) -> str:
    r"""Returns text in bold on a terminal, unchanged elsewhere."""
    plain = not sys.stdout.isatty() or "NO_COLOR" in os.environ or os.environ.get("TERM") == "dumb"
    return text if plain else f"\033[1m{text}\033[0m"


def _rule_sign() -> str:
    try:
        "─".encode(sys.stdout.encoding or "ascii")
    except (LookupError, UnicodeEncodeError):
        return "-"
    return "─"
