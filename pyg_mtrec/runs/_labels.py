"""How metrics and arms are written where people read them."""

_SPELLING = {
    "ndcg": "NDCG",
    "mrr": "MRR",
    "map": "MAP",
    "auc": "AUC",
    "hit_ratio": "HitRatio",
}

_ARMS = {"ease": "EASE", "item-knn": "ItemKNN", "pmtrec": "PMTRec"}


def arm_label(arm: str) -> str:
    r"""Returns ``PMTRec`` for ``pmtrec``; other arms are called what they are called."""
    return _ARMS.get(arm, arm)


def metric_label(metric: str) -> str:
    r"""Returns ``NDCG@20`` for ``ndcg@20``."""
    name, at, cut_off = metric.partition("@")
    return _SPELLING.get(name, name.replace("_", " ").capitalize()) + at + cut_off
