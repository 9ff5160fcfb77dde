from dataclasses import dataclass, field
from typing import Any


def _setting(default: Any, help: str, **metadata: Any) -> Any:
    if isinstance(default, list):
        return field(default_factory=lambda: list(default), metadata={"help": help, **metadata})
    return field(default=default, metadata={"help": help, **metadata})


@dataclass
class Settings:
    r"""Everything that decides a run: defaults < TOML file < flags of ``pyg-mtrec train``.

    Every field is a key of ``config.toml`` and, with ``-`` for ``_``, a flag of the command line.
    This module imports no torch, so that ``--help`` answers at once.
    """

    dataset: str = _setting("planted", "data set to train on", room="datasets")
    dataset_options: list[str] = _setting(
        [],
        "further arguments of the data set, as num_interactions=100000",
        metavar="NAME=VALUE",
    )
    interactions: str | None = _setting(
        None, "CSV of your own interactions (columns user, item[, rating][, time])"
    )
    social: str | None = _setting(None, "CSV of user-user links (columns user, friend)")
    item_groups: str | None = _setting(None, "CSV of item categories (columns item, category)")
    user_features: str | None = _setting(
        None, "CSV of user features (column user, any others), for a head"
    )
    item_features: str | None = _setting(
        None, "CSV of item features (column item, any others), for a head"
    )
    categorical: list[str] = _setting(
        [], "columns of --interactions that are categories of an impression", metavar="NAME"
    )
    numeric: list[str] = _setting(
        [], "columns of --interactions that are numbers of an impression", metavar="NAME"
    )
    root: str | None = _setting(
        None, "folder with one folder per data set, raw files in DIR/NAME/raw"
    )
    encoder: str = _setting("mf", "encoder of users and items", room="nn.encoders")
    dim: int = _setting(32, "width of the embedding tables")
    encoder_options: list[str] = _setting(
        [], "further arguments of the encoder, as fusion=sum", metavar="NAME=VALUE"
    )
    layers: int = _setting(3, "number of propagation layers of a graph encoder")
    tasks: list[str] = _setting(
        [], "tasks, the main one first (default: the data set's)", metavar="NAME"
    )
    task_options: list[str] = _setting(
        [], "arguments of tasks, as alignment-uniformity.gamma=0.5", metavar="TASK.NAME=VALUE"
    )
    balancer: str = _setting("pmtrec", "rule that combines the tasks' gradients", room="balancing")
    alpha: float = _setting(1.06, "task focusing of PMTRec: growth per epoch, >= 1")
    tau: float = _setting(1e-3, "temperature of PMTRec, a gradient norm, > 0")
    mask_inactive: bool = _setting(
        False, "PMTRec: softmax over the tasks that touch a row, not over all"
    )
    scale: str = _setting("mean", "scale of PMTRec's combined gradient", choices=("mean", "sum"))
    scope: str = _setting(
        "table",
        "Gram rules: one weight per task for everything, or one per task and row",
        choices=("table", "row"),
    )
    balancer_options: list[str] = _setting(
        [], "further arguments of the rule, as c=0.4", metavar="NAME=VALUE"
    )
    at: str = _setting(
        "embedding",
        "where the tasks' gradients are combined",
        choices=("embedding", "representation"),
    )
    pretrained: str | None = _setting(
        None, "pretrained.pt of another run, whose tables take the place of random ones"
    )
    head: str | None = _setting(
        None,
        "head that predicts targets of impressions, instead of ranking items",
        room="nn.heads",
    )
    head_options: list[str] = _setting(
        [], "further arguments of the head, as num_experts=8", metavar="NAME=VALUE"
    )
    bottom: str | None = _setting(
        None,
        "bottom that makes an input of its own for every target, from behaviours before it",
        room="nn.bottoms",
    )
    bottom_options: list[str] = _setting(
        [], "further arguments of the bottom, as pooling=mean", metavar="NAME=VALUE"
    )
    behaviours: list[str] = _setting(
        [],
        "timed relations that the bottom reads; likes are made of a target like (default: those"
        " of the data, or of its binary targets)",
        metavar="NAME",
    )
    sequence_length: int = _setting(50, "last events of each behaviour that the bottom reads")
    targets: list[str] = _setting(
        [], "what the head predicts, in chain order (default: the data set's)", metavar="NAME"
    )
    core_target: str | None = _setting(
        None, "the main target, which selects the epoch (default: the last one)"
    )
    target_options: list[str] = _setting(
        [], "arguments of targets, as watch_time.transform=log1p", metavar="TARGET.NAME=VALUE"
    )
    finetune: str | None = _setting(
        None,
        "encoder of a second stage, trained on --finetune-tasks from the first one's tables"
        " (default: none, after uprth its own convolution)",
        room="nn.encoders",
    )
    carry: str = _setting(
        "tables",
        "what goes over from the first stage, or from --pretrained: its tables, or the"
        " representations that its encoder makes of them",
        choices=("tables", "representations"),
    )
    finetune_tasks: list[str] = _setting(
        ["bpr"], "tasks of the second stage, summed", metavar="NAME"
    )
    pretrain_epochs: int = _setting(
        100, "largest number of epochs of the first of two stages; 0 leaves it out"
    )
    pretrain_patience: int = _setting(
        20, "epochs without a smaller pretraining loss before the first stage stops"
    )
    pretrain_min_delta: float = _setting(
        0.0, "how much smaller the pretraining loss has to be to count as such"
    )
    pretrain_batch_size: int | None = _setting(
        None, "interactions per pretraining step (default: all, one step an epoch)"
    )
    pretrain_lr: float = _setting(0.01, "learning rate of Adam in the first stage")
    pretrain_weight_decay: float = _setting(0.0, "weight decay of Adam in the first stage")
    epochs: int = _setting(100, "largest number of epochs")
    patience: int = _setting(10, "epochs without a gain on validation before stopping")
    batch_size: int = _setting(2048, "interactions per step")
    lr: float = _setting(0.005, "learning rate of Adam")
    weight_decay: float = _setting(1e-5, "weight decay of Adam, added after balancing")
    optimizer: str = _setting(
        "adam",
        "adam adds weight decay to the gradient; adamw shrinks weights by lr times decay instead;"
        " row-adam does what adamw does at the cost of the rows that a step reads (mf)",
        choices=("adam", "adamw", "row-adam"),
    )
    topk: list[int] = _setting([5, 10, 20, 40], "cut-offs of the ranking metrics", metavar="K")
    select_metric: str = _setting(
        "recall@20",
        "validation metric that selects the epoch, with a head TARGET/METRIC (default there: the"
        " core target's log_loss or rmse)",
    )
    valid_users: int = _setting(2000, "users in the validation sample of every epoch")
    split: str | None = _setting(
        None,
        "how interactions are split (default: the data set's)",
        choices=("random", "per-user", "time", "leave-last-out", "given"),
    )
    message_edges: str = _setting(
        "train", "edges that messages travel at test time", choices=("train", "train+val")
    )
    protocol: str = _setting(
        "split",
        "split: select on validation; paper: select as the data set's paper did;"
        " authors: also the released code's regularisation",
        choices=("split", "paper", "authors"),
    )
    auxiliary: str = _setting(
        "anchored",
        "auxiliary batches: anchored on the main batch's users and items, or from their own edges",
        choices=("anchored", "own"),
    )
    comparison: str = _setting(
        "auto",
        "also train the single task and the plain sum (auto: on the embedded default only)",
        choices=("auto", "on", "off"),
    )
    yardsticks: list[str] = _setting(
        ["popularity", "ease"], "baselines that stand beside the result", room="baselines"
    )
    ease_l2: list[float] = _setting(
        [250.0], "ridge of the EASE yardstick; of several the best on validation", metavar="X"
    )
    seed: int = _setting(0, "seed of split, initial tables and sampling")
    device: str = _setting("auto", "device to train on", choices=("auto", "cpu", "cuda"))
    threads: int | None = _setting(None, "CPU threads (default: torch's choice)")
    tensorboard: bool = _setting(False, "also log to TensorBoard under RUN_DIR")
    out: str | None = _setting(
        None, "run directory (default: runs/DATASET-ENCODER[-FINETUNE]-BALANCER)"
    )
