"""The verb `prepare`: plan, write, report; resumes where it stopped; never touches the original files."""

from __future__ import annotations

import contextlib
import inspect
import json
import shlex
import time
from collections import Counter
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from types import ModuleType

from bundle.arguments.verbs import did_you_mean, switch
from bundle.data.prepare import files
from bundle.data.prepare.plan import SECTIONS, Convert, Plan, PlannedCase, Targets
from bundle.data.processes import in_processes
from bundle.errors import UserError, counted
from bundle.files import ASIDE, remove_unfinished, write_json
from bundle.limits import cpu_limit

DATA_SETS = {name: name.partition("-")[0] for name in ("nih-pancreas-ct", "msd", "btcv", "amos", "totalsegmentator", "flare")}
STATE = "prepare.json"
# at most so long ago is what a killed run does again
STATE_SECONDS = 1.0


def prepare(
    dataset: str,
    source: str,
    output_dir: str,
    *,
    link: str = "symlink",
    num_workers: int | None = None,
    check: bool = True,
    **options: object,
) -> int:
    """Bring a public data set, as it was downloaded and unpacked, into MSD layout.

    Writes `imagesTr`, `labelsTr` (and `Va`, `Ts`) with links to the original files, or converted ones where they must be,
    `dataset.json` (the datalist), and two overlays for the configs: `labels.json` (pancreas, spleen, kidney, as far as the data
    set has them) and `labels_all.json` (every structure). The same command resumes where it stopped.

    Args:
        dataset: nih-pancreas-ct, msd, btcv, amos, totalsegmentator or flare.
        source: the unpacked download; it is only read.
        output_dir: a new folder outside of it, or one this command wrote before.
        link: symlink, hardlink or copy: how files that need no conversion get there.
        num_workers: processes that convert; by default one a core.
        check: look at every file afterwards and report problems.
        options: of the data set: nih-pancreas-ct --keep_duplicates; amos --official_split; totalsegmentator --structures, --keep_empty.

    Returns:
        0, or 1 where cases could not be prepared (the others are).
    """
    if dataset not in DATA_SETS:
        raise UserError("dataset", f"'{dataset}' is not known", f"use one of {', '.join(DATA_SETS)}")
    if link not in files.LINKS:
        raise UserError("link", f"'{link}' is not a way to link", f"use one of {', '.join(files.LINKS)}")
    source_dir, output = Path(source).expanduser().resolve(), Path(output_dir).expanduser().resolve()
    module = import_module(f"bundle.data.prepare.{DATA_SETS[dataset]}")
    defaults = {name: one.default for name, one in inspect.signature(module.plan).parameters.items() if one.kind is one.KEYWORD_ONLY}
    options = _options(dataset, defaults, options)
    plan = _plan(module, source_dir, options)
    _guard(source_dir, output)
    what = {"dataset": dataset, "source": str(source_dir), "options": json.loads(json.dumps({**options, **plan.options}))}
    state = _state(output, what, {name: value for name, value in defaults.items() if isinstance(value, bool)})
    plan.options = {**plan.options, "link": link}
    failed = _write_all(plan, output, state, num_workers)
    kept = _kept(plan, output)
    _write_lists(plan, kept, output)
    _report(plan, kept, failed, state, output)
    if check and kept:
        _check(plan, output)
    _next_steps(output)
    return 1 if failed else 0


def _options(dataset: str, defaults: Mapping[str, object], typed: Mapping[str, object]) -> dict[str, object]:
    """A data set's own options, those that differ from the defaults; switches are read as the verbs' own are.

    Fire knows the types of named arguments only: here `false` arrives as a word, which would be true.
    """
    for name in typed:
        if name not in defaults:
            there = f"it has {', '.join(f'--{known}' for known in defaults)}" if defaults else "leave it out"
            raise UserError("prepare", f"{dataset} has no option --{name}{did_you_mean(name, list(defaults), '--')}", there)
    options = {name: switch(name, value) if isinstance(defaults[name], bool) else value for name, value in typed.items()}
    return {name: value for name, value in options.items() if value != defaults[name]}


def _plan(module: ModuleType, source: Path, options: dict) -> Plan:
    if not source.is_dir():
        raise UserError(source, "no such folder", "give the folder of the unpacked download")
    plan: Plan = module.plan(source, **options)
    if not plan.cases:
        raise UserError(source, f"holds no case of {plan.name}", "; ".join(plan.warnings) or "give the unpacked download")
    names = Counter(case.name for case in plan.cases)
    for name in [name for name, times in names.items() if times > 1]:
        plan.warnings.append(f"{name} is there {names[name]} times: the first is used")
    plan.cases = list({case.name: case for case in reversed(plan.cases)}.values())[::-1]
    return plan


def _guard(source: Path, output: Path) -> None:
    if output == source or source in output.parents or output in source.parents:
        raise UserError(
            output, "is inside the download (or holds it)", "choose another output folder, so that the originals stay as they are"
        )
    if output.exists() and not output.is_dir():
        raise UserError(output, "is a file", "choose a new folder")
    others = sorted(path.name for path in output.iterdir() if not path.name.endswith(ASIDE)) if output.is_dir() else []
    if others and not (output / STATE).is_file():
        raise UserError(output, f"is not empty and was not written by prepare ({', '.join(others[:3])})", "choose a new folder")


def _state(output: Path, what: dict, switches: Mapping[str, bool]) -> dict:
    """What an earlier run did, if it was the same run; cases by name with their sources' stamps, remarks and error."""
    path = output / STATE
    if not path.is_file():
        return {**what, "cases": {}}
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
        whole = all(isinstance(entry, dict) and "stamp" in entry and "remarks" in entry for entry in known["cases"].values())
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        whole = False
    if not whole:
        raise UserError(path, "is not the state of an earlier run", "choose a new folder, or take this one away")
    # earlier versions kept switches as they were typed, and took every word for true
    before, now = (
        {**switches, **{name: bool(value) if name in switches else value for name, value in options.items()}}
        for options in (known.get("options") or {}, what["options"])
    )
    if known.get("dataset") != what["dataset"] or known.get("source") != what["source"]:
        raise UserError(output, f"holds {known.get('dataset')} from {known.get('source')}", "choose a new folder")
    if differing := [name for name in {**before, **now} if before.get(name) != now.get(name)]:
        name = differing[0]
        raise UserError(output, f"was made with {name} {before.get(name)}, not {now.get(name)}", "choose a new folder")
    return {**known, **what}


def _targets(output: Path, case: PlannedCase) -> Targets:
    end = SECTIONS[case.section]
    return Targets(output / f"images{end}" / case.name, output / f"labels{end}" / case.name)


def _write_all(plan: Plan, output: Path, state: dict, num_workers: int | None) -> dict[str, str]:
    """Write the cases that are not there yet; gives error by case name. The state is kept also where it is interrupted."""
    from tqdm import tqdm

    done = {case.name for case in plan.cases if _is_done(plan, case, output, state["cases"].get(case.name))}
    jobs = [(plan.convert, case, _targets(output, case), plan.options) for case in plan.cases if case.name not in done]
    output.mkdir(parents=True, exist_ok=True)
    for folder in (output, *output.iterdir()):  # of a run that was killed
        remove_unfinished(folder)
    # first of all: a run that is killed from here on knows its folder again
    write_json(output / STATE, state)
    written = 0.0
    workers = (num_workers or cpu_limit()) if plan.convert is not None else 1  # links take no time
    try:
        with (
            tqdm(total=len(jobs), desc="preparing", delay=2) as bar,
            contextlib.closing(in_processes(write_case, jobs, workers)) as results,
        ):
            for name, entry in results:
                state["cases"][name] = entry
                bar.update()
                if time.monotonic() > written + STATE_SECONDS:
                    write_json(output / STATE, state)
                    written = time.monotonic()
    finally:
        write_json(output / STATE, state)
    if done:
        print(f"{len(done)} of {len(plan.cases)} cases were there already")
    return {case.name: error for case in plan.cases if (error := state["cases"][case.name].get("error"))}


def write_case(convert: Convert | None, case: PlannedCase, targets: Targets, options: dict) -> tuple[str, dict]:
    """Write one case; an unreadable one is reported, not raised, so that the others continue."""
    entry: dict = {"stamp": files.source_stamp(case.sources()), "remarks": [], "link": options["link"]}
    try:
        if convert is not None:
            entry["remarks"] = convert(case, targets, options)
        else:
            for label in case.labels:
                files.link(label, targets.label, options["link"])
            files.link(case.image, targets.image, options["link"])
    except Exception as error:  # readers raise what they like
        entry["error"] = (" ".join(str(error).split()) or type(error).__name__)[:300]
    return case.name, entry


def _is_done(plan: Plan, case: PlannedCase, output: Path, entry: dict | None) -> bool:
    """Whether a case is there as it is wanted: from these sources, and linked or copied in the way that is asked for."""
    if entry is None or "error" in entry or entry["stamp"] != files.source_stamp(case.sources()):
        return False
    targets = _targets(output, case)
    if any(remark.startswith("left out") for remark in entry["remarks"]):
        return True
    if not files.written(targets.image) or (case.labels and not files.written(targets.label)):
        return False
    how = plan.options["link"]
    # where the system allows no such link, the next best was made; a copy is a copy on every system
    if how != "copy" and entry.get("link") == how:
        return True
    pairs = [(files.written(target), source) for source, target in plan.links(case, targets)]
    return all(path is not None and files.made_by(path, source, how) for path, source in pairs)


def _kept(plan: Plan, output: Path) -> dict[PlannedCase, tuple[Path, Path | None]]:
    kept = {}
    for case in plan.cases:
        targets = _targets(output, case)
        image, label = files.written(targets.image), files.written(targets.label) if case.labels else None
        if image and (label or not case.labels):
            kept[case] = (image, label)
    return kept


def _write_lists(plan: Plan, kept: dict[PlannedCase, tuple[Path, Path | None]], output: Path) -> None:
    entries: dict[str, list] = {section: [] for section in SECTIONS}
    for case, (image, label) in kept.items():
        paths = [f"./{path.relative_to(output).as_posix()}" for path in (image, label) if path]
        group = {"group": case.group} if case.group else {}
        entries[case.section].append({"image": paths[0], "label": paths[1], **group} if label else paths[0])
    if not entries["validation"]:
        del entries["validation"]
    names = {str(value): name for name, value in {"background": 0, **plan.structures}.items()}
    about = {"name": plan.name, "reference": plan.reference, "licence": plan.licence, "modality": {"0": "CT"}, "tensorImageSize": "3D"}
    numbers = {"numTraining": len(entries["training"]), "numTest": len(entries["test"])}
    write_json(output / "dataset.json", {**about, "labels": names, **numbers, **entries})
    write_json(output / "labels.json", {"labels": plan.label_block()})
    write_json(output / "labels_all.json", {"labels": plan.full_block()})


def _report(plan: Plan, kept: dict, failed: dict[str, str], state: dict, output: Path) -> None:
    sections = Counter(case.section if case.labels else "unlabelled" for case in kept)
    parts = ", ".join(f"{number} {name}" for name, number in sections.items())
    print(f"{plan.name}: {counted(len(kept), 'case')} in {output} ({parts})")
    remarks = [(case.name, remark) for case in plan.cases for remark in state["cases"][case.name].get("remarks", [])]
    for line in plan.warnings:
        print(f"  warning: {line}")
    same = Counter(remark for _, remark in remarks)
    for remark, number in same.items():
        who = [name for name, said in remarks if said == remark]
        print(f"  warning: {', '.join(who[:5])}{f' and {number - 5} more' if number > 5 else ''}: {remark}")
    for name, error in failed.items():
        print(f"  FAILED: {name}: {error}")


def _check(plan: Plan, output: Path) -> None:
    """Say which structures are there, in how many cases, and what the doctor finds."""
    from bundle.data.checks.check import measure, problems_of
    from bundle.data.datalist import find_cases, sections

    measured = measure(find_cases(str(output)), cache_dir=str(output))
    counts = [facts.get("counts", {}) for facts in measured.labels.values()]
    seen = {name: sum(str(value) in count for count in counts) for name, value in plan.structures.items()}
    for name, number in seen.items():
        if number:
            print(f"  structure: {name} (value {plan.structures[name]}) in {number} of {len(counts)} labelled cases")
    if absent := [name for name, number in seen.items() if not number]:
        print(f"  in no labelled case: {', '.join(absent)}")
    parts: dict = {}
    with contextlib.suppress(UserError):
        parts = sections(measured.listing)
    for one in problems_of(measured, plan.full_block(), parts):
        if one.code != "absent":
            print(f"  {one.level}: {one.error()}")


def _next_steps(output: Path) -> None:
    block = json.loads((output / "labels.json").read_text(encoding="utf-8"))["labels"]
    print(f'labels to paste (also in labels.json): "labels": {json.dumps(block)}')
    place = shlex.quote(str(output))
    print(f"next: python -m bundle check {place}")
    configs = f"\"['configs/train.json', '{output / 'labels.json'}']\""
    print(f"      python -m monai.bundle run training --config_file {configs} --dataset_dir {place}")
