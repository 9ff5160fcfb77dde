import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pyg_mtrec import InputError
from pyg_mtrec.datasets import Planted
from pyg_mtrec.runs import RunDirectory
from pyg_mtrec.training import Settings, evaluate_run, run_experiment
from pyg_mtrec.training._data import load_data
from pyg_mtrec.training._tuned import EASE_L2, PLANTED, is_embedded_default, num_threads, of_arm
from pyg_mtrec.transforms import PermuteIds
from pyg_mtrec.transforms._leak import assert_no_leak

MAIN = ("user", "interacts", "item")


def run(settings: Settings, path: Path, resume: bool = False) -> dict[str, Any]:
    return run_experiment(settings, RunDirectory(path), resume, echo=lambda _: None, progress=False)


def own_table(path: Path, seed: int = 0) -> Path:
    draws = np.random.default_rng(seed)
    pairs = {(f"u{u}", f"i{i}") for u, i in draws.integers(0, 50, (900, 2))}
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([("user", "item"), *sorted(pairs)])
    return path


def small(path: Path) -> Settings:
    return Settings(
        interactions=str(own_table(path)),
        dim=4,
        epochs=2,
        batch_size=128,
        topk=[5, 20],
        yardsticks=["popularity", "item-knn", "ease"],
        ease_l2=[1.0, 1e6],
        threads=1,
    )


def recall_by_hand(run_dir: RunDirectory, settings: Settings, k: int) -> float:
    """Recall@k from the saved rows and the split alone, one user at a time."""
    model, seen = run_dir.load_tensors("model"), run_dir.load_tensors("seen")["edge_index"]
    label = load_data(settings).test[MAIN].edge_label_index
    values = []
    for user in label[0].unique().tolist():
        scores = model["item_x"].double() @ model["user_x"][user].double()
        scores[seen[1, seen[0] == user]] = -torch.inf
        relevant = set(label[1, label[0] == user].tolist())
        values.append(len(relevant & set(scores.topk(k).indices.tolist())) / len(relevant))
    return float(np.mean(values))


def test_results_are_those_of_the_saved_model(tmp_path: Path) -> None:
    settings = small(tmp_path / "mine.csv")
    directory = RunDirectory(tmp_path / "run")
    results = run(settings, directory.path)
    assert results["test"]["recall@5"] == pytest.approx(recall_by_hand(directory, settings, 5))
    per_user = directory.load_tensors("test_users")
    mean = per_user["metrics"]["recall@5"].double().mean().item()
    assert results["test"]["recall@5"] == pytest.approx(mean, abs=1e-6)
    again = evaluate_run(directory)
    assert again["test"] == pytest.approx(results["test"])
    assert again["recorded"] == results["test"]
    assert set(results["comparison"]) == {"popularity", "item-knn", "ease", "pmtrec"}
    assert results["yardsticks"]["ease"]["l2"] in settings.ease_l2
    counts = results["split"]
    assert list(counts["fractions"]) == [0.6, 0.2, 0.2]
    rows = len(Path(str(settings.interactions)).read_text().splitlines()) - 1
    assert counts["train"] + counts["val"] + counts["test"] == rows


def test_resume_refuses_other_data(tmp_path: Path) -> None:
    settings = small(tmp_path / "mine.csv")
    run(settings, tmp_path / "run")
    (tmp_path / "run" / "results.json").unlink()
    own_table(tmp_path / "mine.csv", seed=1)
    with pytest.raises(InputError, match=r"'mine\.csv' is not the file that the run"):
        run(settings, tmp_path / "run", resume=True)


def test_evaluate_refuses_other_data(tmp_path: Path) -> None:
    settings = small(tmp_path / "mine.csv")
    run(settings, tmp_path / "run")
    own_table(tmp_path / "mine.csv", seed=1)
    with pytest.raises(InputError, match="SHA-256 differ"):
        evaluate_run(RunDirectory(tmp_path / "run"))


def test_arms_of_the_embedded_default() -> None:
    settings = Settings()
    assert is_embedded_default(settings) and num_threads(settings) == 1 and EASE_L2
    for arm, tuned in PLANTED.items():
        found = of_arm(settings, arm)
        assert {name: getattr(found, name) for name in tuned} == tuned
    for change in (
        {"lr": 0.02},
        {"encoder": "lightgcn"},
        {"interactions": "mine.csv"},
        {"finetune": "mf"},
        {"pretrained": "x.pt"},
    ):
        shared = replace(settings, **change)
        assert of_arm(shared, "sum") is shared and num_threads(shared) is None


def test_the_oracle_follows_permuted_ids() -> None:
    settings = Settings(seed=3)
    loaded = load_data(settings)
    dataset = Planted()
    data = PermuteIds(seed=3)(dataset[0])
    users = torch.tensor([0, 7])
    original = dataset.oracle().score(data["user"].raw_id[users])
    assert loaded.oracle is not None
    assert torch.equal(loaded.oracle.score(users), original[:, data["item"].raw_id])


def test_given_split_by_protocol(real_root: Any) -> None:
    root = str(real_root("lastfm").parent)
    ours = load_data(Settings(dataset="lastfm", root=root))
    paper = load_data(Settings(dataset="lastfm", root=root, protocol="paper"))
    assert paper.val is paper.test and ours.val is not ours.test
    assert_no_leak(ours.train, ours.val, ours.test)
    total = paper.train[MAIN].num_edges
    assert ours.train[MAIN].num_edges + ours.val[MAIN].edge_label_index.size(1) == total
    assert torch.equal(ours.test[MAIN].edge_label_index, paper.test[MAIN].edge_label_index)


def test_bad_settings(tmp_path: Path, real_root: Any) -> None:
    with pytest.raises(InputError, match="'--root' needs to be a folder"):
        load_data(Settings(dataset="epinions", root=str(tmp_path / "none")))
    with pytest.raises(InputError, match="needs a folder: pass '--root DIR'"):
        load_data(Settings(dataset="epinions"))
    with pytest.raises(InputError, match="unknown task 'socail': did you mean 'social'"):
        run(Settings(tasks=["bpr", "socail"], threads=1), tmp_path / "run")
    with pytest.raises(InputError, match="at most the 2000 items of the catalogue"):
        run(Settings(topk=[5000], threads=1), tmp_path / "run")
    assert not (tmp_path / "run").exists()
    root = str(real_root("amazon_office").parent)
    with pytest.raises(InputError, match="position in each user's own history"):
        load_data(Settings(dataset="amazon-office", root=root, split="time"))
