import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from pyg_mtrec._errors import InputError
from pyg_mtrec.datasets._raw_ids import decode
from pyg_mtrec.nn import NodeEmbedding
from pyg_mtrec.runs import RunDirectory, _tensors
from pyg_mtrec.training import Settings, run_experiment
from pyg_mtrec.training._data import SplitData, load_data
from pyg_mtrec.training._pretrained import load_pretrained, pretrained_state

Tiny = Callable[..., Settings]


def tables(data: SplitData, dim: int = 4, seed: int = 0) -> NodeEmbedding:
    return NodeEmbedding.from_data(data.train, dim, seed=seed)


def save(path: Path, data: SplitData, **changes: Any) -> str:
    """A file whose rows hold numbers that only their raw ids decide."""
    embedding = tables(data)
    with torch.no_grad():
        for name, weight in embedding.weight_dict.items():
            weight.copy_(signs(data, name))
    x_dict = {name: -weight for name, weight in embedding.weight_dict.items()}
    state = {**pretrained_state(embedding, x_dict, data), **changes}
    _tensors.save(path, state)
    return str(path)


def signs(data: SplitData, node_type: str) -> torch.Tensor:
    names = decode(data.train, node_type, torch.arange(data.train[node_type].num_nodes))
    digits = [int("".join(filter(str.isdigit, str(name)))) for name in names]
    return torch.tensor([[d, d + 0.25, d + 0.5, d + 0.75] for d in digits])


@pytest.mark.parametrize("carry", ["tables", "representations"])
@pytest.mark.parametrize("names", ["{}", "x{:03d}"])
def test_rows_are_found_by_raw_id(tiny: Tiny, tmp_path: Path, names: str, carry: str) -> None:
    first = load_data(tiny(names))
    path = save(tmp_path / "p.pt", first)
    # Another file of other pairs, and another seed: other tables of strings, other node ids.
    second = load_data(tiny(names, draw=1, seed=5))
    embedding = tables(second, seed=9)
    before = {name: weight.detach().clone() for name, weight in embedding.weight_dict.items()}
    found = load_pretrained(path, embedding, second, carry)
    sign = 1 if carry == "tables" else -1
    assert (found["dataset"], found["same_data"]) == ("mine", False)
    for name, weight in embedding.weight_dict.items():
        known = set(decode(first.train, name, torch.arange(first.train[name].num_nodes)))
        ours = decode(second.train, name, torch.arange(second.train[name].num_nodes))
        is_known = torch.tensor([raw in known for raw in ours])
        assert torch.equal(weight[is_known], sign * signs(second, name)[is_known])
        assert torch.equal(weight[~is_known], before[name][~is_known])
        assert found["rows"][name] == int(is_known.sum()) > 0
    order = [decode(data.train, "user", torch.arange(9)) for data in (first, second)]
    assert order[0] != order[1]


def test_nodes_that_the_file_lacks_keep_their_rows(tiny: Tiny, tmp_path: Path) -> None:
    data = load_data(tiny())
    whole = torch.load(save(tmp_path / "whole.pt", data), weights_only=True)
    keep = torch.arange(0, data.train["user"].num_nodes, 3)
    weight = {"user": whole["weight"]["user"][keep]}  # no table of items at all
    raw_id = {"user": whole["raw_id"]["user"][keep]}
    path = save(tmp_path / "part.pt", data, weight=weight, raw_id=raw_id)
    embedding = tables(data, seed=2)
    before = {name: weight.detach().clone() for name, weight in embedding.weight_dict.items()}
    assert load_pretrained(path, embedding, data)["rows"] == {"user": keep.numel()}
    rest = torch.ones(len(before["user"]), dtype=torch.bool)
    rest[keep] = False
    user = embedding.weight_dict["user"]
    assert torch.equal(user[keep], signs(data, "user")[keep])
    assert torch.equal(user[rest], before["user"][rest])
    assert torch.equal(embedding.weight_dict["item"], before["item"])


def test_integers_and_strings_meet_as_text(tiny: Tiny, tmp_path: Path) -> None:
    numbers = load_data(tiny())
    path = save(tmp_path / "p.pt", numbers)
    words = load_data(tiny("{}x"))  # u3x is nobody's raw id among the integers
    with pytest.raises(InputError, match="trained on 'mine', has no row for any of these nodes"):
        load_pretrained(path, tables(words), words)


def test_other_interactions_of_the_same_data_may_be_tested_here(tiny: Tiny, tmp_path: Path) -> None:
    first = load_data(tiny())
    path = save(tmp_path / "p.pt", first)
    same = load_data(tiny())
    assert load_pretrained(path, tables(same), same)["same_data"]
    for changes in ({"seed": 1}, {"split": "per-user"}):
        other = load_data(tiny(**changes))
        embedding = tables(other)
        before = embedding.weight_dict["user"].detach().clone()
        with pytest.raises(InputError, match=r"\(random, seed 0; here [a-z-]+, seed [01]\)"):
            load_pretrained(path, embedding, other)
        assert torch.equal(embedding.weight_dict["user"], before)


def test_a_given_split_is_the_same_whatever_the_seed(real_root: Any, tmp_path: Path) -> None:
    root = str(real_root("steam").parent)
    settings = [Settings(dataset="steam", root=root, seed=seed) for seed in (0, 1)]
    first, second = map(load_data, settings)
    path = save(tmp_path / "p.pt", first)
    embedding = tables(second)
    assert load_pretrained(path, embedding, second)["rows"] == {"user": 50_292, "item": 1_809}
    assert torch.equal(embedding.weight_dict["user"], signs(second, "user"))


def test_what_is_no_such_file(tiny: Tiny, tmp_path: Path) -> None:
    data = load_data(tiny())
    whole = Path(save(tmp_path / "p.pt", data))
    (tmp_path / "half.pt").write_bytes(whole.read_bytes()[:1000])
    (tmp_path / "text.pt").write_text("no tables")
    _tensors.save(tmp_path / "model.pt", {"user_x": torch.ones(2), "item_x": torch.ones(2)})
    for path, message in (
        (tmp_path / "none.pt", "is no file: '--pretrained' needs pretrained.pt"),
        (tmp_path, "is no file"),
        (tmp_path / "half.pt", "is damaged"),
        (tmp_path / "text.pt", "is damaged"),
        (tmp_path / "model.pt", "holds no pretrained tables"),
    ):
        with pytest.raises(InputError, match=message):
            load_pretrained(str(path), tables(data), data)
    with pytest.raises(InputError, match="are 4 wide and those of this run 8: pass '--dim 4'"):
        load_pretrained(str(whole), tables(data, dim=8), data)
    empty = {"user": torch.empty(0, 4)}
    path_ = save(tmp_path / "e.pt", data, weight=empty, raw_id={"user": torch.empty(0).long()})
    with pytest.raises(InputError, match="has no row for any"):
        load_pretrained(path_, tables(data), data)


def test_a_run_from_the_tables_of_another(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("plot_curve", "plot_comparison", "plot_pretraining"):
        monkeypatch.setattr(RunDirectory, name, lambda *arguments: None)
    lines: list[str] = []

    def run(settings: Settings, name: str, resume: bool = False) -> dict[str, Any]:
        directory = RunDirectory(tmp_path / name)
        return run_experiment(settings, directory, resume, echo=lines.append, progress=False)

    two = run(tiny(), "two")
    file = tmp_path / "two" / "pretrained.pt"
    assert "pretrained" not in two
    # The second stage alone, from the tables of the first: the same run in two parts.
    part = run(tiny(pretrain_epochs=0, pretrained=str(file)), "part")
    assert part["test"] == two["test"] and list(part["arms"]) == ["pretrained tables"]
    sizes = {"user": 40, "item": 30}
    assert part["pretrained"] == {
        "file": str(file),
        "dataset": "mine",
        "same_data": True,
        "rows": sizes,
    }
    assert f"tables of '{file}' (mine): 40 of 40 users, 30 of 30 items" in lines
    # An arm that says so has random tables.
    settings = tiny(pretrain_epochs=0, pretrained=str(file), comparison="on")
    both = run(settings, "both")
    alone = run(tiny(pretrain_epochs=0), "alone")
    assert both["comparison"]["no pretraining"] == alone["test"]
    assert both["test"] == part["test"]
    # They go into the only stage of a run, too, and into another encoder.
    one = run(tiny(encoder="lightgcn", tasks=["bpr"], pretrained=str(file)), "one")
    other = run(tiny(encoder="lightgcn", tasks=["bpr"]), "other")
    assert one["test"] != other["test"] and list(one["arms"]) == ["sum"]

    (tmp_path / "both" / "results.json").unlink()
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    assert RunDirectory(tmp_path / "both").load_tensors("ids")["sha256"]["pretrained.pt"] == digest
    state = torch.load(file, weights_only=True)
    state["weight"]["user"] += 1
    _tensors.save(file, state)
    with pytest.raises(InputError, match=r"'pretrained\.pt' is not the file that the run"):
        run(settings, "both", resume=True)
