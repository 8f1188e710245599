"""Every command that a card or a docstring prints can be typed: its module and all its options exist."""

import ast
import importlib
import re
import shlex
from argparse import ArgumentParser
from pathlib import Path

import pytest

import NNMambaBrainModels
from NNMambaLib import cli
from NNMambaLib.models.catalogue import bundled_folder

PACKAGE = Path(NNMambaBrainModels.__file__).parent
CARDS = sorted(bundled_folder().glob("brain-*/card.md"))
MODULES = sorted(PACKAGE.rglob("*.py"))
# A command ends with its line, or at a backtick; lines that are indented further belong to it.
COMMAND = re.compile(
    r"(?:python -m (?P<module>NNMambaBrainModels[\w.]*)|\b(?P<tool>nnmamba) )"
    r"(?P<rest>[^\n`]*(?:\n {8,}[^\n`]+)*)"
)
CODE_BLOCK = re.compile(r"(?:^ {4}.*\n)+", re.MULTILINE)


def commands(text: str) -> list[tuple[str, str]]:
    """Return (module or ``nnmamba``, arguments) of each command that a text prints."""
    joined = re.sub(r"\\\n\s*", "", text)
    return [(match["module"] or match["tool"], match["rest"]) for match in COMMAND.finditer(joined)]


def main_of(program: str):
    return cli.main if program == "nnmamba" else importlib.import_module(program).main


def card_commands() -> list[tuple[str, str]]:
    return sorted({command for card in CARDS for command in commands(card.read_text(encoding="utf-8"))})


def docstring_commands() -> list[tuple[str, str]]:
    docstrings = (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "" for path in MODULES)
    return sorted({command for docstring in docstrings for command in commands(docstring)})


def complete_commands() -> list[tuple[str, str]]:
    """Return the commands in the cards' code blocks, which are to be typed as they stand."""
    blocks = (block for card in CARDS for block in CODE_BLOCK.findall(card.read_text(encoding="utf-8")))
    return sorted({command for block in blocks for command in commands(block)})


def test_commands_are_found_where_they_are_printed():
    assert len(CARDS) == 3
    programs = {program for program, _ in card_commands() + docstring_commands()}
    with_command_line = {path for path in MODULES if "def main(" in path.read_text(encoding="utf-8")}
    names = {".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts) for path in with_command_line}
    assert names | {"nnmamba"} == programs, "a module with a command line says in its docstring how to call it"
    assert len(complete_commands()) >= 20


@pytest.mark.parametrize(("program", "arguments"), card_commands() + docstring_commands())
def test_help_names_every_option_that_is_printed(program, arguments, capsys):
    subcommands = re.match(r"(?:[a-z]\S* ?)*", arguments)[0].split() if program == "nnmamba" else []
    with pytest.raises(SystemExit) as stopped:
        main_of(program)([*subcommands, "--help"])
    assert stopped.value.code == 0
    known = set(re.findall(r"--[a-z][\w-]*", capsys.readouterr().out))
    assert set(re.findall(r"--[a-z][\w-]*", arguments)) <= known


class Parsed(BaseException):
    """Raised in place of what a command would do."""


@pytest.mark.parametrize(("program", "arguments"), complete_commands())
def test_a_command_in_a_code_block_is_complete(program, arguments, monkeypatch):
    parse = ArgumentParser.parse_args

    def parse_and_stop(self, args=None, namespace=None):
        parse(self, args, namespace)
        raise Parsed

    monkeypatch.setattr(ArgumentParser, "parse_args", parse_and_stop)
    with pytest.raises(Parsed):
        main_of(program)(shlex.split(arguments))


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_a_command_says_what_it_does(path):
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    assert docstring
    assert docstring.splitlines()[0].endswith(".")
