"""Imports point one way: held here over the syntax tree, so that no import need be run."""

import ast
import re

import pytest
from rooms import GROUPS, PACKAGE, PICTURE, ROOT, House, Package, imports, picture

ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")

#: A higher house nobody can draw from memory.
MOST_FLOORS = 9

#: From the ground up. A module may import what stands on a line above its own, and its own folder.
LAYERS = [
    ["errors"],
    ["traininglog"],  # the package itself, which imports only the errors when it is imported
    ["refusals", "blocks", "callers"],
    ["moments", "display", "taken_signals"],
    ["flattening", "near_names", "confidence"],
    ["waiting", "forks"],
    ["values", "scalars", "floats", "file_locks", "plain_files", "file_names", "masking"],
    ["locked_files"],
    ["side_files"],
    ["parts", "kinds", "plain_json"],
    ["encoding", "config", "event_files", "kept", "schemes", "palette"],
    ["imported", "machine", "identity"],
    ["log_options"],
    ["trial_records"],
    ["arrays", "streams"],
    ["plots"],  # numbers and names, from whatever store
    ["columns", "packing", "clock"],
    ["selection"],
    ["run_info"],
    ["markup"],
    ["query"],
    ["reports"],
    ["rows", "frames", "arrow", "lineage", "log_state"],
    ["base"],
    ["wrapping"],
    ["journal"],
    ["writer"],  # which knows sinks by a protocol
    ["memory", "sql"],  # stores; they do not know each other
    ["journaled"],  # any store of eight methods
    ["sqlite", "jsonfile"],
    ["stores"],  # the place that knows every store
    [
        "monitors",
        "loop",
        "trials",
        "lenses",
    ],  # instruments; they do not know each other, nor a store
    ["testing", "demo"],
    ["cli"],
    ["__main__"],
]

STORES = {"memory", "sql", "journaled", "sqlite", "jsonfile"}
INSTRUMENTS = {"monitors", "loop", "trials", "lenses"}

#: Imports that go up all the same, each with its reason.
EXCEPTIONS: dict[tuple[str, str], str] = {}

#: Who may import what at run time: top-level module -> the modules that may.
FOREIGN = {
    "pandas": ["frames"],
    "numpy": [
        "frames",
        "arrow",
        "arrays",
        "packing",
        "streams",
        "clock (in functions)",
        "scalars (in functions)",
        "encoding (in functions)",
        "columns (in functions)",
        "sql.compaction (in functions)",
        "sql.runs.stream (in functions)",
        "journal.bulk (in functions)",
        "sqlite.sink.compaction (in functions)",
        "markup.thinning (in functions)",
        "demo",
        "lenses",
        "plots",
        "testing",
        "cli.commands.plot (in functions)",
        *(
            f"loop.{name} (in functions)"
            for name in (
                "checkpoint.checks",
                "checkpoint.part_files",
                "measures.metrics",
                "measures.statistics",
                "states.packed_trees",
                "states.randomness",
                "states.trees",
            )
        ),
    ],
    # Elsewhere, who has a tensor has imported it; the other asks for a device.
    "torch": ["lenses.torch", "trials.surroundings.environments (in functions)"],
    "pyarrow": ["arrow"],
    "alembic": ["sqlite.file.migrations"],
    "sqlalchemy": ["sql", "sqlite"],
    "typer": ["cli", "demo"],
    "rich": [
        "cli",
        "demo",
        "display.bar (in functions)",
        "lenses.pictures.printed_tables",
    ],
    "matplotlib": [
        "plots",
        "demo",
        "lenses.pictures.drawing (in functions)",
        "lenses.pictures.matplotlib_figures (in functions)",
    ],
    "IPython": ["display.notebook (in functions)"],
    "tensorboardX": ["event_files (in functions)"],
    "losswise": ["monitors.losswise (in functions)"],
    "sklearn": ["demo", "lenses.torch.digits"],
    "pytest": ["testing"],
    "hypothesis": ["testing"],
    "pickle": ["testing"],  # which tests that logs can be pickled; nothing stored is
    "marshal": [],
    "shelve": [],
    "dill": [],
    "cloudpickle": [],
    "joblib": [],
}


package = Package()
MODULES, own = package.trees, package.own
HOUSE = House(package)


def layer(module):
    return next(number for number, names in enumerate(LAYERS) if module.split(".")[0] in names)


def test_every_module_has_a_layer():
    assert {name.split(".")[0] for name in MODULES} == {name for names in LAYERS for name in names}


@pytest.mark.parametrize("name", MODULES)
def test_a_module_imports_only_what_is_below_it(name):
    for module, what, _ in imports(MODULES[name]):
        target = own(module, what)
        if target is None or (name, target) in EXCEPTIONS:
            continue
        same_folder = target.split(".")[0] == name.split(".")[0]
        assert same_folder or layer(target) < layer(name), f"{name} imports {target}"


@pytest.mark.parametrize("name", [name for name in MODULES if name.split(".")[0] in INSTRUMENTS])
def test_an_instrument_knows_the_base_and_no_store(name):
    reached = {own(module, what) for module, what, _ in imports(MODULES[name])} - {None}
    assert not {target.split(".")[0] for target in reached} & STORES, name


def test_every_module_beside_the_folders_is_in_one_room():
    """A module that has no room yet is given one in GROUPS, in tests/rooms.py."""
    named = [name for modules in GROUPS.values() for name in modules]
    beside = {name for name in MODULES if "." not in name} - {
        name.split(".")[0] for name in MODULES if "." in name
    }
    assert sorted(named) == sorted(beside - {"traininglog"} | {"__init__"})


def test_rooms_import_each_other_one_way_and_stand_on_few_floors():
    assert not HOUSE.cycle()
    assert len(HOUSE.floors()) <= MOST_FLOORS, HOUSE.floors()


def house_of(folder, files):
    """Return the house of a package that is made up: its modules, and what each imports."""
    package = folder / "made"
    for path, text in {"__init__": "", **files}.items():
        file = package / f"{path}.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    return House(Package(package))


def test_rooms_that_import_each_other_are_found_with_the_imports_that_do_it(tmp_path):
    house = house_of(
        tmp_path,
        {"a/one": "from made.b import two", "b/two": "def later():\n    import made.a.one"},
    )
    assert sorted(house.cycle()) == ["a.one -> b.two", "b.two -> a.one"]


def test_a_room_stands_above_all_that_it_imports_and_arrows_that_follow_are_left_out(tmp_path):
    house = house_of(
        tmp_path,
        {
            "errors": "",
            "a/one": "import made.errors",
            "b/two": "from made.a.one import thing\nfrom made.errors import Wrong",
            "c/three": "if TYPE_CHECKING:\n    import made.b.two\n",
        },
    )
    assert house.cycle() == []
    assert house.floors() == [["c", "vocabulary"], ["a"], ["b"]]
    assert house.direct() == [("a", "vocabulary"), ("b", "a")]
    assert picture(house).count("<rect") == 4


def test_the_picture_of_the_rooms_is_of_today():
    assert PICTURE.read_text(encoding="utf-8") == picture(HOUSE), "run: make graph"
    assert f"({PICTURE.relative_to(ROOT / 'docs')})" in ARCHITECTURE


def test_the_page_of_the_architecture_names_every_room_and_no_other():
    """Each folder and each module beside the folders; a module that is told of is in its folder."""
    (table,) = re.findall(r"^\| room \| holds \|\n(?:\|.*\n)+", ARCHITECTURE, flags=re.MULTILINE)
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()[2:]]
    rooms = [name for room, _ in rows for name in re.findall(r"`([\w/.]+)`", room)]
    tops = {name.split(".")[0] for name in MODULES} - {"traininglog"}
    folders = {name.split(".")[0] for name in MODULES if "." in name}
    expected = {f"{name}/" if name in folders else f"{name}.py" for name in tops}
    assert sorted(rooms) == sorted({*expected, "schema/"})
    for room, holds in rows:
        (folder, *_) = re.findall(r"`([\w/.]+)`", room)
        for file in re.findall(r"`([\w/]+)\.py`", holds):
            inside = f"{folder}{file}".replace("/", ".")
            below = rf"{re.escape(folder[:-1])}\.\w+\.{re.escape(file)}"  # in a room of that folder
            assert inside in MODULES or any(re.fullmatch(below, name) for name in MODULES), file


def test_no_two_modules_of_a_folder_import_each_other():
    edges = {
        name: {own(module, what) for module, what, _ in imports(tree)}
        for name, tree in MODULES.items()
    }
    reached: dict[str, set[str]] = {}

    def visit(name, path):
        assert name not in path, " -> ".join([*path, name])
        if name not in reached:
            reached[name] = set()
            for target in edges[name] & set(MODULES) - {name}:
                visit(target, [*path, name])

    for name in MODULES:
        visit(name, [])


@pytest.mark.parametrize("foreign", FOREIGN)
def test_a_foreign_library_is_imported_only_where_it_belongs(foreign):
    for name, tree in MODULES.items():
        for module, _, inside in imports(tree):
            if module.split(".")[0] != foreign:
                continue
            parts = name.split(".")
            allowed = [".".join(parts[:count]) for count in range(1, len(parts) + 1)]
            if inside:
                allowed.append(f"{name} (in functions)")
            assert set(allowed) & set(FOREIGN[foreign]), f"{name} imports {module}"


def test_nothing_runs_what_it_reads():
    """No pickle, no eval, no exec, no import of a module that data names."""
    for name, tree in MODULES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                assert node.func.id not in ("eval", "exec", "compile", "__import__"), name
            if isinstance(node, ast.Attribute) and node.attr == "import_module":
                # Their lazy names, and the modules of the commands.
                assert name in ("traininglog", "lenses", "cli.app"), name
            if isinstance(node, ast.keyword) and node.arg == "allow_pickle":
                assert ast.unparse(node.value) == "False", name
            if isinstance(node, ast.keyword) and node.arg == "shell":
                assert ast.unparse(node.value) == "False", name


def test_no_module_is_named_for_nothing():
    """Modules are named for what they hold, and tell in a sentence what that is."""
    for name, tree in MODULES.items():
        assert name.split(".")[-1] not in ("utils", "util", "helpers", "manager", "common", "misc")
        assert ast.get_docstring(tree), f"{name} has no docstring"


#: Rooms whose classes and files are named unlike all others.
NAMED = {name.split(".")[0] for name in MODULES}

#: What is the same thing of another store, or of the library that a folder is for.
SAME_THING = {"log", "store", "trials", "check"}


def test_a_class_has_a_name_of_its_own():
    """But for `Status`: that of a log and that of a trial are what their users call them."""
    places = {}
    for name, tree in MODULES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                places.setdefault(node.name, []).append(name)
    shared = {
        name: modules
        for name, modules in places.items()
        if len(modules) > 1 and {module.split(".")[0] for module in modules} & NAMED
    }
    assert list(shared) in ([], ["Status"]), shared


def test_a_file_name_stands_in_two_rooms_at_most():
    places = {}
    for name in MODULES:
        room, _, file = name.rpartition(".")
        if not (PACKAGE / name.replace(".", "/")).is_dir():
            places.setdefault(file, []).append(room)
    shared = {
        file: rooms
        for file, rooms in places.items()
        if len(rooms) > 2 and {room.split(".")[0] for room in rooms} & NAMED
    }
    assert not shared.keys() - SAME_THING, shared


def test_a_room_is_small():
    """What a reader has to hold in mind at once."""
    sizes = {}
    for name in MODULES:
        room = name.rpartition(".")[0]
        if name.split(".")[0] in NAMED and not (PACKAGE / name.replace(".", "/")).is_dir():
            sizes[room] = sizes.get(room, 0) + 1
    assert {room for room, size in sizes.items() if size > 8} <= {
        "", "journal", "jsonfile", "lenses.torch", "monitors", "sql", "trials", "writer",
    }, sizes  # fmt: skip
    del sizes[""]  # the modules beside the folders, of several rooms
    assert max(sizes.values()) <= 13
