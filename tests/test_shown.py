"""How commands are read out of a page, and what counts as shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools.shown import Reader, Step, steps

PAGE = """\
Text, and a block:

```console
ada$ echo one; echo two
one
two
bob$ cd /
```

```console fails
ada$ false
```

```
ada$ not this one
```
"""


def test_every_command_is_found_with_what_it_shows() -> None:
    assert list(steps(PAGE)) == [
        Step("ada", "echo one; echo two", "one\ntwo", fails=False, line=4),
        Step("bob", "cd /", "", fails=False, line=7),
        Step("ada", "false", "", fails=True, line=11),
    ]


@pytest.mark.parametrize(
    ("command", "shows"),
    [
        ("echo hello world", "hello …"),
        ("echo a    b", "a b"),
        ("seq 5", "1\n…\n5"),
        ("cd /usr; pwd", "/usr"),
        ("echo said >&2", "said"),
        ("true", ""),
    ],
)
def test_what_is_shown_is_shown(tmp_path: Path, command: str, shows: str) -> None:
    with Reader(tmp_path, {"PATH": "/usr/bin:/bin"}) as reader:
        reader.follow(Step("ada", command, shows, fails=False, line=1))


@pytest.mark.parametrize(
    ("command", "shows", "fails"),
    [("echo a", "b", False), ("false", "", False), ("true", "", True), ("seq 5", "1\n…\n6", False)],
)
def test_what_is_not_shown_fails(tmp_path: Path, command: str, shows: str, fails: bool) -> None:
    step = Step("ada", command, shows, fails=fails, line=1)
    reading = Reader(tmp_path, {"PATH": "/usr/bin:/bin"})
    with reading as reader, pytest.raises(AssertionError, match="line 1"):
        reader.follow(step)


def test_a_shell_remembers_where_it_is(tmp_path: Path) -> None:
    with Reader(tmp_path, {"PATH": "/usr/bin:/bin"}) as reader:
        reader.follow(Step("ada", "mkdir here && cd here", "", fails=False, line=1))
        reader.follow(Step("ada", "pwd", f"{tmp_path}/here", fails=False, line=2))
