"""Each job has one owner: what only some modules may spell, held to the code."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import bundle
from bundle.results import outputs

PACKAGE = Path(bundle.root()) / "bundle"

# call -> modules that may make it, and what the others use
CALLS = {
    "torch.load": ({"networks/weights/files.py", "data/cache.py"}, "bundle.networks.weights"),
    "torch.save": ({"networks/weights/files.py", "data/cache.py"}, "bundle.networks.weights"),
    "nibabel.load": ({"images/nifti.py"}, "bundle.images.read"),
    "nibabel.save": (set(), "bundle.images.write_nifti"),
    "itk.imread": ({"images/itk_files.py", "dicom/pixels.py"}, "bundle.images.read"),
    "os.cpu_count": ({"limits.py", "reader_child.py"}, "bundle.limits.cpu_limit"),
    "affine_to_spacing": (set(), "bundle.grids.spacing"),
    "voxel_sizes": ({"grids.py"}, "bundle.grids.spacing"),
    "csv.writer": ({"tables.py"}, "bundle.tables.write_csv"),
    "csv.DictWriter": ({"tables.py"}, "bundle.tables.write_csv"),
}
# library -> modules that may import it, and what the others use
LIBRARIES = {
    "nibabel": ({"grids.py", "images/forms.py", "images/nifti.py", "images/writing.py"}, "bundle.images and bundle.grids"),
}
NAMES = {
    outputs.RECORD,
    outputs.TABLE,
    outputs.CLASS_TABLE,
    outputs.PAGE,
    outputs.LABEL_MAP_ENDING,
    outputs.PREVIEW_ENDING,
    outputs.ATTENTION_ENDING,
    outputs.PROBABILITIES_ENDING,
    outputs.DICOM_SEG_ENDING,
    outputs.RTSTRUCT_ENDING,
}


@cache
def modules() -> tuple[tuple[str, ast.Module], ...]:
    return tuple(
        (path.relative_to(PACKAGE).as_posix(), ast.parse(path.read_text(encoding="utf-8"))) for path in sorted(PACKAGE.rglob("*.py"))
    )


@cache
def all_calls() -> tuple[tuple[str, str], ...]:
    """(module, dotted name of what is called) of the whole package."""
    return tuple((name, found) for name, tree in modules() for found, _ in calls(tree))


def calls(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """(dotted name of what is called, text of its first argument), `nib` and `np` written out."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            name = name.replace("nib.", "nibabel.", 1) if name.startswith("nib.") else name
            yield name, ast.unparse(node.args[0]) if node.args else ""


@pytest.mark.parametrize("call", CALLS)
def test_only_the_owner_does_it(call: str) -> None:
    allowed, use = CALLS[call]
    others = {name for name, found in all_calls() if found == call} - allowed
    assert not others, f"{call} in {sorted(others)}: use {use}"


def imported(tree: ast.Module) -> set[str]:
    """The libraries that a module imports, at its top or within functions."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            found.add(str(node.module).split(".")[0])
    return found


@pytest.mark.parametrize("library", LIBRARIES)
def test_only_the_owner_imports_it(library: str) -> None:
    allowed, use = LIBRARIES[library]
    users = {name for name, tree in modules() if library in imported(tree)}
    assert users == allowed, f"{library} in {sorted(users - allowed)}: use {use}"


def test_only_grids_measures_affines() -> None:
    found = {
        f"{name}: {call}({argument})"
        for name, tree in modules()
        if name != "grids.py"
        for call, argument in calls(tree)
        if call in ("np.linalg.norm", "np.linalg.det") and "affine" in argument
    }
    assert not found, "use bundle.grids"


def test_only_outputs_names_the_files_of_a_run() -> None:
    found = set()
    for name, tree in modules():
        if name == "results/outputs.py":
            continue
        texts = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}  # docstrings
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in texts and node.value in NAMES:
                found.add(f"{name}: {node.value}")
    assert not found, "use bundle.results.outputs"


def test_the_check_sees_what_it_forbids() -> None:
    assert imported(ast.parse("def f():\n    from nibabel.affines import voxel_sizes\nimport os.path, itk")) == {"nibabel", "os", "itk"}
    tree = ast.parse("import nibabel as nib\nx = nib.load('a')\ny = np.linalg.norm(affine[:3, :3], axis=0)")
    assert ("nibabel.load", "'a'") in set(calls(tree)) and any(call == "np.linalg.norm" and "affine" in text for call, text in calls(tree))
