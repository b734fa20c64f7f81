"""`status`, `settings` and `stop`: the node as it is, as it was started, and its end."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from p2pfs.control.calls import Answering, Nothing
from p2pfs.settingtable import SETTINGS

if TYPE_CHECKING:
    from collections.abc import Callable

    from p2pfs.control.calls import Endpoint
    from p2pfs.settings import Chosen
    from p2pfs.status import Status


class RunningSetting(msgspec.Struct, frozen=True):
    """A setting of the running node; `value` and `source` are as those of ShownSetting.

    `source` is `the command line` where a flag has set it.
    """

    name: str
    value: str | list[str] | None
    source: str


class RunningSettings(msgspec.Struct, frozen=True):
    """Every setting, as the node was started."""

    settings: list[RunningSetting]


def running_endpoints(
    chosen: Chosen, status: Callable[[], Status], stop: Callable[[], None]
) -> dict[str, Endpoint]:
    """What can be asked of the node itself."""

    async def tell_status(_: Nothing) -> Status:
        return status()

    async def tell_settings(_: Nothing) -> RunningSettings:
        return RunningSettings(
            [RunningSetting(name, chosen.text(name), chosen.source(name)) for name in SETTINGS]
        )

    async def end(_: Nothing) -> Nothing:
        stop()
        return Nothing()

    return {
        "status": Answering(Nothing, tell_status),
        "settings": Answering(Nothing, tell_settings),
        "stop": Answering(Nothing, end),
    }
