"""Results as JSON, whose numbers read back bit for bit."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pyg_mtrec._errors import InputError


def dumps(results: Mapping[str, Any]) -> str:
    return json.dumps(_finite(results), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def load(path: Path) -> dict[str, Any]:
    try:
        results = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(
            f"'{path}' is missing: the run has not ended, continue it with"
            f" 'pyg-mtrec train --resume --out {path.parent}'"
        ) from error
    except (OSError, ValueError) as error:
        raise InputError(f"'{path}' cannot be read as JSON ({error}): run again") from error
    if not isinstance(results, dict):
        raise InputError(f"'{path}' holds a {type(results).__name__}, not a table: run again")
    return results


def _finite(value: Any) -> Any:
    # JSON has no NaN: a mean over nobody is null
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return value
