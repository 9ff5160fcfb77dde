from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, softplus

from pyg_mtrec._errors import InputError
from pyg_mtrec.loader import Batch, FullBatch
from pyg_mtrec.nn.encoders import Representations
from pyg_mtrec.tasks._full_losses import full_ranking_loss

LOSSES = ("bpr", "bce")


def check_loss(loss: str, owner: str) -> str:
    r"""Returns the loss's name, or says which there are."""
    if loss not in LOSSES:
        raise InputError(f"'loss' needs to be one of {LOSSES} in {owner!r} (got {loss!r})")
    return loss


def weighted_mean(losses: Tensor, batch: Batch, weight: Tensor | None = None) -> Tensor:
    r"""Sums weighted losses :math:`[b]` and divides by the nominal batch size."""
    for factor in (batch.weight, weight):
        if factor is not None:
            losses = losses * factor.to(losses.dtype)
    return losses.sum() / batch.size


def as_columns(negatives: Tensor) -> Tensor:
    r"""Returns negatives :math:`[b]` or :math:`[b, m]` as :math:`[b, m]`."""
    return negatives if negatives.dim() == 2 else negatives[:, None]


def triplet_scores(
    batch: Batch, representations: Representations, view: str | None
) -> tuple[Tensor, Tensor]:
    r"""Returns scores of positives :math:`[b, 1]` and of negatives :math:`[b, m]`."""
    if batch.src_index is None or batch.dst_pos_index is None or batch.dst_neg_index is None:
        raise InputError(
            f"a pairwise loss over {tuple(batch.edge_type)} needs triplets, but the batch holds no"
            " 'dst_neg_index': sample negatives (neg_sampling='triplet' in PyG's loaders)"
        )
    src_type, _, dst_type = batch.edge_type
    negatives = as_columns(batch.dst_neg_index)  # [b, m]
    src = representations.rows(src_type, batch.src_index, task=view)  # [b, d]
    pos = representations.rows(dst_type, batch.dst_pos_index, task=view)  # [b, d]
    neg = representations.rows(dst_type, negatives, task=view)  # [b, m, d]
    return (src * pos).sum(dim=-1, keepdim=True), (src[:, None] * neg).sum(dim=-1)


def pair_scores(batch: Batch, representations: Representations, view: str | None) -> Tensor:
    r"""Returns the scores :math:`[b]` of the labelled pairs."""
    src, dst = batch.pairs()
    rows = representations.rows(batch.edge_type[0], src, task=view)
    return (rows * representations.rows(batch.edge_type[2], dst, task=view)).sum(dim=-1)


def bpr_loss(batch: Batch, representations: Representations, view: str | None) -> Tensor:
    r"""Bayesian personalised ranking, the mean over a positive's negatives."""
    if isinstance(batch, FullBatch) and batch.dst_neg_index is not None:
        src_type, _, dst_type = batch.edge_type
        return full_ranking_loss(
            representations.matrix(src_type, view), representations.matrix(dst_type, view), batch
        )
    pos, neg = triplet_scores(batch, representations, view)
    return weighted_mean(softplus(neg - pos).mean(dim=1), batch)


def bce_loss(batch: Batch, representations: Representations, view: str | None) -> Tensor:
    r"""Cross-entropy of triplets (positives and negatives at equal parts) or of labelled pairs."""
    if batch.src_index is not None:
        pos, neg = triplet_scores(batch, representations, view)
        return weighted_mean((softplus(-pos)[:, 0] + softplus(neg).mean(dim=1)) / 2, batch)
    logit = pair_scores(batch, representations, view)
    label, known = labels_of(batch, logit)
    return weighted_mean(
        binary_cross_entropy_with_logits(logit, label, reduction="none"), batch, known
    )


def labels_of(batch: Batch, like: Tensor) -> tuple[Tensor, Tensor]:
    r"""Returns labels :math:`[b]`, 0 where there is none, and 1 where there is one, else 0."""
    if batch.edge_label is None or batch.edge_label.numel() != like.numel():
        found = "none" if batch.edge_label is None else f"shape {list(batch.edge_label.shape)}"
        raise InputError(
            f"a loss over labelled pairs of {tuple(batch.edge_type)} needs one 'edge_label' a pair"
            f" (found {found})"
        )
    label = batch.edge_label.view(-1).to(like.dtype)
    return label.nan_to_num(nan=0.0), (~label.isnan()).to(like.dtype)
