"""The pages that are made from the code are those that are committed, and readers can show them."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from p2pfs import errors
from p2pfs.errors import EXIT_CODES, P2pfsError
from tools.commands import commands
from tools.make_reference import DOCS, JSON_ANSWERS, answer_of, pages
from tools.manpage import manpage

REMEDY = "run `python -m tools.make_reference` and commit what it writes"


@pytest.mark.parametrize("path", pages(), ids=lambda path: path.name)
def test_a_page_is_as_the_code_has_it(path: Path) -> None:
    assert path.exists(), REMEDY
    assert path.read_text() == pages()[path], REMEDY


def test_each_command_that_prints_json_says_what() -> None:
    printing = {command.words for command in commands() if command.has_json}
    assert printing == set(JSON_ANSWERS), "name the Struct in tools/make_reference.py"
    for answers in JSON_ANSWERS.values():
        for name, _ in answers:
            assert answer_of(name).__doc__, f"{name} says nothing of itself"


def test_each_command_and_option_says_what_it_does() -> None:
    for command in commands():
        assert command.does, command.words
        assert "\n" not in command.does.split("\n\n")[0], command.words
        for option in command.arguments + command.options:
            assert option.says, f"{command.words} {option.usage}"


def test_each_failure_has_a_code_that_is_explained() -> None:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    codes = {kind.exit_code for kind in kinds if issubclass(kind, P2pfsError)}
    assert codes | {0} == set(EXIT_CODES)


@pytest.mark.skipif(shutil.which("mandoc") is None, reason="mandoc is not installed")
def test_the_manual_page_has_no_fault() -> None:
    done = subprocess.run(
        ["mandoc", "-T", "lint", DOCS / "p2pfs.1"], capture_output=True, text=True
    )
    assert (done.stdout, done.returncode) == ("", 0)


def test_the_manual_page_names_every_command_and_setting() -> None:
    page = manpage(commands())
    for command in commands():
        assert f".SS {command.usage}".split(" [")[0] in page
    assert "P2PFS_CACHE_SIZE" in page
    assert "\n'" not in page  # a line that begins so is a request
