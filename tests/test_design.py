"""The rooms of the house and which may import which: docs/design.md, held to the code."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import bundle

ROOT = Path(bundle.root())
PACKAGE = ROOT / "bundle"


def _layers() -> dict[str, int]:
    """Room to its line in the list under "Which room may import which"."""
    text = (ROOT / "docs" / "design.md").read_text(encoding="utf-8")
    block = text.split("## Which room may import which")[1].split("```")[1]
    lines = [line for line in block.splitlines() if line.strip()]
    return {room.strip(): number for number, line in enumerate(lines) for room in line.split(",")}


LAYERS = _layers()


def room_of(module: str) -> str:
    """The room of a module: its package below `bundle`, or "ground" for a single file."""
    parts = module.split(".")
    if len(parts) == 1 or parts[1] == "moved":
        return "bundle"
    return parts[1] if parts[1] in LAYERS else "ground"


def imports() -> list[tuple[str, str]]:
    """(importing module, imported module) of every import in the package, also inside functions, but not for type checkers."""
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        tree = ast.parse(path.read_text(encoding="utf-8"))
        skipped = {
            id(inner)
            for node in ast.walk(tree)
            if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING"
            for inner in ast.walk(node)
        }
        for node in ast.walk(tree):
            if id(node) in skipped:
                continue
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "bundle":
                for alias in node.names:
                    inner = f"{node.module}.{alias.name}"
                    is_module = (ROOT / (inner.replace(".", "/") + ".py")).exists() or (ROOT / inner.replace(".", "/")).is_dir()
                    found.append((module, inner if is_module else node.module))
            elif isinstance(node, ast.Import):
                found += [(module, alias.name) for alias in node.names if alias.name.split(".")[0] == "bundle"]
    return found


def test_rooms_import_only_what_lies_below_them() -> None:
    wrong = []
    for importer, imported in imports():
        here, there = room_of(importer), room_of(imported)
        if "bundle" in (here, there) or here == there:
            continue
        if LAYERS[there] >= LAYERS[here]:
            wrong.append(f"{importer} ({here}) imports {imported} ({there})")
    assert not wrong, "\n".join(sorted(set(wrong)))


def test_every_package_has_a_line_in_the_design() -> None:
    packages = {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").exists()}
    ground = {path.stem for path in PACKAGE.glob("*.py")} - {"__init__", "__main__", "moved"}
    table = (ROOT / "docs" / "design.md").read_text(encoding="utf-8").split("## Which room")[0]
    missing = {name for name in packages | ground if f"`{name}" not in table}
    assert not missing


def test_modules_do_not_import_each_other_in_circles() -> None:
    """Among imports at the top of modules; those inside functions run later."""
    graph: dict[str, set[str]] = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("bundle."):
                graph.setdefault(module, set()).add(node.module)
    done: set[str] = set()

    def visit(module: str, way: tuple[str, ...]) -> None:
        assert module not in way, " -> ".join((*way, module))
        if module not in done:
            for following in sorted(graph.get(module, ())):
                if following != module and not module.startswith(following + "."):
                    visit(following, (*way, module))
            done.add(module)

    for module in sorted(graph):
        visit(module, ())


def test_importing_the_package_imports_nothing_heavy() -> None:
    code = "import sys, bundle; print(sorted({'torch', 'monai', 'numpy', 'itk', 'nibabel', 'pydicom', 'scipy', 'PIL'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True).stdout.strip() == "[]"
