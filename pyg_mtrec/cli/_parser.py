"""The parser: every flag of ``train`` is a field of ``Settings``."""

import argparse
import shutil
import textwrap
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from pyg_mtrec import __version__
from pyg_mtrec._errors import InputError
from pyg_mtrec.cli._choices import names, unknown
from pyg_mtrec.cli._fields import Field, setting_fields

COMMANDS = {
    "train": "train and evaluate; without any argument, the quickstart on planted data",
    "evaluate": "rank the test set again with a finished run",
    "recommend": "print the best items for one user",
    "compare": "test metrics of several runs side by side, with confidence intervals",
    "datasets": "list the data sets, or load one and print what is in it",
    "doctor": "print versions, device and extras",
}
_GROUPS = {
    "data": "dataset dataset_options interactions social item_groups user_features item_features"
    " categorical numeric root split message_edges",
    "model": "encoder encoder_options dim layers pretrained",
    "prediction": "head head_options bottom bottom_options behaviours sequence_length targets"
    " core_target target_options",
    "two stages": "finetune finetune_tasks carry pretrain_epochs pretrain_patience"
    " pretrain_min_delta pretrain_batch_size pretrain_lr pretrain_weight_decay",
    "tasks": "tasks task_options auxiliary balancer alpha tau mask_inactive scale scope"
    " balancer_options at",
    "training": "epochs patience batch_size lr weight_decay optimizer seed device threads",
    "evaluation": "topk select_metric valid_users protocol comparison yardsticks ease_l2",
}

_METAVARS: dict[Any, str] = {
    int: "N",
    float: "X",
    str: "NAME",
    "select_metric": "METRIC",
    "core_target": "TARGET",
    "user_features": "FILE.csv",
    "item_features": "FILE.csv",
    "interactions": "FILE.csv",
    "social": "FILE.csv",
    "item_groups": "FILE.csv",
    "root": "DIR",
    "pretrained": "FILE.pt",
    "out": "RUN_DIR",
}


class Parser(argparse.ArgumentParser):
    r"""Raises wrong input as one line instead of printing the usage."""

    def error(self, message: str) -> NoReturn:
        raise InputError(message)


def parse(argv: Sequence[str]) -> argparse.Namespace:
    r"""Returns the arguments with the command under ``command``.

    Raises:
        InputError: If a command or flag does not exist, or a value has the wrong type.
        SystemExit: After ``--help`` and ``--version``.
    """
    parser, commands = _build()
    if not argv:
        parser.print_help()
        raise SystemExit(0)
    if not argv[0].startswith("-") and argv[0] not in COMMANDS:
        raise unknown("command", argv[0], COMMANDS)
    arguments, rest = parser.parse_known_args(argv)
    if rest and rest[0].startswith("--"):
        flags = [
            flag
            for action in commands[arguments.command]._actions
            for flag in action.option_strings
            if flag.startswith("--")
        ]
        raise unknown("flag", rest[0].partition("=")[0], flags)
    if rest:
        raise InputError(f"unexpected argument '{rest[0]}': see 'pyg-mtrec {argv[0]} --help'")
    return arguments


def _build() -> tuple[Parser, dict[str, Parser]]:
    parser = Parser(
        prog="pyg-mtrec",
        description="Multi-task graph recommendation on PyTorch Geometric.",
        epilog="'pyg-mtrec COMMAND --help' lists the flags of a command.",
        formatter_class=_Formatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"pyg-mtrec {__version__}")
    choices = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    commands = {
        name: choices.add_parser(
            name,
            help=text,
            description=f"{text[0].upper()}{text[1:]}.",
            formatter_class=_Formatter,
            allow_abbrev=False,
        )
        for name, text in COMMANDS.items()
    }
    _add_train(commands["train"])
    run_dir: dict[str, Any] = {"metavar": "RUN_DIR", "help": "folder of a finished run"}
    root: dict[str, Any] = {"metavar": "DIR", "help": "folder of the data sets"}

    commands["evaluate"].add_argument("run_dir", **run_dir)
    moved = "folder of the data sets, if it has moved since training"
    commands["evaluate"].add_argument("--root", metavar="DIR", help=moved)

    recommend = commands["recommend"]
    recommend.add_argument("run_dir", **run_dir)
    recommend.add_argument(
        "--user", metavar="RAW_ID", required=True, help="the user, as the raw files name it"
    )
    recommend.add_argument(
        "--k", metavar="K", type=_number(int), default=10, help="number of items (default: 10)"
    )
    recommend.add_argument(
        "--include-seen", action="store_true", help="also items that the user already has"
    )
    features = "folder of the data sets, which only a run with a head reads: for features"
    recommend.add_argument("--root", metavar="DIR", help=features)

    commands["compare"].add_argument(
        "run_dirs", metavar="RUN_DIR", nargs="+", help="runs; differences are to the first one"
    )
    commands["datasets"].add_argument(
        "name", metavar="NAME", nargs="?", help="the data set to load (default: list all)"
    )
    commands["datasets"].add_argument("--root", **root)
    return parser, commands


def _add_train(parser: Parser) -> None:
    parser.usage = "pyg-mtrec train [--config FILE.toml] [--out RUN_DIR] [--resume] [FLAG ...]"
    parser.epilog = (
        "Settings are read from the defaults, then --config, then the flags; with --resume, the"
        " run's own config.toml takes the defaults' place."
    )
    fields = setting_fields()
    grouped = {name: title for title, text in _GROUPS.items() for name in text.split()}
    groups: dict[str, Any] = {}
    run = parser.add_argument_group("run")
    run.add_argument("--config", metavar="FILE.toml", help="settings as TOML, keys as the flags")
    run.add_argument(
        "--resume", action="store_true", help="continue the interrupted run of the run directory"
    )
    for title in _GROUPS:
        groups[title] = parser.add_argument_group(title)
    for name, field in fields.items():
        _add_field(groups.get(grouped.get(name, "run"), run), field)


def _add_field(group: Any, field: Field) -> None:
    text = field.help.replace("%", "%%")
    if field.default not in (None, []) and field.kind is not bool:
        shown = field.default if field.many else [field.default]
        text += f" (default: {' '.join(str(item) for item in shown)})"
    if field.kind is bool:
        group.add_argument(
            field.flag,
            action=argparse.BooleanOptionalAction,
            default=argparse.SUPPRESS,
            help=f"{text} (default: {'on' if field.default else 'off'})",
        )
        return
    choices = field.choices or (tuple(names(field.room)) if field.room else None)
    metavar = field.metavar or _METAVARS.get(field.name) or _METAVARS[field.kind]
    if choices is not None:
        text += f"; one of {', '.join(choices)}"
    group.add_argument(
        field.flag,
        metavar=metavar,
        type=_number(field.kind) if field.kind in (int, float) else str,
        nargs="+" if field.many else None,
        default=argparse.SUPPRESS,
        help=text,
    )


def _number(kind: type[Any]) -> Callable[[str], Any]:
    def convert(text: str) -> Any:
        try:
            return kind(text)
        except ValueError:
            article = "an integer" if kind is int else "a number"
            raise argparse.ArgumentTypeError(f"needs to be {article} (got '{text}')") from None

    return convert


class _Formatter(argparse.HelpFormatter):
    def __init__(self, prog: str) -> None:
        width = min(100, shutil.get_terminal_size().columns)
        super().__init__(prog, max_help_position=28, width=width)

    def _split_lines(self, text: str, width: int) -> list[str]:
        return textwrap.wrap(text, width, break_on_hyphens=False)  # keeps file and flag names
