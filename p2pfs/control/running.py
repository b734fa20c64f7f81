"""`status` and `stop`: the node as it is, and its end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from p2pfs.control.calls import Answering, Nothing

if TYPE_CHECKING:
    from collections.abc import Callable

    from p2pfs.control.calls import Endpoint
    from p2pfs.status import Status


def running_endpoints(
    status: Callable[[], Status], stop: Callable[[], None]
) -> dict[str, Endpoint]:
    """What can be asked of the node itself."""

    async def tell_status(_: Nothing) -> Status:
        return status()

    async def end(_: Nothing) -> Nothing:
        stop()
        return Nothing()

    return {"status": Answering(Nothing, tell_status), "stop": Answering(Nothing, end)}
