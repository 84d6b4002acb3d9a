"""Names of cases: of the place alone, valid everywhere, never two alike."""

from __future__ import annotations

import hashlib
import sys

import pytest

from bundle.data.scans.case_names import LONGEST, Place, case_name, names_apart


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        (["scan"], "scan"),
        (["patA", "CT", "scan"], "patA_CT_scan"),
        (["2024"], "2024"),
        (["a#b"], "a_b"),
        (["Doe,John"], "Doe_John"),
        (["[x]"], "_x_"),
        (["%x"], "_x"),
        (["1.2.840.113619"], "1.2.840.113619"),
        (["..dots.."], "dots"),
        (["Müller Jörg"], "Müller_Jörg"),
        (["Mu\u0308ller"], "Müller"),
        (["腹部"], "腹部"),
        (["हिन्दी"], "हिन्दी"),
        (["M\udcfcller"], "M_ller"),
        ([""], "scan"),
        (["~"], "scan_" + hashlib.sha256(b"~").hexdigest()[:6]),
    ],
)
def test_names_are_readable_and_valid(parts: list[str], expected: str) -> None:
    assert case_name(parts) == expected
    case_name(parts).encode("utf-8")


@pytest.mark.parametrize("part", ["a" * 229, "腹" * 78, "Ä" * 200, "a" * 180 + "b"])
def test_long_names_are_cut_with_a_digest_and_stay_apart(part: str) -> None:
    one, other = case_name([part + "1"]), case_name([part + "2"])
    for name in (one, other):
        assert len(name.encode()) <= LONGEST
        # the longest file of a case, while it is written by a process of ten digits
        assert len(f".{name}_attention_level2.nii.gz.1234567890.unfinished".encode()) <= 255
    assert one != other and one.rpartition("_")[0] == other.rpartition("_")[0]
    assert case_name(["a" * LONGEST]) == "a" * LONGEST


def test_the_first_by_rank_keeps_a_name_and_others_get_digits_of_their_place() -> None:
    places = [Place(("a", "b_c"), 0, "b_c.nii"), Place(("a_b", "c"), 0, "c.nii"), Place(("A_B_C",), 4, "A_B_C.mha"), Place(("x",), 9, "x")]
    names = names_apart(places)
    assert names[0] == "a_b_c" and names[3] == "x"
    assert names[1] == "a_b_c_" + hashlib.sha256(b"a_b/c/c.nii").hexdigest()[:6]
    assert names[2] == "A_B_C_" + hashlib.sha256(b"A_B_C/A_B_C.mha").hexdigest()[:6]
    assert names_apart(places[::-1]) == names[::-1], "whatever the order"


def test_long_names_that_clash_keep_within_the_bound() -> None:
    places = [Place(("a" * 178,), 0, "x.nii.gz"), Place(("a" * 178,), 1, "x.nii"), Place(("a" * 178,), 2, "x.nrrd")]
    names = names_apart(places)
    assert len(set(names)) == 3 and all(len(name) <= LONGEST for name in names)


def test_letters_that_the_system_cannot_write_become_signs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "getfilesystemencoding", lambda: "ascii")  # LC_ALL=C with PYTHONUTF8=0
    assert case_name(["M\udcc3\udcbcller"]) == "M__ller" and case_name(["Müller"]) == "M_ller"
