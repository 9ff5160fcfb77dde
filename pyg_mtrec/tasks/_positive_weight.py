from torch import Tensor

from pyg_mtrec.loader import Batch


def positive_weight(batch: Batch, like: Tensor) -> Tensor:
    r"""Returns the weights of a batch's pairs, 0 for labelled pairs that are sampled non-links.

    Args:
        batch: The batch.
        like: Rows :math:`[b, d]` whose type and device the weights take.

    Returns:
        Weights :math:`[b]`.
    """
    weight = like.new_ones(like.size(0)) if batch.weight is None else batch.weight.to(like.dtype)
    label = batch.edge_label
    if batch.src_index is None and label is not None and label.numel() == weight.numel():
        weight = weight * (label.view(-1) > 0)
    return weight
