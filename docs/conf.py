"""Sphinx: sphinx-build -W -n docs docs/_build."""

import contextlib
import io
import os
import re
from pathlib import Path
from typing import Any
from unittest import mock

import pyg_mtrec
from pyg_mtrec import datasets
from pyg_mtrec.cli import main

project = "pyg_mtrec"
author = "the pyg_mtrec authors"
copyright = f"2026, {author}"
release = version = pyg_mtrec.__version__

extensions = ["sphinx.ext.autodoc", "sphinx.ext.mathjax", "sphinx.ext.napoleon"]
exclude_patterns = ["_build", "_generated"]
html_theme = "furo"
html_title = f"pyg_mtrec {release}"

autodoc_default_options = {
    "members": True,
    "show-inheritance": True,
    # Hooks that PyG calls, not the user
    "exclude-members": "download, process, processed_file_names, raw_file_names",
}
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 88

# Names of other projects are not resolved: their inventories would have to be downloaded.
nitpick_ignore_regex = [
    (r"py:.*", r"(torch|torch_geometric|torch_sparse|torchjd|numpy|np|pandas|pd|os|pathlib)\..*"),
    (r"py:.*", r"(collections|argparse|abc|typing)\..*"),
    # Aliases that Sphinx sees under the name which a file gives them
    (r"py:.*", r"(Tensor|Parameter|HeteroData|EdgeType|NodeType|Adj|SparseTensor|Any)"),
    (r"py:.*", r"(Path|Callable|Mapping|Sequence|Iterator|Literal|optional|state_dict)"),
    (r"py:class", r"pyg_mtrec\..*\._.*"),  # private
    (r"py:(obj|attr)", r".*"),  # as in PyG's docstrings, these set names in code
]

GENERATED = Path(__file__).parent / "_generated"


def _output(*argv: str) -> str:
    """What a command prints."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out), mock.patch.dict(os.environ, {"COLUMNS": "80"}):
        try:
            main(list(argv))
        except SystemExit as stop:
            if stop.code:
                raise RuntimeError(f"{argv} failed") from stop
    return out.getvalue()


def _dataset_table() -> str:
    """One row for each data set, from the class attributes."""
    lines = [".. list-table::", "   :header-rows: 1", "   :widths: 20 30 30 20", ""]
    lines += ["   * - class, name", "     - raw files", "     - default tasks", "     - split"]
    for name in datasets.__all__:
        cls = getattr(datasets, name)
        if not hasattr(cls, "default_tasks"):
            continue
        layouts = [
            ", ".join(f"``{file.name}``" for file in files)
            + ("" if all(file.source for file in files) else " (no public copy)")
            for files in getattr(cls, "layouts", {}).values()
        ]
        key = datasets._NAMES[name].replace("_", "-")
        lines += [
            f"   * - :class:`~pyg_mtrec.datasets.{name}`, ``{key}``",
            f"     - {'; or '.join(layouts) or 'none, it is drawn'}",
            f"     - {', '.join(cls.default_tasks)}",
            f"     - {cls.default_split}",
        ]
    return "\n".join(lines) + "\n"


def generate(app: Any) -> None:
    """Writes what the pages include: help of the commands, table of the data sets."""
    GENERATED.mkdir(exist_ok=True)
    (GENERATED / "datasets.txt").write_text(_dataset_table())
    for command in ("train", "evaluate", "recommend", "compare", "datasets", "doctor"):
        (GENERATED / f"{command}_help.txt").write_text(_output(command, "--help"))


def name_public_bases(app: Any, name: str, obj: type, options: Any, bases: list[Any]) -> None:
    """Names a private base's own base instead: the private one has no page."""
    for i, base in enumerate(bases):
        while "._" in getattr(base, "__module__", ""):
            base = base.__bases__[0]
        bases[i] = base


def keep_summary(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Keeps napoleon from reading ``type: text`` into the summary of a property."""
    if what == "property" and lines:
        lines[0] = re.sub(r"(?<=\w): ", " \N{EN DASH} ", lines[0])


def setup(app: Any) -> None:
    app.connect("autodoc-process-docstring", keep_summary, priority=400)
    app.connect("autodoc-process-bases", name_public_bases)
    app.connect("builder-inited", generate)
