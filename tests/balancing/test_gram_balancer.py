import numpy as np
import pytest
import torch
from gradient_bank import BANK, task_gradients, whole
from hypothesis import given
from torch import Tensor

from pyg_mtrec._errors import InputError
from pyg_mtrec.balancing import GramBalancer
from pyg_mtrec.gradients import RowGradients, TaskGradients


class Agreement(GramBalancer):
    """Any weights that mix the entries of the matrix and care about its scale and order."""

    def weights(self, gram: Tensor) -> Tensor:
        position = torch.arange(1, gram.size(-1) + 1, dtype=gram.dtype)
        return (gram / (1 + gram.abs())).sum(dim=-1) + position


def by_hand(vectors: np.ndarray) -> np.ndarray:
    """The weights of a [T, n] matrix and its weighted sum, entry by entry."""
    out = np.zeros(vectors.shape[1])
    for s in range(len(vectors)):
        weight = s + 1.0
        for t in range(len(vectors)):
            product = float((vectors[s] * vectors[t]).sum())
            weight += product / (1 + abs(product))
        out += weight * vectors[s]
    return out


@given(BANK)
def test_table_scope_sees_one_matrix(grads: Tensor) -> None:
    out = Agreement()(grads).flatten().numpy()
    scale = float(grads.abs().max()) if grads.numel() else 1.0
    want = by_hand(grads.flatten(1).numpy())
    np.testing.assert_allclose(out, want, rtol=1e-9, atol=1e-9 * scale)


@given(BANK)
def test_row_scope_is_the_loop_over_rows(grads: Tensor) -> None:
    out = Agreement(scope="row")(grads).numpy()
    table = Agreement()
    for row in range(grads.size(1)):
        scale = float(grads[:, row].abs().max())
        want = by_hand(grads[:, row].numpy())
        np.testing.assert_allclose(out[row], want, rtol=1e-9, atol=1e-9 * scale)
        alone = table(grads[:, row : row + 1])[0].numpy()  # the row as a table of its own
        np.testing.assert_allclose(out[row], alone, rtol=1e-9, atol=1e-9 * scale)
        if scale == 0:
            assert not out[row].any()


def test_table_scope_takes_tables_and_dense_parameters_together() -> None:
    given_ = task_gradients(seed=0)
    update = Agreement().update(given_, epoch=1)
    blocks = [*update.rows.values(), *update.dense.values()]
    found = torch.cat([block.flatten() for block in blocks]).numpy()
    np.testing.assert_allclose(found, by_hand(whole(given_).numpy()), rtol=1e-12)
    assert update.own is given_.own


def test_row_scope_takes_dense_parameters_as_one_more_vector() -> None:
    given_ = task_gradients(seed=1)
    update = Agreement("row").update(given_, epoch=1)
    for name, rows in given_.rows.items():
        for row in range(rows.grads.size(1)):
            want = by_hand(rows.grads[:, row].numpy())
            np.testing.assert_allclose(update.rows[name][row].numpy(), want, rtol=1e-12)
    dense = torch.cat([grads.flatten(1) for grads in given_.dense.values()], dim=1)
    found = torch.cat([grad.flatten() for grad in update.dense.values()])
    np.testing.assert_allclose(found.numpy(), by_hand(dense.numpy()), rtol=1e-12)
    tables = TaskGradients(given_.losses, given_.rows)
    assert Agreement("row").update(tables, epoch=1).dense == {}


@pytest.mark.parametrize("scope", ["table", "row"])
def test_ranks_that_hold_columns_agree(scope: str) -> None:
    grads = task_gradients(seed=2).rows["item"].grads
    rule = Agreement(scope)  # type: ignore[arg-type]
    want = rule(grads)

    def add(gram: Tensor) -> Tensor:
        other = grads[..., 1:]
        if scope == "row":
            return gram + torch.einsum("srd,trd->rst", other, other)
        return gram + torch.einsum("srd,trd->st", other, other)

    left = RowGradients(None, grads[..., :1])
    part = rule.update(TaskGradients(torch.zeros(3), {"item": left}, reduce=add), epoch=1)
    torch.testing.assert_close(part.rows["item"], want[:, :1], rtol=1e-12, atol=0)


def test_float32_gradients_get_float64_weights_and_stay_float32() -> None:
    seen = []

    class Watch(GramBalancer):
        def weights(self, gram: Tensor) -> Tensor:
            seen.append((gram.dtype, gram.shape))
            return gram.new_ones(gram.shape[:-1])

    grads = task_gradients(seed=3).rows["user"].grads.float()
    for scope in ("table", "row"):
        out = Watch(scope)(grads)  # type: ignore[arg-type]
        torch.testing.assert_close(out, grads.sum(dim=0))
    assert seen == [(torch.float64, (3, 3)), (torch.float64, (3, 3, 3))]


def test_scope() -> None:
    with pytest.raises(
        InputError, match=r"'scope' needs to be 'table' or 'row' in 'Agreement' \(g"
    ):
        Agreement("column")  # type: ignore[arg-type]
    assert repr(Agreement("row")) == "Agreement(scope='row')"
    assert GramBalancer.needs == "gram"
