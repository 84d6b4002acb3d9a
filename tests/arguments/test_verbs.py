"""Words after `python -m bundle VERB`: names stay as typed, what does not fit is one line with exit code 2."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

from bundle.arguments.verbs import call


@pytest.mark.parametrize("name", ["2024", "Doe,John", "[x]", "a#b", "1e5", "True", "@a", "%x", "$x", "(a)", "a b"])
def test_names_of_folders_are_taken_as_typed(verb: Callable[..., str], name: str) -> None:
    assert verb("check", name).startswith(f"{name}: no such folder")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("chek x", "chek: there is no such verb, did you mean check?"),
        ("check x --num_worker 3", "--num_worker: check has no such argument, did you mean --num_workers?"),
        ("check x --num_workers many", "--num_workers: 'many' does not fit this argument. Fix: give a whole number."),
        ("prepare msd a b --check maybe", "--check: 'maybe' does not fit this argument. Fix: give true or false."),
        ("phantom out --cases", "--cases: there is no value after this argument."),
        ("phantom", "bundle phantom: OUT is missing."),
        ("score p r o --labelled pancreas", "--labelled: 'pancreas' does not fit this argument. Fix: give a dictionary, such as "),
        ("phantom out --jobs=-1", "--jobs: -1 is not a whole number from 1. Fix: for example --jobs 2."),
        ("phantom out --max_voxels 0", "--max_voxels: 0.0 is less than 10000."),
        ("gates s.nii --size 48", "--size: '48' does not fit this argument. Fix: give 3 whole numbers, separated by commas."),
        ("gates s.nii --size 48,48", "--size: '48,48' does not fit this argument. Fix: give 3 whole numbers, separated by commas."),
        ("diagrams d --channels a,b", "--channels: 'a,b' does not fit this argument. Fix: give whole numbers, separated by commas."),
        ("synthesise out --shares 0.5", "--shares: '0.5' does not fit this argument. Fix: give 4 numbers, separated by commas."),
        ("score A 2025", "bundle score: OUTPUT_DIR is missing."),
        ("average o a b --outt c", "--outt: average has no such argument, did you mean --out?"),
        ("experiment o --dataset_dir d --learing_rate 3", "--learing_rate: this config has no such key, did you mean learning_rate?"),
        ("experiment o --dataset_dir d --overlays unet,finetunes", "finetunes: there is no such config"),
        ("experiment o --dataset_dir d --overlays loss_dice_ce,loss_dice_bce", "loss_dice_ce.json and loss_dice_bce.json: both set loss"),
    ],
)
def test_what_does_not_fit_is_named(verb: Callable[..., str], words: str, said: str) -> None:
    assert verb(*words.split()).startswith(said)


def _takes(
    name: str, *more: str, share: float = 0.5, several: str | list[str] = "a", switch: bool = False, none: str | None = "x", count: int = 1
) -> tuple:
    return name, more, share, several, switch, none, count


def test_values_arrive_with_the_types_of_the_function() -> None:
    words = ["2024", "1,2", "x#y", "--share", "1", "--several", "['p','q']", "--switch", "false", "--none", "None", "--count=-3"]
    assert call(_takes, "takes", words) == ("2024", ("1,2", "x#y"), 1.0, ["p", "q"], False, None, -3)
    assert [call(_takes, "takes", ["a", "--switch", word])[4] for word in ("yes", "No", "1", "0")] == [True, False, True, False]
    assert call(_takes, "takes", ["1e5", "--several", "p,q", "--noswitch"]) == ("1e5", (), 0.5, "p,q", False, "x", 1)


def _takes_numbers(four: tuple[float, float, float, float] = (1, 1, 1, 1), some: Sequence[int] = (), none: Sequence[float] | None = None):
    return four, some, none


def _takes_a_mapping(some: Mapping[str, Sequence[str]] | None = None) -> object:
    return some


@pytest.mark.parametrize("typed", ['{"a": ["b"]}', "{'a': ['b']}"])
def test_a_dictionary_arrives_as_one(typed: str) -> None:
    assert call(_takes_a_mapping, "takes", ["--some", typed]) == {"a": ["b"]}
    assert call(_takes_a_mapping, "takes", ["--some", "None"]) is None


@pytest.mark.parametrize("typed", ["0.3,0.2,0.1,0", "(0.3,0.2,0.1,0)", "[0.3, 0.2, 0.1, 0]", "0.3,0.2,0.1,0,"])
def test_several_numbers_arrive_in_brackets_or_without(typed: str) -> None:
    assert call(_takes_numbers, "takes", ["--four", typed]) == ((0.3, 0.2, 0.1, 0.0), (), None)
    assert call(_takes_numbers, "takes", ["--some", "16", "--none", "None"]) == ((1, 1, 1, 1), [16], None)
    assert call(_takes_numbers, "takes", ["--some", "[16,32]", "--none", "1,2.5"]) == ((1, 1, 1, 1), [16, 32], [1.0, 2.5])


def test_a_folder_that_begins_with_a_dash_is_named(verb: Callable[..., str]) -> None:
    Path("-scans").mkdir()
    assert verb("check", "-scans") == "--scans: check has no such argument. Fix: for the file or folder of this name write ./-scans."
    assert call(_takes, "takes", ["./-scans"])[0] == "./-scans"
