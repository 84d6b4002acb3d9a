"""Tables 1 to 4 of the paper with one command: every experiment of a table, then its comparison, beside the published figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bundle.arguments.config import shipped
from bundle.arguments.config_files import Names, as_list, config_path
from bundle.errors import UserError
from bundle.evaluation.compare import compare_columns
from bundle.evaluation.compared import read_run
from bundle.evaluation.experiment import experiment
from bundle.evaluation.experiment_plan import held_out_cases, merged_config
from bundle.files import write_text
from bundle.tables import read_csv

PUBLISHED = Path(__file__).with_name("published.csv")


@dataclass(frozen=True)
class Column:
    """One column of a table: an experiment.

    Args:
        name: heading.
        data: which data set.
        overlays: over train.json.
        scores: the column whose weights are scored as they are; nothing is trained.
        starts_from: the column whose weights the training starts from.
    """

    name: str
    data: str
    overlays: tuple[str, ...]
    scores: str | None = None
    starts_from: str | None = None


@dataclass(frozen=True)
class Table:
    """The columns of a table in their order, the structures, and how they are compared (`compare`)."""

    columns: tuple[str, ...]
    structures: tuple[str, ...] = ("pancreas",)
    side_by_side: bool = False
    pairs: bool = True


PANCREAS = ("ct82", "without_other_organs")
COLUMNS = {
    "unet_120": Column("U-Net, many", "ct150", ("split_120_30", "unet")),
    "att_120": Column("with gates, many", "ct150", ("split_120_30",)),
    "unet_30": Column("U-Net, few", "ct150", ("split_30_120", "unet")),
    "att_30": Column("with gates, few", "ct150", ("split_30_120",)),
    "unet_6m": Column("U-Net of 6.44 M", "ct150", ("split_120_30", "unet_6m")),
    "unet_10m": Column("U-Net of 10.40 M", "ct150", ("split_120_30", "unet_10m")),
    "unet_bft": Column("BFT: U-Net", "ct82", (*PANCREAS, "unet"), scores="unet_120"),
    "att_bft": Column("BFT: with gates", "ct82", PANCREAS, scores="att_120"),
    "unet_aft": Column("AFT: U-Net", "ct82", (*PANCREAS, "unet", "finetune"), starts_from="unet_120"),
    "att_aft": Column("AFT: with gates", "ct82", (*PANCREAS, "finetune"), starts_from="att_120"),
    "unet_scr": Column("SCR: U-Net", "ct82", ("ct82", "unet")),
    "att_scr": Column("SCR: with gates", "ct82", ("ct82",)),
    "unet_cv": Column("U-Net, 5 folds", "ct82", ("pancreas_alone", "unet")),
    "att_cv": Column("with gates, 5 folds", "ct82", ("pancreas_alone",)),
}
TABLES = {
    "1": Table(("unet_120", "att_120", "unet_30", "att_30"), ("pancreas", "spleen", "kidney"), side_by_side=True),
    "2": Table(("att_120", "unet_120", "unet_6m", "unet_10m"), pairs=False),
    "3": Table(("unet_bft", "att_bft", "unet_aft", "att_aft", "unet_scr", "att_scr")),
    "4": Table(("unet_cv", "att_cv")),
}


def paper_tables(
    output_dir: str,
    *,
    ct150: str | None = None,
    ct82: str | None = None,
    tables: Names | int | None = None,
    overlays: Names = (),
    ct150_sizes: Sequence[int] = (120, 30),
    ct82_sizes: Sequence[int] = (61, 21),
    weights: str | None = None,
    unet_weights: str | None = None,
    **overrides: Any,
) -> dict[str, Path]:
    """Train, score and compare all that Tables 1 to 4 of the paper hold; the same command resumes after an interruption.

    Every column of a table is an `experiment` in a folder of its own below `output_dir`; `table_1/` to `table_4/` have the
    comparisons, as `compare` writes them, with the figures that the paper has below ours. An experiment that several tables share is done
    once. Table 4 is the cross-validation on CT-82, mean ± sd over all cases.

    Args:
        output_dir: folder of all of it.
        ct150: data set for Tables 1 and 2, of pancreas, spleen and kidneys (CT-150 is not public: any other of that form).
        ct82: data set for Tables 3 and 4, of the pancreas: NIH Pancreas-CT as `prepare` leaves it.
        tables: some of 1, 2, 3, 4; by default all that the data sets allow.
        overlays: further ones, below those of the columns.
        ct150_sizes: training and test cases of CT-150; Table 1 has them also the other way round.
        ct82_sizes: training and test cases of CT-82.
        weights: checkpoint of four classes with gates, for Table 3 before and after fine-tuning; that of Table 1 by default.
        unet_weights: the same without gates.
        overrides: any key of the training config, for all trainings.

    Returns:
        the folder of each table.

    Raises:
        UserError: a data set or weights that a table needs are not given, and all that `experiment` and `compare` refuse.
    """
    output, data = Path(str(output_dir)).resolve(), {"ct150": ct150, "ct82": ct82}
    given = {"unet_120": unet_weights, "att_120": weights}
    wanted = _wanted(tables, data, given)
    for key in ("dataset_dir", "output_dir", "pretrained", "pretrained_labels", "train_size", "test_size"):
        if key in overrides:
            raise UserError(
                f"--{key}", "differs from column to column", "leave it out; --ct150, --ct82, --ct150_sizes and --ct82_sizes say it"
            )
    sizes = {"ct150": _sizes("ct150_sizes", ct150_sizes), "ct82": _sizes("ct82_sizes", ct82_sizes)}
    plans: dict[str, tuple[list[str], dict[str, Any]]] = {}
    for key in _order(wanted, given):
        column = COLUMNS[key]
        keys = {**overrides, "dataset_dir": data[column.data], **_split(column, sizes[column.data], overrides)}
        if column.starts_from:
            keys |= {
                "pretrained": str(_checkpoint(output, column.starts_from, given)),
                "pretrained_labels": list(shipped("train")["labels"]),
            }
        # theirs come last: finetune.json may change what a study of its own sets
        files = [*as_list(overlays), *column.overlays]
        # what does not combine, and too few cases, are said before the first training
        held_out_cases(*merged_config([config_path(item) for item in ("configs/train.json", *files)], keys))
        plans[key] = files, keys
    for key, (files, keys) in plans.items():
        column = COLUMNS[key]
        print(f"\n{key}: {column.name}", flush=True)
        scored = str(_checkpoint(output, column.scores, given)) if column.scores else None
        experiment(str(output / key), overlays=files, name=column.name, weights=scored, **keys)
    return {table: _compare(output, table) for table in wanted}


def published() -> dict[str, dict[str, str]]:
    """What the paper has, by column: the line of a table ("pancreas dice", "parameters") to its figure.

    In brackets is what could not be checked against the paper or a quotation of it (the column `checked` of published.csv).
    """
    found: dict[str, dict[str, str]] = {}
    for row in read_csv(PUBLISHED):
        mean, _, sd = row["value"].partition(" ± ")
        shown = {"yes": row["value"], "mean": f"{mean} (± {sd})", "no": f"({row['value']})"}[row["checked"]]
        found.setdefault(row["column"], {})[row["line"]] = shown
    return found


def _compare(output: Path, table: str) -> Path:
    print(f"\nTable {table}", flush=True)
    folder, spec, papers = output / f"table_{table}", TABLES[table], published()
    runs = [replace(read_run(output / key, COLUMNS[key].name), published=papers.get(key, {})) for key in spec.columns]
    compare_columns(runs, spec.structures, folder, side_by_side=spec.side_by_side, pairs=spec.pairs)
    made = [name for name in TABLES if (output / f"table_{name}" / "comparison.md").is_file()]
    parts = [f"## Table {name}\n\n{(output / f'table_{name}' / 'comparison.md').read_text(encoding='utf-8')}" for name in made]
    parts.append("The paper: arXiv:1804.03999. In brackets: written from memory, not checked (docs/experiments.md).\n")
    write_text(output / "tables.md", "\n".join(parts))
    return folder


def _wanted(tables: Names | int | None, data: Mapping[str, str | None], given: Mapping[str, str | None]) -> list[str]:
    """The tables to make."""
    lacking = {table: _lacking(table, data, given) for table in TABLES}
    if tables is None:
        wanted = [table for table, what in lacking.items() if what is None]
        if not wanted:
            raise UserError("paper-tables", "no data set is given", "give --ct150 FOLDER, --ct82 FOLDER, or both")
        return wanted
    wanted = as_list(tables) if isinstance(tables, (str, int)) else [str(table) for table in tables]
    for table in wanted:
        if table not in TABLES:
            raise UserError("tables", f"'{table}' is none of the paper's", f"choose of {', '.join(TABLES)}")
        if lacking[table]:
            raise UserError("tables", f"Table {table} needs {lacking[table]}", f"give --{lacking[table]}, or leave this table out")
    return wanted


def _lacking(table: str, data: Mapping[str, str | None], given: Mapping[str, str | None]) -> str | None:
    """The data set that a table needs and that is not given."""
    return next((COLUMNS[key].data for key in _order([table], given) if data[COLUMNS[key].data] is None), None)


def _order(tables: Sequence[str], given: Mapping[str, str | None]) -> list[str]:
    """The columns of these tables, each once, after the one whose weights it takes; such a one is left out where weights are given."""
    found: dict[str, None] = {}
    for key in (key for table in tables for key in TABLES[table].columns):
        before = COLUMNS[key].scores or COLUMNS[key].starts_from
        if before and not given.get(before):
            found[before] = None
        found[key] = None
    return list(found)


def _checkpoint(output: Path, key: str, given: Mapping[str, str | None]) -> Path:
    return Path(given[key] or output / key / "fold_0" / "last.pt").resolve()


def _split(column: Column, sizes: tuple[int, int], overrides: Mapping[str, Any]) -> dict[str, int]:
    """Training and test cases of a column, and folds; those of a cross-validation come from the configs."""
    if "pancreas_alone" in column.overlays:
        return {"num_folds": overrides.get("num_folds", shipped("train")["num_folds"])}
    few = "split_30_120" in column.overlays
    return {"num_folds": 1, "train_size": sizes[few], "test_size": sizes[not few]}


def _sizes(key: str, value: Sequence[int]) -> tuple[int, int]:
    if not isinstance(value, (list, tuple)) or len(value) != 2 or not all(type(size) is int and size > 0 for size in value):
        raise UserError(key, f"its value is {value!r}", "use two whole numbers from 1 up, training and test cases: 61,21")
    return value[0], value[1]
