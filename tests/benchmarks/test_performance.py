"""The benchmark behind docs/performance.md: the rate of a convolution, the table, and the page it is written to."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

import bundle


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"benchmark_{name}", Path(bundle.root()) / "benchmarks" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


performance = load("performance")
Row = performance.Row
HEAD = ["| what | measured | limit | kept | when |", "| --- | --- | --- | --- | --- |"]


def test_the_rate_of_a_convolution_counts_a_product_and_a_sum_for_each_weight_and_voxel(monkeypatch: pytest.MonkeyPatch) -> None:
    """2 * 27 * 2 * 2 * 60 = 12,960 operations; a clock that steps by a microsecond makes it 12.96 GFLOP/s."""
    ticks = iter(range(100))
    monkeypatch.setattr(performance.time, "perf_counter", lambda: next(ticks) * 1e-6)
    assert performance.plain_rate(2, (3, 4, 5), "fp32") == pytest.approx(12.96)


def test_a_row_says_whether_its_limit_is_kept() -> None:
    rows = [Row("start", "9.0 s", "7.3 s", False), Row("gates", "2 %", "5 %", True), Row("import", "3 s")]
    assert performance.table(rows, "today").splitlines() == [
        *HEAD,
        "| start | 9.0 s | 7.3 s | **no** | today |",
        "| gates | 2 % | 5 % | yes | today |",
        "| import | 3 s |  |  | today |",
    ]


def test_rows_that_were_not_measured_stay_at_their_places() -> None:
    earlier = performance.table([Row("a", "1"), Row("b", "2"), Row("c", "3")], "before")
    lines = performance.table([Row("b", "4", "5", True), Row("d", "6")], "now", f"some text\n\n{earlier}\n").splitlines()
    assert [line.split(" | ")[0] for line in lines[2:]] == ["| a", "| b", "| c", "| d"]
    assert lines[3] == "| b | 4 | 5 | yes | now |" and lines[4] == "| c | 3 |  |  | before |"


def test_a_table_of_other_columns_does_not_stay() -> None:
    assert performance.table([], "now", "| what | measured |\n| --- | --- |\n| a | 1 |").splitlines() == HEAD


PAGE = "# How fast\n\nwords\n\n## Two cores, new\n\nnot measured\n\n## Two cores, old\n\nnothing\n\n## A GPU\n\nnone\n"


def test_the_section_of_one_machine_is_written_and_nothing_else(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(PAGE)
    performance.write(page, "Two cores, old", "a Zen", "python x.py", [Row("a", "1", "2", True)], "now")
    text = page.read_text()
    table = "\n".join([*HEAD, "| a | 1 | 2 | yes | now |"])
    assert text == PAGE.replace("nothing", f"a Zen, last by\n`python x.py`:\n\n{table}")
    performance.write(page, "Two cores, old", "a Zen", "python x.py", [Row("b", "3")], "later")
    assert text.replace(table, f"{table}\n| b | 3 |  |  | later |") == page.read_text()


@pytest.mark.parametrize("heading", ["Two cores", "Three"])
def test_a_heading_that_is_not_one(tmp_path: Path, heading: str) -> None:
    (tmp_path / "page.md").write_text(PAGE)
    with pytest.raises(SystemExit, match="'Two cores, new', 'Two cores, old', 'A GPU'"):
        performance.write(tmp_path / "page.md", heading, "", "", [], "")
    assert (tmp_path / "page.md").read_text() == PAGE


@pytest.mark.parametrize("native", [True, False])
def test_no_row_of_bfloat16_where_it_is_not_computed(monkeypatch: pytest.MonkeyPatch, native: bool) -> None:
    monkeypatch.setattr("bundle.inferers.gradients.cpu_has_bf16", lambda: native)
    assert performance.limits(fp32=1, bf16=2) == [("fp32", 1), ("bf16", 2)][: 2 if native else 1]


def test_the_start_is_compared_without_its_first_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of each commit the best but the first counts: 6 against 10 s is 0.6."""
    seconds = {"start_now": iter([1.0, 7.0, 6.0]), "start_before": iter([1.0, 10.0, 11.0])}
    monkeypatch.setattr(performance, "scan", lambda *_: tmp_path)
    monkeypatch.setattr(performance, "IMPORTS", {name: "pass" for name in performance.IMPORTS})
    monkeypatch.setattr(performance, "run", lambda _, out, *__: {"wall_s": next(seconds[out.name]), "cpu_s": 3.0})
    (tmp_path / "before").mkdir()
    row, imports = performance.start(performance.argparse.Namespace(out=tmp_path, before="abc", rounds=2, threads=1))
    assert row == Row("one scan of 512x512x240 from cold", "6.0 s, 3.0 CPU s, 0.60 of it", "0.7 of the 10.0 s of `abc`", True)
    assert imports.kept is None


def test_the_small_network_is_compared_on_the_same_scan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The best of two runs each, by their records: 3 s against 0.8 s are 3.8 times as fast, below the limit of 4."""
    seconds = {False: iter([3.0, 3.5]), True: iter([0.9, 0.8])}

    def run(_: Path, out: Path, *__: object, config_file: str, **___: object) -> None:
        out.mkdir(exist_ok=True)
        one = next(seconds["overlays/inference/fast.json" in config_file])
        (out / "run.json").write_text(f'{{"cases": [{{"seconds": {{"network": {one}}}}}]}}')

    monkeypatch.setattr(performance, "scan", lambda *_: tmp_path)
    monkeypatch.setattr(performance, "run", run)
    monkeypatch.setattr(performance, "limits", lambda **of: [("fp32", of["fp32"])])
    (row,) = performance.small(performance.argparse.Namespace(out=tmp_path, threads=1))
    figures = "network 0.80 s against 3.00 s: 3.8 times as fast"
    assert row == Row("one scan of 512x512x240 with `fast.json`, fp32", figures, "4 times", False)


def test_a_heading_that_is_not_there_is_said_before_anything_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(performance, "TASKS", {name: lambda _: pytest.fail("measured") for name in performance.TASKS})
    monkeypatch.setattr("sys.argv", ["performance.py", "--write", "Nowhere"])
    with pytest.raises(SystemExit, match=r"'Nowhere': 0 sections of .*performance\.md begin so"):
        performance.main()
