"""The served copy: brought up to date, but for what someone edited in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from bundle.errors import UserError
from bundle.serving import monai_label


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


def test_edited_files_stay_and_are_named(small_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    app = monai_label.prepare(tmp_path / "app", model="net")
    served = app / "model" / "net"
    (served / "configs" / "inference.json").write_text("edited here")
    (served / "configs" / "own.json").write_text("mine")
    monai_label.prepare(app, model="net")
    assert "edited here, so kept: configs/inference.json. Delete" in capsys.readouterr().out
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
