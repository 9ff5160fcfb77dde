import math
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyg_mtrec._errors import InputError
from pyg_mtrec.runs import _toml

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
scalars = st.one_of(
    st.booleans(), st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False), text
)
values = st.recursive(
    st.one_of(scalars, st.lists(scalars, max_size=4)),
    lambda inner: st.dictionaries(text, inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(text, values, max_size=6))
def test_round_trip(config: dict[str, Any]) -> None:
    assert tomllib.loads(_toml.dumps(config)) == config


def test_reads_well() -> None:
    config = {"name": "ä\n\x7f", "k": [5, 10], "lr": 1e-05, "on": True, "root": None, "t": {"a": 1}}
    assert _toml.dumps(config) == (
        'name = "ä\\n\\u007f"\nk = [5, 10]\nlr = 1e-05\non = true\n\n[t]\na = 1\n'
    )


def test_not_finite_and_path() -> None:
    found = _toml.loads(_toml.dumps({"a": math.inf, "b": math.nan, "p": Path("x/y")}))
    assert found["a"] == math.inf
    assert math.isnan(found["b"])
    assert found["p"] == "x/y"


def test_other_types() -> None:
    with pytest.raises(TypeError, match="no TOML for a set"):
        _toml.dumps({"a": {1}})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"tau = x\n", "not valid TOML: .*line 1"),
        (b"a = 1\na = 2\n", "not valid TOML"),
        (b"\xff", "not valid TOML"),
    ],
)
def test_wrong_files(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "c.toml"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message):
        _toml.load(path)
    with pytest.raises(InputError, match="does not exist"):
        _toml.load(tmp_path / "none.toml")
    with pytest.raises(InputError, match="cannot read"):
        _toml.load(tmp_path)
