"""`p2pfs doctor`: probe, judge, show."""

from __future__ import annotations

import os
import platform
import shlex
import sys
from typing import TYPE_CHECKING

from p2pfs import __version__
from p2pfs.cli.control import running_status
from p2pfs.cli.printing import paint_for, write_json, write_table
from p2pfs.errors import NotRunningError, P2pfsError, UsageError
from p2pfs.identity import read_identity
from p2pfs.settings import DEFAULT_LISTEN, Settings, load_settings, places
from p2pfs.text import Column, printable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from p2pfs.doctor.facts import Running
    from p2pfs.doctor.findings import Finding, Verdict
    from p2pfs.text import Style

# Those that need a C library or a compiler, or are most often the wrong version.
_LIBRARIES = ("trio", "pyfuse3", "httpx", "hypercorn", "kademlia", "cryptography", "libipld")
_STYLES: dict[Verdict, Style] = {"ok": "good", "warn": "busy", "fail": "bad"}
_FAILED = 1
_OTHERS = 0o077  # permissions of the group and all others


def doctor(*, json: bool = False) -> None:
    """Look for what keeps a node from working here, and say what to do about it.

    Parameters
    ----------
    json
        Print JSON instead, for scripts.
    """
    from p2pfs.doctor.findings import report  # late, as all of it: trio comes with the probes

    found = report(list(_findings()))
    if json:
        write_json(found)
    elif sys.stdout.isatty():
        write_table(_COLUMNS, found.findings)
        _write_fixes(found.findings)
    else:
        write_table([*_COLUMNS, Column("FIX", lambda f: f.fix)], found.findings)
    if not found.healthy:
        sys.exit(_FAILED)


def _findings() -> Iterator[Finding]:
    from p2pfs.doctor import judging, probing

    yield _version()
    yield from judging.judge_libraries(probing.probe_libraries(_LIBRARIES))
    yield from judging.judge_fuse(probing.probe_fuse())
    yield from judging.judge_mounts(probing.probe_mounts())
    config, settings = _config()
    running = _running()
    yield config
    yield _network(settings, running)
    yield _key(settings, running)
    if not running.there:
        moves_on = settings.listen == DEFAULT_LISTEN
        yield from judging.judge_ports(probing.probe_ports(settings.listen), moves_on=moves_on)
    lan_ips = probing.probe_lan(settings.listen)
    yield judging.judge_lan(lan_ips, wanted=settings.lan_discovery)
    yield judging.judge_running(running)
    yield from judging.judge_routers(running)
    yield judging.judge_clock(probing.probe_clock(), running.clock_behind)
    yield judging.judge_folder(probing.probe_folder("data", settings.places.data))
    yield judging.judge_folder(probing.probe_folder("share", settings.share))
    cache = probing.probe_folder("cache", settings.places.cache)
    yield judging.judge_folder(cache, settings.min_free)
    yield judging.judge_descriptors(probing.probe_descriptors())
    yield judging.judge_watches(probing.probe_watches(), running.noticing)


def _version() -> Finding:
    from p2pfs.doctor.findings import Finding

    system = f"Python {platform.python_version()}, {platform.system()} {platform.release()}"
    return Finding("p2pfs", "ok", f"{__version__} on {system}")


def _config() -> tuple[Finding, Settings]:
    """What is to be said of the settings, and those to go on with."""
    from p2pfs.doctor.findings import Finding

    where = places(os.environ)
    try:
        settings = load_settings({})
    except UsageError as error:
        fix = f"correct it in {where.config_file}, or in the environment; `p2pfs config` shows all"
        finding = Finding("settings", "fail", str(error), fix)
        return finding, Settings(where, where.data / "share")
    there = "" if where.config_file.exists() else ", which is not there: defaults"
    return Finding("settings", "ok", f"{where.config_file}{there}"), settings


def _network(settings: Settings, running: Running) -> Finding:
    """That of the node which runs, whom a flag may have put into another than the set one."""
    from p2pfs.doctor.findings import Finding

    file = settings.network_secret_file
    try:
        network = settings.overlay_network()
    except UsageError as error:
        fix = "correct `network_secret_file`; all nodes of the network have the same file"
        return Finding("network", "fail", str(error), fix)
    if file is not None and file.stat().st_mode & _OTHERS:
        says = f"other users of this machine may read its secret in {file}"
        return Finding("network", "warn", says, f"`chmod 600 {shlex.quote(str(file))}`")
    set_here = (network.name, file is not None)
    name, private = (running.network, running.private) if running.network else set_here
    closed = "private" if private else "which all may join who know its name"
    started = "" if (name, private) == set_here else ", as the node was started"
    return Finding("network", "ok", f"{name}, {closed}{started}")


def _key(settings: Settings, running: Running) -> Finding:
    """The puzzle is that of the set network, unless a node runs: then the key has been accepted."""
    from p2pfs.doctor.findings import Finding

    try:
        identity = read_identity(settings.places.identity)
    except UsageError as error:
        fix = "`p2pfs id import --force FILE` puts another in its place"
        return Finding("key", "fail", str(error), fix)
    if identity is None:
        return Finding("key", "ok", "none yet; made at the first start")
    try:
        network = settings.overlay_network()
    except UsageError:  # `_network` has said so
        return Finding("key", "ok", identity.peer_id)
    if not running.network and not network.key_counts(identity.public_key):
        says = f"{identity.peer_id} does not solve the puzzle of network {network.name!r}"
        fix = "set `network` to the one it was made in; or use another P2PFS_HOME"
        return Finding("key", "warn", says, fix)
    return Finding("key", "ok", identity.peer_id)


def _running() -> Running:
    from p2pfs.doctor.facts import Running

    try:
        status = running_status()
    except NotRunningError:
        return Running(there=False)
    except P2pfsError as error:
        return Running(there=True, error=str(error))
    wrong = sum(peer.wrong for peer in status.peers)
    overlay = status.overlay
    routers = tuple((each.url, each.last_error) for each in status.delegated)
    return Running(
        True,
        "",
        status.address,
        overlay.mode,
        overlay.contacts,
        wrong,
        overlay.problem,
        routers,
        clock_behind=status.clock_behind,
        network=status.network,
        private=overlay.private,
        noticing=status.noticing,
    )


def _write_fixes(findings: list[Finding]) -> None:
    """Below the table, for they are long."""
    bad = [finding for finding in findings if finding.fix]
    paint = paint_for(sys.stdout)
    if bad:
        print()
    for finding in bad:
        print(paint(finding.subject, _STYLES[finding.verdict]) + ": " + printable(finding.fix))


_COLUMNS: list[Column[Finding]] = [
    Column("", lambda f: f.verdict, style=lambda f: _STYLES[f.verdict]),
    Column("CHECK", lambda f: f.subject),
    Column("FOUND", lambda f: f.says),
]
