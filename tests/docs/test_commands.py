"""Commands in the docs name verbs, runs, overlays, keys and arguments that exist, and values that fit."""

from __future__ import annotations

import inspect
import json
import re
from importlib import import_module
from pathlib import Path

import pytest
from docs_text import Command, commands, pages, spans
from monai.bundle import ConfigParser, ckpt_export, onnx_export, trt_export

import bundle
from bundle.__main__ import VERBS
from bundle.arguments import keys, overlays, values, verbs
from bundle.arguments.command_line import TRACKING_KEYS, CommandLine, _parsed, split
from bundle.arguments.config import shipped, shipped_names, shipped_path
from bundle.arguments.front import CONFIGS
from bundle.arguments.paths import NEEDED, OPTIONAL
from bundle.data.prepare.run import DATA_SETS
from bundle.errors import UserError
from bundle.evaluation.experiment import experiment

ROOT = Path(bundle.root())
FOUND = [command for page in pages(ROOT) for command in commands(page.relative_to(ROOT).as_posix(), page.read_text(encoding="utf-8"))]
# flags of other programs that the prose names
OTHERS = {
    "--help",
    "--standalone",
    "--nproc_per_node",
    "--nnodes",
    "--node_rank",
    "--max_restarts",
    "--array",
    "--build-arg",
    "--backend-store-uri",
    "--conf",
    "--version",
    "--repeats",
    "--tasks",
    "--gates",
}


def wrong(command: Command) -> str | None:
    """What is wrong with a command; None where nothing is, or where it is another program's."""
    words = list(command.words)
    if words[0] == "make":
        targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.M))
        unknown = [word for word in words[1:] if "=" not in word and word not in targets]
        return f"the Makefile has no target {unknown[0]}" if unknown else None
    places = [place for place in range(len(words) - 1) if words[place] == "-m"]
    if not places:
        missing = [word for word in words if re.match(r"(benchmarks|tests|bundle)/", word) and not (ROOT / word.split("::")[0]).exists()]
        return f"there is no {missing[0]}" if missing else None
    module, rest = words[places[0] + 1], words[places[0] + 2 :]
    try:
        if module == "bundle":
            _check_verb(rest, command.elided)
        elif module == "monai.bundle" and rest[:1] == ["run"]:
            _check_run(rest[1:])
        elif module == "pytest":
            missing = [word for word in rest if word.startswith("tests") and not (ROOT / word.split("::")[0]).exists()]
            return f"there is no {missing[0]}" if missing else None
    except UserError as error:
        return str(error)
    return None


def _check_verb(words: list[str], elided: bool) -> None:
    verb = words[0] if words else "--help"
    if verb == "VERB" or verb == "--help":
        return
    if verb not in VERBS:
        raise UserError(verb, "there is no such verb", "use another")
    if any(word in verbs.HELP for word in words):
        return None
    if verb == "run":
        return _check_run(words[1:])
    module, name = VERBS[verb][0].split(":")
    try:
        verbs._check(getattr(import_module(module), name), verb, words[1:])
    except UserError as error:
        if not (elided and "is missing" in str(error)):
            raise
    given, _ = split(words[1:])
    if verb == "experiment":
        names = (given.get("overlays") or "").split(",")
        _check_config([str(shipped_path("train")), *(str(shipped_path(name)) for name in names if name)], _keys_of_config(given))
    return None


def _keys_of_config(given: dict[str, str | None]) -> dict[str, str | None]:

    return {key: value for key, value in given.items() if key not in inspect.signature(experiment).parameters}


def _check_run(words: list[str]) -> None:
    given, loose = split(words)
    line = CommandLine(given, tuple(loose))
    if not words:
        return
    files = line.files or [str(ROOT / "configs" / CONFIGS[loose[0]])]
    for file in files:
        if "configs/" in file and not (ROOT / file).is_file():
            raise UserError(file, "there is no such config", "correct it")
    _check_config([str(ROOT / file) for file in files if (ROOT / file).is_file()], given, loose)


def _check_config(files: list[str], given: dict[str, str | None], loose: list[str] | None = None) -> None:
    """Keys, overlays and values, as the first step of a run checks them; names of files and folders may be made up."""
    for file in files:
        if not Path(file).is_file():
            raise UserError(file, "there is no such overlay", "correct it")
    line = CommandLine({**given, "config_file": json.dumps(files)}, tuple(loose or ()))
    overlays.check_order(files)
    content = ConfigParser.load_config_files(files)
    keys.check_nested(content, line)
    parser = ConfigParser(content)
    for key in line.keys:
        if key not in (*NEEDED, *OPTIONAL):
            parser[key] = _parsed(given[key] or "")
    overlays.check(parser, line)
    keys.check(parser, line)
    values.check(parser, line)


@pytest.mark.parametrize("command", FOUND, ids=lambda command: command.where)
def test_command_of_the_docs(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    if "CUDA" in " ".join(command.words):
        pytest.skip("needs a GPU")
    assert wrong(command) is None


def test_commands_are_found_on_every_kind_of_page() -> None:
    where = {command.where.split(":")[0].split(" ")[0] for command in FOUND}
    assert {"README.md", "CONTRIBUTING.md", "docs/training.md", "docs/inference.md", "docs/network.md", "docs/experiments.md"} <= where
    assert len(FOUND) > 60


@pytest.mark.parametrize(
    ("line", "part"),
    [
        ("python -m bundle chekc D", "no such verb"),
        ("python -m bundle check D --lables x.json", "no such argument"),
        ("python -m bundle score A B", "is missing"),
        ("python -m bundle experiment OUT --dataset_dir D --overlays unett", "no such overlay"),
        ("python -m bundle experiment OUT --dataset_dir D --max_epoch 3", "no such key"),
        ("python -m monai.bundle run training --config_file configs/trian.json", "no such config"),
        ("python -m monai.bundle run training --config_file configs/train.json --learing_rate 1", "no such key"),
        ("python -m monai.bundle run training --config_file configs/train.json --network_def#gates 1", "no argument gates"),
        ("python -m monai.bundle run inference --config_file configs/inference.json --precision fp9", "does not fit"),
        ("python -m monai.bundle run infer --config_file configs/inference.json", "no run of this name"),
        (
            "torchrun -m monai.bundle run training --config_file \"['configs/overlays/train/finetune.json','configs/train.json']\"",
            "before it",
        ),
        ("make tset", "no target"),
        ("python benchmarks/netwrok.py", "there is no"),
    ],
)
def test_planted_errors_are_found(line: str, part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    (command,) = commands("page", f"```\n{line}\n```")
    assert part in (wrong(command) or "")


def unknown_flags(text: str) -> list[str]:
    """`--flags` between backticks that no config and no verb has."""
    known = {key.lstrip("+").split("#")[0].split("::")[0] for name in shipped_names() for key in shipped(name)}
    for target, _ in VERBS.values():
        module, name = target.split(":")
        known |= set(getattr(import_module(module), name).__code__.co_varnames)
    for module in DATA_SETS.values():
        known |= set(inspect.signature(import_module(f"bundle.data.prepare.{module}").plan).parameters)
    known |= {key for name in ("train", "inference") for key in shipped(name).get("displayable_configs", {})}
    for path in (ROOT / "benchmarks").glob("*.py"):
        known |= {flag[2:].replace("-", "_") for flag in re.findall(r'"(--[\w-]+)"', path.read_text(encoding="utf-8"))}
    flags = {flag for span in spans(text) for flag in re.findall(r"(?<![\w-])--[a-z][\w-]*", span)} - OTHERS
    foreign = {
        flag
        for span in spans(text)
        if re.match(r"(pip|monailabel|mlflow|tensorboard|git|ruff|ssh|torchrun|docker)\b", span)
        for flag in span.split()
    }
    known |= {name for verb in (ckpt_export, onnx_export, trt_export) for name in inspect.signature(verb).parameters}
    known |= {*TRACKING_KEYS, "config_file", "logging_file", "meta_file", "args_file", "tracking", "labels"}
    return sorted(flag for flag in flags - foreign if flag[2:].replace("-", "_") not in known)


@pytest.mark.parametrize("page", pages(ROOT), ids=lambda page: page.relative_to(ROOT).as_posix())
def test_flags_in_the_prose_exist(page: Path) -> None:
    assert unknown_flags(page.read_text(encoding="utf-8")) == []


def test_a_planted_flag_is_found() -> None:
    assert unknown_flags("give `--memroy_gb 2` or `--memory_gb 2`") == ["--memroy_gb"]
