from collections.abc import Callable

import pytest
import torch

from pyg_mtrec.cli import _doctor

Cli = Callable[..., tuple[int, str, str]]


def test_versions_extras_device(cli: Cli) -> None:
    code, text, err = cli("doctor")
    assert (code, err) == (0, "")
    lines = [line.split() for line in text.splitlines()]
    (found,) = [line[1] for line in lines if line[:1] == ["torch"]]
    assert torch.__version__.startswith(found)  # "+cu130" is not always in the metadata
    assert ["threads", str(torch.get_num_threads())] in lines
    assert all(any(line[:1] == [extra] for line in lines) for extra in _doctor._EXTRAS)


def test_what_is_missing_has_its_pip_line(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    found = _doctor._version
    monkeypatch.setattr(
        _doctor, "_version", lambda name: None if name in ("wandb", "scipy") else found(name)
    )
    code, text, err = cli("doctor")
    assert code == 2
    assert "pip install 'pyg-mtrec[wandb]'" in text
    assert err == "pyg-mtrec: error: packages are missing: pip install scipy\n"
