import pytest
import torch

from pyg_mtrec._errors import InputError
from pyg_mtrec.nn import Representations


def test_rows_of_any_shape_and_their_gradients() -> None:
    x = torch.randn(5, 3, dtype=torch.float64, requires_grad=True)
    for index in (torch.tensor(2), torch.tensor([4, 0, 4]), torch.tensor([[1, 1], [0, 3]])):
        rows = Representations({"user": x}).rows("user", index)
        assert torch.equal(rows, x[index])
        grad = torch.randn_like(rows)
        expected = torch.zeros(5, 3, dtype=torch.float64)
        for i, g in zip(index.reshape(-1).tolist(), grad.reshape(-1, 3), strict=True):
            expected[i] += g
        torch.testing.assert_close(torch.autograd.grad(rows, x, grad)[0], expected)
    assert Representations({"user": x}).rows("user", torch.empty(0, 2).long()).shape == (0, 2, 3)


def test_a_view_stands_in_for_its_task_and_node_type_only() -> None:
    x_dict = {"user": torch.zeros(2, 1), "item": torch.ones(2, 1)}
    both = Representations(x_dict, {"social": {"user": torch.full((2, 1), 7.0)}})
    index = torch.tensor([1])
    assert float(both.rows("user", index, "social")) == 7
    assert float(both.rows("item", index, "social")) == 1
    assert float(both.rows("user", index, "bpr")) == 0
    assert float(both.rows("user", index)) == 0
    with pytest.raises(InputError, match=r"node type 'brand' \(there are those of user, item\)"):
        both.rows("brand", index)
