"""What documentation and program say to type is there, and does what it says."""

import ast
import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from itertools import zip_longest
from pathlib import Path

import pytest
import typer
from typer.main import get_command

from medprotect.cli import app
from medprotect.intensity.budget import STRENGTHS

from .waiting import HANG_SECONDS

ROOT = Path(__file__).parent.parent
DOCUMENTS = sorted([ROOT / "README.md", *ROOT.glob("docs/**/*.md")])
BLOCK = re.compile(r"^(<!-- run -->\n)?```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A block of code; `answer` is the JSON right after it, which it is to print."""

    place: str
    text: str
    runs: bool
    answer: str

    def __str__(self) -> str:
        return self.place


def blocks(language: str = "sh") -> Iterator[Block]:
    for document in DOCUMENTS:
        markdown = document.read_text()
        found = list(BLOCK.finditer(markdown))
        for block, after in zip_longest(found, found[1:]):
            if block[2] == language:
                line = markdown.count("\n", 0, block.start(2)) + 1
                near = after and after[2] == "json"
                near = near and not markdown[block.end() : after.start()].strip()
                place = f"{document.relative_to(ROOT).as_posix()}:{line}"
                yield Block(place, block[3], bool(block[1]), after[3] if near else "")


def commands(text: str) -> Iterator[list[str]]:
    """Yield the arguments of each `medprotect` of a block; what the shell does with it is cut."""
    for line in text.replace("\\\n", " ").splitlines():
        split = shlex.shlex(line, posix=True, punctuation_chars=True)
        split.whitespace_split = True
        words = list(split)
        if words[:1] == ["exec"]:
            words = words[1:]
        if words and words[0].rpartition("/")[2] == "medprotect":
            ends = [n for n, word in enumerate(words) if set(word) <= set("();<>|&")]
            yield words[1 : min(ends, default=len(words))]


def parse(arguments: list[str]) -> None:
    """Let the program take the arguments, without running it."""
    command = get_command(app)
    while hasattr(command, "commands"):
        if arguments[0].startswith("-"):
            assert arguments[0] in {name for each in command.params for name in each.opts}
            return
        command, arguments = command.commands[arguments[0]], arguments[1:]
    if arguments == ["--help"]:
        return
    command.make_context("medprotect", arguments)


NAMES = "|".join(get_command(app).commands)  # type: ignore[attr-defined]
PRINTED = re.compile(rf"medprotect (?:{NAMES})\b(?:[^`;,()<\n.:]|[.:](?!\s|$))*")
TYPED = re.compile(rf"`(medprotect (?:key )?(?:{NAMES})? ?[^`\n]* [^`\n]+)`")
GUIDES = [each for each in DOCUMENTS if {"adr", "researchers"}.isdisjoint(each.parts)]
PROGRAM = sorted((ROOT / "medprotect").rglob("*.py"))


def texts(path: Path) -> Iterator[str]:
    """Yield the texts of a module that may be printed, with X for what a run fills in."""
    nodes = list(ast.walk(ast.parse(path.read_text())))
    silent = {id(each.value) for each in nodes if isinstance(each, ast.Expr)}
    for each in nodes:
        match each:
            case ast.JoinedStr(values=parts):
                silent |= {id(part) for part in parts}
                yield "".join(p.value if isinstance(p, ast.Constant) else "X" for p in parts)
            case ast.FunctionDef() if path.parent.name == "cli":  # its help
                yield ast.get_docstring(each) or ""
            case ast.Constant(value=str(text)) if id(each) not in silent:
                yield text


def printed() -> Iterator[str]:
    for path in PROGRAM:
        yield from (found for text in texts(path) for found in PRINTED.findall(text))
    for page in (ROOT / "medprotect").rglob("*.html"):
        yield from PRINTED.findall(page.read_text())


SHELL = list(blocks())
RUNNABLE = [block for block in SHELL if block.runs]


class TestCommands:
    def test_there_are_some(self) -> None:
        used = {arguments[0] for block in SHELL for arguments in commands(block.text)}
        assert used >= {"run", "verify", "report", "inspect", "audit", "key"}

    @pytest.mark.parametrize("block", SHELL, ids=str)
    def test_each_is_one_that_the_program_takes(self, block: Block) -> None:
        for arguments in commands(block.text):
            parse(arguments)

    @pytest.mark.parametrize("command", sorted(set(printed())))
    def test_what_the_program_prints_is_one_too(self, command: str) -> None:
        (arguments,) = commands(command)
        parse(arguments)

    @pytest.mark.parametrize(
        "command", sorted({found for page in GUIDES for found in TYPED.findall(page.read_text())})
    )
    def test_so_is_what_a_guide_says_in_a_line(self, command: str) -> None:
        (arguments,) = commands(command)
        parse(arguments)

    def test_what_is_printed_is_found_in_sentences(self) -> None:
        told = (
            "copy it: medprotect key backup FILE\nor see medprotect verify EXPORT OUT. Then go on"
        )
        assert PRINTED.findall(told) == [
            "medprotect key backup FILE",
            "medprotect verify EXPORT OUT",
        ]
        assert len(set(printed())) > 12

    @pytest.mark.parametrize(
        "line",
        [
            "medprotect protect EXPORT OUT",
            "medprotect run EXPORT OUT --fast",
            "medprotect run EXPORT OUT --strength enormous",
            "medprotect run EXPORT",
            "medprotect key lose",
            "medprotect inspect FILE --picture",
            "medprotect vault",
            "medprotect --loud",
        ],
    )
    def test_what_it_does_not_take_would_be_found(self, line: str) -> None:
        (arguments,) = commands(f"{line} > log || true")
        with pytest.raises(Exception, match=r"\S"):
            parse(arguments)


STUDY = re.compile(r"python -m medprotect\.bench\.studies\.([a-z_]+) ([^`\n|\"]+)")
STUDIES = {
    found.groups()
    for page in (*DOCUMENTS, *ROOT.glob("pipelines/**/*.md"), *ROOT.glob("datasets/*.toml"))
    for found in STUDY.finditer(page.read_text())
}


class TestStudies:
    def test_there_are_some(self) -> None:
        assert {name for name, _ in STUDIES} >= {"medmnist", "meter", "unlearnability"}

    @pytest.mark.parametrize(("name", "arguments"), sorted(STUDIES))
    def test_each_command_is_one_that_the_study_takes(self, name: str, arguments: str) -> None:
        self.parse(name, re.sub(r"[][]", "", arguments))

    def test_what_it_does_not_take_would_be_found(self) -> None:
        with pytest.raises(Exception, match="unexpected extra argument"):
            self.parse("unlearnability", "--images bloodmnist.npz --seeds 1 2")

    def parse(self, name: str, arguments: str) -> None:
        study = typer.Typer()
        study.command()(import_module(f"medprotect.bench.studies.{name}").main)
        get_command(study).make_context(name, shlex.split(arguments))


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], str]:
    """`shell(block)` types it where EXPORT was protected, and returns what was printed."""
    import pydicom

    shipped = Path(pydicom.__file__).parent / "data" / "test_files"
    house = tmp_path_factory.mktemp("house")
    (house / "EXPORT").mkdir()
    ct = (shipped / "CT_small.dcm").read_bytes()
    for name, content in (
        ("FILE", ct),
        ("EXPORT/1.dcm", ct),
        ("EXPORT/2.dcm", (shipped / "MR_truncated.dcm").read_bytes()),
        ("EXPORT/notes.txt", b"notes\n"),
    ):
        (house / name).write_bytes(content)
    program = house / "bin" / "medprotect"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m medprotect "$@"\n')
    program.chmod(0o755)
    environment = os.environ | {
        "PATH": f"{program.parent}:{os.environ['PATH']}",
        "PYTHONPATH": os.fspath(ROOT),
        "XDG_CONFIG_HOME": os.fspath(house / "config"),
    }

    def type_in(text: str) -> str:
        done = subprocess.run(
            ["bash", "-c", text],
            cwd=house,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=HANG_SECONDS,
        )
        assert "unexpected" not in done.stderr, done.stderr
        assert "Usage" not in done.stderr, done.stderr
        return done.stdout

    type_in("medprotect run EXPORT OUT")
    return type_in


def shape(value: object) -> object:
    """Names and kinds of a JSON value; of a list those of its first item, if there is one.

    What is told by strength is such a list: which strengths were measured is no matter of form.
    """
    match value:
        case dict() if value and value.keys() <= STRENGTHS.keys():
            return [shape(each) for each in list(value.values())[:1]]
        case dict():
            return {name: shape(each) for name, each in value.items()}
        case list():
            return [shape(each) for each in value[:1]]
        case bool() | str():
            return type(value).__name__
        case int() | float():
            return "number"
    return None


def fits(stated: object, found: object) -> bool:
    """Whether two shapes are one, where an empty list and null say nothing."""
    if isinstance(stated, dict) and isinstance(found, dict):
        return stated.keys() == found.keys() and all(fits(stated[n], found[n]) for n in stated)
    if isinstance(stated, list) and isinstance(found, list):
        return all(fits(*pair) for pair in zip(stated, found, strict=False))
    return None in (stated, found) or stated == found


class TestRunning:
    @pytest.mark.parametrize("block", RUNNABLE, ids=str)
    def test_a_block_runs_as_written(self, block: Block, shell: Callable[[str], str]) -> None:
        for line in block.text.splitlines():
            printed = shell(f"{line}; echo ended with $?")
            output, _, code = printed.rpartition("ended with ")
            assert int(code) in ((0, 3, 4) if "MISSING" in line else (0, 4)), printed
        if block.answer:
            stated, found = shape(json.loads(block.answer)), shape(json.loads(output))
            assert fits(stated, found), f"{block}: {found}"

    def test_all_that_print_json_state_what(self) -> None:
        assert len([block for block in RUNNABLE if block.answer]) >= 6

    def test_a_name_more_or_another_kind_would_be_found(self) -> None:
        assert fits(shape({"a": [{"b": 1}]}), shape({"a": [{"b": 2.5}]}))
        assert not fits(shape({"a": [{"b": 1}]}), shape({"a": [{"b": 1, "c": 1}]}))
        assert not fits(shape({"a": 1}), shape({"a": "1"}))


def test_every_json_block_is_json() -> None:
    for block in blocks("json"):
        json.loads(block.text)


def test_the_citation_is_of_this_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert f"\nversion: {project['version']}\n" in (ROOT / "CITATION.cff").read_text()


def test_the_tests_that_security_names_are_there() -> None:
    named = set(re.findall(r"`(test_\w+)`", (ROOT / "SECURITY.md").read_text()))
    sources = "".join(path.read_text() for path in ROOT.glob("tests/**/*.py"))
    assert named
    assert named <= set(re.findall(r"def (test_\w+)\(", sources))
