"""Words after `python -m bundle VERB`: names stay as typed, what does not fit is one line with exit code 2."""

from __future__ import annotations

import errno
import io
import logging
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from ignite.engine import Engine

from bundle.__main__ import main
from bundle.arguments.mistakes import INTERRUPTED, SaidOnce, hook, one_line
from bundle.arguments.verbs import call
from bundle.errors import UserError


@pytest.fixture
def verb(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture) -> Callable[..., str]:
    """`verb(*words)` is what `python -m bundle WORDS` writes in an empty folder when it ends with exit code 2."""
    monkeypatch.chdir(tmp_path)
    for name in ("stdout", "stderr"):
        monkeypatch.setattr(getattr(sys, name), "reconfigure", lambda **_: None, raising=False)

    def go(*words: str) -> str:
        monkeypatch.setattr("sys.argv", ["bundle", *words])
        assert main() == 2
        lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
        assert len(lines) == 1
        return lines[0].removeprefix("error: ")

    return go


@pytest.mark.parametrize("name", ["2024", "Doe,John", "[x]", "a#b", "1e5", "True", "@a", "%x", "$x", "(a)", "a b"])
def test_names_of_folders_are_taken_as_typed(verb: Callable[..., str], name: str) -> None:
    assert verb("check", name).startswith(f"{name}: no such folder")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("chek x", "chek: there is no such verb, did you mean check?"),
        ("check x --num_worker 3", "--num_worker: check has no such argument, did you mean --num_workers?"),
        ("check x --num_workers many", "--num_workers: 'many' does not fit this argument. Fix: give a whole number."),
        ("phantom out --cases", "--cases: there is no value after this argument."),
        ("phantom", "bundle phantom: OUT is missing."),
        ("score A 2025", "bundle score: OUTPUT_DIR is missing."),
        ("average o a b --outt c", "--outt: average has no such argument, did you mean --out?"),
        ("experiment o --dataset_dir d --learing_rate 3", "--learing_rate: this config has no such key, did you mean learning_rate?"),
        ("experiment o --dataset_dir d --overlays unet,finetunes", "finetunes: there is no such config"),
        ("experiment o --dataset_dir d --overlays loss_dice_ce,loss_dice_bce", "loss_dice_ce.json and loss_dice_bce.json: both set loss"),
        ("run", "bundle run: RUN is missing."),
        ("run infrence", "infrence: no config is given for this run, did you mean inference?"),
        ("run training --config_file nothing.json", "nothing.json: there is no such config file."),
        (
            "run inference --dataset_dir %x",
            "--dataset_dir: %x begins like a macro of MONAI. Fix: for a file or folder of this name write ./%x.",
        ),
        (
            "run training --train#traner#max_epochs 3",
            "--train#traner#max_epochs: this config has no such key, did you mean train#trainer#max_",
        ),
        (
            "run training --config_file ['R/overlays/train/finetune.json','R/train.json']",
            "finetune.json: this overlay is not given after the config",
        ),
        (
            "run inference --config_file ['R/inference.json','R/overlays/train/finetune.json']",
            "finetune.json: this overlay is not given after the config",
        ),
    ],
)
def test_what_does_not_fit_is_named(verb: Callable[..., str], repository: Path, words: str, said: str) -> None:
    assert verb(*words.replace("R/", f"{repository}/configs/").split()).startswith(said)


@pytest.mark.parametrize("text", ['{"a": 1,}', "[1]", "", "null", "[" * 100_000])
def test_a_broken_config_is_named(verb: Callable[..., str], tmp_path: Path, text: str) -> None:
    (tmp_path / "mine.json").write_text(text)
    assert verb("run", "training", "--config_file", "mine.json").startswith("mine.json: this config ")


def _takes(
    name: str, *more: str, share: float = 0.5, several: str | list[str] = "a", switch: bool = False, none: str | None = "x", count: int = 1
) -> tuple:
    return name, more, share, several, switch, none, count


def test_values_arrive_with_the_types_of_the_function() -> None:
    words = ["2024", "1,2", "x#y", "--share", "1", "--several", "['p','q']", "--switch", "false", "--none", "None", "--count=-3"]
    assert call(_takes, "takes", words) == ("2024", ("1,2", "x#y"), 1.0, ["p", "q"], False, None, -3)
    assert call(_takes, "takes", ["1e5", "--several", "p,q", "--noswitch"]) == ("1e5", (), 0.5, "p,q", False, "x", 1)


def test_disks_extras_and_interrupts_have_a_line() -> None:
    full = one_line(OSError(errno.ENOSPC, "No space left on device", "/out/a_seg.nii.gz"))
    assert full is not None and full[1] == 2 and full[0].startswith("error: /out/a_seg.nii.gz: the disk is full")
    read_only = one_line(OSError(errno.EROFS, "Read-only file system", "/out"))
    assert read_only is not None and "Read-only file system" in read_only[0] and "--output_dir" in read_only[0]
    absent = one_line(ModuleNotFoundError("No module named 'onnxscript'", name="onnxscript"))
    assert absent == ("error: onnxscript: this package is not installed. Fix: pip install -e '.[onnx]'.", 2)
    assert one_line(KeyboardInterrupt())[1] == INTERRUPTED == 130
    assert one_line(ZeroDivisionError()) is None and one_line(FileNotFoundError(errno.ENOENT, "gone", "x")) is None
    wrapped = RuntimeError("Failed to evaluate")
    wrapped.__cause__ = UserError("a\nb", "wrong\n  twice", "mend")
    assert one_line(wrapped) == ("error: a b: wrong twice. Fix: mend.", 2)


def test_a_full_disk_under_torch_has_a_line() -> None:
    """torch.save raises RuntimeError for it."""
    with pytest.raises((RuntimeError, OSError)) as caught, open("/dev/full", "wb") as stream:
        torch.save({"a": torch.zeros(1 << 20)}, stream)
    assert one_line(caught.value)[1] == 2


def test_the_hook_ends_with_the_code_of_its_line(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr("sys.stderr", stream)
    with pytest.raises(SystemExit) as ended:
        hook(UserError, UserError("key", "is wrong", "mend it"), None)
    assert ended.value.code == 2 and stream.getvalue() == "error: key: is wrong. Fix: mend it.\n"


def test_an_engine_does_not_log_what_the_last_line_says() -> None:
    seen: list[str] = []

    class Seen(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            seen.append(record.getMessage())

    for error, logged in ((UserError("a.nii.gz", "is damaged"), 0), (ZeroDivisionError("a slip of ours"), 2)):

        def fail(engine: Engine, batch: object, error: Exception = error) -> None:
            raise error

        engine, handler = Engine(fail), Seen()
        handler.addFilter(SaidOnce())
        engine.logger.addHandler(handler)
        with pytest.raises(type(error)):
            engine.run([0])
        engine.logger.removeHandler(handler)
        assert len(seen) == logged
