"""Imports point one way: held here over the syntax tree, so that no import need be run."""

import ast
from pathlib import Path

import pytest

import traininglog

PACKAGE = Path(traininglog.__file__).parent

#: From the ground up. A module may import what stands on a line above its own, and its own folder.
LAYERS = [
    ["errors"],
    ["traininglog"],  # the package itself, which imports only the errors when it is imported
    ["refusals", "blocks", "callers"],
    ["moments", "display", "taken_signals"],
    ["flattening"],
    ["waiting", "forks"],
    ["values", "scalars", "floats", "file_locks", "plain_files", "file_names", "masking"],
    ["locked_files"],
    ["side_files"],
    ["parts"],
    ["encoding", "config", "event_files", "kept", "schemes", "palette"],
    ["imported", "machine"],
    ["texts", "trial_records"],
    ["arrays", "streams"],
    ["columns", "packing", "clock"],
    ["selection"],
    ["rows", "frames", "arrow", "lineage"],
    ["base"],
    ["wrapping"],
    ["journal"],
    ["writer"],  # which knows sinks by a protocol
    ["memory", "sql"],  # stores; they do not know each other
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

STORES = {"memory", "sql", "sqlite", "jsonfile"}
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
        "sql.sealing (in functions)",
        "sql.streaming (in functions)",
        "journal.bulk (in functions)",
        "sqlite.sealing (in functions)",
        "demo",
        "lenses",
        "testing",
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
    "alembic": ["sqlite.migrations"],
    "sqlalchemy": ["sql", "sqlite"],
    "typer": ["cli", "demo"],
    "rich": [
        "cli",
        "demo",
        "display.bar (in functions)",
        "lenses.pictures.printed_tables",
    ],
    "matplotlib": [
        "cli",
        "demo",
        "lenses.pictures.drawing (in functions)",
        "lenses.pictures.matplotlib_figures (in functions)",
        "monitors.pictures",
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


def modules():
    for file in sorted(PACKAGE.rglob("*.py")):
        parts = file.relative_to(PACKAGE).with_suffix("").parts
        if parts[0] == "schema":  # in an installed package: Alembic's, not imported
            continue
        name = ".".join(parts).removesuffix("__init__").rstrip(".") or "traininglog"
        yield name, ast.parse(file.read_text(encoding="utf-8"), str(file))


MODULES = dict(modules())


def imports(tree, *, inside=False):
    """Give (imported module, name or None, whether in a function) for imports that run."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            for other in node.orelse:
                yield from imports(other, inside=inside)
        elif isinstance(node, ast.Import):
            yield from ((alias.name, None, inside) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield from ((node.module, alias.name, inside) for alias in node.names)
        else:
            in_function = isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
            yield from imports(node, inside=inside or in_function)


def own(module, name):
    """Return which module of ours an import means, by its short name; None if another's."""
    if module.split(".")[0] != "traininglog":
        return None
    if module == "traininglog":
        if name is None or name.startswith("__"):
            return "traininglog"
        if name in MODULES:
            return name
        module = traininglog._LAZY.get(name, "traininglog.errors")
    module = module.removeprefix("traininglog.")
    return f"{module}.{name}" if f"{module}.{name}" in MODULES else module


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
                assert name in ("traininglog", "lenses"), name  # their lazy names
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
NAMED = INSTRUMENTS | {"cli", "display"}

#: What is the same thing of another store, or of the library that a folder is for.
SAME_THING = {"log", "store", "trials", "check"}


def test_a_class_of_an_instrument_or_a_command_has_a_name_of_its_own():
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


def test_a_file_of_an_instrument_or_a_command_stands_in_two_rooms_at_most():
    places = {}
    for name in MODULES:
        room, _, file = name.rpartition(".")
        places.setdefault(file, []).append(room)
    shared = {
        file: rooms
        for file, rooms in places.items()
        if len(rooms) > 2 and {room.split(".")[0] for room in rooms} & NAMED
    }
    assert not shared.keys() - SAME_THING, shared


def test_a_room_of_an_instrument_or_a_command_is_small():
    """What a reader has to hold in mind at once."""
    sizes = {}
    for name in MODULES:
        room = name.rpartition(".")[0]
        if name.split(".")[0] in NAMED and not (PACKAGE / name.replace(".", "/")).is_dir():
            sizes[room] = sizes.get(room, 0) + 1
    assert {room for room, size in sizes.items() if size > 8} <= {
        "lenses.torch", "monitors", "trials",  # a module a lens' need, a monitor, a verb's noun
    }, sizes  # fmt: skip
    assert max(sizes.values()) <= 12
