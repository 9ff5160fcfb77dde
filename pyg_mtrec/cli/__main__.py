"""``python -m pyg_mtrec.cli`` is ``pyg-mtrec``."""

import sys

from pyg_mtrec.cli import main

sys.exit(main())
