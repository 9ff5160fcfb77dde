import math
from collections.abc import Callable
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import pytest

from pyg_mtrec._errors import InputError
from pyg_mtrec.cli._fields import setting_fields
from pyg_mtrec.cli._parser import parse
from pyg_mtrec.cli._settings import METRICS, resolve
from pyg_mtrec.metrics import RankingEvaluator
from pyg_mtrec.runs import RunDirectory, _toml
from pyg_mtrec.training.settings import Settings


def flags(*argv: str) -> dict[str, Any]:
    found = vars(parse(["train", *argv]))
    return {key: v for key, v in found.items() if key not in ("command", "resume", "config")}


def write(path: Path, text: str) -> str:
    path.write_text(text)
    return str(path)


def test_defaults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    settings = resolve({}, None, resume=False)
    assert settings == Settings(out=str(Path("runs", "planted-mf-pmtrec")))


def test_a_second_run_gets_a_folder_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    first = Path("runs", "planted-mf-pmtrec")
    second = Path("runs", "planted-mf-pmtrec-2")
    assert resolve({}, None, resume=True).out == str(first)  # nothing to resume: the first
    for out in (first, second):
        assert resolve({}, None, resume=False).out == str(out)
        out.mkdir(parents=True)
        (out / "config.toml").write_text("")
    assert resolve({}, None, resume=True).out == str(second)


def test_flags_beat_toml_beats_defaults(tmp_path: Path) -> None:
    config = write(tmp_path / "c.toml", 'tau = 0.5\nlr = 1\nbatch-size = 64\nencoder = "LightGCN"')
    settings = resolve(flags("--tau", "0.25", "--topk", "3", "20"), config, resume=False)
    assert (settings.tau, settings.lr, settings.batch_size) == (0.25, 1.0, 64)
    assert (settings.topk, settings.encoder) == ([3, 20], "lightgcn")
    assert type(settings.lr) is float
    assert settings.alpha == Settings().alpha
    assert settings.out == str(Path("runs", "planted-lightgcn-pmtrec"))


RANKS: dict[str, Any] = {
    "finetune": "lightgcn",
    "pretrained": "mine.csv",
    "tasks": ["there"],
    "task_options": ["there"],
    "select_metric": "ndcg@10",
}
PREDICTS: dict[str, Any] = {
    "head": "mmoe",
    "head_options": ["there"],
    "bottom": "dtrn",
    "bottom_options": ["there"],
    "behaviours": ["there"],
    "targets": ["there"],
    "core_target": "there",
    "target_options": ["there"],
    "select_metric": "there/auc",
}
IDLE = ("finetune_tasks", *(field.name for field in fields(Settings) if "pretrain_" in field.name))
TABLES = ("interactions", "social", "item_groups")
OF_TABLES = ("user_features", "item_features", "categorical", "numeric")


@pytest.mark.parametrize("ranks", [True, False])
def test_every_field_has_a_flag_that_sets_it(ranks: bool, tmp_path: Path) -> None:
    file = tmp_path / "mine.csv"
    file.touch()
    own, others = (RANKS, PREDICTS) if ranks else (PREDICTS, RANKS)
    values: dict[str, Any] = {
        "dataset": "epinions",
        "root": str(tmp_path),
        "encoder": "ngcf",
        "balancer": "sum",
        "optimizer": "adamw",  # the last one is for MF alone
        "yardsticks": ["item-knn"],
        **own,
    }
    if ranks:
        values["pretrained"] = str(file)
    left_out = {*TABLES, *OF_TABLES, *others, *(() if ranks else IDLE)} - set(own)
    for name, field in setting_fields().items():
        if name in left_out or name in values:
            continue
        if field.choices is not None:
            value: Any = field.choices[-1]
        else:
            value = {bool: True, int: 7, float: 1.5, str: "there"}[field.kind]
        values[name] = [value] if field.many else value
    argv: list[str] = []
    for name, value in values.items():
        flag = "--" + name.replace("_", "-")
        items = value if isinstance(value, list) else [value]
        argv += [flag] if value is True else [flag, *map(str, items)]
    assert resolve(flags(*argv), None, resume=False) == Settings(**values)
    config = write(tmp_path / "c.toml", _toml.dumps(values))
    assert resolve({}, config, resume=False) == Settings(**values)
    assert set(values) | left_out == {field.name for field in fields(Settings)}


def test_a_table_of_impressions_has_features(tmp_path: Path) -> None:
    file = tmp_path / "mine.csv"
    file.touch()
    given = {
        "interactions": str(file),
        "user_features": str(file),
        "item_features": str(file),
        "categorical": ["device"],
        "numeric": ["price", "age"],
        "head": "ple",
        "out": "there",
    }
    argv: list[str] = []
    for name, value in given.items():
        argv += [f"--{name.replace('_', '-')}", *([value] if isinstance(value, str) else value)]
    assert resolve(flags(*argv), None, resume=False) == Settings(**given)  # type: ignore[arg-type]


def test_switches_turn_off(tmp_path: Path) -> None:
    config = write(tmp_path / "c.toml", "tensorboard = true")
    assert resolve({}, config, resume=False).tensorboard
    assert not resolve(flags("--no-tensorboard"), config, resume=False).tensorboard


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("taus = 1", "unknown setting in '{}': 'taus': did you mean 'tau'?"),
        ("dim = 'x'", "'dim' in '{}' needs to be an integer (got 'x')"),
        ("dim = 1.5", "'dim' in '{}' needs to be an integer (got 1.5)"),
        ("dim = true", "'dim' in '{}' needs to be an integer (got True)"),
        ("tau = '1'", "'tau' in '{}' needs to be a number (got '1')"),
        ("tensorboard = 1", "'tensorboard' in '{}' needs to be true or false (got 1)"),
        ("topk = 20", "'topk' in '{}' needs to be a list, each entry an integer (got 20)"),
        ("topk = ['a']", "'topk' in '{}' needs to be an integer (got 'a')"),
        ("encoder = 3", "'encoder' in '{}' needs to be a string (got 3)"),
        ("encoder = 'mff'", "unknown encoder 'mff': did you mean 'mf'?"),
        ("scale = 'men'", "unknown scale 'men': did you mean 'mean'?"),
        ("tau = 0", "'tau' needs to be positive in 'PMTRec' (got 0.0)"),
    ],
)
def test_wrong_toml(refused: Callable[..., str], tmp_path: Path, text: str, line: str) -> None:
    path = write(tmp_path / "c.toml", text)
    out = tmp_path / "run"
    assert refused("train", "--config", path, "--out", out) == line.format(path)
    assert not out.exists()


@pytest.mark.parametrize(
    ("argv", "line"),
    [
        ("--tau 0", "'tau' needs to be positive in 'PMTRec' (got 0.0)"),
        ("--tau -1", "'tau' needs to be positive in 'PMTRec' (got -1.0)"),
        ("--tau nan", "'tau' needs to be finite (got nan)"),
        ("--alpha 0.99", "'alpha' needs to be at least 1 in 'PMTRec' (got 0.99)"),
        ("--alpha inf", "'alpha' needs to be finite (got inf)"),
        ("--lr 0", "'lr' needs to be positive in 'Adam' (got 0.0)"),
        ("--weight-decay -1", "'weight_decay' needs to be at least 0 in 'Adam' (got -1.0)"),
        ("--epochs 0", "'epochs' needs to be at least 1 (got 0)"),
        ("--patience 0", "'patience' needs to be at least 1 (got 0)"),
        ("--dim 0", "'dim' needs to be at least 1 (got 0)"),
        ("--batch-size 0", "'batch_size' needs to be at least 1 (got 0)"),
        ("--layers -1", "'layers' needs to be at least 0 (got -1)"),
        ("--threads 0", "'threads' needs to be at least 1 (got 0)"),
        ("--valid-users 0", "'valid_users' needs to be at least 1 (got 0)"),
        ("--topk 5 0", "'topk' needs cut-offs of at least 1 (got [5, 0])"),
        ("--select-metric recall", "'select_metric' needs a cut-off, as in 'recall@20' (got"),
        ("--select-metric recall@0", "'select_metric' needs a cut-off"),
        (
            "--select-metric recal@20",
            "unknown 'select_metric' 'recal@20': did you mean 'recall@20'",
        ),
        ("--dataset epinoins", "unknown data set 'epinoins': did you mean 'epinions'?"),
        ("--dataset epinions", "data set 'epinions' needs '--root DIR'"),
        ("--dataset epinions --root /no/where", "root '/no/where' does not exist"),
        ("--encoder lightgnc", "unknown encoder 'lightgnc': did you mean 'lightgcn'?"),
        ("--balancer pmtrek", "unknown balancer 'pmtrek': did you mean 'pmtrec'?"),
        ("--yardsticks eas", "unknown yardstick 'eas': did you mean 'ease'?"),
        ("--split randm", "unknown split 'randm': did you mean 'random'?"),
        ("--at representatoin", "unknown at 'representatoin': did you mean 'representation'?"),
        ("--interactions none.csv", "'none.csv' does not exist: '--interactions' needs a CSV file"),
        ("--social none.csv", "'--social' needs '--interactions FILE.csv' beside it"),
        ("--interactions a.csv --dataset planted", "'--dataset' and '--interactions' exclude"),
        ("--config none.toml", "'none.toml' does not exist"),
    ],
)
def test_wrong_flags(refused: Callable[..., str], tmp_path: Path, argv: str, line: str) -> None:
    out = tmp_path / "run"
    assert refused("train", *argv.split(), "--out", out).startswith(line)
    assert not out.exists()


def test_own_tables_name_the_run(tmp_path: Path) -> None:
    path = write(tmp_path / "mine.csv", "user,item\n")
    settings = resolve(flags("--interactions", path), None, resume=False)
    assert settings.out == str(Path("runs", "mine-mf-pmtrec"))


def test_resume_takes_the_settings_of_the_run(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "run")
    old = Settings(tau=0.5, encoder="ngcf", out="elsewhere")
    run.prepare(asdict(old), resume=False)
    given = flags("--out", str(run.path))
    settings = resolve(given, None, resume=True)
    assert (settings.tau, settings.encoder, settings.out) == (0.5, "ngcf", str(run.path))
    run.check(asdict(settings), resume=True)
    other = resolve({**given, "tau": 0.25}, None, resume=True)
    with pytest.raises(InputError, match=r"tau = 0.5, not 0.25"):
        run.check(asdict(other), resume=True)


def test_a_run_can_be_repeated_from_its_config(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "run")
    settings = Settings(alpha=1.5, topk=[3], tasks=["bpr"], out=str(run.path))
    run.prepare(asdict(settings), resume=False)
    assert resolve({}, str(run.path / "config.toml"), resume=False) == settings


def test_the_names_of_metrics_are_the_evaluators() -> None:
    assert set(METRICS) == set(RankingEvaluator.definitions)


def test_defaults_pass_their_own_checks() -> None:
    for field in setting_fields().values():
        if field.default is not None:
            assert field.convert(field.default, "the defaults") == field.default
        assert field.help
    assert math.isfinite(Settings().tau)


def test_an_encoder_to_finetune_is_part_of_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found = resolve(flags("--encoder", "uprth", "--finetune", "lightgcn"), None, resume=False)
    assert found.out == str(Path("runs", "planted-uprth-lightgcn-pmtrec"))
    assert resolve(flags("--encoder", "uprth"), None, resume=False).out == str(
        Path("runs", "planted-uprth-pmtrec")
    )


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--pretrain-epochs", "5"], "'--pretrain-epochs' is of a run in two stages: pass"),
        (["--encoder", "lightgcn", "--pretrain-lr", "1"], "'--pretrain-lr' is of a run in two"),
        (["--finetune-tasks", "bpr"], "'--finetune-tasks' is of a run in two stages"),
        (["--encoder", "uprth", "--at", "representation"], "'at' needs to be 'embedding'"),
        (["--tasks", "bpr", "hyperedge-in"], "only encoder 'uprth' represents .got 'mf'."),
        (
            ["--encoder", "uprth", "--finetune", "lightgnc"],
            "unknown encoder to finetune 'lightgnc'",
        ),
        (["--encoder", "uprth", "--pretrain-epochs", "-1"], "'pretrain_epochs' needs to be at l"),
        (["--encoder", "uprth", "--pretrain-patience", "0"], "'pretrain_patience' needs to be at"),
        (["--encoder", "uprth", "--pretrain-min-delta", "-1"], "'pretrain_min_delta' needs to be"),
        (["--encoder", "uprth", "--pretrain-batch-size", "0"], "'pretrain_batch_size' needs to b"),
        (["--encoder", "uprth", "--pretrain-lr", "0"], "'pretrain_lr' needs to be positive"),
        (["--encoder", "uprth", "--pretrain-lr", "nan"], "'pretrain_lr' needs to be finite"),
        (["--encoder", "uprth", "--pretrain-weight-decay", "-1"], "'pretrain_weight_decay' need"),
        (["--pretrained", "none.pt"], "'none.pt' is no file: '--pretrained' needs pretrained.pt"),
    ],
)
def test_two_stages_that_cannot_be(argv: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        resolve(flags(*argv), None, resume=False)


def test_a_file_may_hold_what_one_stage_does_not_need(tmp_path: Path) -> None:
    config = write(tmp_path / "c.toml", 'encoder = "uprth"\npretrain_epochs = 5')
    assert resolve({}, config, resume=False).pretrain_epochs == 5
    assert resolve(flags("--encoder", "mf"), config, resume=False).encoder == "mf"
    empty = write(tmp_path / "e.toml", 'encoder = "uprth"\nfinetune_tasks = []')
    with pytest.raises(InputError, match="'finetune_tasks' needs at least one task"):
        resolve({}, empty, resume=False)


def test_row_adam_is_for_encoders_that_read_rows() -> None:
    assert resolve(flags("--optimizer", "row-adam", "--encoder", "mf"), None, resume=False)
    with pytest.raises(InputError, match="'lightgcn' reads all of them: take '--optimizer adamw'"):
        resolve(flags("--optimizer", "row-adam", "--encoder", "lightgcn"), None, resume=False)
