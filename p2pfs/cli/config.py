"""`p2pfs config`: what a node started now would have, and where one that runs differs from it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import msgspec

from p2pfs.cli.control import ask
from p2pfs.cli.printing import write_json, write_table
from p2pfs.control.calls import Nothing
from p2pfs.control.running import RunningSetting, RunningSettings
from p2pfs.errors import NotFoundError, P2pfsError
from p2pfs.settings import DEFAULT, Chosen, choose_settings
from p2pfs.settingtable import SETTINGS
from p2pfs.text import Column, printable

if TYPE_CHECKING:
    from collections.abc import Mapping


class ShownSetting(msgspec.Struct, frozen=True):
    """A setting; `value` is as config.toml would have it, null where the default is no value.

    `source` is `default`, `the environment`, or the path of the file it was read from.  `running`
    is what the running node has instead; null where that is the same, and where none runs.
    """

    name: str
    value: str | list[str] | None
    source: str
    says: str
    default: str
    running: RunningSetting | None = None


class ShownConfig(msgspec.Struct, frozen=True):
    """All settings a node started here would have; `file` is where to write them.

    `config --json` prints exactly this; fields are only ever added.
    """

    file: str
    settings: list[ShownSetting]


def config(name: str | None = None, /, *, json: bool = False) -> None:
    """Show every setting, its value, and where it comes from.

    Parameters
    ----------
    name
        Print the value of this setting only; in JSON the setting.
    json
        Print JSON instead, for scripts.
    """
    chosen, running = choose_settings({}), _running()
    if name is not None:
        setting = _shown(chosen, _known(name), running)
        if json:
            write_json(setting)
        else:
            print(printable(_value_text(setting)))
            _tell_running([setting])
        return
    answer = shown_config(chosen, running)
    if json:
        write_json(answer)
        return
    write_table(_COLUMNS, answer.settings)
    if sys.stdout.isatty():
        print(f"\nSet them in {printable(answer.file)}, as P2PFS_NAME in the environment,")
        print("or as flags of `p2pfs mount` and `p2pfs node`.")
    _tell_running(answer.settings)


def shown_config(chosen: Chosen, running: Mapping[str, RunningSetting]) -> ShownConfig:
    """Settings as they are shown; `running` are those of the node that runs, by name."""
    file = str(chosen.settings.places.config_file)
    return ShownConfig(file, [_shown(chosen, name, running) for name in SETTINGS])


def _running() -> dict[str, RunningSetting]:
    """Empty where none runs, or it does not say: that is for `p2pfs status`."""
    try:
        told = ask("settings", Nothing(), RunningSettings)
    except P2pfsError:
        return {}
    return {setting.name: setting for setting in told.settings}


def _shown(chosen: Chosen, name: str, running: Mapping[str, RunningSetting]) -> ShownSetting:
    setting, value, there = SETTINGS[name], chosen.text(name), running.get(name)
    return ShownSetting(
        name,
        value,
        chosen.source(name),
        setting.says,
        setting.default,
        there if there is not None and there.value != value else None,
    )


def _tell_running(settings: list[ShownSetting]) -> None:
    """To stderr, for a script reads the values of a node that it starts."""
    sys.stdout.flush()
    for setting in settings:
        there = setting.running
        if there is not None:
            value = _for_a_person(there, setting.default)
            said = f"p2pfs: the running node has {there.name} {value} ({there.source})"
            print(printable(said), file=sys.stderr)


def _known(name: str) -> str:
    """A setting's name, however it is spelt as a flag or in the environment."""
    spelt = name.lower().lstrip("-").removeprefix("p2pfs_").replace("-", "_")
    if spelt not in SETTINGS:
        raise NotFoundError(f"there is no setting {name!r}; there are: {', '.join(SETTINGS)}")
    return spelt


def _value_text(setting: ShownSetting | RunningSetting) -> str:
    if isinstance(setting.value, list):
        return " ".join(setting.value)
    return setting.value or ""


def _for_a_person(setting: ShownSetting | RunningSetting, default: str) -> str:
    if setting.source == DEFAULT and not isinstance(setting.value, str):
        return default
    return _value_text(setting) or "none"


_COLUMNS: list[Column[ShownSetting]] = [
    Column("SETTING", lambda setting: setting.name),
    Column("VALUE", _value_text, lambda setting: _for_a_person(setting, setting.default)),
    Column(
        "FROM",
        lambda setting: setting.source,
        style=lambda setting: "dim" if setting.source == DEFAULT else "good",
    ),
]
