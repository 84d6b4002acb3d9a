"""The cases to train on: checked, counted, and of the section `training` alone."""

from __future__ import annotations

from pathlib import Path

import ignite.distributed as idist
import numpy as np
import pytest

from bundle.data.training import training_cases
from bundle.errors import UserError

LABELS = {"background": 0, "pancreas": 1, "spleen": 2}


def test_cases_of_training_and_how_many_there_are(msd, capsys) -> None:
    folder = msd(6)
    found = training_cases(str(folder), labels=LABELS, fold=0, num_folds=6)
    assert len(found) == 5 and {Path(item["image"]).parent.name for item in found} == {"imagesTr"}
    assert capsys.readouterr().out == f"{folder}: 5 cases for training, 1 case for validation, 0 cases for test\n"


def test_of_several_processes_only_the_first_says_so(msd, monkeypatch, capsys) -> None:
    monkeypatch.setattr(idist, "get_rank", lambda: 1)
    assert len(training_cases(str(msd(6)), labels=LABELS, num_folds=6)) == 5 and capsys.readouterr().out == ""


def test_nothing_is_trained_on_a_set_with_a_mistake(msd, save, scan) -> None:
    folder = msd(6)
    save(folder / "labelsTr/case_3.nii.gz", np.full_like(scan(3)[1], 9))
    with pytest.raises(UserError, match=r"case_3\.nii\.gz: holds values that are not in labels: 9 "):
        training_cases(str(folder), labels=LABELS)


def test_values_left_open_are_no_mistake(msd, save, scan) -> None:
    folder = msd(6)
    label = scan(3)[1].copy()
    label[0, 0, 0] = 255
    save(folder / "labelsTr/case_3.nii.gz", label)
    assert len(training_cases(str(folder), labels=LABELS, may_be={"255": ["spleen"]}, num_folds=6)) == 5
