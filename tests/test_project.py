"""README, constraints and metadata say what is true."""

import re
import tomllib
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PINS = dict(
    line.split("==")
    for line in (ROOT / "constraints.txt").read_text().lower().splitlines()
    if not line.startswith("#")
)


def _requirements() -> list[tuple[str, str]]:
    extras = PROJECT["optional-dependencies"]
    pinned = ("sparse", "tensorboard", "test", "docs", "dev")
    lines = [*PROJECT["dependencies"], *(line for name in pinned for line in extras[name])]
    found = [re.fullmatch(r"([\w-]+)>=([\d.]+)", line.lower()) for line in lines]
    return [(m.group(1), m.group(2)) for m in found if m is not None]


def test_every_direct_dependency_is_pinned_at_or_above_its_floor() -> None:
    requirements = _requirements()
    assert len(requirements) > 15
    for name, floor in requirements:
        pin, least = (tuple(map(int, v.split("."))) for v in (PINS[name], floor))
        assert pin >= least, name


def test_the_extras_that_are_promised_exist() -> None:
    promised = {
        "sparse",
        "cagrad",
        "faiss",
        "tensorboard",
        "wandb",
        "search",
        "docs",
        "test",
        "dev",
    }
    assert set(PROJECT["optional-dependencies"]) == promised


def test_links_of_the_readme_lead_somewhere() -> None:
    links = re.findall(r"\]\(([^)#]+)\)", (ROOT / "README.md").read_text())
    local = [link for link in links if "://" not in link]
    assert len(local) >= 4
    assert [link for link in local if not (ROOT / link).exists()] == []


def test_the_example_of_the_readme_runs(capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    short = code.replace("range(1, 31)", "range(1, 3)").replace("Planted()", "Planted(None, 5_000)")
    assert short.count("5_000") == short.count("range(1, 3)") == 1
    state = torch.random.get_rng_state()
    exec(compile(short, "README.md", "exec"), {})
    assert 0 < float(capsys.readouterr().out) < 1
    assert torch.equal(state, torch.random.get_rng_state())  # no global state is touched
