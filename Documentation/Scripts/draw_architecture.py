"""Draw the rooms of a tree of this repository, and the arrows between them, from its imports.

    python Documentation/Scripts/draw_architecture.py [--tree DIR] --output FILE.png

A house is a package of the library, with the rooms in its folders, or a file in the library's root. All arrows lead
down, and each is numbered with its imports. An arrow that a longer way replaces is not drawn but named at the foot of
the house that it leaves. An arrow that runs back, as circles have them, is red.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from dataclasses import dataclass, field
from functools import cache
from io import BytesIO
from itertools import pairwise
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.patches import FancyBboxPatch, Patch, PathPatch
from matplotlib.path import Path as Curve
from matplotlib.textpath import TextPath
from PIL import Image

from read_imports import MODULES, arrows_between_rooms, circles, drawn_modules, read_imports, room_of

# All lengths are in inches, all sizes of letters in points.
WIDTH, MARGIN, PAD, LANE = 11.0, 0.15, 0.07, 0.05
TITLE, NAME, FOOT, COUNT = 9.0, 7.0, 6.4, 6.2
SLICER, TORCH, NEITHER, BACK = "#d5e5f6", "#fde3c8", "#eeeeee", "#c62828"
Arrows = dict[tuple[str, str], int]


@dataclass
class House:
    """A box of the picture, or, without a name, the place where an arrow passes through a row.

    Attributes:
        rooms: the files of each room, by the room's name; "" is the house's own.
        lines: (text, size in points, weight, colour), from the top.
    """

    name: str = ""
    rooms: dict[str, list[str]] = field(default_factory=dict)
    color: str = NEITHER
    lines: list[tuple[str, float, str, str]] = field(default_factory=list)
    width: float = LANE
    height: float = 0.0
    x: float = 0.0
    top: float = 0.0


def house_of(module: str) -> str:
    """Return the house of a module: the library's package or loose file, the brain models, or Slicer's modules."""
    if module in MODULES:
        return "modules"
    parts = module.split(".")
    return "brain models" if parts[0] == "NNMambaBrainModels" else parts[1]


def read_houses(tree: Path) -> tuple[dict[str, House], Arrows]:
    """Return the houses, and how many imports lead from one to another."""
    paths, imports = drawn_modules(tree), set(read_imports(tree))
    houses: dict[str, House] = {}
    for module, path in paths.items():
        house = houses.setdefault(house_of(module), House(house_of(module)))
        parts = module.split(".")
        if path.name != "__init__.py" and (len(parts) > 2 or parts[0] != "NNMambaLib"):
            first = 0 if module in MODULES else 1 if house.name == "brain models" else 2
            house.rooms.setdefault("/".join(parts[first:-1]), []).append(parts[-1])
    arrows: Arrows = defaultdict(int)
    for each in imports:
        if each.importer not in paths:
            continue
        source = house_of(each.importer)
        package = each.imported.split(".")[0]
        if each.imported in paths and source != house_of(each.imported):
            arrows[source, house_of(each.imported)] += 1
        if package in ("slicer", "qt", "ctk", "vtk"):
            houses[source].color = SLICER
        elif package == "torch" and houses[source].color != SLICER:
            houses[source].color = TORCH
    return houses, dict(arrows)


def split_back_arrows(arrows: Arrows) -> tuple[Arrows, Arrows]:
    """Return the arrows without a circle, and the fewest imports that close the circles."""
    down, back = dict(arrows), {}
    while found := circles(_targets(down)):
        inner = [arrow for arrow in down if any(set(arrow) <= names for names in found)]
        weakest = min(inner, key=lambda arrow: (down[arrow], arrow))
        back[weakest] = down.pop(weakest)
    return down, back


def _targets(arrows: Arrows) -> dict[str, set[str]]:
    targets = defaultdict(set)
    for source, target in arrows:
        targets[source].add(target)
    return targets


def drawn_arrows(arrows: Arrows) -> Arrows:
    """Return the arrows that no longer way replaces (the transitive reduction)."""
    targets = _targets(arrows)

    @cache
    def below(name: str) -> frozenset[str]:
        return frozenset().union(*({target} | below(target) for target in targets.get(name, ())))

    return {
        (source, target): count
        for (source, target), count in arrows.items()
        if not any(target in below(other) for other in targets[source] if other != target)
    }


def write_lines(house: House, also: Arrows) -> None:
    """Lay out what stands in a house: its name, its files room by room, and its arrows that are not drawn."""
    files = sum(map(len, house.rooms.values()))
    text_width = 1.15 if files == 0 else 1.7 if files < 10 else 2.35 if files < 20 else 3.0
    if also and files == 0:
        text_width = 1.5
    house.lines = [(house.name, TITLE, "bold", "black")]
    for room, names in sorted(house.rooms.items()):
        if room:
            house.lines.append((f"{room}/", NAME, "bold", "#333333"))
        house.lines += [(line, NAME, "normal", "#333333") for line in wrap(sorted(names), text_width, NAME)]
    if also:
        words = [f"{target} {count}" for (_, target), count in sorted(also.items())]
        words[0] = f"also: {words[0]}"
        house.lines += [(line, FOOT, "normal", "#777777") for line in wrap(words, text_width, FOOT, ", ")]
    house.width = max(text_width_of(line, size, weight) for line, size, weight, _ in house.lines) + 2 * PAD
    house.height = sum(1.32 * size / 72 for _, size, _, _ in house.lines) + 2 * PAD


@cache
def text_width_of(text: str, size: float, weight: str = "normal") -> float:
    """Return the width of a text in inches."""
    # Drawn small, letters are rounded to whole pixels, mostly up.
    return 1.08 * TextPath((0, 0), text, size=size, prop=FontProperties(weight=weight)).get_extents().width / 72


def wrap(words: list[str], width: float, size: float, separator: str = "  ") -> list[str]:
    """Join words to lines of a width."""
    lines = [""]
    for word in words:
        longer = f"{lines[-1]}{separator}{word}" if lines[-1] else word
        if lines[-1] and text_width_of(longer, size) > width:
            lines[-1] += separator.rstrip()
            lines.append(word)
        else:
            lines[-1] = longer
    return lines


def gap(left: House, right: House) -> float:
    """Return the distance between two neighbours in a row."""
    return 0.12 if not left.name and not right.name else 0.22


def rows_of(houses: dict[str, House], arrows: Arrows) -> list[list[str]]:
    """Return the houses' names row by row from the top: a house stands above all that it imports."""
    targets = _targets(arrows)

    @cache
    def height(name: str) -> int:
        return max((1 + height(target) for target in targets.get(name, ())), default=0)

    rows: list[list[str]] = []
    row_at: dict[str, int] = {}
    for name in sorted(houses, key=lambda name: (height(name), -houses[name].width, name)):
        lowest = max((1 + row_at[target] for target in targets.get(name, ())), default=0)
        # An arrow that passes through takes a lane, for which a part of the row is kept.
        fits = [
            row
            for row in range(lowest, len(rows))
            if sum(houses[other].width + 0.22 for other in rows[row]) + houses[name].width < 0.7 * WIDTH
        ]
        row_at[name] = fits[0] if fits else len(rows)
        if not fits:
            rows.append([])
        rows[row_at[name]].append(name)
    return rows[::-1]


def add_lanes(rows: list[list[str]], houses: dict[str, House], arrows: Arrows) -> dict[tuple[str, str], list[str]]:
    """Add a lane to each row that an arrow passes through; return the names along each arrow."""
    row_at = {name: row for row, names in enumerate(rows) for name in names}
    ways = {}
    for source, target in sorted(arrows):
        way = [source]
        for row in range(row_at[source] + 1, row_at[target]):
            lane = f"{source} -> {target} at {row}"
            houses[lane] = House()
            rows[row].append(lane)
            way.append(lane)
        ways[source, target] = [*way, target]
    return ways


def arrange(rows: list[list[str]], houses: dict[str, House], ways: list[list[str]]) -> None:
    """Order each row, and place its houses, so that arrows are short and cross little."""
    above, below = defaultdict(list), defaultdict(list)
    for way in ways:
        for upper, lower in pairwise(way):
            above[lower].append(upper)
            below[upper].append(lower)
    for row in rows:
        _spread(row, houses, dict.fromkeys(row, WIDTH / 2))
    best, kept = None, None
    for sweep in range(40):
        neighbors = (above, below)[sweep % 2]
        for row in rows if sweep % 2 == 0 else rows[::-1]:
            wanted = {name: _mean([houses[other].x for other in neighbors[name]], houses[name].x) for name in row}
            row.sort(key=lambda name: wanted[name])
            _spread(row, houses, wanted)
        crossings = _crossings(rows, houses, below)
        if best is None or crossings < best:
            best, kept = crossings, [list(row) for row in rows]
    for row, names in zip(rows, kept or [], strict=True):
        row[:] = names
        _spread(row, houses, {name: houses[name].x for name in row})
    for sweep in range(30):
        for row in rows if sweep % 2 == 0 else rows[::-1]:
            both = {name: [houses[other].x for other in (*above[name], *below[name])] for name in row}
            _spread(row, houses, {name: _mean(both[name], houses[name].x) for name in row})


def _mean(values: list[float], default: float) -> float:
    return sum(values) / len(values) if values else default


def _crossings(rows: list[list[str]], houses: dict[str, House], below: dict[str, list[str]]) -> int:
    total = 0
    for row in rows:
        lines = [(houses[name].x, houses[other].x) for name in row for other in below[name]]
        total += sum((a[0] - b[0]) * (a[1] - b[1]) < 0 for i, a in enumerate(lines) for b in lines[:i])
    return total


def _spread(row: list[str], houses: dict[str, House], wanted: dict[str, float]) -> None:
    """Place a row's houses in its order as near as can be to where they are wanted, without overlap."""
    offsets = [0.0]
    for left, right in pairwise(row):
        offsets.append(offsets[-1] + (houses[left].width + houses[right].width) / 2 + gap(houses[left], houses[right]))
    # Isotonic regression by pooling neighbours: each block is [sum, count].
    blocks: list[list[float]] = []
    for name, offset in zip(row, offsets, strict=True):
        blocks.append([wanted[name] - offset, 1])
        while len(blocks) > 1 and blocks[-2][0] / blocks[-2][1] > blocks[-1][0] / blocks[-1][1]:
            total, count = blocks.pop()
            blocks[-1][0] += total
            blocks[-1][1] += count
    starts = [total / count for total, count in blocks for _ in range(int(count))]
    lowest = MARGIN + houses[row[0]].width / 2
    highest = WIDTH - MARGIN - houses[row[-1]].width / 2 - offsets[-1]
    for name, start, offset in zip(row, starts, offsets, strict=True):
        houses[name].x = min(max(start, lowest), max(highest, lowest)) + offset


def draw(houses: dict[str, House], rows: list[list[str]], ways: list[list[str]], down: Arrows, back: Arrows) -> Figure:
    """Return the picture."""
    ends, starts = defaultdict(list), defaultdict(list)
    for way in ways:
        starts[way[0]].append(way)
        ends[way[-1]].append(way)
    y, floors = 0.0, {}
    for row in rows:
        lanes = max((len(ends[name]) for name in row), default=0)
        y -= 0.42 + 0.035 * lanes
        for name in row:
            houses[name].top = y
        y -= max(houses[name].height for name in row)
        floors |= dict.fromkeys(row, y)
        for name in row:
            if not houses[name].name:
                houses[name].height = houses[name].top - y
    height = -y + 0.6
    left = min(house.x - house.width / 2 for house in houses.values()) - MARGIN
    right = max(house.x + house.width / 2 for house in houses.values()) + MARGIN
    figure = Figure(figsize=(right - left, height), dpi=140)
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(left, right), ylim=(-height, 0))
    axes.axis("off")

    def port(name: str, all_ways: list[list[str]], way: list[str], toward: int) -> float:
        ordered = sorted(all_ways, key=lambda other: (houses[other[toward]].x, other))
        house = houses[name]
        return house.x + house.width * ((ordered.index(way) + 1) / (len(ordered) + 1) - 0.5)

    for way in ways:
        x = port(way[0], starts[way[0]], way, 1)
        y = floors[way[0]]
        points, codes = [(x, houses[way[0]].top - houses[way[0]].height), (x, y)], [Curve.MOVETO, Curve.LINETO]
        for name in way[1:]:
            end = name == way[-1]
            to_x = port(name, ends[name], way, -2) if end else houses[name].x
            to_y = houses[name].top + (0.05 if end else 0)
            points += [(x, (y + to_y) / 2), (to_x, (y + to_y) / 2), (to_x, to_y)]
            codes += [Curve.CURVE4] * 3
            x, y = to_x, to_y - houses[name].height
            if not end:
                points.append((x, y))
                codes.append(Curve.LINETO)
        axes.add_patch(PathPatch(Curve(points, codes), facecolor="none", edgecolor="#7a8794", linewidth=0.8, zorder=1))
        axes.plot(x, to_y, marker="v", markersize=3.6, color="#55606b", markeredgewidth=0, zorder=4)
        box = {"facecolor": "white", "edgecolor": "none", "pad": 0.6}
        axes.text(x, to_y + 0.1, str(down[way[0], way[-1]]), size=COUNT, ha="center", va="center", bbox=box, zorder=3)
    for source, target in back:
        a, b = houses[source], houses[target]
        axes.annotate(
            "",
            xy=(b.x + b.width / 2, b.top - b.height / 2),
            xytext=(a.x + a.width / 2, a.top - 0.12),
            arrowprops={"arrowstyle": "-|>", "color": BACK, "linewidth": 1.6, "connectionstyle": "arc3,rad=0.35"},
            zorder=5,
        )
    for house in houses.values():
        if house.name:
            _draw_house(axes, house)
    key = [Patch(facecolor=SLICER, edgecolor="#999999", label="uses Slicer's libraries"),
           Patch(facecolor=TORCH, edgecolor="#999999", label="uses torch"),
           Patch(facecolor=NEITHER, edgecolor="#999999", label="neither")]  # fmt: skip
    if back:
        names = ", ".join(f"{source} to {target} ({count})" for (source, target), count in back.items())
        key.append(Patch(facecolor=BACK, label=f"runs back: {names}"))
    axes.legend(handles=key, loc="lower center", ncols=len(key), fontsize=7.5, frameon=False)
    return figure


def _draw_house(axes, house: House) -> None:
    left, bottom = house.x - house.width / 2, house.top - house.height
    style = "round,pad=0,rounding_size=0.05"
    axes.add_patch(
        FancyBboxPatch((left, bottom), house.width, house.height, style, fc=house.color, ec="#8a8a8a", lw=0.7, zorder=2)
    )
    y = house.top - PAD
    for text, size, weight, color in house.lines:
        axes.text(left + PAD, y, text, size=size, weight=weight, color=color, va="top", zorder=6)
        y -= 1.32 * size / 72


def main() -> None:
    """Draw a tree's rooms; print how many rooms and arrows there are."""
    parser = argparse.ArgumentParser(description="Draw a tree's rooms, and the arrows between them.")
    parser.add_argument("--tree", type=Path, default=Path(__file__).parents[2], help="default: this repository")
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()

    houses, arrows = read_houses(options.tree)
    down, back = split_back_arrows(arrows)
    shown = drawn_arrows(down)
    incoming = defaultdict(int)
    for _, target in shown:
        incoming[target] += 1
    for house in houses.values():
        write_lines(house, {arrow: n for arrow, n in down.items() if arrow[0] == house.name and arrow not in shown})
        house.width = max(house.width, 0.2 * (incoming[house.name] + 1))
    rows = rows_of(houses, down)
    ways = add_lanes(rows, houses, shown)
    arrange(rows, houses, list(ways.values()))
    figure = draw(houses, rows, list(ways.values()), shown, back)
    with BytesIO() as buffer:
        figure.savefig(buffer, format="png")
        # A palette: few colours, and a fifth of the bytes.
        Image.open(buffer).convert("RGB").quantize(64).save(options.output, optimize=True)

    paths = drawn_modules(options.tree)
    print(f"{len(paths)} files in {len({room_of(module, paths) for module in paths})} rooms", end=", ")
    print(f"{len(arrows_between_rooms(options.tree))} arrows between them;", end=" ")
    count = sum(bool(house.name) for house in houses.values())
    print(f"{count} houses, {len(arrows)} arrows between them, {len(back)} back")


if __name__ == "__main__":
    main()
