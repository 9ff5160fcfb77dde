import pytest
import torch
from bottom_bank import BEHAVIOURS, TARGETS, make_sequences, rows

from pyg_mtrec._errors import InputError
from pyg_mtrec.nn import Bottom


class _Fields(Bottom):
    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)
        self.weight = torch.nn.Parameter(torch.empty(self.out_dim, self.dim))
        self.reset_parameters()

    def forward(self, fields: torch.Tensor, target: torch.Tensor, sequences: dict) -> torch.Tensor:
        self.check(fields, target, sequences)
        return (fields.sum(1) @ self.weight.t()).expand(len(self.targets), -1, -1)


def test_a_bottom_of_ones_own_shares_everything_unless_it_says_otherwise() -> None:
    bottom = _Fields(4, 2, {"cart": "binary", "buy": "binary"}, BEHAVIOURS)
    assert bottom.out_dim == 20 and bottom.targets == TARGETS
    assert bottom.own_parameters() == {"cart": {}, "buy": {}}
    assert list(_Fields(4, 2, ["buy"], BEHAVIOURS).own_parameters()["buy"]) == ["weight"]
    assert torch.equal(bottom.weight, _Fields(4, 2, TARGETS, BEHAVIOURS).weight)
    assert bottom.state_dict()["_extra_state"].equal(bottom.generator.get_state())
    assert repr(bottom) == (
        "_Fields(4, num_fields=2, targets=['cart', 'buy'], behaviours=['views', 'carts', 'buys'])"
    )


def test_bad_arguments_and_input_get_one_line() -> None:
    for kwargs, message in (
        ({"dim": 0}, "'dim' needs to be positive"),
        ({"num_fields": -1}, "'num_fields' needs to be positive.*got -1"),
        ({"targets": {}}, "'targets' needs to hold at least one name.*got none"),
        ({"behaviours": []}, "'behaviours' needs to hold at least one name.*got none"),
    ):
        with pytest.raises(InputError, match=message) as error:
            _Fields(
                **{
                    "dim": 4,
                    "num_fields": 2,
                    "targets": TARGETS,
                    "behaviours": BEHAVIOURS,
                    **kwargs,
                }
            )
        assert "'_Fields'" in str(error.value) and "\n" not in str(error.value)
    bottom = _Fields(4, 2, TARGETS, ["views"])
    sequences = make_sequences(6, 4, {"views": 3})
    with pytest.raises(InputError, match=r"'fields' .*\[B, 2, 4\].*got \[6, 3, 4\]"):
        bottom(rows(6, 3, 4), rows(6, 4), sequences)
    with pytest.raises(InputError, match=r"'target' .*\[6, 4\].*got \[5, 4\]"):
        bottom(rows(6, 2, 4), rows(5, 4), sequences)
    with pytest.raises(InputError, match=r"'sequences' needs to hold 'views'.*got none"):
        bottom(rows(6, 2, 4), rows(6, 4), {})
