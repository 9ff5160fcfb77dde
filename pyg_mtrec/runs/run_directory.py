from collections.abc import Collection, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyg_mtrec._errors import InputError
from pyg_mtrec.runs import _results, _toml
from pyg_mtrec.runs._atomic import cannot_write, remove_leftovers, write_atomic
from pyg_mtrec.runs.history import History

if TYPE_CHECKING:
    from torch import Tensor

    from pyg_mtrec.runs.checkpoint import Checkpoint

_FREE = ("out", "root", "tensorboard")  # no number depends on these settings


class RunDirectory:
    r"""One folder that holds everything of one run, each file complete or absent.

    ===================  ==========================================================
    ``config.toml``      the settings; ``pyg-mtrec train --config`` reads them back
    ``history.csv``      one row per epoch
    ``checkpoint.pt``    where a killed run goes on
    ``pretrain.csv``     the first of two stages, one row per epoch
    ``pretrain.pt``      where a run that was killed in that stage goes on; gone at the end
    ``pretrained.pt``    the tables that it left, by raw id
    ``results.json``     the numbers, and everything that they depend on
    ``model.pt``         final representations ``user_x``, ``item_x``; with a head its weights
    ``ids.pt``           raw ids of every node type
    ``seen.pt``          training and validation pairs, which recommendations leave out
    ``test_users.pt``    test metrics of every user
    ``test_rows.pt``     with a head, predictions and losses of every test impression
    ``curve.png``        validation metric and losses over the epochs
    ``pretrain.png``     the losses of the first of two stages over its epochs
    ``comparison.png``   arms side by side
    ``reliability.png``  binary targets: observed rates over predicted ones
    ``predicted.png``    continuous targets: labels over predictions
    ===================  ==========================================================

    Args:
        path: The folder; :meth:`prepare` makes it.

    Example:
        >>> import tempfile
        >>> folder = tempfile.TemporaryDirectory()
        >>> run = RunDirectory(f"{folder.name}/run")
        >>> run.prepare({"dataset": "planted", "tau": 0.001}, resume=False)
        >>> run.write_results({"test": {"recall@20": 0.25}})
        >>> run.read_results()["test"]
        {'recall@20': 0.25}
        >>> run.read_config()
        {'dataset': 'planted', 'tau': 0.001}
        >>> folder.cleanup()
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.history = History(self.path / "history.csv")
        self.pretrain_history = History(self.path / "pretrain.csv")

    def __repr__(self) -> str:
        return f"{type(self).__name__}('{self.path}')"

    @cached_property
    def checkpoint(self) -> "Checkpoint":
        r"""The :class:`Checkpoint` of the run."""
        from pyg_mtrec.runs.checkpoint import Checkpoint  # the command line comes without torch

        return Checkpoint(self.path / "checkpoint.pt")

    @cached_property
    def pretrain_checkpoint(self) -> "Checkpoint":
        r"""The :class:`Checkpoint` of the first of two stages."""
        from pyg_mtrec.runs.checkpoint import Checkpoint

        return Checkpoint(self.path / "pretrain.pt")

    def check(self, config: Mapping[str, Any], resume: bool, free: Collection[str] = _FREE) -> None:
        r"""Refuses what :meth:`prepare` would refuse, without writing anything.

        Args:
            config: The settings, plain values; ``None`` is the same as absent.
            resume: Goes on with the run of the folder.
            free: Settings that may differ from the run's, because results do not depend on them.

        Raises:
            InputError: If the folder holds a run and ``resume`` is ``False``, a run of another
                config, or files that are not a run's.
        """
        if self.path.exists() and not self.path.is_dir():
            raise InputError(f"'{self.path}' is a file: '--out' needs to be a folder")
        if self._file("config.toml").exists():
            if not resume:
                raise InputError(
                    f"'{self.path}' already holds a run: pass '--resume' to continue it,"
                    " or another folder with '--out'"
                )
            self._check_same(config, free)
        elif self.path.is_dir() and any(not _is_leftover(file) for file in self.path.iterdir()):
            raise InputError(
                f"'{self.path}' is not empty and holds no run ('config.toml' is missing):"
                " pass an empty or new folder with '--out'"
            )

    def prepare(
        self, config: Mapping[str, Any], resume: bool, free: Collection[str] = _FREE
    ) -> None:
        r"""Makes the folder, or checks that it is the one to go on with.

        Resuming where nothing was written yet starts from the beginning: a run may have been
        killed before its first file. What a killed process left half-written is removed.

        Args:
            config: The settings, plain values; ``None`` is the same as absent.
            resume: Goes on with the run of the folder.
            free: Settings that may differ from the run's, because results do not depend on them.

        Raises:
            InputError: If :meth:`check` refuses, or the folder cannot be made or written to.
        """
        self.check(config, resume, free)
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            remove_leftovers(self.path)
            if not self._file("results.json").exists():  # else it has ended, and nothing comes
                for checkpoint, history in (("checkpoint", "history"), ("pretrain", "pretrain")):
                    if not self._file(f"{checkpoint}.pt").exists():  # the first epoch comes again
                        self._file(f"{history}.csv").unlink(missing_ok=True)
        except OSError as error:
            raise cannot_write(self.path, error) from error
        self._write("config.toml", _toml.dumps(config).encode())

    def read_config(self) -> dict[str, Any]:
        r"""Returns the settings that the run was started with.

        Raises:
            InputError: If the folder holds no run.
        """
        self._check_run()
        return _toml.load(self._file("config.toml"))

    def write_results(self, results: Mapping[str, Any]) -> None:
        r"""Replaces ``results.json``; numbers that are not finite become ``null``."""
        self._write("results.json", _results.dumps(results).encode())

    def read_results(self) -> dict[str, Any]:
        r"""Returns ``results.json``.

        Raises:
            InputError: If the folder holds no run, or the run has not ended.
        """
        self._check_run()
        return _results.load(self._file("results.json"))

    def save_tensors(self, name: str, tensors: dict[str, Any]) -> None:
        r"""Replaces one file of tensors.

        Args:
            name: The file, with or without its ending ``.pt``.
            tensors: Tensors in plain containers.
        """
        from pyg_mtrec.runs import _tensors

        _tensors.save(self._file(f"{name.removesuffix('.pt')}.pt"), tensors)

    def load_tensors(self, name: str) -> dict[str, Any]:
        r"""Reads one file of tensors, onto the CPU.

        Args:
            name: The file, with or without its ending ``.pt``.

        Raises:
            InputError: If the file is missing or damaged.
        """
        from pyg_mtrec.runs import _tensors

        self._check_run()
        return _tensors.load(self._file(f"{name.removesuffix('.pt')}.pt"))

    def plot_curve(self, metric: str | None = None) -> Path:
        r"""Draws ``curve.png`` from the columns ``valid/METRIC`` and ``loss/TASK`` of the history.

        Args:
            metric: The validation metric to draw (default: the one that selected the epoch).

        Returns:
            The path of the image.
        """
        from pyg_mtrec.runs import _plots

        metric = metric or self.read_config().get("select_metric")
        return self._image("curve.png", _plots.curve(self.history.rows(), metric))

    def plot_pretraining(self, guesses: Mapping[str, float | None], epoch: int) -> Path:
        r"""Draws ``pretrain.png`` from the columns ``loss/TASK`` of the first stage's history.

        Args:
            guesses: Task to what a guess costs, which is marked; ``None`` where nothing does.
            epoch: The one whose tables were kept.

        Returns:
            The path of the image.
        """
        from pyg_mtrec.runs import _plots

        rows = self.pretrain_history.rows()
        return self._image("pretrain.png", _plots.pretraining(rows, guesses, epoch))

    def plot_comparison(
        self, table: Mapping[str, Mapping[str, float | None] | None], metric: str = "recall@20"
    ) -> Path:
        r"""Draws ``comparison.png``, one bar per arm.

        Args:
            table: Arm to metric to value, in the order to draw; arms without a value are left out.
            metric: The metric to draw.

        Returns:
            The path of the image.
        """
        from pyg_mtrec.runs import _plots

        values = {
            arm: value
            for arm, metrics in table.items()
            if metrics is not None and (value := metrics.get(metric)) is not None
        }
        return self._image("comparison.png", _plots.comparison(values, metric))

    def plot_reliability(self, curves: "Mapping[str, tuple[Tensor, Tensor, Tensor]]") -> Path:
        r"""Draws ``reliability.png``, a reliability diagram per binary target.

        Args:
            curves: Target to what :func:`~pyg_mtrec.metrics.reliability_curve` returns.

        Returns:
            The path of the image.
        """
        from pyg_mtrec.runs import _prediction_plots

        return self._image("reliability.png", _prediction_plots.reliability(curves))

    def plot_predicted(self, pairs: "Mapping[str, tuple[Tensor, Tensor]]") -> Path:
        r"""Draws ``predicted.png``, labels over predictions of each continuous target.

        Args:
            pairs: Target to predictions and labels, NaN where unlabelled, both of shape ``[n]``.

        Returns:
            The path of the image.
        """
        from pyg_mtrec.runs import _prediction_plots

        return self._image("predicted.png", _prediction_plots.predicted(pairs))

    def _image(self, name: str, content: bytes) -> Path:
        self._write(name, content)
        return self._file(name)

    def _file(self, name: str) -> Path:
        return self.path / name

    def _write(self, name: str, content: bytes) -> None:
        write_atomic(self._file(name), lambda file: file.write(content))

    def _check_run(self) -> None:
        if not self.path.is_dir():
            raise InputError(f"run directory '{self.path}' does not exist: check the path")
        if not self._file("config.toml").exists():
            raise InputError(f"'{self.path}' holds no run: 'config.toml' is missing")

    def _check_same(self, config: Mapping[str, Any], free: Collection[str]) -> None:
        old = self.read_config()
        config = _toml.loads(_toml.dumps(config))  # a tuple has become a list, and so on
        for key in dict.fromkeys((*config, *old)):
            before, now = old.get(key), config.get(key)
            if key not in free and before != now:
                raise InputError(
                    f"'{self.path}' holds a run with {key} = {_show(before)}, not {_show(now)}:"
                    " resume with the same settings, or pass another folder with '--out'"
                )


def _is_leftover(file: Path) -> bool:
    return file.name.startswith(".") and file.name.endswith(".tmp")


def _show(value: Any) -> str:
    return "its default" if value is None else repr(value)
