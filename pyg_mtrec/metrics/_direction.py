"""Which way a metric is better."""

_SMALLER = ("log_loss", "calibration_error", "rmse", "mae", "nrmse", "nmae")


def is_smaller_better(name: str) -> bool:
    """Returns whether a smaller value is better; of ranking metrics and unknown ones it is not.

    Args:
        name: A metric with or without its target, such as ``"watch_time/nrmse_std"``, ``"auc"`` or
            ``"recall@20"``.
    """
    metric = name.rpartition("/")[2]
    for normalizer in ("_std", "_mean", "_range"):
        metric = metric.removesuffix(normalizer)
    return metric in _SMALLER
