"""docs/figures/architecture.svg, from the imports; generate_docs.py writes it.

A box is a folder with its rooms and their number of modules; an arrow leads from a folder to one
that it imports, with the number of modules that do.
"""

from __future__ import annotations

import ast
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FIGURE = ROOT / "docs" / "figures" / "architecture.svg"
BOXES = {
    "lowu": (30, 20, 840),
    "experiments": (30, 150, 400),
    "institutions": (470, 150, 400),
    "node": (30, 300, 840),
    "consensus": (30, 470, 400),
    "contracts": (470, 470, 400),
}
"""By folder: left, top and width."""
HEIGHTS = {"lowu": 84, "node": 124}
HEIGHT = 104
TITLES = {
    "lowu": "scripts/lowu: how it is started",
    "experiments": "experiments: what is measured",
    "institutions": "institutions: who uses it",
    "node": "node: what runs",
    "consensus": "consensus: how nodes agree",
    "contracts": "contracts: what they agree on",
}
ROOMS_A_LINE = {400: 4, 840: 8}
ARROWS = (
    ("lowu", "experiments", 200), ("lowu", "institutions", 640), ("lowu", "node", 450),
    ("experiments", "node", 200), ("experiments", "institutions", 0),
    ("institutions", "node", 600), ("node", "consensus", 230), ("node", "contracts", 610),
)  # fmt: skip
"""From, to, and the horizontal place; 0 for a line between two boxes side by side."""
AROUND = {
    ("experiments", "consensus"): ("M30 220H18V520H27", (4, 400)),
    ("experiments", "contracts"): ("M30 236H8V584H670V577", (560, 580)),
    ("institutions", "contracts"): ("M870 220H888V520H873", (892, 400)),
}
"""Arrows that go around the node: their path, and where their number stands."""


def folder_of(package: str) -> Path:
    """Return a package's folder."""
    return ROOT / "scripts" / "lowu" if package == "lowu" else ROOT / package


def count() -> tuple[dict[str, Counter[str]], Counter[tuple[str, str]]]:
    """Return the modules of each room by package, and the modules that import a package."""
    rooms: dict[str, Counter[str]] = {package: Counter() for package in BOXES}
    arrows: Counter[tuple[str, str]] = Counter()
    for package in BOXES:
        folder = folder_of(package)
        for path in sorted(folder.rglob("*.py")):
            parts = path.relative_to(folder).parts
            if path.name != "__init__.py":
                rooms[package][parts[0] if len(parts) > 1 else ""] += 1
            names = {
                node.module.split(".")[1]
                for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
                if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("lowu.")
            }
            arrows.update((package, name) for name in names & (BOXES.keys() - {package}))
    return rooms, arrows


def draw_box(package: str, rooms: Counter[str]) -> list[str]:
    """Return a folder's box."""
    left, top, width = BOXES[package]
    height = HEIGHTS.get(package, HEIGHT)
    lines = [
        (
            f'<rect x="{left}" y="{top}" width="{width}" height="{height}" rx="8" fill="#f6f8fa" '
            'stroke="#345"/>'
        ),
        f'<text x="{left + 14}" y="{top + 24}" font-weight="600">{TITLES[package]}</text>',
    ]
    shown = [(name or "(files)", number) for name, number in sorted(rooms.items())]
    each = ROOMS_A_LINE[width]
    step = (width - 20) / each
    for position, (name, number) in enumerate(shown):
        x = left + 14 + step * (position % each)
        y = top + 52 + 26 * (position // each)
        lines.append(
            f'<text x="{x:.0f}" y="{y}" font-size="12">{name} <tspan fill="#789">{number}</tspan>'
            "</text>"
        )
    return lines


def draw_arrow(start: str, end: str, x: int, number: int) -> list[str]:
    """Return an arrow from one box to another."""
    left, top, width = BOXES[start]
    bottom = top + HEIGHTS.get(start, HEIGHT)
    if (start, end) in AROUND:
        path, at = AROUND[start, end]
    elif x:
        to = BOXES[end][1]
        path, at = f"M{x} {bottom}V{to - 3}", (x + 6, (bottom + to) // 2 + 4)
    else:
        y = top + 60
        path, at = f"M{left + width} {y}H{BOXES[end][0] - 3}", (left + width + 12, y - 6)
    return [
        f'<path d="{path}" fill="none" stroke="#345" marker-end="url(#arrow)"/>',
        f'<text x="{at[0]}" y="{at[1]}" font-size="11" fill="#345">{number}</text>',
    ]


def render() -> str:
    """Return the figure."""
    rooms, arrows = count()
    places = [*ARROWS, *((start, end, 0) for start, end in AROUND)]
    drawn = {(start, end) for start, end, _ in places}
    known = {pair for pair in arrows if pair[0] != "lowu"}
    if known - drawn:
        raise SystemExit(f"the figure has no arrow for {sorted(known - drawn)}")
    lines = [
        (
            '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 920 596" '
            'font-family="system-ui, sans-serif" font-size="14">'
        ),
        "<title>The folders of Lowu, their rooms, and which imports which</title>",
        (
            '<defs><marker id="arrow" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="8" '
            'markerHeight="8" orient="auto"><path d="M0 0L10 5L0 10z" fill="#345"/></marker></defs>'
        ),
        '<rect width="920" height="596" fill="#ffffff"/>',
    ]
    for package in BOXES:
        lines += draw_box(package, rooms[package])
    for start, end, x in places:
        if arrows[start, end]:
            lines += draw_arrow(start, end, x, arrows[start, end])
    return "\n".join([*lines, "</svg>"]) + "\n"
