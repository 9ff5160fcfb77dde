import os
import subprocess
import sys
import time
from collections.abc import Callable

import pytest

import pyg_mtrec
from pyg_mtrec._errors import InputError
from pyg_mtrec.cli import _datasets, _doctor
from pyg_mtrec.cli._parser import COMMANDS

Cli = Callable[..., tuple[int, str, str]]


def test_version_and_help(cli: Cli) -> None:
    assert cli("--version") == (0, f"pyg-mtrec {pyg_mtrec.__version__}\n", "")
    assert cli() == cli("--help")
    code, out, err = cli("--help")
    assert (code, err) == (0, "")
    assert all(command in out for command in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_every_command(cli: Cli, command: str) -> None:
    code, out, err = cli(command, "--help")
    assert (code, err) == (0, "")
    assert max(map(len, out.splitlines())) <= 100


@pytest.mark.parametrize(
    "argv", [["--help"], ["train", "--help"], ["train", "--balancer", "pmtrek"], ["--version"]]
)
def test_answers_at_once_and_without_torch(argv: list[str]) -> None:
    code = (
        "import sys; from pyg_mtrec.cli import main; main(sys.argv[1:]);"
        "sys.exit(any(name in sys.modules for name in ('torch', 'numpy', 'pandas', 'matplotlib')))"
    )
    began = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code, *argv], check=False, capture_output=True)
    assert done.returncode == 0
    assert time.perf_counter() - began < 1


@pytest.mark.parametrize(
    ("argv", "line"),
    [
        (["tran"], "unknown command 'tran': did you mean 'train'?"),
        (["train", "--balancr", "sum"], "unknown flag '--balancr': did you mean '--balancer'?"),
        (["train", "--epoch=3"], "unknown flag '--epoch': did you mean '--epochs'?"),
        (["train", "there"], "unexpected argument 'there': see 'pyg-mtrec train --help'"),
        (["train", "--dim", "x"], "argument --dim: needs to be an integer (got 'x')"),
        (["train", "--lr", "x"], "argument --lr: needs to be a number (got 'x')"),
        (["evaluate"], "the following arguments are required: RUN_DIR"),
        (["recommend", "run"], "the following arguments are required: --user"),
    ],
)
def test_wrong_arguments(refused: Callable[..., str], argv: list[str], line: str) -> None:
    assert refused(*argv) == line


def test_faults_of_ours_show_their_traceback(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(arguments: object) -> None:
        raise ZeroDivisionError("deep inside")

    monkeypatch.setattr(_doctor, "run", fail)
    code, _, err = cli("doctor")
    assert code == 1
    assert "ZeroDivisionError: deep inside" in err
    assert err.endswith("please report it\n")


def test_a_message_of_several_lines_becomes_one(
    refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(arguments: object) -> None:
        raise InputError("first\n  second")

    monkeypatch.setattr(_doctor, "run", fail)
    assert refused("doctor") == "first second"


def test_interrupt(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(_datasets, "run", interrupt)
    assert cli("datasets") == (130, "", "pyg-mtrec: interrupted\n")


@pytest.mark.skipif(os.name == "nt", reason="pipes of Unix")
@pytest.mark.parametrize("size", [10, 100_000])  # fails on the last flush, or while printing
def test_a_closed_pipe_is_quiet(size: int) -> None:
    code = (
        "import sys; from pyg_mtrec.cli import _doctor, main;"
        f"_doctor.run = lambda arguments: print('x' * {size}); sys.exit(main(['doctor']))"
    )
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-c", code], stdout=writer, stderr=subprocess.PIPE, check=False
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, b"")


def test_every_flag_of_the_two_stages_has_its_line(cli: Cli) -> None:
    _, text, _ = cli("train", "--help")
    group = text[text.index("two stages:") : text.index("\ntasks:")]
    entries = [" ".join(entry.split()) for entry in ("\n" + group).split("\n  --")[1:]]
    assert [entry.split()[0] for entry in entries] == [
        "finetune",
        "carry",
        "finetune-tasks",
        "pretrain-epochs",
        "pretrain-patience",
        "pretrain-min-delta",
        "pretrain-batch-size",
        "pretrain-lr",
        "pretrain-weight-decay",
    ]
    assert all(len(entry.split()) > 6 and "default: " in entry for entry in entries)
    model = text[text.index("\nmodel:") : text.index("two stages:")]
    for flag in ("--encoder NAME", "--encoder-options NAME=VALUE", "--pretrained FILE.pt"):
        assert flag in model
