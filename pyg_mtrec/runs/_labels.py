"""How metrics and arms are written where people read them."""

import math

_SPELLING = {
    "ndcg": "NDCG",
    "mrr": "MRR",
    "map": "MAP",
    "auc": "AUC",
    "hit_ratio": "HitRatio",
    "rmse": "RMSE",
    "mae": "MAE",
    "r2": "R²",
    "nrmse_std": "NRMSE (std)",
    "nrmse_mean": "NRMSE (mean)",
    "nrmse_range": "NRMSE (range)",
    "nmae_std": "NMAE (std)",
    "nmae_mean": "NMAE (mean)",
    "nmae_range": "NMAE (range)",
}

_ARMS = {"ease": "EASE", "item-knn": "ItemKNN", "pmtrec": "PMTRec"}


def arm_label(arm: str) -> str:
    r"""Returns ``PMTRec`` for ``pmtrec``; other arms are called what they are called."""
    rule, space, rest = arm.partition(" ")  # as in "pmtrec pretraining"
    return _ARMS.get(rule, rule) + space + rest


def is_ln2(guess: float | None) -> bool:
    r"""Returns whether a guess costs what it costs where two are to be told apart."""
    return guess is not None and math.isclose(guess, math.log(2), rel_tol=0.01)


def metric_label(metric: str) -> str:
    r"""Returns ``NDCG@20`` for ``ndcg@20`` and ``click: AUC`` for ``click/auc``."""
    target, slash, rest = metric.rpartition("/")
    name, at, cut_off = rest.partition("@")
    name = _SPELLING.get(name, name.replace("_", " ").capitalize())
    return f"{target}{': ' if slash else ''}{name}{at}{cut_off}"
