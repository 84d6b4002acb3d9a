"""Reading the pages of the docs: commands, words in backticks, tables, links and anchors."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass, replace
from pathlib import Path

SHELL = ("", "bash", "sh", "console")
ELLIPSIS = "..."
PROGRAM = re.compile(r"([A-Z_]+=\S+ )*(\S*python3?|torchrun|make|pytest|\.\.\.)\s")


@dataclass(frozen=True)
class Command:
    """A command of a page: where it is, and its words. `elided` where an ellipsis stands for more of them."""

    where: str
    words: tuple[str, ...]
    elided: bool = False


def pages(root: Path) -> list[Path]:
    """Every page that users read."""
    found = [root / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")]
    return [*found, *sorted((root / "docs").rglob("*.md")), *sorted((root / ".github").rglob("*.md"))]


def blocks(text: str) -> list[tuple[int, str, str]]:
    """(line number, language, content) of fenced and of indented blocks."""
    found, lines = [], text.splitlines()
    fence = start = None
    for number, line in enumerate(lines, 1):
        mark = re.match(r"\s*```(\w*)", line)
        if mark and fence is None:
            fence, start = mark[1], number
        elif mark:
            found.append((start + 1, fence, "\n".join(lines[start : number - 1])))
            fence = None
        elif (
            fence is None
            and line.startswith("    ")
            and (number == 1 or not lines[number - 2].strip() or lines[number - 2].startswith("    "))
        ):
            found.append((number, "", line[4:]))
    return _joined(found)


def _joined(found: list[tuple[int, str, str]]) -> list[tuple[int, str, str]]:
    """Indented lines in a row as one block."""
    joined: list[tuple[int, str, str]] = []
    for number, language, content in found:
        if joined and joined[-1][1] == language == "" and joined[-1][0] + joined[-1][2].count("\n") + 1 == number:
            joined[-1] = (joined[-1][0], "", joined[-1][2] + "\n" + content)
        else:
            joined.append((number, language, content))
    return joined


def prose(text: str) -> str:
    """The page without its fenced blocks."""
    return re.sub(r"^\s*```.*?^\s*```", "", text, flags=re.S | re.M)


def spans(text: str) -> list[str]:
    """What stands between backticks in the prose."""
    return re.findall(r"`([^`\n]+)`", prose(text))


def commands(name: str, text: str) -> list[Command]:
    """Every shell command of a page, in blocks and between backticks."""
    found: list[Command] = []
    variables: dict[str, str] = {}
    for number, language, content in blocks(text):
        if language not in SHELL:
            continue
        logical = content.replace("\\\n", " ")
        for line in logical.splitlines():
            variable = re.fullmatch(r"""(\w+)=(["']?)(.*)\2""", line.strip())
            if variable:
                variables[variable[1]] = variable[3]
                continue
            command = _command(f"{name}:{number}", re.sub(r"\$(\w+)", lambda m: variables.get(m[1], m[0]), line), found)
            if command:
                found.append(command)
    variables |= {found[0]: found[1] for found in (span.split("=", 1) for span in spans(text) if re.match(r"[A-Z]=--", span))}
    for span in spans(text):
        command = _command(f"{name} `{span}`", re.sub(r"\$(\w+)", lambda m: variables.get(m[1], m[0]), span), found)
        if command:  # a sentence may name a command without its arguments
            found.append(replace(command, elided=True))
    return found


def _command(where: str, line: str, before: list[Command]) -> Command | None:
    """The command of a line, if it is one; an ellipsis at its start stands for the last command with such a flag."""
    if not PROGRAM.match(line.strip()):
        return None
    # shlex would take the # of a nested key for a comment
    words = shlex.split(re.sub(r"\s#\s.*$", "", line))
    if words and words[0] == ELLIPSIS and before:
        flags = {word for word in words if word.startswith("--")}
        alike = [command for command in before if flags & set(command.words)] or before
        words = [*alike[-1].words, *words]
    plain = [word for word in words if ELLIPSIS not in word and not re.fullmatch(r"\[[A-Z_]+", word)]
    plain = [word for word in plain if not re.fullmatch(r"[A-Z_]+=\S+", word)]
    return Command(where, tuple(plain), len(plain) < len(words) or ELLIPSIS in line) if plain else None


def table(text: str, heading: str) -> list[list[str]]:
    """Rows of the first table below a heading, without its head."""
    below = re.split(rf"^#+ {re.escape(heading)}$", text, flags=re.M)[1]
    rows: list[list[str]] = []
    for line in below.splitlines():
        if line.startswith("|"):
            rows.append([cell.strip().replace("&#124;", "|") for cell in line.strip().strip("|").split(" | ")])
        elif rows:
            break
    return rows[2:]


def anchors(text: str) -> set[str]:
    """Anchors that GitHub makes of the headings."""
    found: dict[str, int] = {}
    names = set()
    for heading in re.findall(r"^#+ (.+)$", prose(text), flags=re.M):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "")
        name = re.sub(r"[^\w\- ]", "", plain.lower()).replace(" ", "-")
        count = found.get(name, 0)
        found[name] = count + 1
        names.add(f"{name}-{count}" if count else name)
    return names


def links(text: str) -> list[str]:
    """Targets of the links and pictures of a page."""
    return re.findall(r"\]\(([^)\s]+)\)", prose(text))
