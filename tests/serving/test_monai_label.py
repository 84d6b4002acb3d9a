"""`bundle.serving.monai_label`: how the app is laid out and with which flags the server starts."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import bundle
from bundle.errors import UserError
from bundle.serving import monai_label
from bundle.serving.guard import Rules, is_loopback


def test_command_has_the_flags_that_keep_the_server_at_home() -> None:
    command = monai_label.server_command("python", Path("/app"), "/scans", model="net")
    assert command[:8] == ["python", "-m", "monailabel.main", "start_server", "--app", "/app", "--studies", "/scans"]
    pairs = [tuple(command[i + 1 : i + 3]) for i, word in enumerate(command) if word == "--conf"]
    # without zoo_source ngc the server asks GitHub, without sam2 false it downloads a model
    assert pairs == [("models", "net"), ("zoo_source", "ngc"), ("sam2", "false")]


def test_scoring_is_configured_by_name() -> None:
    epistemic = monai_label.server_command("python", Path("/app"), "/scans", model="net", scoring="epistemic", samples=5)
    assert epistemic[-6:] == ["--conf", "epistemic_model", "net", "--conf", "epistemic_max_samples", "5"]
    assert monai_label.server_command("python", Path("/app"), "/scans", scoring="doubt")[-3:] == ["--conf", "doubt", "true"]
    with pytest.raises(UserError, match=r"'guess' is not a method.*epistemic or doubt"):
        monai_label.server_command("python", Path("/app"), "/scans", scoring="guess")


def test_prepare_copies_what_the_server_reads(small_bundle: Path, tmp_path: Path) -> None:
    app = monai_label.prepare(tmp_path / "app", model="net")
    served = sorted(str(file.relative_to(app)) for file in app.rglob("*") if file.is_file())
    files = ["LICENSE", "bundle/__init__.py", "configs/inference.json", "docs/README.md", "models/model.pt"]
    assert served == ["main.py", *(f"model/net/{file}" for file in files), "model/net/served.json"]
    assert '"model" / "net"' in (app / "main.py").read_text(encoding="utf-8")


def test_every_module_of_the_bundle_is_served(repository: Path, tmp_path: Path) -> None:
    served = monai_label.prepare(tmp_path / "app", model="net") / "model" / "net"
    modules = {str(file.relative_to(repository)) for file in (repository / "bundle").rglob("*.py")}
    assert {str(file.relative_to(served)) for file in served.rglob("*.py")} == modules


def test_a_start_that_was_killed_early_can_be_repeated(small_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(monai_label, "update", lambda source, target: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        monai_label.prepare(tmp_path / "app", model="net")
    monkeypatch.undo()
    monkeypatch.setattr(bundle, "root", lambda: str(small_bundle))
    assert (monai_label.prepare(tmp_path / "app", model="net") / "model" / "net" / "models" / "model.pt").exists()


def test_other_machines_are_served_with_a_password_only(small_bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "scans").mkdir()
    (tmp_path / "password").write_text("short\n")
    with pytest.raises(UserError, match=r"0\.0\.0\.0 serves other machines.*--password_file.*ssh -L 8000"):
        monai_label.start(str(tmp_path / "scans"), host="0.0.0.0", dry_run=True)
    with pytest.raises(UserError, match="its first line has 5 characters"):
        monai_label.start(str(tmp_path / "scans"), host="0.0.0.0", password_file=str(tmp_path / "password"), dry_run=True)
    with pytest.raises(UserError, match="cannot be read"):
        monai_label.start(str(tmp_path / "scans"), password_file=str(tmp_path / "none"), dry_run=True)
    (tmp_path / "password").write_text("long enough\n")
    options = {"app": str(tmp_path / "app"), "python": sys.executable, "dry_run": True, "password_file": str(tmp_path / "password")}
    assert monai_label.start(str(tmp_path / "scans"), host="0.0.0.0", **options) == 0


def test_password_is_not_in_the_command(small_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "scans").mkdir()
    (tmp_path / "password").write_text("long enough")
    options = {"app": str(tmp_path / "app"), "python": sys.executable, "dry_run": True, "password_file": str(tmp_path / "password")}
    monai_label.start(str(tmp_path / "scans"), **options)
    assert "long enough" not in capsys.readouterr().out
    assert "long enough" in monai_label.guard_environment(password="long enough").values()
    # as Windows' Notepad saves text
    (tmp_path / "password").write_text("long enough\r\nsecond line", encoding="utf-8-sig")
    assert monai_label.read_password(str(tmp_path / "password")) == "long enough"


def test_names_are_known_whatever_their_letters() -> None:
    # a browser asks in small letters
    given = monai_label.guard_environment("Scanner-7.Clinic", names="Scanner-7", origins="http://Viewer:3000/")
    rules = Rules.of_environment(given)
    assert rules.knows("scanner-7.clinic:8000") and rules.knows("scanner-7:8000") and rules.origins == ("http://viewer:3000",)
    assert is_loopback("Localhost")


def test_missing_weights_and_folders_are_named(small_bundle: Path, tmp_path: Path) -> None:
    (small_bundle / "models" / "model.pt").unlink()
    with pytest.raises(UserError, match=r"model\.pt: there are no weights"):
        monai_label.prepare(tmp_path / "app")
    with pytest.raises(UserError, match=r"nowhere: is not a folder"):
        monai_label.start(str(tmp_path / "nowhere"))


def test_python_is_the_one_given_or_the_one_beside(small_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = small_bundle / "python"
    own.write_text("#!/bin/sh\n")
    own.chmod(0o755)
    monkeypatch.chdir(small_bundle)
    # absolute, as the server starts in another folder
    assert monai_label.find_python("./python") == monai_label.find_python(str(own)) == str(own)
    for name in ("./pithon", str(small_bundle)):
        with pytest.raises(UserError, match=rf"--python: there is no program {name}\. Fix: give the path"):
            monai_label.find_python(name)
    monkeypatch.setattr(monai_label.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"no environment with MONAI Label.*monai-label-install"):
        monai_label.find_python()
    beside = monai_label.interpreter(small_bundle / ".venv-monai-label")
    beside.parent.mkdir(parents=True)
    beside.write_text("")
    assert monai_label.find_python() == str(beside)


def test_other_pythons_paths_do_not_reach_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", "/elsewhere")
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    environment = monai_label.server_environment()
    assert environment["OMP_WAIT_POLICY"] == "PASSIVE"
    assert "PYTHONPATH" not in environment and environment["DO_NOT_TRACK"] == "true"


def test_dry_run_prints_the_command(small_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "scans").mkdir()
    code = monai_label.start(str(tmp_path / "scans"), app=str(tmp_path / "app"), python=sys.executable, port=8123, dry_run=True)
    assert code == 0
    assert capsys.readouterr().out.splitlines()[-1].endswith("--host 127.0.0.1 --port 8123")


def test_verb_reports_a_wrong_folder(tmp_path: Path, repository: Path) -> None:
    command = [sys.executable, "-m", "bundle", "monai-label", "--studies", str(tmp_path / "none")]
    done = subprocess.run(command, cwd=repository, capture_output=True, text=True)
    assert done.returncode == 2 and "is not a folder" in done.stderr
