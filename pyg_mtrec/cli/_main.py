"""Arguments in, exit code out: 0 done, 2 wrong input, 1 a fault of ours."""

import contextlib
import os
import sys
import traceback
from collections.abc import Sequence
from importlib import import_module

from pyg_mtrec._errors import InputError
from pyg_mtrec.cli._parser import parse


def main(argv: Sequence[str] | None = None) -> int:
    r"""Runs one command.

    Wrong input (:class:`~pyg_mtrec._errors.InputError`) is one line on standard error.

    Args:
        argv: The arguments after the program's name (default: those of the process).

    Returns:
        The exit code: 0 done, 2 the input was wrong, 130 interrupted, 141 nobody reads the
        output any more, 1 a fault of ours, whose traceback is printed.

    Example:
        >>> from pyg_mtrec.cli import main
        >>> main(["--version"])
        pyg-mtrec ...
        0
    """
    try:
        arguments = parse(sys.argv[1:] if argv is None else argv)
        command = import_module(f"pyg_mtrec.cli._{arguments.command}")
        command.run(arguments)
        sys.stdout.flush()
    except SystemExit as stop:  # argparse has printed --help or --version
        return int(stop.code or 0)
    except InputError as error:
        _complain(f"error: {' '.join(str(error).split())}")
        return 2
    except KeyboardInterrupt as interrupt:
        _complain(str(interrupt) or "interrupted")
        return 130
    except BrokenPipeError:
        _close_output()
        return 141
    except Exception:
        traceback.print_exc()
        _complain("this is a fault of pyg-mtrec, not of your input: please report it")
        return 1
    return 0


def _complain(line: str) -> None:
    print(f"pyg-mtrec: {line}", file=sys.stderr)


def _close_output() -> None:
    # Python flushes on exit and would complain about the pipe a second time
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
