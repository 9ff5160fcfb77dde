import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import render


def _result(seed: int, recall: float, baseline: float = 0.25) -> dict[str, Any]:
    arms = {"popularity": baseline, "pmtrec": recall}
    metrics = {arm: {"recall@20": value, "ndcg@20": value / 2} for arm, value in arms.items()}
    return {
        "dataset": {"name": "toy"},
        "settings": {"encoder": "mf", "dim": 8, "balancer": "pmtrec", "seed": seed},
        "test": metrics["pmtrec"],
        "comparison": metrics,
    }


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "benchmarks" / "results"
    folder.mkdir(parents=True)
    monkeypatch.setattr(render, "ROOT", tmp_path)
    monkeypatch.setattr(render, "RESULTS", folder)
    monkeypatch.setattr(render, "PUBLISHED", tmp_path / "published.json")
    return folder


def test_the_seeds_of_an_experiment_are_averaged(results: Path) -> None:
    for seed, recall in enumerate((0.30, 0.40)):
        (results / f"toy.seed{seed}.json").write_text(json.dumps(_result(seed, recall)))
    table = render.quality()
    assert table.rows == [
        ["toy, mf, d = 8", "popularity", "0.2500 ± 0.0000", "0.1250 ± 0.0000", "2"],
        ["", "PMTRec", "0.3500 ± 0.0707", "0.1750 ± 0.0354", "2"],
    ]


@pytest.mark.parametrize(
    ("recall", "verdict"),
    [(0.30, "not reached in NDCG@20"), (0.20, "not reached in Recall@20 and NDCG@20")],
)
def test_a_published_number_that_is_missed_is_said_to_be(
    results: Path, recall: float, verdict: str
) -> None:
    (results / "toy.json").write_text(json.dumps(_result(0, recall)))
    paper = {"toy": {"source": "a paper", "recall@20": 0.25, "ndcg@20": 0.2}}
    render.PUBLISHED.write_text(json.dumps(paper))
    table = render.quality()
    assert table.rows[-1] == ["", "PMTRec, as published", "0.2500", "0.2000", ""]
    assert table.notes == [f"toy: the published number (a paper) is {verdict}."]


def test_tables_are_filled_once_and_found_stale(
    results: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    readme, page = results.parents[1] / "README.md", results.parents[1] / "docs" / "results.rst"
    page.parent.mkdir()
    readme.write_text("before\n\n<!-- table: quality -->\n<!-- /table -->\n\nafter\n")
    page.write_text("before\n\n.. table: quality\n\n.. /table\n\nafter\n")
    (results / "toy.json").write_text(json.dumps(_result(0, 0.3)))

    monkeypatch.setattr("sys.argv", ["render", "--check"])
    with pytest.raises(SystemExit, match=r"stale tables in README.md, docs/results.rst"):
        render.main()
    assert "0.3000" not in readme.read_text()

    monkeypatch.setattr("sys.argv", ["render"])
    render.main()
    assert "| toy, mf, d = 8 | popularity | 0.2500 | 0.1250 | 1 |" in readme.read_text()
    assert "   * - toy, mf, d = 8\n     - popularity\n     - 0.2500\n" in page.read_text()
    for text in (readme.read_text(), page.read_text()):
        assert text.startswith("before\n") and text.endswith("\nafter\n")

    monkeypatch.setattr("sys.argv", ["render", "--check"])
    render.main()
    assert capsys.readouterr().out.endswith("up to date: all tables\n")


def test_a_table_without_results_says_so(results: Path) -> None:
    filled = render.fill("<!-- table: step -->\n| old |\n<!-- /table -->", render.MARKDOWN)
    assert "old" not in filled
    assert "Not measured yet: no results under `benchmarks/results/`." in filled
