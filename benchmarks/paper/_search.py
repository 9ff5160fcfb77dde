"""A search over one grid whose trials are written as they end, and never done twice."""

import itertools
import json
import os
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

Params = dict[str, Any]
Trial = dict[str, Any]  # "params" and "value", of which more is better, beside anything else


def write_json(path: Path, content: Any) -> None:
    """Replaces a file as a whole, so that a kill leaves the old or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    temporary.write_text(json.dumps(content, indent=1) + "\n")
    os.replace(temporary, path)


def read_json(path: Path) -> Any:
    """A file's content, None if there is none."""
    return json.loads(path.read_text()) if path.exists() else None


def best(path: Path) -> Params | None:
    """What a finished search found, None if it is not finished."""
    content = read_json(path)
    if content is None or len(content["trials"]) < content["budget"]:
        return None
    return dict(max(content["trials"], key=lambda done: done["value"])["params"])


def tune(
    path: Path,
    cell: str,
    space: dict[str, list[Any]],
    trials: int,
    trial: Callable[[Params, list[Trial]], Trial],
    deadline: float = float("inf"),
) -> Params | None:
    """Searches a grid and returns the best parameters.

    Args:
        path: Where search.json lies or will.
        cell: What is searched for, for the file.
        space: The grid.
        trials: The number of different trials.
        trial: Makes one from parameters and the trials before it.
        deadline: The time after which no trial is begun.

    Returns:
        The best parameters, None if the deadline came before all trials were run.
    """
    import optuna  # an extra: only a search needs it

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    size = 1
    for values in space.values():
        size *= len(values)
    trials = min(trials, size)
    content = read_json(path) or {"cell": cell, "space": space, "trials": []}
    content["budget"] = trials
    distributions: dict[str, optuna.distributions.BaseDistribution] = {
        name: optuna.distributions.CategoricalDistribution(values) for name, values in space.items()
    }
    study = optuna.create_study(
        direction="maximize",
        sampler=optuna.samplers.TPESampler(seed=0, n_startup_trials=max(4, trials // 4)),
    )
    for done in content["trials"]:
        study.add_trial(
            optuna.trial.create_trial(
                params=done["params"], distributions=distributions, value=done["value"]
            )
        )
    repeats = 0
    while len(content["trials"]) < trials:
        if time.time() > deadline:
            return None
        asked = study.ask(distributions)
        params = {name: asked.params[name] for name in space}
        known = [done for done in content["trials"] if done["params"] == params]
        if known and repeats < 50:  # a draw that was tried before counts for nothing
            study.tell(asked, known[0]["value"])
            repeats += 1
            continue
        if known:  # the sampler insists: what it has not seen yet may still be better
            study.tell(asked, state=optuna.trial.TrialState.FAIL)
            params = _untried(space, content["trials"])
            asked = None
        repeats = 0
        found = trial(params, content["trials"])
        if asked is not None:
            study.tell(asked, found["value"])
        else:
            study.add_trial(
                optuna.trial.create_trial(
                    params=params, distributions=distributions, value=found["value"]
                )
            )
        content["trials"].append(found)
        write_json(path, content)
    top = max(content["trials"], key=lambda done: done["value"])
    return dict(top["params"])


def _untried(space: dict[str, list[Any]], trials: list[Trial]) -> Params:
    seen = [done["params"] for done in trials]
    every = (dict(zip(space, values, strict=True)) for values in itertools.product(*space.values()))
    left = [params for params in every if params not in seen]
    return random.Random(len(trials)).choice(left)
