"""The command line: ``pyg-mtrec train | evaluate | recommend | compare | datasets | doctor``."""

from pyg_mtrec.cli._main import main

__all__ = ["main"]
