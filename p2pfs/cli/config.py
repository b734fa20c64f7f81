"""`p2pfs config`."""

from __future__ import annotations

import sys
from contextlib import suppress

import msgspec

from p2pfs.cli.control import running_status
from p2pfs.cli.printing import write_json, write_table
from p2pfs.errors import NotFoundError, P2pfsError
from p2pfs.settings import Chosen, choose_settings
from p2pfs.settingtable import SETTINGS
from p2pfs.text import Column, printable

_DEFAULT = "default"


class ShownSetting(msgspec.Struct, frozen=True):
    """A setting; `value` is as config.toml would have it, null where the default is no value.

    `source` is `default`, `the environment`, or the path of the file it was read from.
    """

    name: str
    value: str | list[str] | None
    source: str
    says: str
    default: str


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
    chosen = choose_settings({})
    if name is not None:
        setting = _shown(chosen, _known(name))
        if json:
            write_json(setting)
        else:
            print(printable(_value_text(setting)))
        return
    answer = shown_config(chosen)
    if json:
        write_json(answer)
        return
    write_table(_COLUMNS, answer.settings)
    if sys.stdout.isatty():
        print(f"\nSet them in {printable(answer.file)}, as P2PFS_NAME in the environment,")
        print("or as flags of `p2pfs mount` and `p2pfs node`.")
        with suppress(P2pfsError):
            running_status()
            print("A node runs here: what it was started with may differ from this.")


def shown_config(chosen: Chosen) -> ShownConfig:
    """Settings as they are shown."""
    file = str(chosen.settings.places.config_file)
    return ShownConfig(file, [_shown(chosen, name) for name in SETTINGS])


def _shown(chosen: Chosen, name: str) -> ShownSetting:
    setting = SETTINGS[name]
    return ShownSetting(
        name,
        chosen.text(name),
        chosen.sources.get(name, _DEFAULT),
        setting.says,
        setting.default,
    )


def _known(name: str) -> str:
    """A setting's name, however it is spelt as a flag or in the environment."""
    spelt = name.lower().lstrip("-").removeprefix("p2pfs_").replace("-", "_")
    if spelt not in SETTINGS:
        raise NotFoundError(f"there is no setting {name!r}; there are: {', '.join(SETTINGS)}")
    return spelt


def _value_text(setting: ShownSetting) -> str:
    if isinstance(setting.value, list):
        return " ".join(setting.value)
    return setting.value or ""


def _for_a_person(setting: ShownSetting) -> str:
    if setting.source == _DEFAULT and not isinstance(setting.value, str):
        return setting.default
    return _value_text(setting) or "none"


_COLUMNS: list[Column[ShownSetting]] = [
    Column("SETTING", lambda setting: setting.name),
    Column("VALUE", _value_text, _for_a_person),
    Column(
        "FROM",
        lambda setting: setting.source,
        style=lambda setting: "dim" if setting.source == _DEFAULT else "good",
    ),
]
