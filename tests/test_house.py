"""The rules of the house (CONTRIBUTING.md), checked on the source and on what it exports."""

import ast
import dataclasses
import inspect
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "pyg_mtrec"
# A room imports only from rooms above it. `nn` itself only gathers the names of its three rooms.
ROOMS = [
    "datasets",
    "transforms",
    "loader",
    "nn.embedding",
    "nn.conv",
    "nn.encoders",
    "nn.bottoms",
    "nn.heads",
    "nn",
    "tasks",
    "gradients",
    "balancing",
    "baselines",
    "metrics",
    "runs",
    "training",
    "cli",
]
FILES = sorted(PACKAGE.rglob("*.py"))
LAZY_ROOMS = [room for room in ROOMS if room != "cli"]
# The file gives the choice on the command line its name, where users look for the paper's.
NAMED_AFTER_THE_PAPER = {"uprth": "taskhypergraphencoder"}
GLOBAL_SEEDS = ("torch.manual_seed", "np.random.seed", "random.seed", "seed_everything")


def _module(file: Path) -> str:
    parts = file.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _room(module: str) -> str | None:
    """The room that a module lies in; None for the package itself and its private files."""
    inside = module.removeprefix("pyg_mtrec").removeprefix(".")
    rooms = [room for room in ROOMS if inside == room or inside.startswith(room + ".")]
    return max(rooms, key=len, default=None)


def _imported(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Line and name of everything of the package that a file imports, literal strings included."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: imports are absolute"
            for alias in node.names:
                yield node.lineno, f"{node.module}.{alias.name}"
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            yield from ((a.lineno, str(a.value)) for a in node.args if isinstance(a, ast.Constant))


def _tree(file: Path) -> ast.Module:
    return ast.parse(file.read_text(), filename=str(file))


def test_a_room_imports_only_from_rooms_above_it() -> None:
    upward = []
    for file in FILES:
        here = _room(_module(file))
        for line, name in _imported(_tree(file)):
            there = _room(name) if name.startswith("pyg_mtrec.") else None
            if there is None or there == here:
                continue
            if here is None or ROOMS.index(there) > ROOMS.index(here):
                upward.append(f"{file}:{line}: {here or 'the package itself'} imports {there}")
    assert upward == []


def test_the_one_way_rule_sees_every_kind_of_import() -> None:
    source = """
import pyg_mtrec.cli
from pyg_mtrec import training
from pyg_mtrec.nn.encoders.mf import MF
def late():
    import_module("pyg_mtrec.runs.history")
"""
    rooms = [_room(name) for _, name in _imported(ast.parse(source))]
    assert sorted(map(str, rooms)) == ["cli", "nn.encoders", "runs", "training"]


def test_every_folder_is_a_room() -> None:
    folders = {_module(f) for f in PACKAGE.rglob("__init__.py")} - {"pyg_mtrec"}
    assert folders == {f"pyg_mtrec.{room}" for room in ROOMS}


def test_a_file_is_short_enough_to_read() -> None:
    assert [f for f in FILES if len(f.read_text().splitlines()) > 300] == []


def test_no_file_seeds_the_global_random_state() -> None:
    found = []
    for file in FILES:
        for node in ast.walk(_tree(file)):
            call = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
            if call in GLOBAL_SEEDS:
                found.append(f"{file}:{node.lineno}: {call}")
    assert found == []


@pytest.mark.parametrize("room", LAZY_ROOMS)
def test_the_three_lists_of_public_names_agree(room: str) -> None:
    file = PACKAGE.joinpath(*room.split("."), "__init__.py")
    typed: dict[str, str] = {}
    tables: dict[str, object] = {}
    for node in ast.parse(file.read_text()).body:
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            for imported in node.body:
                assert isinstance(imported, ast.ImportFrom) and imported.module is not None
                for alias in imported.names:
                    assert alias.asname == alias.name, "re-export a name as itself"
                    typed[alias.name] = imported.module.removeprefix(f"pyg_mtrec.{room}.")
        elif isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) in ("_NAMES", "__all__"):
            tables[ast.unparse(node.targets[0])] = ast.literal_eval(node.value)
    assert typed == tables["_NAMES"]
    assert sorted(typed) == sorted(tables["__all__"])  # type: ignore[call-overload]


def _public(room: str) -> Iterator[tuple[str, object]]:
    module = import_module(f"pyg_mtrec.{room}")
    for name in module.__all__:
        yield name, getattr(module, name)


@pytest.mark.parametrize("room", [room for room in LAZY_ROOMS if room != "nn"])
def test_every_public_class_is_served_from_the_file_named_after_it(room: str) -> None:
    assert set(dir(import_module(f"pyg_mtrec.{room}"))) == {name for name, _ in _public(room)}
    for name, value in _public(room):
        if inspect.isclass(value):
            stem = value.__module__.rpartition(".")[2].replace("_", "")
            stem = NAMED_AFTER_THE_PAPER.get(stem, stem)
            assert stem.rstrip("0123456789") == name.lower().rstrip("0123456789")


def test_an_unknown_name_of_a_room_is_an_attribute_error() -> None:
    for room in ["", *(f".{room}" for room in LAZY_ROOMS)]:
        with pytest.raises(AttributeError, match="has no attribute 'Nothing'"):
            import_module(f"pyg_mtrec{room}").Nothing  # noqa: B018


def test_a_public_file_holds_one_public_class() -> None:
    crowded = []
    for file in FILES:
        classes = [n.name for n in _tree(file).body if isinstance(n, ast.ClassDef)]
        public = [name for name in classes if not name.startswith("_")]
        if not file.name.startswith("_") and len(public) > 1:
            crowded.append(f"{file}: {', '.join(public)}")
    assert crowded == []


def _parameters(value: object) -> list[str]:
    """Named parameters; of a class those of its own constructor."""
    if inspect.isclass(value) and (inspect.isabstract(value) or getattr(value, "_is_protocol", 0)):
        return []
    if dataclasses.is_dataclass(value) and all(
        "help" in f.metadata for f in dataclasses.fields(value)
    ):
        return []  # the fields say it themselves
    named = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    parameters = inspect.signature(value).parameters.values()  # type: ignore[arg-type]
    return [p.name for p in parameters if p.kind not in named]


@pytest.mark.parametrize("room", LAZY_ROOMS)
def test_every_public_name_says_what_it_is_and_takes(room: str) -> None:
    silent = []
    for name, value in _public(room):
        bases = value.__mro__ if inspect.isclass(value) else (value,)
        ours = [b for b in bases if b.__module__.startswith("pyg_mtrec")]
        if not value.__doc__:
            silent.append(f"{name} has no docstring")
        text = "\n".join(inspect.getdoc(b) or "" for b in ours)
        silent += [
            f"{name} does not say what '{p}' is"
            for p in _parameters(value)
            if not re.search(rf"^\s*(\w+, )*\*{{0,2}}{p}\b[^\n]*:", text, re.MULTILINE)
        ]
        if inspect.isfunction(value):
            returns = inspect.signature(value).return_annotation not in (None, "None")
            if returns and not re.search(r"\bReturns?\b", text):
                silent.append(f"{name} does not say what it returns")
    assert silent == []


def _methods(cls: type) -> Iterator[tuple[str, Callable[..., object]]]:
    """Public methods and properties that a class writes itself; PyG adds generated ones."""
    for name, member in vars(cls).items():
        function = getattr(member, "fget", getattr(member, "__func__", member))
        ours = inspect.isfunction(function) and Path(inspect.getfile(function)).is_relative_to(
            PACKAGE
        )
        if ours and not name.startswith("_"):
            yield name, function


@pytest.mark.parametrize("room", LAZY_ROOMS)
def test_every_public_method_has_a_docstring(room: str) -> None:
    silent = [
        f"{name}.{method}"
        for name, value in _public(room)
        if inspect.isclass(value)
        for method, function in _methods(value)
        # an override adds nothing to what its base says
        if not inspect.getdoc(function) and not any(hasattr(b, method) for b in value.__bases__)
    ]
    assert silent == []


@pytest.mark.parametrize(
    "code",
    [
        "import pyg_mtrec",
        "import pyg_mtrec; [getattr(pyg_mtrec, name).__all__ for name in pyg_mtrec._ROOMS[:-1]]",
        "import sys, pyg_mtrec.cli as c; sys.argv = ['pyg-mtrec', '--help']; c.main()",
        "import sys, pyg_mtrec.cli as c; sys.argv = ['pyg-mtrec', 'train', '--help']; c.main()",
    ],
    ids=["package", "rooms", "help", "train-help"],
)
def test_torch_is_not_imported_before_it_is_needed(code: str) -> None:
    check = f"import atexit, sys\natexit.register(lambda: print('torch' in sys.modules))\n{code}"
    command = [sys.executable, "-W", "error", "-c", check]
    done = subprocess.run(command, capture_output=True, text=True, cwd=PACKAGE.parent)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == "False"
