"""`p2pfs completion`: what cyclopts makes of the table of commands, mended where shells need it."""

from __future__ import annotations

from typing import Literal

# As it comes, names with blanks fall apart, and a directory ends the word.
_BASH_FILES = 'COMPREPLY=( $(compgen -f -- "${cur}") )'
_BASH_WHOLE_FILES = """compopt -o filenames
            mapfile -t COMPREPLY < <(compgen -f -- "${cur}")"""
# In a folder of functions (as `_p2pfs`) it is the function's body; sourced, it registers itself.
_ZSH_END = """
if [ "$funcstack[1]" = _p2pfs ]; then
  _cyclopts_p2pfs "$@"
else
  compdef _cyclopts_p2pfs p2pfs
fi
"""


def completion(shell: Literal["bash", "zsh", "fish"], /) -> None:
    """Print what makes a shell complete p2pfs's commands and flags.

    Parameters
    ----------
    shell
        For which shell.
    """
    from p2pfs.cli.app import app  # late: the table names this module

    script = app.generate_completion(shell=shell)
    if shell == "bash":
        script = script.replace(_BASH_FILES, _BASH_WHOLE_FILES)
    if shell == "zsh":
        script += _ZSH_END
    print(script, end="")
