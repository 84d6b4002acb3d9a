"""Comparing runs: the tables, the figure, the refusals."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from bundle.errors import UserError
from bundle.evaluation.compare import compare
from bundle.evaluation.score import write_metrics
from bundle.metrics import COLUMNS


def _run(folder: Path, dice: dict[str, list[float | None]], reference_ml: float = 20.0) -> Path:
    """A scored run: Dice per structure and case, the other scores made up."""
    folder.mkdir(parents=True)
    rows = []
    for structure, values in dice.items():
        for index, value in enumerate(values):
            scores = dict.fromkeys(COLUMNS, None if value is None else 0.5)
            if value is not None:
                scores |= {"dice": value, "assd_mm": 3 * (1 - value), "hd95_mm": 10 * (1 - value)}
            reference = reference_ml if value is not None else 0.0
            rows.append({"case": f"case_{index}", "structure": structure, **scores, "volume_ml": 20.0, "reference_ml": reference})
    write_metrics(rows, folder / "metrics.csv")
    return folder


@pytest.fixture
def runs(tmp_path: Path) -> list[str]:
    base = {"pancreas": [0.5, 0.6, 0.7, 0.4], "spleen": [0.9, None, 0.8, 0.9]}
    gated = {"pancreas": [0.6, 0.7, 0.7, 0.5], "spleen": [0.9, None, 0.9, 0.8]}
    return [str(_run(tmp_path / "unet", base)), str(_run(tmp_path / "gates", gated))]


def test_tables_and_figure(runs: list[str], tmp_path: Path) -> None:
    (tmp_path / "gates" / "experiment.json").write_text(
        json.dumps({"parameters": 6473322, "seconds_per_case": 1.25, "forward": {"seconds": 0.1786, "size": [160, 160, 96]}})
    )
    compare(*runs, output_dir=tmp_path / "out", names="U-Net, Attention U-Net", resamples=500)
    text = (tmp_path / "out" / "comparison.md").read_text(encoding="utf-8")
    assert "| | U-Net | Attention U-Net | p |" in text
    assert "| pancreas Dice | 0.550 ± 0.129 | 0.625 ± 0.096 | 0.500 |" in text  # 0.25, twice by Holm: two structures
    assert "| spleen Dice | 0.867 ± 0.058 (n 3) | 0.867 ± 0.058 (n 3) |" in text
    assert "| parameters |  | 6.47 M |  |" in text and "| forward pass of 160x160x96 |  | 0.179 s |  |" in text
    assert "| inference time per case |  | 1.25 s |" in text
    assert "| pancreas Dice: Attention U-Net | U-Net | 4 | +0.0750 [" in text and "| 3 / 0 |" in text
    with (tmp_path / "out" / "comparison.csv").open() as file:
        rows = {(row["structure"], row["metric"]): row for row in csv.DictReader(file)}
    assert len(rows) == 2 * 6
    assert float(rows["pancreas", "dice"]["wilcoxon_p"]) == pytest.approx(0.25)  # W = 0 of three differences: 2 / 8
    assert float(rows["spleen", "dice"]["mean_difference"]) == pytest.approx(0) and rows["spleen", "dice"]["n"] == "3"
    assert float(rows["pancreas", "assd_mm"]["mean_difference"]) == pytest.approx(-0.225)
    from matplotlib.image import imread

    picture = imread(tmp_path / "out" / "comparison.png")
    assert picture.shape[0] > 200 and picture.std() > 0.05


def test_significance_is_marked(tmp_path: Path) -> None:
    """Ten of ten cases better: the exact p is 2 / 1024, times the tests of this metric less than 0.05; half of them: not."""
    base = _run(tmp_path / "base", {"pancreas": [0.5 + n / 100 for n in range(10)], "spleen": [0.8] * 10})
    better = _run(tmp_path / "better", {"pancreas": [0.6 + n / 90 for n in range(10)], "spleen": [0.7 + n / 50 for n in range(10)]})
    compare(str(base), str(better), output_dir=tmp_path / "out", resamples=50)
    text = (tmp_path / "out" / "comparison.md").read_text(encoding="utf-8")
    assert "| pancreas Dice | 0.545 ± 0.030 | **0.650 ± 0.034** |" in text
    assert "| spleen Dice | 0.800 ± 0.000 | 0.790 ± 0.061 |" in text
    assert "p: of Wilcoxon's signed-rank test after Holm's adjustment" in text and "p below 0.05" in text


def test_runs_on_different_cases_side_by_side(runs: list[str], tmp_path: Path) -> None:
    """Two runs of 4 cases, two of 3 others: tests within each pair only."""
    others = {}
    for name, dice in (("small", [0.1, 0.2, 0.3]), ("small_gates", [0.2, 0.4, 0.3])):
        others[name] = _run(tmp_path / name, {"pancreas": dice, "spleen": dice})
        table = others[name] / "metrics.csv"
        table.write_text(table.read_text(encoding="utf-8").replace("case_", "other_"), encoding="utf-8")
    four = [*runs, *map(str, others.values())]
    with pytest.raises(UserError, match=r"scores other cases.*--side_by_side"):
        compare(*four, output_dir=tmp_path / "out")
    effects = compare(*four, output_dir=tmp_path / "out", side_by_side=True, resamples=50)
    assert {(effect.base, effect.other) for effect in effects} == {("unet", "gates"), ("small", "small_gates")}
    text = (tmp_path / "out" / "comparison.md").read_text(encoding="utf-8")
    assert "| | unet | gates | p | small | small_gates | p |" in text and "| cases | 4 | 4 |  | 3 | 3 |  |" in text
    assert "| pancreas Dice | 0.550 ± 0.129 | 0.625 ± 0.096 | 1.000 | 0.200 ± 0.100 | 0.300 ± 0.100 | 1.000 |" in text
    assert "| pancreas Dice: small_gates | small | 3 | +0.1000 [" in text


def test_pairs_are_tested_each_within_itself(runs: list[str], tmp_path: Path) -> None:
    """Four runs of the same cases, as in the paper's Table 3: the third is tested against nothing, the fourth against the third."""
    later = [str(_run(tmp_path / name, {"pancreas": dice})) for name, dice in (("aft", [0.8, 0.8, 0.8, 0.8]), ("aft_gates", [0.9] * 4))]
    effects = compare(*runs, *later, output_dir=tmp_path / "out", pairs=True, structures="pancreas", resamples=50)
    assert {(effect.base, effect.other) for effect in effects} == {("unet", "gates"), ("aft", "aft_gates")}
    text = (tmp_path / "out" / "comparison.md").read_text(encoding="utf-8")
    assert "| | unet | gates | p | aft | aft_gates | p |" in text and "Mean ± standard deviation over 4 cases" in text
    with pytest.raises(UserError, match="3 runs are not pairs"):
        compare(*runs, later[0], pairs=True, output_dir=tmp_path / "no")
    with pytest.raises(UserError, match="only in unet: case_3"):
        short = _run(tmp_path / "short", {"pancreas": [0.5, 0.6, 0.7]})
        compare(*runs, str(short), str(short), pairs=True, output_dir=tmp_path / "no")


def test_runs_that_have_no_partner_are_a_table_alone(runs: list[str], tmp_path: Path) -> None:
    alone = _run(tmp_path / "alone", {"pancreas": [0.5, 0.7]})
    assert compare(runs[0], str(alone), output_dir=tmp_path / "out", side_by_side=True) == []
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["comparison.md"]


def test_tables_of_earlier_versions_have_no_mesh_distance(runs: list[str], tmp_path: Path) -> None:
    for run in runs:
        table = Path(run) / "metrics.csv"
        with table.open() as file:
            rows = list(csv.DictReader(file))
        with table.open("w", newline="") as file:
            writer = csv.DictWriter(file, [name for name in rows[0] if name != "mesh_mm"], extrasaction="ignore")
            writer.writeheader()
            writer.writerows(rows)
    effects = compare(*runs, output_dir=tmp_path / "out", resamples=50)
    assert {effect.metric for effect in effects} == {"dice", "precision", "recall", "assd_mm", "hd95_mm"}
    assert "mesh distance" not in (tmp_path / "out" / "comparison.md").read_text(encoding="utf-8")


def test_same_files_for_the_same_seed(runs: list[str], tmp_path: Path) -> None:
    for name in ("one", "two"):
        compare(*runs, output_dir=tmp_path / name, resamples=300)
    for file in ("comparison.md", "comparison.csv"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


def test_unequal_case_lists_are_refused(runs: list[str], tmp_path: Path) -> None:
    short = _run(tmp_path / "short", {"pancreas": [0.5, 0.6, 0.7], "spleen": [0.9, None, 0.8]})
    with pytest.raises(UserError, match=r"only in unet: case_3 \(1\)"):
        compare(runs[0], str(short), output_dir=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_other_references_are_refused(runs: list[str], tmp_path: Path) -> None:
    other = _run(tmp_path / "other", {"pancreas": [0.5, 0.6, 0.7, 0.4], "spleen": [0.9, None, 0.8, 0.9]}, reference_ml=25.0)
    with pytest.raises(UserError, match="25 ml, in unet 20 ml"):
        compare(runs[0], str(other), output_dir=tmp_path / "out")


def test_only_common_structures_are_compared(runs: list[str], tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    alone = _run(tmp_path / "alone", {"pancreas": [0.5, 0.6, 0.7, 0.5]})
    effects = compare(runs[0], str(alone), output_dir=tmp_path / "out", resamples=100)
    assert {effect.structure for effect in effects} == {"pancreas"}
    assert "Not compared, because not every run has them: spleen" in capsys.readouterr().out
    with pytest.raises(UserError, match="spleen"):
        compare(runs[0], str(alone), output_dir=tmp_path / "out", structures="spleen")


def test_wrong_arguments(runs: list[str], tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"got 1 run\."):
        compare(runs[0])
    with pytest.raises(UserError, match="none of dice"):
        compare(*runs, metric="jaccard")
    with pytest.raises(UserError, match="resamples: its value is 'x'"):
        compare(*runs, resamples="x")
    with pytest.raises(UserError, match="3 names for 2 runs"):
        compare(*runs, names="a,b,c")
    with pytest.raises(UserError, match=r"is not a table of scores \(No such file"):
        compare(runs[0], str(tmp_path / "nothing"))


def test_less_is_better_for_distances(tmp_path: Path) -> None:
    """ASSD from 6 to 3 mm in three of three cases is better three times; so is HD95."""
    for name, distance in (("before", 6.0), ("after", 3.0)):
        scores = dict.fromkeys(COLUMNS, 0.5) | {
            "assd_mm": distance,
            "hd95_mm": 2 * distance,
            "mesh_mm": distance,
            "volume_ml": 20.0,
            "reference_ml": 20.0,
        }
        write_metrics([{"case": f"case_{n}", "structure": "spleen", **scores} for n in range(3)], tmp_path / name / "metrics.csv")
    effects = compare(str(tmp_path / "before"), str(tmp_path / "after"), output_dir=tmp_path / "out", metric="assd_mm", resamples=50)
    found = {effect.metric: effect for effect in effects}
    assert {metric: (effect.statistics.better, effect.statistics.worse) for metric, effect in found.items()} == {
        **dict.fromkeys(("dice", "precision", "recall"), (0, 0)),
        **dict.fromkeys(("assd_mm", "hd95_mm", "mesh_mm"), (3, 0)),
    }
    assert found["assd_mm"].statistics.mean_difference == -3
    text = (tmp_path / "out" / "comparison.md").read_text(encoding="utf-8")
    assert "| spleen ASSD (mm): after | before | 3 | -3.0000 [-3.0000, -3.0000] | 3 / 0 |" in text


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda text: text.replace("0.5,", "nan,", 1), "the value nan is not a number"),
        (lambda text: text.replace("dice", "Dice", 1), "the column 'dice' is missing"),
        (lambda text: text + text.splitlines()[1] + "\n", "has two rows of case case_0, pancreas"),
        (
            lambda text: "\n".join(line for line in text.split("\n") if "case_1,pancreas" not in line),
            "case_1 has a row for pancreas in one",
        ),
    ],
)
def test_a_table_that_is_not_whole_is_refused(runs: list[str], tmp_path: Path, change, said: str) -> None:
    table = Path(runs[1]) / "metrics.csv"
    table.write_text(change(table.read_text(encoding="utf-8")), encoding="utf-8")
    with pytest.raises(UserError, match=said):
        compare(*runs, output_dir=tmp_path / "out", resamples=50)


def test_a_table_saved_with_a_byte_order_mark_is_read(runs: list[str], tmp_path: Path) -> None:
    table = Path(runs[1]) / "metrics.csv"
    table.write_text(table.read_text(encoding="utf-8"), encoding="utf-8-sig")
    assert compare(*runs, output_dir=tmp_path / "out", resamples=50)


def test_it_says_where_it_writes_and_writes_over_nothing_else(
    runs: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    compare(*runs, resamples=50)
    folder = tmp_path / "comparison"
    assert f"written: comparison.md, comparison.csv, comparison.png in {folder}\n" in capsys.readouterr().out
    compare(*runs, resamples=50)  # its own earlier one
    (folder / "comparison.md").write_text("notes of a person")
    with pytest.raises(UserError, match=r"comparison\.md: this file is not of an earlier comparison.* Fix: .*--output_dir"):
        compare(*runs, resamples=50)
    (folder / "comparison.md").unlink()
    table = (folder / "comparison.csv").read_text()
    with pytest.raises(UserError, match=r"comparison\.csv: "):
        compare(*runs, resamples=50)
    assert (folder / "comparison.csv").read_text() == table


def test_what_an_earlier_comparison_tested_does_not_stay_beside_one_without_tests(runs: list[str], tmp_path: Path) -> None:
    compare(*runs, output_dir=tmp_path / "out", resamples=50)
    other = _run(tmp_path / "other", {"pancreas": [0.1, 0.2], "spleen": [0.5, 0.6]})
    table = other / "metrics.csv"
    table.write_text(table.read_text(encoding="utf-8").replace("case_", "other_"), encoding="utf-8")
    compare(runs[0], str(other), output_dir=tmp_path / "out", side_by_side=True, resamples=50)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["comparison.md"]
