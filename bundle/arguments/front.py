"""`python -m bundle run`: MONAI's own `run`, with what it does not say in one line looked at before."""

from __future__ import annotations

import os
import runpy
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from textwrap import fill

import bundle
from bundle.arguments.command_line import CommandLine, given
from bundle.arguments.config import shipped, shipped_path
from bundle.arguments.paths import MACRO, NEEDED, OPTIONAL
from bundle.arguments.values import KINDS
from bundle.arguments.verbs import did_you_mean
from bundle.errors import UserError

# run -> the config that has it
CONFIGS = {"training": "train.json", "inference": "inference.json"}
USAGE = """Train or infer: `python -m monai.bundle run` with this bundle's config where none is given.

    python -m bundle run training --dataset_dir DATASET
    python -m bundle run inference --dataset_dir SCANS --output_dir RESULTS
    python -m bundle run inference --config_file "['configs/inference.json','mine.json']" ..."""
# what users replace as a whole, of any shape
COMPONENTS = ("loss", "network_def", "structures")


def run(words: Sequence[str]) -> None:
    """Train or infer: `python -m monai.bundle run` with this bundle's config where none is given (`usage`).

    Files that are missing or broken end with one line here, where MONAI reads them before anything of the bundle is imported.

    Args:
        words: what was typed after `run`.

    Raises:
        UserError: such a file, or a run that does not exist.
    """
    import monai.bundle

    from bundle.arguments import keys, overlays

    main = str(Path(monai.bundle.__file__).parent / "__main__.py")
    line = given([main, "run", *words])
    name = line.values.get("run_id") or next(iter(line.words), None)
    if name is None:
        raise UserError("bundle run", "RUN is missing", f"give {' or '.join(CONFIGS)} first, then keys such as --dataset_dir FOLDER")
    words = [*_without_macros(words, line)]
    files = line.files
    if not files:
        if name not in CONFIGS:
            problem = "no config is given for this run" + did_you_mean(name, list(CONFIGS))
            raise UserError(name, problem, f"use {' or '.join(CONFIGS)}, or name a config with --config_file")
        files = [str(Path(bundle.root()) / "configs" / CONFIGS[name])]
        words += ["--config_file", files[0]]
    for file in files:
        _check_file(file)
    overlays.check_order(files)
    keys.check_nested(monai.bundle.ConfigParser.load_config_files(files), line)
    # MONAI warns that a config is code; these are this bundle's, and those that the user names
    warnings.filterwarnings("ignore", message="parsing config_file")
    sys.argv = [main, "run", *words]
    runpy.run_module("monai.bundle", run_name="__main__", alter_sys=True)


def usage() -> str:
    """What `python -m bundle run --help` shows: how it is called, and the keys that may be given as `--key value`."""
    parts = [USAGE]
    for name, file in CONFIGS.items():
        keys = [key for key in shipped(Path(file).stem) if key in {*KINDS, *NEEDED, *OPTIONAL, *COMPONENTS} - {"bundle_root"}]
        parts.append(fill(f"Keys of {name} (docs/{name}.md says what each does): {', '.join(keys)}.", 120))
    return "\n\n".join([*parts, "Keys within keys: --network_def#num_gates 1."])


def _check_file(file: str) -> None:
    from monai.bundle import ConfigParser

    if not os.path.isfile(file):
        meant = shipped_path(Path(file).stem)
        if meant.is_file():
            raise UserError(file, "there is no such config file", f"this bundle's is {meant}")
        raise UserError(file, "there is no such config file", "correct the path; several are given as \"['a.json','b.json']\"")
    try:
        content = ConfigParser.load_config_file(file)
    except Exception as error:  # of every kind, from JSON, YAML and MONAI
        reason = "nested too deeply" if isinstance(error, RecursionError) else " ".join(str(error).split())
        raise UserError(file, f"this config cannot be read ({reason})", "correct the file at this place") from error
    if not isinstance(content, dict):
        raise UserError(file, "this config is not a block of keys", "put all of it between { and }")


def _without_macros(words: Sequence[str], line: CommandLine) -> list[str]:
    """The words, so that a folder whose name begins with `%` is not taken for a macro of MONAI."""
    changed = list(words)
    for key in (*NEEDED, *OPTIONAL):
        value = line.values.get(key)
        if value is not None and value.startswith(MACRO):
            if not os.path.lexists(value):
                raise UserError(f"--{key}", f"{value} begins like a macro of MONAI", f"for a file or folder of this name write ./{value}")
            changed = [word.replace(value, f"./{value}") if word in (value, f"--{key}={value}") else word for word in changed]
    return changed
