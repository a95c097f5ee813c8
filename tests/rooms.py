"""Draw the package as rooms: who imports whom, told from the syntax trees. Run by ``make graph``.

A room is a folder of the package, or a group of the modules that lie beside the folders. A room
stands one floor above the highest room that it imports. The picture is committed, as
``docs/pictures/rooms.svg``, and a test holds it up to date.

    python tests/rooms.py
"""

import ast
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from xml.sax.saxutils import escape

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "traininglog"
PICTURE = ROOT / "docs" / "pictures" / "rooms.svg"

#: The modules beside the folders, by the room that they belong to. A test wants each in one room.
GROUPS = {
    "vocabulary": [
        "__init__",
        "blocks",
        "callers",
        "confidence",
        "config",
        "encoding",
        "errors",
        "file_names",
        "flattening",
        "floats",
        "identity",
        "imported",
        "kinds",
        "log_options",
        "machine",
        "masking",
        "moments",
        "near_names",
        "palette",
        "plain_json",
        "refusals",
        "scalars",
        "schemes",
        "taken_signals",
        "values",
    ],
    "files and threads": [
        "event_files",
        "file_locks",
        "forks",
        "kept",
        "locked_files",
        "parts",
        "plain_files",
        "side_files",
        "waiting",
    ],
    "columns": [
        "arrays",
        "arrow",
        "clock",
        "columns",
        "frames",
        "packing",
        "run_info",
        "selection",
        "streams",
    ],
    "contract": ["base", "lineage", "log_state", "rows", "trial_records", "wrapping"],
    "which store": ["stores"],
    "cli": ["__main__"],  # a part of that folder's room
}

#: What a room is, for its colour; what is not named here is a folder like any other.
KINDS = {
    "ground": ["vocabulary", "files and threads", "columns", "contract"],
    "writing": ["journal", "writer"],
    "stores": ["memory", "sql", "sqlite", "jsonfile", "repair", "which store"],
    "instruments": ["monitors", "loop", "trials", "lenses"],
    "doors": ["testing", "cli", "demo"],
}


class Import(NamedTuple):
    """An import that runs."""

    module: str
    name: str | None  #: what is imported of it; None: the module itself
    inside: bool  #: whether it stands in a function


def trees(package: Path = PACKAGE) -> dict[str, ast.Module]:
    """Return the syntax tree of each module, by its dotted name within the package."""
    found = {}
    for file in sorted(package.rglob("*.py")):
        parts = file.relative_to(package).with_suffix("").parts
        if parts[0] == "schema":  # in an installed package: Alembic's, not imported
            continue
        name = ".".join(parts).removesuffix("__init__").rstrip(".") or package.name
        found[name] = ast.parse(file.read_text(encoding="utf-8"), str(file))
    return found


def imports(tree: ast.AST, *, inside: bool = False) -> Iterator[Import]:
    """Give the imports that run; those for type checkers alone do not."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            for other in node.orelse:
                yield from imports(other, inside=inside)
        elif isinstance(node, ast.Import):
            yield from (Import(alias.name, None, inside) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield from (Import(node.module or "", alias.name, inside) for alias in node.names)
        else:
            in_function = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            yield from imports(node, inside=inside or in_function)


class Package:
    """The modules of a package, and what each imports of the others."""

    def __init__(self, folder: Path = PACKAGE) -> None:
        self.name = folder.name
        self.trees = trees(folder)
        top = self.trees[self.name]
        #: Names that the package itself gives, by the module that they come from.
        self._origin = {
            alias.asname or alias.name: node.module or ""
            for node in top.body
            if isinstance(node, ast.ImportFrom)
            for alias in node.names
        }
        for node in top.body:
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "_LAZY":
                self._origin |= ast.literal_eval(node.value)

    def own(self, module: str, name: str | None) -> str | None:
        """Return which module of ours an import means, by its short name; None if another's."""
        if module.split(".", maxsplit=1)[0] != self.name:
            return None
        if module == self.name:
            if name is None or name.startswith("__"):
                return self.name
            if name in self.trees:
                return name
            module = self._origin[name]
        module = module.removeprefix(f"{self.name}.")
        return f"{module}.{name}" if f"{module}.{name}" in self.trees else module

    def targets(self, name: str) -> set[str]:
        """Return the modules of ours that a module imports, but for itself."""
        found = {self.own(module, what) for module, what, _ in imports(self.trees[name])}
        return {target for target in found if target is not None} - {name}


class House:
    """The rooms of a package, what each imports, and on which floor it stands."""

    def __init__(self, package: Package) -> None:
        self._rooms = {module: room for room, modules in GROUPS.items() for module in modules}
        self.name = package.name
        self.edges: dict[str, set[str]] = {}
        #: For each pair of rooms, imports that make the edge.
        self.reasons: dict[tuple[str, str], list[str]] = {}
        for name in package.trees:
            room = self.room(name)
            edges = self.edges.setdefault(room, set())
            for target in sorted(package.targets(name)):
                other = self.room(target)
                if other != room:
                    edges.add(other)
                    self.reasons.setdefault((room, other), []).append(f"{name} -> {target}")

    def room(self, module: str) -> str:
        """Return the room of a module: its group, its folder, else a room of its own."""
        top = "__init__" if module == self.name else module.split(".", maxsplit=1)[0]
        return self._rooms.get(top, top)

    def cycle(self) -> list[str]:
        """Return rooms that import each other in a ring, with the imports between; or nothing."""
        done: set[str] = set()

        def visit(room: str, path: list[str]) -> list[str]:
            if room in path:
                ring = [*path[path.index(room) :], room]
                return [self.reasons[pair][0] for pair in itertools.pairwise(ring)]
            if room not in done:
                for other in sorted(self.edges[room]):
                    if found := visit(other, [*path, room]):
                        return found
                done.add(room)
            return []

        return next((ring for room in sorted(self.edges) if (ring := visit(room, []))), [])

    def floors(self) -> list[list[str]]:
        """Return the rooms by floor, the ground floor first. There must be no cycle."""
        floor: dict[str, int] = {}

        def visit(room: str) -> int:
            if room not in floor:
                floor[room] = max((visit(other) + 1 for other in self.edges[room]), default=0)
            return floor[room]

        for room in self.edges:
            visit(room)
        return [
            sorted(room for room in floor if floor[room] == number)
            for number in range(max(floor.values()) + 1)
        ]

    def direct(self) -> list[tuple[str, str]]:
        """Return the edges that do not follow from others: all are had by walking along these."""
        below: dict[str, set[str]] = {}
        for floor in self.floors():
            for room in floor:
                below[room] = set().union(
                    *(below[other] | {other} for other in self.edges[room]), set()
                )
        return [
            (room, other)
            for room in sorted(self.edges)
            for other in sorted(self.edges[room])
            if not any(other in below[third] for third in self.edges[room])
        ]


# -- the picture: colours that are read on white and on black ------------------------------------

FILLS = {
    "ground": "#dbe7f3",
    "writing": "#d9efe0",
    "stores": "#fbe9c6",
    "instruments": "#f3dcec",
    "doors": "#e4e0f6",
}
INK, LINE, WORD = "#1d2733", "#8b939e", "#7d8590"
WIDE, HIGH, ACROSS, UP, LEFT = 132, 32, 28, 48, 64


class Passage(NamedTuple):
    """Where an arrow goes through a floor between its two."""

    floor: int
    room: str
    other: str


def picture(house: House) -> str:
    """Return the house as SVG: a row a floor, an arrow from a room to each that it builds on."""
    floors, ways = _plan(house)
    widths = [sum(map(_width, floor)) + ACROSS * (len(floor) - 1) for floor in floors]
    width, height = LEFT + max(widths) + 16, len(floors) * (HIGH + UP) - UP + 32
    place: dict[str | Passage, tuple[float, float]] = {}  # the middle of its upper edge
    for number, floor in enumerate(floors):
        x = LEFT + (max(widths) - widths[number]) / 2
        for thing in floor:
            place[thing] = (x + _width(thing) / 2, height - 16 - HIGH - number * (HIGH + UP))
            x += _width(thing) + ACROSS
    lines = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" '
            f'width="{width:g}" height="{height:g}" role="img" font-family="sans-serif">'
        ),
        f"<title>The rooms of {escape(house.name)}, on {len(floors)} floors</title>",
        (
            '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" '
            'markerHeight="7" orient="auto">'
            f'<path d="M0 0L8 4L0 8z" fill="{LINE}"/></marker></defs>'
        ),
    ]
    for number, floor in enumerate(floors):
        y = place[floor[0]][1] + HIGH / 2 + 4
        lines.append(f'<text x="8" y="{y:g}" font-size="12" fill="{WORD}">floor {number}</text>')
    for way in ways:
        x, y = place[way[0]]
        path = f"M{x:g} {y + HIGH:g}"
        for thing in way[1:]:
            below, top = place[thing]
            path += f"C{x:g} {top - UP / 2:g} {below:g} {top - UP / 2:g} {below:g} {top - 1:g}"
            path += f"V{top + HIGH:g}" if isinstance(thing, Passage) else ""
            x = below
        lines.append(
            f'<path d="{path}" fill="none" stroke="{LINE}" stroke-width="1.2" '
            'marker-end="url(#tip)"/>'
        )
    kinds = {room: kind for kind, rooms in KINDS.items() for room in rooms}
    for room in house.edges:
        x, y = place[room]
        lines += [
            (
                f'<rect x="{x - WIDE / 2:g}" y="{y:g}" width="{WIDE}" height="{HIGH}" rx="6" '
                f'fill="{FILLS[kinds.get(room, "ground")]}" stroke="{LINE}"/>'
            ),
            (
                f'<text x="{x:g}" y="{y + HIGH / 2 + 5:g}" font-size="13" font-weight="bold" '
                f'text-anchor="middle" fill="{INK}">{escape(room)}</text>'
            ),
        ]
    return "\n".join([*lines, "</svg>", ""])


def _width(thing: str | Passage) -> int:
    return 12 if isinstance(thing, Passage) else WIDE


def _plan(house: House) -> tuple[list[list[str | Passage]], list[list[str | Passage]]]:
    """Return what stands on each floor, and which way each arrow goes, floor by floor."""
    floors: list[list[str | Passage]] = [list(floor) for floor in house.floors()]
    floor_of = {room: number for number, floor in enumerate(floors) for room in floor}
    ways: list[list[str | Passage]] = []
    for room, other in house.direct():
        between = range(floor_of[room] - 1, floor_of[other], -1)
        passages = [Passage(number, room, other) for number in between]
        for passage in passages:
            floors[passage.floor].append(passage)
        ways.append([room, *passages, other])
    joined: dict[str | Passage, list[str | Passage]] = {}
    for way in ways:
        for upper, lower in itertools.pairwise(way):
            joined.setdefault(upper, []).append(lower)
            joined.setdefault(lower, []).append(upper)
    for _ in range(12):  # what is joined comes near each other, so that few lines cross
        place = {
            thing: (index + 0.5) / len(floor)
            for floor in floors
            for index, thing in enumerate(floor)
        }
        floors = [
            sorted(
                floor,
                key=lambda thing: (
                    sum(place[other] for other in joined.get(thing, [thing]))
                    / len(joined.get(thing, [thing])),
                    str(thing),
                ),
            )
            for floor in floors
        ]
    return floors, ways


def main() -> None:
    """Write the picture."""
    house = House(Package())
    if ring := house.cycle():
        raise SystemExit("rooms import each other in a ring: " + ", ".join(ring))
    PICTURE.parent.mkdir(exist_ok=True)
    PICTURE.write_text(picture(house), encoding="utf-8")
    print(f"{PICTURE.relative_to(ROOT)}: {len(house.edges)} rooms on {len(house.floors())} floors")


if __name__ == "__main__":
    main()
