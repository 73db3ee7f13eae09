"""Bars on a logarithmic scale, drawn as SVG: rivals differ by factors of a hundred."""

import math
from html import escape

HEAD = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>orion-chat, side by side</title>
<meta name="viewport" content="width=device-width">
<style>
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60em; margin: 2em auto; padding: 0 1em }
table { border-collapse: collapse; font-variant-numeric: tabular-nums }
td, th { padding: .15em .7em; text-align: left; border-bottom: 1px solid #ddd }
svg { max-width: 100%; height: auto; display: block; margin: 1em 0 }
svg text { font: 12px system-ui, sans-serif; fill: #222 }
</style>"""

# Told apart by those who do not see all colours, too.
COLOURS = {
    "orion-chat": "#0072b2",
    "limit": "#999999",
    "sqlite": "#e69f00",
    "pocketbase": "#009e73",
    "express": "#cc79a7",
}
LEFT, WIDTH, BAR, GAP = 230, 620, 16, 14


def rate(cell):
    return cell.rate, cell.least, cell.most


def p99(cell):
    return cell.p99, cell.p99, cell.p99


def cpu(cell):
    return cell.cpu, cell.cpu, cell.cpu


def bars(title, cells, facts, value_of):
    """A bar for each cell of {(connections, rival): cell}, with a line for its spread."""
    labels = {rival["name"]: rival["label"] for rival in facts["rivals"]}
    values = {key: value_of(cell) for key, cell in cells.items()}
    positive = [value for triple in values.values() for value in triple if value > 0]
    if not positive:
        return ""
    low = math.floor(math.log10(min(positive)))
    high = max(math.ceil(math.log10(max(positive))), low + 1)
    x = lambda value: LEFT + WIDTH * (math.log10(max(value, 10**low)) - low) / (high - low)

    parts, y = [], 40
    for connections in sorted({key[0] for key in values}):
        parts.append(f'<text x="0" y="{y + 12}">{connections} connections</text>')
        for name in [name for name in labels if (connections, name) in values]:
            value, least, most = values[connections, name]
            middle = y + BAR / 2
            parts.append(
                f'<text x="{LEFT - 8}" y="{y + 12}" text-anchor="end">{escape(short(labels[name]))}</text>'
                f'<rect x="{LEFT}" y="{y}" width="{max(x(value) - LEFT, 1):.1f}" height="{BAR - 2}" '
                f'fill="{COLOURS[name]}"/>'
                f'<path d="M{x(least):.1f} {middle - 1}H{x(most):.1f}" stroke="#000"/>'
                f'<text x="{x(max(value, most)) + 6:.1f}" y="{y + 12}">{number(value)}</text>'
            )
            y += BAR
        y += GAP
    lines = []
    for power in range(low, high + 1):
        at = x(10**power)
        lines.append(
            f'<path d="M{at:.1f} 32V{y - GAP}" stroke="#ddd"/>'
            f'<text x="{at:.1f}" y="26" text-anchor="middle">{number(10**power)}</text>'
        )
    head = f'<text x="0" y="12" font-weight="bold">{escape(title)}</text>'
    size = f'viewBox="0 0 {LEFT + WIDTH + 90} {y}" role="img" aria-label="{escape(title)}"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size}>{head}{"".join(lines + parts)}</svg>'


def short(label):
    return label.split(":")[0]


def number(value):
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"
