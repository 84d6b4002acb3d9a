"""The table of compared runs: its lines, worked out from two made-up runs of two cases."""

from __future__ import annotations

from bundle.evaluation.compare_table import markdown
from bundle.evaluation.compared import Effect, Run
from bundle.evaluation.paired import paired
from bundle.metrics import COLUMNS


def _run(name: str, dice: tuple[float, float], **known: object) -> Run:
    rows = {
        (f"case_{number}", "pancreas"): {"case": f"case_{number}", "structure": "pancreas", **dict.fromkeys(COLUMNS, 1.0), "dice": value}
        for number, value in enumerate(dice)
    }
    return Run(name, rows, **known)


def _effect(base: Run, other: Run, p: float, column: int = 1) -> Effect:
    values = [[row["dice"] for row in run.rows.values()] for run in (base, other)]
    return Effect("pancreas", "dice", base.name, other.name, paired(*values, resamples=10), {}, column, wilcoxon_holm_p=p)


def test_p_stands_beside_the_run_that_is_tested_and_marks_it() -> None:
    base, other = _run("U-Net", (0.7, 0.8)), _run("gates", (0.8, 0.9))
    for p, cell in ((0.0499, "**0.850 ± 0.071** | 0.050"), (0.0501, "0.850 ± 0.071 | 0.050"), (0.0004, "**0.850 ± 0.071** | 4.0e-04")):
        lines = markdown([base, other], ["pancreas"], [_effect(base, other, p)]).splitlines()
        assert lines[:3] == ["| | U-Net | gates | p |", "| --- | ---: | ---: | ---: |", f"| pancreas Dice | 0.750 ± 0.071 | {cell} |"]


def test_a_run_in_two_pairs_has_the_p_of_each_pair_in_its_own_column() -> None:
    """As with `compare A B C B --pairs` and `compare A B B C --pairs`: B against A, then B against C, or C against B."""
    a, b, c = _run("A", (0.6, 0.7)), _run("B", (0.7, 0.8)), _run("C", (0.8, 0.9))
    lines = markdown([a, b, c, b], ["pancreas"], [_effect(a, b, 0.01), _effect(c, b, 0.6, 3)]).splitlines()
    assert lines[0] == "| | A | B | p | C | B | p |"
    assert lines[2].split(" | ")[2:4] == ["**0.750 ± 0.071**", "0.010"] and lines[2].endswith("| 0.750 ± 0.071 | 0.600 |")
    lines = markdown([a, b, b, c], ["pancreas"], [_effect(a, b, 0.01), _effect(b, c, 0.6, 3)]).splitlines()
    assert lines[0] == "| | A | B | p | B | C | p |" and lines[2].endswith("| 0.010 | 0.750 ± 0.071 | 0.850 ± 0.071 | 0.600 |")


def test_what_is_known_of_the_networks() -> None:
    one = _run("a", (0.7, 0.8), parameters=5_888_004, forward=0.1668, forward_size=(160, 160, 96), seconds=2.0)
    same = _run("b", (0.7, 0.8), parameters=6_407_687, forward=0.1786, forward_size=(160, 160, 96))
    lines = markdown([one, same], ["pancreas"], []).splitlines()
    assert "| parameters | 5.89 M | 6.41 M |" in lines and "| forward pass of 160x160x96 | 0.167 s | 0.179 s |" in lines
    assert "| inference time per case | 2.00 s |  |" in lines
    small = _run("b", (0.7, 0.8), forward=0.01, forward_size=(32, 32, 32))
    assert "| forward pass | 0.167 s (160x160x96) | 0.010 s (32x32x32) |" in markdown([one, small], ["pancreas"], []).splitlines()


def test_what_a_paper_has_stands_below_each_line() -> None:
    paper = {"pancreas dice": "0.840 ± 0.087", "pancreas dice p": "0.005", "parameters": "6.40 M", "forward pass": "0.179 s"}
    base, other = _run("U-Net", (0.7, 0.8)), _run("gates", (0.8, 0.9), published=paper)
    lines = markdown([base, other], ["pancreas"], [_effect(base, other, 0.5)]).splitlines()
    assert lines[3] == "| *the paper* |  | 0.840 ± 0.087 | 0.005 |"
    # lines that we have nothing for
    assert [line for line in lines if "*the paper*" in line][1:] == ["| *the paper* |  | 6.40 M |  |", "| *the paper* |  | 0.179 s |  |"]
