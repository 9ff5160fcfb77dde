"""The two stages of a run, pretrain then finetune, each as the settings of a run of its own."""

from dataclasses import replace

from pyg_mtrec._errors import InputError
from pyg_mtrec.training.settings import Settings

HYPERGRAPH_ENCODER = "uprth"


def has_two_stages(settings: Settings) -> bool:
    r"""Returns whether a run finetunes what it has pretrained."""
    return settings.finetune is not None or settings.encoder == HYPERGRAPH_ENCODER


def needs_hypergraphs(settings: Settings) -> bool:
    r"""Returns whether an encoder of the run or one of its tasks reads task hypergraphs."""
    return HYPERGRAPH_ENCODER in (settings.encoder, settings.finetune) or any(
        task.startswith("hyperedge-") for task in (*settings.tasks, *settings.finetune_tasks)
    )


_OF_RANKING = ("tasks", "task_options", "pretrained", "finetune")
_OF_HEADS = (
    "head_options",
    "bottom",
    "targets",
    "core_target",
    "target_options",
    "user_features",
    "item_features",
    "categorical",
    "numeric",
)


def check_head(settings: Settings) -> None:
    r"""Refuses settings of ranking beside a head, and settings of a head without one.

    Raises:
        InputError: If there is such a setting.
    """
    unwanted = _OF_HEADS if settings.head is None else _OF_RANKING
    for name in unwanted:
        if getattr(settings, name):
            flag = f"'--{name.replace('_', '-')}'"
            if settings.head is None:
                raise InputError(f"{flag} is of a run that predicts: pass '--head' beside it")
            raise InputError(f"{flag} is of a run that ranks: leave it or '--head' out")
    for name in ("bottom_options", "behaviours"):
        if getattr(settings, name) and settings.bottom is None:
            flag = f"'--{name.replace('_', '-')}'"
            raise InputError(f"{flag} is of a bottom: pass '--bottom' beside it")
    if settings.head is not None and settings.encoder == HYPERGRAPH_ENCODER:
        raise InputError(
            f"encoder '{HYPERGRAPH_ENCODER}' cannot feed a head: take mf, lightgcn or ngcf"
        )


def check_stages(settings: Settings) -> None:
    r"""Refuses encoders, tasks and rules that do not go together in a stage.

    Raises:
        InputError: If a stage is trained on hyperedges that its encoder does not represent, the
            second stage has no task, tasks are to be combined where they meet no more, or settings
            of a head and of ranking meet.
    """
    check_head(settings)
    stages = [(settings.encoder, settings.tasks)]
    if has_two_stages(settings):
        if not settings.finetune_tasks:
            raise InputError("'finetune_tasks' needs at least one task (got none)")
        if settings.pretrain_epochs == 0:
            stages = []
        stages.append((settings.finetune or settings.encoder, settings.finetune_tasks))
    for encoder, tasks in stages:
        for task in tasks:
            if task.startswith("hyperedge-") and encoder != HYPERGRAPH_ENCODER:
                raise InputError(
                    f"task '{task}' reads hyperedges, which only encoder '{HYPERGRAPH_ENCODER}'"
                    f" represents (got '{encoder}'): take that encoder or leave the task out"
                )
    if stages[0][0] == HYPERGRAPH_ENCODER and len(stages) == 2 and settings.at != "embedding":
        raise InputError(
            f"'at' needs to be 'embedding' with encoder '{HYPERGRAPH_ENCODER}', whose tasks read"
            f" representations of their own (got '{settings.at}')"
        )


def pretraining(settings: Settings) -> Settings:
    r"""Returns the settings of the first stage, in which the training loss selects the epoch."""
    return replace(
        settings,
        epochs=settings.pretrain_epochs,
        patience=settings.pretrain_patience,
        lr=settings.pretrain_lr,
        weight_decay=settings.pretrain_weight_decay,
        select_metric="loss",
    )


def finetuning(settings: Settings) -> Settings:
    r"""Returns the settings of the second stage: another encoder, its tasks summed."""
    encoder = settings.finetune or settings.encoder
    same = encoder == settings.encoder
    options = [
        option for option in settings.encoder_options if same and not option.startswith("fusion=")
    ]
    if encoder == HYPERGRAPH_ENCODER:
        options.append("fusion=none")  # its attention belongs to pretraining
    return replace(
        settings,
        encoder=encoder,
        encoder_options=options,
        tasks=settings.finetune_tasks,
        balancer="sum",
        balancer_options=[],
        scope="table",
        at="embedding",
    )
