import json
import math
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from pyg_mtrec._errors import InputError
from pyg_mtrec.runs import RunDirectory

CONFIG: dict[str, Any] = {
    "dataset": "planted",
    "tau": 0.001,
    "topk": [5, 20],
    "root": None,
    "out": "a",
}


def start(path: Path, **changes: Any) -> RunDirectory:
    run = RunDirectory(path / "run")
    run.prepare({**CONFIG, **changes}, resume=False)
    return run


def test_a_new_run_holds_its_config(tmp_path: Path) -> None:
    run = start(tmp_path / "deep" / "er")
    assert os.listdir(run.path) == ["config.toml"]
    assert run.read_config() == {key: v for key, v in CONFIG.items() if v is not None}


def test_an_empty_folder_and_leftovers_are_no_run(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".config.toml.1.tmp").write_text("half")
    assert os.listdir(start(tmp_path).path) == ["config.toml"]


def test_a_second_run_needs_resume(tmp_path: Path) -> None:
    run = start(tmp_path)
    for ask in (run.check, run.prepare):
        with pytest.raises(InputError, match="already holds a run: pass '--resume'"):
            ask(CONFIG, resume=False)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tau": 0.01}, r"tau = 0.001, not 0.01"),
        ({"topk": [5]}, r"topk = \[5, 20\], not \[5\]"),
        ({"dataset": "epinions"}, "dataset = 'planted', not 'epinions'"),
        ({"split": "time"}, "split = its default, not 'time'"),
        ({"dataset": None}, "dataset = 'planted', not its default"),
    ],
)
def test_resume_names_the_key_that_differs(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    run = start(tmp_path)
    before = (run.path / "config.toml").read_bytes()
    with pytest.raises(InputError, match=f"holds a run with {message}"):
        run.prepare({**CONFIG, **change}, resume=True)
    assert (run.path / "config.toml").read_bytes() == before


def test_resume_of_the_same_config(tmp_path: Path) -> None:
    run = start(tmp_path)
    run.checkpoint.save({"epoch": 1})
    run.history.append({"epoch": 1})
    (run.path / ".checkpoint.pt.99.tmp").write_bytes(b"half")
    run.prepare({**CONFIG, "topk": (5, 20), "root": "elsewhere", "out": "b"}, resume=True)
    assert run.read_config()["root"] == "elsewhere"
    assert run.history.rows() == [{"epoch": 1}]
    assert sorted(os.listdir(run.path)) == ["checkpoint.pt", "config.toml", "history.csv"]


def test_resume_before_the_first_checkpoint_starts_anew(tmp_path: Path) -> None:
    run = start(tmp_path)
    run.history.append({"epoch": 1})  # killed between this and the checkpoint
    run.prepare(CONFIG, resume=True)
    assert run.history.rows() == []


def test_resume_where_nothing_is_starts(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "run")
    run.prepare(CONFIG, resume=True)
    assert run.read_config()["dataset"] == "planted"


@pytest.mark.parametrize("resume", [False, True])
def test_folders_that_are_not_ours(tmp_path: Path, resume: bool) -> None:
    (tmp_path / "thesis.tex").write_text("my life's work")
    with pytest.raises(InputError, match="not empty and holds no run"):
        RunDirectory(tmp_path).prepare(CONFIG, resume)
    with pytest.raises(InputError, match="is a file"):
        RunDirectory(tmp_path / "thesis.tex").prepare(CONFIG, resume)
    with pytest.raises(InputError, match="cannot write"):
        RunDirectory(tmp_path / "thesis.tex" / "run").prepare(CONFIG, resume)
    assert os.listdir(tmp_path) == ["thesis.tex"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder(tmp_path: Path) -> None:
    tmp_path.chmod(stat.S_IRUSR | stat.S_IXUSR)
    try:
        with pytest.raises(InputError, match="Permission denied"):
            RunDirectory(tmp_path / "run").prepare(CONFIG, resume=False)
    finally:
        tmp_path.chmod(stat.S_IRWXU)


def test_results(tmp_path: Path) -> None:
    run = start(tmp_path)
    with pytest.raises(InputError, match=r"results.json' is missing: the run has not ended"):
        run.read_results()
    run.write_results({"test": {"recall@20": 0.1 + 0.2, "none": math.nan}, "ks": (1, 2), "n": None})
    expected = {"test": {"recall@20": 0.1 + 0.2, "none": None}, "ks": [1, 2], "n": None}
    assert run.read_results() == expected
    assert json.loads((run.path / "results.json").read_text()) == expected
    for content in ('{"test": ', "[1]"):
        (run.path / "results.json").write_text(content)
        with pytest.raises(InputError, match=r"results.json"):
            run.read_results()


def test_tensors(tmp_path: Path) -> None:
    run = start(tmp_path)
    run.save_tensors("model", {"user_x": torch.arange(6.0).view(2, 3)})
    run.save_tensors("ids.pt", {"raw_id": {"user": torch.tensor([3, 1])}, "tables": {}})
    assert {"model.pt", "ids.pt"} <= set(os.listdir(run.path))
    assert run.load_tensors("model.pt")["user_x"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert run.load_tensors("ids")["raw_id"]["user"].tolist() == [3, 1]
    with pytest.raises(InputError, match=r"seen.pt' is missing"):
        run.load_tensors("seen")
    (run.path / "model.pt").write_bytes((run.path / "model.pt").read_bytes()[:-30])
    with pytest.raises(InputError, match=r"model.pt' is damaged"):
        run.load_tensors("model")


def test_reading_where_no_run_is(tmp_path: Path) -> None:
    for read in ("read_config", "read_results"):
        with pytest.raises(InputError, match=r"config.toml' is missing"):
            getattr(RunDirectory(tmp_path), read)()
        with pytest.raises(InputError, match="does not exist"):
            getattr(RunDirectory(tmp_path / "none"), read)()


def test_plots(tmp_path: Path) -> None:
    run = start(tmp_path, select_metric="ndcg@20")
    with pytest.raises(InputError, match="no finished epoch"):
        run.plot_curve()
    for epoch in (1, 2):
        run.history.append({"epoch": epoch, "loss/bpr": 0.5, "valid/a@1": 0.1, "valid/ndcg@20": 1})
    for path in (
        run.plot_curve(),
        run.plot_comparison({"popularity": {"recall@20": 0.1}, "ease": None, "sum": {}}),
    ):
        assert path.read_bytes().startswith(b"\x89PNG")


def test_comes_without_torch() -> None:
    code = (
        "import sys; from pyg_mtrec.runs import RunDirectory;"
        "RunDirectory('none'); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_what_an_unfinished_first_stage_left_comes_again(tmp_path: Path) -> None:
    run = start(tmp_path)
    run.pretrain_history.append({"epoch": 1, "loss": 1.0})
    run.prepare(CONFIG, resume=True)
    assert sorted(os.listdir(run.path)) == ["config.toml"]  # no checkpoint: from the beginning
    run.pretrain_checkpoint.save({"epoch": 1})
    run.pretrain_history.append({"epoch": 1, "loss": 1.0})
    run.history.append({"epoch": 1})
    run.prepare(CONFIG, resume=True)
    assert sorted(os.listdir(run.path)) == ["config.toml", "pretrain.csv", "pretrain.pt"]
    assert run.pretrain_history.rows() == [{"epoch": 1, "loss": 1.0}]


def test_a_complete_run_keeps_its_histories(tmp_path: Path) -> None:
    run = start(tmp_path)
    run.pretrain_history.append({"epoch": 1, "loss": 1.0})
    run.history.append({"epoch": 1})
    run.write_results({"test": {}})  # the first stage's checkpoint is gone by then
    run.prepare(CONFIG, resume=True)
    assert len(run.pretrain_history.rows()) == len(run.history.rows()) == 1


def test_the_image_of_a_first_stage(tmp_path: Path) -> None:
    run = start(tmp_path)
    for epoch in (1, 2, 3):
        run.pretrain_history.append({"epoch": epoch, "loss/a": 1.0 / epoch, "loss": 1.0 / epoch})
    assert run.plot_pretraining({"a": None}, 3) == run.path / "pretrain.png"
    assert (run.path / "pretrain.png").read_bytes()[:4] == b"\x89PNG"
