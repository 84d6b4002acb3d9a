"""JSON that others wrote: read whatever wrote it, or one line that names file and fix."""

from __future__ import annotations

from pathlib import Path

import pytest

from bundle.errors import UserError
from bundle.json_input import kind, read_json, read_object


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_encodings_of_all_systems(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "a.json").write_text('{"Müller": [1, 2.5, null]}', encoding=encoding)
    assert read_json(tmp_path / "a.json") == {"Müller": [1, 2.5, None]}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"a": 1,}', "is not valid JSON"),
        ('{"a": 1, "b": {"c": 1, "c": 2}}', 'the key "c" is there twice in one object'),
        ('{"a": NaN}', "NaN is not a number"),
        ('{"a": -Infinity}', "-Infinity is not a number"),
        ("[" * 100_000, "nested too deeply"),
        ("", "is not valid JSON"),
    ],
)
def test_what_readers_would_take_in_silence_or_die_of_is_refused(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(UserError, match=f"a.json: .*{said}.* Fix: ") as caught:
        read_json(tmp_path / "a.json")
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there_and_one_that_holds_no_object(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"cannot be read \(No such file"):
        read_json(tmp_path / "no.json")
    (tmp_path / "a.json").write_text("[1]")
    with pytest.raises(UserError, match=r'a\.json: holds a list, not an object\. Fix: write \{"a": 1\}'):
        read_object(tmp_path / "a.json", '{"a": 1}')


def test_values_in_words() -> None:
    values = (None, True, 3, 2.5, "x" * 99, [1], {})
    assert [kind(value) for value in values] == [
        "null",
        "true",
        "a number (3)",
        "a number (2.5)",
        f'a text ("{"x" * 60}")',
        "a list",
        "an object",
    ]
