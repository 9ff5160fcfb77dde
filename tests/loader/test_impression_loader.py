import math

import pytest
import torch
from bank import MAIN
from hypothesis import given
from hypothesis import strategies as st
from impression_bank import impressions
from no_sync import NoSync

from pyg_mtrec._errors import InputError
from pyg_mtrec.datasets import KuaiRandSlice
from pyg_mtrec.loader import ImpressionLoader
from pyg_mtrec.transforms import SplitImpressions


def split(**arguments):
    return SplitImpressions("random", (0.6, 0.2, 0.2))(impressions(**arguments))


def text(values):
    """NaN made comparable."""
    return [str(value) for value in values]


@given(
    num_rows=st.integers(20, 60),
    batch_size=st.integers(1, 50),
    seed=st.integers(0, 10**6),
    shuffle=st.booleans(),
    sides=st.sets(st.sampled_from(["user", "item", "context"])),
)
def test_batches_equal_a_plain_loop(num_rows, batch_size, seed, shuffle, sides):
    data = impressions(num_rows, seed=seed)
    stores = {"user": data["user"], "item": data["item"], "context": data[MAIN]}
    for side in stores.keys() - sides:
        for name in ("categorical", "numeric"):
            del stores[side][name], stores[side][f"{name}_names"]
    try:
        train = SplitImpressions("random", (0.6, 0.2, 0.2))(data)[0]
    except InputError:
        return
    store = train[MAIN]
    generator = torch.Generator().manual_seed(seed)
    loader = ImpressionLoader(train, batch_size, generator, shuffle)
    batches = list(loader)
    size = store.edge_label.size(0)
    assert len(batches) == len(loader) == math.ceil(size / batch_size)
    assert [batch.size for batch in batches[:-1]] == [batch_size] * (len(batches) - 1)
    index = torch.cat([batch.index for batch in batches]).tolist()
    assert sorted(index) == list(range(size))
    again = torch.Generator().manual_seed(seed)
    want = torch.randperm(size, generator=again).tolist() if shuffle else list(range(size))
    assert index == want

    names = {"categorical": [], "numeric": []}
    own = {"categorical": ["city", "job"], "numeric": ["age", "height"]}
    for kind, listed in names.items():
        if "user" in sides:
            listed += [f"user.{name}" for name in own[kind]]
        listed += ["item." + {"categorical": "kind", "numeric": "age"}[kind]] * ("item" in sides)
        listed += [{"categorical": "kind", "numeric": "age"}[kind]] * ("context" in sides)
    assert loader.categorical_names == names["categorical"]
    assert loader.numeric_names == names["numeric"]
    for batch in batches:
        for place, row in enumerate(batch.index.tolist()):
            user, item = store.edge_label_index[:, row].tolist()
            assert (batch.user[place].item(), batch.item[place].item()) == (user, item)
            assert text(batch.label[place].tolist()) == text(store.edge_label[row].tolist())
            assert batch.time[place] == store.edge_label_time[row]
            for kind in ("categorical", "numeric"):
                found = getattr(batch, kind)
                values = []
                if "user" in sides:
                    values += train["user"][kind][user].tolist()
                if "item" in sides:
                    values += train["item"][kind][item].tolist()
                if "context" in sides:
                    values += store[f"edge_label_{kind}"][row].tolist()
                assert (found is None) == (not sides)
                if found is not None:
                    assert text(found[place].tolist()) == text(values)


def test_whole_reads_rows_in_order():
    test = split(num_rows=50)[2]
    loader = ImpressionLoader(test, batch_size=4)
    store = test[MAIN]
    everything = loader.whole()
    assert torch.equal(everything.index, torch.arange(10))
    assert torch.equal(torch.stack([everything.user, everything.item]), store.edge_label_index)
    parts = [loader.whole(start, start + 4) for start in range(0, 10, 4)]
    assert [part.size for part in parts] == [4, 4, 2]
    joined = torch.cat([part.categorical for part in parts])
    assert torch.equal(joined, everything.categorical)
    assert loader.whole(10).size == loader.whole(3, 3).size == loader.whole(5, 2).size == 0


def test_a_resumed_loader_goes_on_as_the_first():
    train = split(num_rows=60)[0]
    first = ImpressionLoader(train, 7)
    list(first)
    state = {name: value.clone() for name, value in first.state_dict().items()}
    following = [batch.index.tolist() for _ in range(2) for batch in first]
    resumed = ImpressionLoader(train, 7, torch.Generator().manual_seed(5))
    resumed.load_state_dict(state)
    assert [batch.index.tolist() for _ in range(2) for batch in resumed] == following
    assert following[:6] != following[6:]


def test_epochs_never_wait_for_the_device():
    loader = ImpressionLoader(split(num_rows=60)[0], batch_size=8)
    with NoSync():
        assert sum(batch.size for batch in loader) == 36
        loader.whole(3, 9)


def test_targets_and_repr():
    loader = ImpressionLoader(split(num_rows=40)[0], batch_size=10)
    assert loader.target_names == ["click", "buy", "amount"]
    assert loader.target_kinds == ["binary", "binary", "continuous"]
    assert repr(loader) == "ImpressionLoader(['click', 'buy', 'amount'], batch_size=10, steps=3)"


def test_an_empty_part_has_no_batches():
    test = SplitImpressions(fractions=(0.5, 0.5, 0.0))(impressions(40))[2]
    loader = ImpressionLoader(test)
    assert len(loader) == 0 and list(loader) == [] and loader.whole().label.shape == (0, 3)


def test_real_slice(real_root):
    data = KuaiRandSlice(real_root("kuairand_slice"))[0]
    train = SplitImpressions()(data)[0]
    loader = ImpressionLoader(train, batch_size=4096)
    assert loader.categorical_names == ["hour", "weekday"]
    assert loader.numeric_names == ["item.duration"]
    total = torch.zeros(3, dtype=torch.float64)
    for batch in loader:
        assert torch.equal(batch.numeric[:, 0].isnan(), data["item"].numeric[batch.item, 0].isnan())
        total += batch.label.double().sum(0)
    assert torch.allclose(total, train[MAIN].edge_label.double().sum(0))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: data[MAIN].pop("edge_label"), "has no 'edge_label' for 'ImpressionLoader'"),
        (
            lambda data: data[MAIN].update({"edge_label": torch.ones(24, 2)}),
            r"needs the shape \[24, 3\]",
        ),
        (
            lambda data: data["user"].update({"categorical": torch.ones(5, 2)}),
            "'categorical' of user needs to be int64",
        ),
        (
            lambda data: data["item"].update({"numeric": torch.ones(6, 1)}),
            r"'numeric' of item needs to be float32 of shape \[7, 1\].*got \[6, 1\]",
        ),
        (
            lambda data: data[MAIN].update({"numeric_names": []}),
            "'edge_label_numeric' of the impressions needs",
        ),
    ],
)
def test_bad_graphs(change, message):
    train = split(num_rows=40)[0]
    change(train)
    with pytest.raises(InputError, match=message):
        ImpressionLoader(train)


def test_bad_batch_size():
    with pytest.raises(InputError, match="'batch_size' needs to be positive"):
        ImpressionLoader(split()[0], batch_size=0)
