from typing import Any

from pyg_mtrec._errors import InputError
from pyg_mtrec.metrics import DotProductScorer
from pyg_mtrec.runs import RunDirectory
from pyg_mtrec.training._data import load_data
from pyg_mtrec.training.experiment import evaluator
from pyg_mtrec.training.settings import Settings


def evaluate_run(run: RunDirectory, root: str | None = None) -> dict[str, Any]:
    r"""Ranks the test set of a finished run again, from its saved representations.

    Args:
        run: The run.
        root: The folder of the data sets, if it has moved since.

    Returns:
        ``test`` and ``buckets`` as measured now, and ``recorded``, what ``results.json`` holds.

    Raises:
        InputError: If the run is not complete or the raw files are not those it was trained on.
    """
    settings = Settings(**run.read_config())
    if root is not None:
        settings.root = root
    recorded = run.read_results()
    model = run.load_tensors("model")
    data = load_data(settings)
    if data.provenance["sha256"] != recorded["dataset"]["sha256"]:
        raise InputError(
            f"the raw files under '{settings.root}' are not those of the run (SHA-256 differ):"
            " pass '--root' of the folder that it was trained on"
        )
    result = evaluator(settings, data, "test")(DotProductScorer(model["user_x"], model["item_x"]))
    return {"test": result.metrics, "buckets": result.buckets, "recorded": recorded["test"]}
