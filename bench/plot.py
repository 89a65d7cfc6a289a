"""Figures over time as a picture (SVG), without a library: one panel below the other, each with its own scale."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

WIDTH, HEIGHT, LEFT, GAP = 900, 120, 70, 44
COLOURS = ("#1f77b4", "#d62728", "#2ca02c", "#9467bd", "#ff7f0e", "#8c564b")

Series = Mapping[str, Sequence[float]]


def draw(file: Path, title: str, times: Sequence[float], panels: Mapping[str, Series], *, unit: str) -> None:
    """Writes the picture: of each panel (its name and what is in it) the series, by the same times."""
    height = GAP + len(panels) * (HEIGHT + GAP)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH + LEFT + 20}" height="{height}" '
        'font-family="sans-serif" font-size="11">',
        '<rect width="100%" height="100%" fill="white"/>',
        f'<text x="{LEFT}" y="18" font-size="14">{escape(title)}</text>',
    ]
    for number, (name, series) in enumerate(panels.items()):
        parts += _panel(GAP + number * (HEIGHT + GAP), name, times, series)
    parts.append(f'<text x="{LEFT + WIDTH}" y="{height - 8}" text-anchor="end">{escape(unit)}</text></svg>')
    file.write_text("\n".join(parts) + "\n")


def _panel(top: int, name: str, times: Sequence[float], series: Series) -> list[str]:
    highest = max((value for values in series.values() for value in values), default=0) or 1
    last = max(times, default=0) or 1
    parts = [
        f'<rect x="{LEFT}" y="{top}" width="{WIDTH}" height="{HEIGHT}" fill="none" stroke="#ccc"/>',
        f'<text x="{LEFT}" y="{top - 5}" font-weight="bold">{escape(name)}</text>',
        f'<text x="{LEFT - 5}" y="{top + 10}" text-anchor="end">{highest:,.0f}</text>',
        f'<text x="{LEFT - 5}" y="{top + HEIGHT}" text-anchor="end">0</text>',
        f'<text x="{LEFT + WIDTH}" y="{top + HEIGHT + 13}" text-anchor="end">{last:,.0f}</text>',
    ]
    for number, (label, values) in enumerate(series.items()):
        colour = COLOURS[number % len(COLOURS)]
        points = " ".join(
            f"{LEFT + time / last * WIDTH:.1f},{top + HEIGHT - value / highest * HEIGHT:.1f}"
            for time, value in zip(times, values, strict=True)
        )
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}"/>')
        place = LEFT + 320 + 95 * number
        parts.append(f'<text x="{place}" y="{top - 5}" fill="{colour}">{escape(label)}</text>')
    return parts
