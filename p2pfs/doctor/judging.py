"""What facts mean for a node, and what to do about those that are bad.

Pure: each function takes facts and gives findings; every fix is a command or an order.
"""

from __future__ import annotations

import errno
import shlex
from typing import TYPE_CHECKING

from p2pfs.content.metainfo import SKEW_SECONDS
from p2pfs.doctor.facts import Answer, Clock, Device, Folder, Fuse, Port, Running
from p2pfs.doctor.findings import Finding
from p2pfs.status import UDP_BLOCKED
from p2pfs.text import counted, human_bytes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from p2pfs.doctor.findings import Verdict

# 512 connections, the databases and what programs have open in the mount.
_GOOD_DESCRIPTORS = 2_048
_LEAST_DESCRIPTORS = 256
# Below this, SQLite cannot write its journal and the log its lines.
_LEAST_FREE_BYTES = 64 << 20
_LEAST_FREE_INODES = 1_000
# One a folder below share/; a user's other programs need them too.
_GOOD_WATCHES = 8_192
# When this version was made: a clock that shows less would let every record expire at once.
_MADE_AT = 1_764_201_600

_DEVICE_FIXES = {
    Device.ABSENT: ("there is no /dev/fuse", "`modprobe fuse`, or give the container that device"),
    Device.FORBIDDEN: (
        "you may not open /dev/fuse",
        "`sudo chmod 666 /dev/fuse`, its usual mode; in a container, allow that device",
    ),
    Device.UNKNOWN_TO_KERNEL: (
        "/dev/fuse is there, but the kernel has no FUSE",
        "`sudo modprobe fuse`",
    ),
}


def judge_fuse(fuse: Fuse) -> list[Finding]:
    """Whether this user can mount here."""
    return [_device(fuse.device), _fusermount(fuse), _library(fuse.library_error)]


def _device(device: Device) -> Finding:
    if device in _DEVICE_FIXES:
        return Finding("fuse device", "fail", *_DEVICE_FIXES[device])
    return Finding("fuse device", "ok", "/dev/fuse can be opened")


def _fusermount(fuse: Fuse) -> Finding:
    subject = "fusermount3"
    if fuse.is_root:
        return Finding(subject, "ok", "not needed by root")
    if fuse.fusermount is None:
        return Finding(subject, "fail", "it is not there", "`sudo apt install fuse3`")
    if not fuse.is_setuid:
        path = shlex.quote(fuse.fusermount)
        says = f"{fuse.fusermount} lacks root's rights, so that only root can mount"
        return Finding(subject, "fail", says, f"`sudo chown root {path} && sudo chmod u+s {path}`")
    if fuse.stays_weak:
        says = "no program may get root's rights here (no_new_privs), so that only root can mount"
        fix = "start it without NoNewPrivileges=, or the container without no-new-privileges"
        return Finding(subject, "fail", says, f"{fix}; `p2pfs node` needs no mount")
    return Finding(subject, "ok", f"{fuse.fusermount}, with root's rights")


def _library(error: str) -> Finding:
    if error:
        fix = "`sudo apt install libfuse3-3`, then install p2pfs again"
        return Finding("pyfuse3", "fail", f"it cannot be imported: {error}", fix)
    return Finding("pyfuse3", "ok", "can be imported")


def judge_mounts(mounts: Mapping[str, Answer]) -> list[Finding]:
    """Which mounts of p2pfs are left over from nodes that are gone."""
    if not mounts:
        return [Finding("mounts", "ok", "none of p2pfs")]
    return [_mount(path, answer) for path, answer in mounts.items()]


def _mount(path: str, answer: Answer) -> Finding:
    detach = f"`fusermount3 -uz {shlex.quote(path)}`"
    if answer is Answer.DEAD:
        return Finding("mounts", "fail", f"{path} is what a dead node left mounted", detach)
    if answer is Answer.SILENT:
        says = f"{path} does not answer"
        return Finding("mounts", "warn", says, f"see the log of its node; {detach} takes it away")
    return Finding("mounts", "ok", f"{path} answers")


def judge_ports(ports: Sequence[Port], *, moves_on: bool) -> list[Finding]:
    """Whether a node can listen; one that `moves_on` takes the next free port."""
    return [_port(port, moves_on=moves_on) for port in ports]


def _port(port: Port, *, moves_on: bool) -> Finding:
    number = port.address.rpartition(":")[2]
    if not port.error:
        return Finding("ports", "ok", f"{port.address} is free, UDP and TCP")
    if port.error == errno.EADDRINUSE:
        says = f"{port.address} is taken by another program"
        find = f"`ss -lntup 'sport = :{number}'` shows which; or choose another with --listen"
        if moves_on:
            return Finding("ports", "warn", f"{says}; the next free one will do", find)
        return Finding("ports", "fail", says, find)
    if port.error == errno.EACCES:
        says = f"you may not listen on {port.address}"
        return Finding("ports", "fail", says, "choose a port from 1024 on with --listen")
    if moves_on and port.error in {errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL}:
        return Finding("ports", "ok", f"{port.address} is left out: there is no IPv6 here")
    says = f"this machine cannot listen on {port.address} (errno {port.error})"
    return Finding("ports", "fail", says, "name one of its own addresses; `ip addr` lists them")


def judge_lan(ips: Sequence[str], *, wanted: bool) -> Finding:
    """Whether nodes on the local network can be found without --peer, from these addresses."""
    subject = "lan discovery"
    if not wanted:
        return Finding(subject, "ok", "off, by lan_discovery: nodes are found by --peer")
    if not ips:
        says = "no private IPv4 address with multicast here: nodes are found by --peer"
        return Finding(subject, "ok", says)
    return Finding(subject, "ok", f"nodes of the same network can be found from {', '.join(ips)}")


def judge_clock(clock: Clock, behind: float | None = None) -> Finding:
    """Whether records that this node signs will count; `behind` the peers by so many seconds."""
    if clock.now < _MADE_AT:
        says = "it shows a time before this version was made; what it signs has expired"
        return Finding("clock", "fail", says, "`sudo timedatectl set-ntp true`, or set it by hand")
    if behind is not None and abs(behind) > SKEW_SECONDS:
        which = "behind" if behind > 0 else "ahead of"
        says = f"it is {abs(behind) / 60:.0f} min {which} most peers', who refuse what it signs"
        return Finding("clock", "fail", says, "`sudo timedatectl set-ntp true`, or set it by hand")
    if clock.synchronised is False:
        says = "no other clock sets it; over 5 min off, others refuse what this node signs"
        return Finding("clock", "warn", says, "`sudo timedatectl set-ntp true`")
    return Finding("clock", "ok", "set by another clock" if clock.synchronised else "plausible")


def judge_folder(folder: Folder, wanted_free: int = 0) -> Finding:
    """Whether a node can write there, and have `wanted_free` bytes left over."""
    subject = f"{folder.role} folder"
    where = f"{folder.path}: {human_bytes(folder.free_bytes)} free"
    if not folder.writable:
        says = f"{folder.path} cannot be written to"
        return Finding(subject, "fail", says, f"`sudo chown $USER {shlex.quote(folder.path)}`")
    if folder.free_bytes < _LEAST_FREE_BYTES:
        return Finding(subject, "fail", where, "free some space on that disk")
    if folder.free_inodes is not None and folder.free_inodes < _LEAST_FREE_INODES:
        says = f"{folder.path}: room for only {folder.free_inodes} more files"
        return Finding(subject, "warn", says, "remove files from that disk")
    if folder.free_bytes < wanted_free:
        says = f"{where}, less than min_free ({human_bytes(wanted_free)}): nothing is kept"
        return Finding(subject, "warn", says, "free some space, or lower min_free")
    return Finding(subject, "ok", where)


def judge_descriptors(most: int) -> Finding:
    """Whether connections and open files will fit; `most` is the hard limit."""
    says = f"up to {most} open files and connections"
    fix = "`ulimit -Hn 65536` as root, or LimitNOFILE= in a systemd unit"
    if most < _LEAST_DESCRIPTORS:
        return Finding("descriptors", "fail", says, fix)
    return (
        Finding("descriptors", "ok", says)
        if most >= _GOOD_DESCRIPTORS
        else Finding("descriptors", "warn", says, fix)
    )


def judge_watches(most: int | None, trouble: str = "") -> Finding:
    """Whether changes behind the mount are noticed at once; `trouble` is a running node's word."""
    if most is None:
        says = "the kernel has no inotify: changes made behind the mount are seen late"
        return Finding("inotify", "warn", says, "use a kernel with CONFIG_INOTIFY_USER")
    says = f"{counted(most, 'folder')} can be watched by all programs of a user"
    fix = f"`sudo sysctl fs.inotify.max_user_watches={_GOOD_WATCHES * 8}`"
    if trouble:
        says = f"changes made behind the mount are noticed late: {trouble}"
        return Finding("inotify", "warn", says, f"a share folder on a local disk; {fix}")
    if most < _GOOD_WATCHES:
        return Finding("inotify", "warn", says, fix)
    return Finding("inotify", "ok", says)


def judge_running(running: Running) -> Finding:
    """Whether the node of this home is one that others know."""
    subject = "peers"
    if not running.there:
        return Finding(subject, "ok", "no node of this home is running, so there is nobody to ask")
    if running.error:
        fix = "see its log; `p2pfs umount DIR` detaches its mount all the same"
        return Finding(subject, "fail", running.error, fix)
    if running.mode == "starting":
        return Finding(subject, "ok", "the node is making its key, a few seconds once")
    return Finding(subject, *_company(running))


def _company(running: Running) -> tuple[Verdict, str, str]:
    """What is to be said of whom a node knows, and to be done."""
    if running.problem == UDP_BLOCKED:
        fix = "let UDP through the firewall; until then searches are slower, and nobody lists it"
        return "warn", running.problem, fix
    if running.problem:
        fix = "have the same `network` and secret as they, the right time, and let UDP through"
        return "warn", running.problem, fix
    if not running.contacts:
        says = f"the node at {running.address} is alone: nobody has answered yet"
        fix = "name a node with --peer HOST:PORT, and let UDP and TCP through the firewall"
        return "warn", says, fix
    says = f"{counted(running.contacts, 'node')} answered {running.address}"
    if running.wrong:
        wrong = f"{says}; {counted(running.wrong, 'wrong block')} came from peers"
        return "warn", wrong, "nothing wrong was kept; `p2pfs peers` names them"
    return "ok", says, ""


def judge_routers(running: Running) -> list[Finding]:
    """Whether the delegated routers of a running node have answered it."""
    return [_router(url, error) for url, error in running.routers]


def _router(url: str, error: str) -> Finding:
    if not error:
        return Finding("router", "ok", f"{url} has not failed")
    fix = f"see whether {url} is up, and is a router; or take it out of `delegated`"
    return Finding("router", "warn", error, fix)


def judge_libraries(versions: Mapping[str, str | None]) -> list[Finding]:
    """Whether everything that p2pfs is built on is there; None: it is not."""
    missing = [name for name, version in versions.items() if version is None]
    if missing:
        return [
            Finding("libraries", "fail", f"{name} is missing", "install p2pfs again")
            for name in missing
        ]
    known = ", ".join(f"{name} {version}" for name, version in versions.items())
    return [Finding("libraries", "ok", known)]
