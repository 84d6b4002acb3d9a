"""The served copy: brought up to date, but for what someone edited in it."""

from __future__ import annotations

from pathlib import Path

import pytest

import bundle
from bundle.errors import UserError
from bundle.serving import monai_label, served_copy


def test_prepare_again_brings_code_up_to_date_and_keeps_trained_weights(small_bundle: Path, tmp_path: Path) -> None:
    (small_bundle / "bundle" / "gone.py").write_text("no longer in the checkout")
    app = monai_label.prepare(tmp_path / "app", model="net")
    served = app / "model" / "net"
    assert (served / "bundle" / "gone.py").exists()
    (small_bundle / "bundle" / "gone.py").unlink()
    (served / "models" / "model.pt").write_text("trained here")
    (small_bundle / "configs" / "inference.json").write_text("newer")
    monai_label.prepare(app, model="net")
    assert (served / "models" / "model.pt").read_text(encoding="utf-8") == "trained here"
    assert (served / "configs" / "inference.json").read_text(encoding="utf-8") == "newer"
    assert not (served / "bundle" / "gone.py").exists()


def test_weights_follow_the_bundle_until_they_are_trained_here(
    small_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    app = monai_label.prepare(tmp_path / "app", model="net")
    weights, own = app / "model" / "net" / "models" / "model.pt", small_bundle / "models" / "model.pt"
    own.write_text("newer, of another network")
    monai_label.prepare(app, model="net")
    assert weights.read_text(encoding="utf-8") == "newer, of another network"
    weights.write_text("trained here")
    own.write_text("newest")
    monai_label.prepare(app, model="net")
    assert weights.read_text(encoding="utf-8") == "trained here"
    assert "kept: models/model.pt (the bundle has a newer one). Delete" in capsys.readouterr().out
    own.unlink()
    monai_label.prepare(app, model="net")
    assert weights.read_text(encoding="utf-8") == "trained here"
    weights.unlink()
    own.write_text("newest")
    monai_label.prepare(app, model="net")
    own.unlink()
    monai_label.prepare(app, model="net")
    assert weights.read_text(encoding="utf-8") == "newest", "the only weights there are"


def test_a_copy_that_is_interrupted_leaves_no_half_of_a_file(
    small_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def half(source: Path, target: Path) -> None:
        if source.name == "model.pt":
            Path(target).write_text("mod")
            raise OSError(28, "No space left on device")
        Path(target).write_bytes(source.read_bytes())

    monkeypatch.setattr(served_copy.shutil, "copy2", half)
    with pytest.raises(OSError, match="No space left"):
        monai_label.prepare(tmp_path / "app", model="net")
    monkeypatch.undo()
    monkeypatch.setattr(bundle, "root", lambda: str(small_bundle))
    assert not list((tmp_path / "app").rglob("*.pt*"))
    # what was copied before is the bundle's own, also when the bundle is another one by now
    (small_bundle / "configs" / "inference.json").write_text("newer")
    served = monai_label.prepare(tmp_path / "app", model="net") / "model" / "net"
    assert (served / "models" / "model.pt").read_text(encoding="utf-8") == "models/model.pt"
    assert (served / "configs" / "inference.json").read_text(encoding="utf-8") == "newer"
    assert "kept" not in capsys.readouterr().out


def test_weights_that_would_be_served_in_place_of_the_models_are_not_copied(
    small_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("best.pt", "model2.pt", "calibration.json"):
        (small_bundle / "models" / name).write_text(name)
    (small_bundle / "models" / "fast").mkdir()
    (small_bundle / "models" / "fast" / "model.pt").write_text("weights of an overlay")
    served = monai_label.prepare(tmp_path / "app", model="net") / "model" / "net" / "models"
    assert sorted(path.name for path in served.iterdir()) == ["calibration.json", "fast", "model.pt", "model2.pt"]
    said = capsys.readouterr().out
    assert f"not served: {small_bundle / 'models' / 'best.pt'}" in said and said.count("not served") == 1
    assert (served / "fast" / "model.pt").read_text() == "weights of an overlay"


def test_edited_files_stay_and_are_named(small_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    app = monai_label.prepare(tmp_path / "app", model="net")
    served = app / "model" / "net"
    (served / "configs" / "inference.json").write_text("edited here")
    (served / "configs" / "own.json").write_text("mine")
    monai_label.prepare(app, model="net")
    assert "trained or edited here, so kept: configs/inference.json. Delete" in capsys.readouterr().out
    (small_bundle / "configs" / "inference.json").write_text("newer")
    monai_label.prepare(app, model="net")
    assert "configs/inference.json (the bundle has a newer one)" in capsys.readouterr().out
    assert (served / "configs" / "inference.json").read_text(encoding="utf-8") == "edited here"
    assert (served / "configs" / "own.json").read_text(encoding="utf-8") == "mine"
    (served / "configs" / "inference.json").unlink()
    monai_label.prepare(app, model="net")
    assert (served / "configs" / "inference.json").read_text(encoding="utf-8") == "newer"


def test_a_copy_of_before_the_record_keeps_its_configs_and_gets_new_code(small_bundle: Path, tmp_path: Path) -> None:
    app = monai_label.prepare(tmp_path / "app", model="net")
    served = app / "model" / "net"
    (served / "served.json").unlink()
    for name in ("configs/inference.json", "bundle/__init__.py", "bundle/old.py"):
        (served / name).write_text("other")
    monai_label.prepare(app, model="net")
    assert (served / "configs" / "inference.json").read_text(encoding="utf-8") == "other"
    assert (served / "bundle" / "__init__.py").read_text(encoding="utf-8") == "bundle/__init__.py"
    assert not (served / "bundle" / "old.py").exists()


@pytest.mark.parametrize("name", ["main.py", "thesis.tex"])
def test_a_folder_that_holds_something_else_is_refused(small_bundle: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("print('mine')")
    with pytest.raises(UserError, match=rf"{name}.*Fix: name a new folder with --app") as error:
        monai_label.prepare(tmp_path)
    assert (tmp_path / name).read_text(encoding="utf-8") == "print('mine')" and len(str(error.value).splitlines()) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([name, "checkout"])
