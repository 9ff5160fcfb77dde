"""No held-out pair is known too early: on every data set, and the check itself has teeth."""

from collections.abc import Callable

import pytest
import torch
from bank import MAIN, REVERSE, TRUSTS, VIEWS, graphs
from torch_geometric.data import HeteroData

from pyg_mtrec import datasets
from pyg_mtrec.transforms import NormalizedAdjacency, SplitInteractions
from pyg_mtrec.transforms._leak import assert_no_leak

Splits = tuple[HeteroData, HeteroData, HeteroData]


def no_pair_twice(splits: Splits) -> None:
    """The same promise once more, written another way."""
    train, val, test = splits
    size = train["item"].num_nodes
    held = torch.cat(
        [
            part[MAIN].edge_label_index[0] * size + part[MAIN].edge_label_index[1]
            for part in (val, test)
        ]
    )
    assert held.unique().numel() == held.numel()
    for part in splits:
        for edge_type in part.edge_types:
            if {edge_type[0], edge_type[2]} == {"user", "item"}:
                src, dst = part[edge_type].edge_index
                user, item = (src, dst) if edge_type[0] == "user" else (dst, src)
                assert not torch.isin(user * size + item, held).any(), edge_type


@pytest.mark.parametrize("class_name", [n for n in datasets.__all__ if n != "from_tables"])
def test_no_leak_on_any_data_set(class_name: str, real_root) -> None:
    cls = getattr(datasets, class_name)
    data = cls()[0] if class_name == "Planted" else cls(real_root(cls.name))[0]
    store = data[MAIN]
    # The same interactions as other behaviours and in reverse, so that there is what may leak.
    data[VIEWS].edge_index = store.edge_index
    data[REVERSE].edge_index = store.edge_index.flip(0)
    strategies = ["random", "per-user"]
    strategies += ["time", "leave-last-out"] if "time" in store else []
    strategies += ["given"] if "split" in store else []
    if store.num_edges < 3 * store.edge_index[0].unique().numel():  # hardly anything to hold out
        strategies.remove("per-user")
        if "split" in store:
            halves = SplitInteractions("given", val_from="test-users")(data)
            no_pair_twice(halves)
            assert_no_leak(*halves)
    for strategy in strategies:
        splits = SplitInteractions(strategy)(data)
        report = splits[0].split_report
        repeats = report["duplicates_dropped"]  # only logs of impressions repeat pairs
        assert repeats == 0 or "target" in store
        assert min(report["train"], report["val"], report["test"]) > 0
        assert report["train"] + report["val"] + report["test"] == store.num_edges - repeats
        no_pair_twice(splits)
        assert_no_leak(*map(NormalizedAdjacency(), splits))
        if strategy == "given":
            published = store.edge_index[:, store.split == 2]
            assert torch.equal(splits[2][MAIN].edge_label_index, published)


def _split() -> Splits:
    return SplitInteractions()(graphs()["behaviours"])


def _by_users() -> Splits:
    """Validation and test of different users."""
    data = graphs()["behaviours"]
    data[MAIN].split = torch.arange(data[MAIN].num_edges).remainder(2).mul(2).to(torch.int8)
    return SplitInteractions("given", val_from="test-users")(data)


def _message(splits: Splits) -> None:
    store = splits[0][MAIN]
    store.edge_index = torch.cat([store.edge_index, splits[1][MAIN].edge_label_index[:, :1]], 1)


def _test_message_of_validation(splits: Splits) -> None:
    store = splits[2][MAIN]
    store.edge_index = torch.cat([store.edge_index, splits[1][MAIN].edge_label_index[:, :1]], 1)


def _view(splits: Splits) -> None:
    splits[1][VIEWS].edge_index = splits[2][MAIN].edge_label_index[:, 2:3]


def _reverse(splits: Splits) -> None:
    splits[1][REVERSE].edge_index = splits[2][MAIN].edge_label_index[:, 2:3].flip(0)


def _new_relation(splits: Splits) -> None:
    splits[0]["item", "bought_by", "user"].edge_index = splits[1][MAIN].edge_label_index.flip(0)


def _adjacency(splits: Splits) -> None:
    data = graphs()["behaviours"]
    splits[0][MAIN].adj_t = NormalizedAdjacency()(data)[MAIN].adj_t


def _reverse_adjacency(splits: Splits) -> None:
    data = graphs()["behaviours"]
    splits[2][REVERSE].adj = NormalizedAdjacency()(data)[REVERSE].adj


def _common_label(splits: Splits) -> None:
    splits[2][MAIN].edge_label_index[:, 0] = splits[1][MAIN].edge_label_index[:, 0]


def _label_in_training(splits: Splits) -> None:
    splits[1][MAIN].edge_label_index[:, 0] = splits[0][MAIN].edge_label_index[:, 0]


def _masks_its_own_label(splits: Splits) -> None:
    splits[2][MAIN].seen_edge_index = splits[2][MAIN].edge_label_index


def _forgets_to_mask(splits: Splits) -> None:
    splits[2][MAIN].seen_edge_index = splits[0][MAIN].seen_edge_index


@pytest.mark.parametrize(
    "spoil",
    [
        _message,
        _test_message_of_validation,
        _view,
        _reverse,
        _new_relation,
        _adjacency,
        _reverse_adjacency,
        _common_label,
        _label_in_training,
        _masks_its_own_label,
        _forgets_to_mask,
    ],
)
@pytest.mark.parametrize("make", [_split, _by_users])
def test_the_check_has_teeth(spoil: Callable[[Splits], None], make: Callable[[], Splits]) -> None:
    splits = make()
    assert_no_leak(*splits)
    spoil(splits)
    with pytest.raises(AssertionError):
        assert_no_leak(*splits)


def test_relations_within_a_node_type_are_no_leak() -> None:
    splits = SplitInteractions()(graphs()["plain"])
    splits[0][TRUSTS].edge_index = splits[1][MAIN].edge_label_index.clamp(max=7)
    assert_no_leak(*splits)


def test_validation_messages_are_allowed_at_test_time_only() -> None:
    splits = SplitInteractions(message_edges="train+val")(graphs()["behaviours"])
    assert_no_leak(*splits, message_edges="train+val")
    with pytest.raises(AssertionError, match=r"held-out pairs in 'edge_index' of .* in test"):
        assert_no_leak(*splits)
