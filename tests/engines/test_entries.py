"""Entries of any dataset get names and sources."""

from __future__ import annotations

from pathlib import Path

import pytest

from bundle.engines.entries import entries
from bundle.errors import UserError


def test_what_is_complete_stays_as_it_is():
    item = {"image": "/x/a.nii", "case": "patient", "source": "/y", "label": "/x/l.nii"}
    assert entries([item]) == [item]


def test_names_are_of_the_file_or_of_the_folder_of_slices():
    found = entries([{"image": Path("/x/scan.nii.gz")}, {"image": ["/x/series/1.dcm", "/x/series/2.dcm"]}])
    assert [(item["case"], item["source"]) for item in found] == [("scan", "/x/scan.nii.gz"), ("series", "/x/series")]
    assert found[1]["image"] == ["/x/series/1.dcm", "/x/series/2.dcm"]


def test_a_name_is_given_once_also_where_it_is_asked_for_later():
    found = entries([{"image": "/a/ct.nii"}, {"image": "/b/ct.nii"}, {"image": "/c/ct.nii"}, {"image": "/d/x.nii", "case": "ct_2"}])
    assert [item["case"] for item in found] == ["ct", "ct_3", "ct_4", "ct_2"]


@pytest.mark.parametrize("wrong", [{}, {"image": ""}, {"label": "l.nii"}, "scan.nii", None])
def test_an_entry_without_an_image(wrong):
    with pytest.raises(UserError, match="an entry has no image"):
        entries([{"image": "a.nii"}, wrong])
