"""Calling a verb by what was typed after it: fire takes the words apart, and a wrong one is refused by name before it does."""

from __future__ import annotations

import inspect
import os
import re
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from functools import partial
from typing import Any

from bundle.arguments import kinds
from bundle.arguments.command_line import file_like, split
from bundle.errors import UserError
from bundle.files import named

Parse = Callable[[str], Any]
# keys of the configs that `experiment` hands on and that name files or folders
PATH_KEYS = ("dataset_dir", "output_dir", "ckpt_dir", "cache_dir", "datalist", "pretrained", "bundle_root")
SPOKEN = {"yes": True, "no": False}
HELP = ("--help", "-h")
# a type of several numbers
NUMBERS = re.compile(r"(Sequence|Iterable|tuple|list)\[((?:int|float)(?:, (?:int|float|\.\.\.))*)\]")


def call(function: Callable, verb: str, words: Sequence[str]) -> Any:
    """What a function returns for the words after its verb. Names of files stay as typed, whatever they look like.

    Raises:
        UserError: an unknown, missing or superfluous argument, or a value of another type than the function's.
    """
    import fire

    asks = any(word in HELP for word in words)
    if not asks:
        _check(function, verb, words)
        _set_parsers(function)
    command = ["--", "--help"] if asks else list(words)
    return fire.Fire(function, command=command, name=f"bundle {verb}", serialize=lambda _: None)


def did_you_mean(word: str, candidates: Sequence[str], prefix: str = "") -> str:
    """`, did you mean X?` for the candidate most like a word; nothing where none is."""
    near = get_close_matches(word, candidates, 1, 0.6)
    return f", did you mean {prefix}{near[0]}?" if near else ""


def _check(function: Callable, verb: str, words: Sequence[str]) -> None:
    """Refuse names that the function does not have, words too many and arguments that are missing."""
    parameters = inspect.signature(function).parameters
    named_ones = {name: one for name, one in parameters.items() if one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY)}
    any_name, any_word = (
        any(one.kind is kind for one in parameters.values()) for kind in (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
    )
    values, loose = split(words)
    see = f"python -m bundle {verb} --help shows the arguments"
    for key, value in values.items():
        name = _full(key, value, named_ones)
        if name is None and not any_name:
            if file := file_like(key):
                raise UserError(f"--{key}", f"{verb} has no such argument", f"for the file or folder of this name write ./{file}")
            raise UserError(f"--{key}", f"{verb} has no such argument" + did_you_mean(key, list(named_ones), "--"), see)
        if value is None and name == key and "bool" not in str(named_ones[key].annotation):
            raise UserError(f"--{key}", "there is no value after this argument", see)
    given = {_full(key, value, named_ones) for key, value in values.items()}
    places = [name for name, one in named_ones.items() if one.kind is one.POSITIONAL_OR_KEYWORD and name not in given]
    if len(loose) > len(places) and not any_word:
        raise UserError(loose[len(places)], "this word belongs to no argument", f"put names with spaces between quotes; {see}")
    missing = [name for name in places[len(loose) :] if parameters[name].default is inspect.Parameter.empty]
    missing += [name for name, one in named_ones.items() if one.kind is one.KEYWORD_ONLY and one.default is one.empty and name not in given]
    if missing:
        raise UserError(f"bundle {verb}", f"{missing[0].upper()} is missing", see)


def _full(key: str, value: str | None, parameters: dict[str, inspect.Parameter]) -> str | None:
    """The parameter that a typed name means: its own, one letter of it, or `no` before it (fire's ways)."""
    if key in parameters:
        return key
    if value is None and key.startswith("no") and key[2:] in parameters:
        return key[2:]
    by_letter = [name for name in parameters if name[0] == key]
    return by_letter[0] if len(by_letter) == 1 else None


def _set_parsers(function: Callable) -> None:
    """Tell fire how to read each argument: by its type in the function's signature."""
    from fire.decorators import SetParseFn, SetParseFns
    from fire.parser import DefaultParseValue

    try:
        parameters = inspect.signature(function, eval_str=True).parameters
    except NameError:  # a type that is imported for type checkers only
        parameters = inspect.signature(function).parameters
    parsers = {name: _parser(name, str(one.annotation).replace("<class '", "").replace("'>", "")) for name, one in parameters.items()}
    rest = next((parsers[name] for name, one in parameters.items() if one.kind is one.VAR_POSITIONAL), DefaultParseValue)
    keys = {key: partial(_or_none, _text) for key in PATH_KEYS} if any(p.kind is p.VAR_KEYWORD for p in parameters.values()) else {}
    SetParseFn(rest)(function)
    SetParseFns(**{**keys, **parsers})(function)


def _parser(name: str, annotation: str) -> Parse:
    from fire.parser import DefaultParseValue

    types = annotation.replace("typing.", "").replace("collections.abc.", "")
    parse = _parser_of(name, types) or DefaultParseValue
    return partial(_or_none, parse) if "None" in types else parse


def _parser_of(name: str, types: str) -> Parse | None:
    """How a value that is not None is read; None: as fire reads it."""
    if types.startswith("Mapping[") and "| str" not in types:
        return partial(_mapping, name)
    if "str" in types or "Path" in types:
        return partial(_text, several="Sequence" in types or "list" in types or "Iterable" in types)
    if "Mapping" not in types and (found := NUMBERS.search(types)):
        several = [part.strip() for part in found[2].split(",")]
        count = len(several) if found[1] == "tuple" and "..." not in several else None
        return partial(_numbers, name, whole=several[0] == "int", count=count)
    if "Sequence" in types or "Mapping" in types or "list" in types or "tuple" in types:
        return None
    kinds_of: dict[str, Callable[[str, str], Any]] = {"bool": switch, "float": _number, "int": _whole}
    return next((partial(what, name) for kind, what in kinds_of.items() if kind in types), None)


def _or_none(parse: Parse, raw: str) -> Any:
    return None if raw == "None" else parse(raw)


def _text(raw: str, several: bool = False) -> Any:
    """A name as it was typed; a list in brackets where several are taken and none has that name."""
    from fire.parser import DefaultParseValue

    if several and raw[:1] in "[(" and not os.path.lexists(raw):
        return DefaultParseValue(raw)
    return os.fspath(named(raw)) if raw.startswith("~") else raw


def switch(name: str, value: object) -> bool:
    """True or false, as a verb's switch is typed: as in the configs, or yes and no. Also of an argument that fire has read already.

    Raises:
        UserError: the value is neither; it names the argument.
    """
    try:
        return kinds.switch(SPOKEN.get(str(value).lower(), value))
    except kinds.Wrong as wrong:
        raise _unfit(name, value, f"give {wrong}") from None


def _whole(name: str, raw: str) -> int:
    return _converted(name, raw, int, "a whole number")


def _number(name: str, raw: str) -> float:
    return _converted(name, raw, float, "a number")


def _mapping(name: str, raw: str) -> dict:
    """A dictionary, as JSON or as Python writes it."""
    from fire.parser import DefaultParseValue

    value = DefaultParseValue(raw)
    if not isinstance(value, dict):
        raise _unfit(name, raw, 'give a dictionary, such as \'{"case_7": ["pancreas"]}\'')
    return value


def _numbers(name: str, raw: str, whole: bool, count: int | None) -> Any:
    """Numbers with commas between them, in brackets or without; one alone is a list of one."""
    kind, what = (int, "whole numbers") if whole else (float, "numbers")
    wanted = f"give {what if count is None else f'{count} {what}'}, separated by commas"
    try:
        values = [kind(part) for part in raw.strip().strip("[]()").rstrip(",").split(",")]
    except ValueError:
        raise _unfit(name, raw, wanted) from None
    if count is not None and len(values) != count:
        raise _unfit(name, raw, wanted)
    return tuple(values) if count is not None else values


def _converted(name: str, raw: str, kind: type, wanted: str) -> Any:
    try:
        return kind(raw)
    except ValueError:
        raise _unfit(name, raw, f"give {wanted}") from None


def _unfit(name: str, value: object, fix: str) -> UserError:
    return UserError(f"--{name}", f"{value!r} does not fit this argument", fix)
