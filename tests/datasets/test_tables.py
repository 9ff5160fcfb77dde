import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyg_mtrec._errors import InputError
from pyg_mtrec.datasets._tables import Table


def write(tmp_path, text):
    path = tmp_path / "table.tsv"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def fails(path, match, read=lambda table: None, **kwargs):
    with pytest.raises(InputError, match=match) as info:
        read(Table(path, ("user", "item"), **kwargs))
    assert "\n" not in str(info.value)
    assert str(path) in str(info.value)


@given(st.lists(st.tuples(st.integers(0, 2**53), st.integers(0, 9)), min_size=1, max_size=30))
def test_integers_come_back(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("table") / "table.tsv"
    for end in ("\n", "\r\n"):
        for header in (True, False):
            lines = ["user\titem"] * header + [f"{user}\t{item}" for user, item in rows]
            path.write_bytes(end.join([*lines, ""]).encode())
            table = Table(path, ("user", "item"), header)
            assert table.integers("user").tolist() == [user for user, _ in rows]
            assert table.integers("item").tolist() == [item for _, item in rows]
            assert table.integers("item").dtype == np.int64


def test_missing_cells_and_notations(tmp_path):
    path = write(tmp_path, "user\titem\n1\t\n2\t3.2466e+05\n3\t7.0\n")
    table = Table(path, ("user", "item"))
    assert table.integers("item", missing=-1).tolist() == [-1, 324660, 7]
    assert table.strings("item") == ["", "3.2466e+05", "7.0"]


def test_lists(tmp_path):
    path = write(tmp_path, "user\titem\n1\t5 6\n2\t\n3\t7\n")
    row, value = Table(path, ("user", "item")).id_lists("item")
    assert row.tolist() == [0, 0, 2]
    assert value.tolist() == [5, 6, 7]
    path = write(tmp_path, "user\titem\n1\t\n")
    assert [len(part) for part in Table(path, ("user", "item")).id_lists("item")] == [0, 0]
    path = write(tmp_path, "user\titem\n1\t5 6\n2\t5 x 6\n")
    fails(
        path,
        r"line 3: 'item' needs to be a list of integers >= 0 \(got '5 x 6'\)",
        lambda table: table.id_lists("item"),
    )


@pytest.mark.parametrize("cell", ["-1", "nan", "", "1.5", "x", "inf", "1e300", "NA", str(2**60)])
def test_bad_cells_name_their_line(tmp_path, cell):
    path = write(tmp_path, f"user\titem\n1\t2\n{cell}\t3\n{cell}\t4\n")
    fails(
        path,
        rf"line 3: 'user' needs to be an integer >= 0 \(got '{cell}'\)",
        lambda table: table.integers("user"),
    )
    path = write(tmp_path, f"1\t2\n{cell}\t3\n")
    fails(path, "line 2: 'user' needs", lambda table: table.integers("user"), header=False)


@pytest.mark.parametrize("cell", ["-1", "nan", "", "x", "inf"])
def test_bad_numbers(tmp_path, cell):
    path = write(tmp_path, f"user\titem\n1\t{cell}\n")
    fails(path, "line 2: 'item' needs to be a number >= 0", lambda table: table.floats("item"))


def test_bad_files(tmp_path):
    fails(write(tmp_path, ""), "is empty")
    fails(write(tmp_path, "user\titem\n"), "has no rows")
    fails(write(tmp_path, "item\tuser\n1\t2\n"), r"needs the columns user, item \(got item, user\)")
    fails(write(tmp_path, "user,item\n1,2\n"), "needs the columns user, item")
    fails(
        write(tmp_path, "1\t2\t3\n"),
        r"needs the columns user, item \(got 3 columns\)",
        header=False,
    )
    fails(write(tmp_path, "user\titem\n1\t2\n1\t2\t3\n"), "unequal length .*line 3")
    fails(write(tmp_path, b"user\titem\n\xff\xfe\t2\n"), "cannot be read as text")
    fails(tmp_path / "absent.tsv", "cannot be read as text")
    # cut off in the middle of a row
    fails(
        write(tmp_path, "user\titem\n1\t2\n3"),
        "line 3: 'item' needs to be an integer",
        lambda table: table.integers("item"),
    )
    fails(
        write(tmp_path, "user\titem\n\n1\t2\n"),
        "line 2: 'user' needs to be an integer",
        lambda table: table.integers("user"),
    )
