"""What facts mean: each that keeps a node from working is a failure with a fix."""

from __future__ import annotations

import errno
from dataclasses import replace

import pytest

from p2pfs.doctor.facts import Answer, Clock, Device, Folder, Fuse, Port, Running
from p2pfs.doctor.findings import Finding, report
from p2pfs.doctor.judging import (
    judge_clock,
    judge_descriptors,
    judge_folder,
    judge_fuse,
    judge_lan,
    judge_libraries,
    judge_mounts,
    judge_ports,
    judge_routers,
    judge_running,
    judge_watches,
)
from p2pfs.status import UDP_BLOCKED

NOW = 1_800_000_000.0
FUSE = Fuse(Device.OPENS, "/usr/bin/fusermount3", is_setuid=True, is_root=False)
FOLDER = Folder("data", "/home/a", writable=True, free_bytes=10 << 30, free_inodes=1 << 20)
ALIVE = Running(True, address="192.0.2.1:7117", mode="server", contacts=3)


def worst(findings: list[Finding]) -> Finding:
    order = ("ok", "warn", "fail")
    return max(findings, key=lambda finding: order.index(finding.verdict))


def is_bad(finding: Finding, verdict: str, fix: str) -> bool:
    assert finding.verdict == verdict
    return fix in finding.fix


def test_a_machine_where_all_is_well_has_nothing_to_fix() -> None:
    findings = [
        *judge_fuse(FUSE),
        *judge_mounts({"/home/a/p2p": Answer.ALIVE}),
        *judge_ports([Port("0.0.0.0:7117")], moves_on=True),
        *judge_libraries({"trio": "1"}),
        judge_clock(Clock(NOW, True)),
        judge_folder(FOLDER, 1 << 30),
        judge_descriptors(1 << 20),
        judge_watches(1 << 20),
        judge_running(ALIVE),
    ]
    assert [finding for finding in findings if finding.verdict != "ok" or finding.fix] == []
    assert report(findings).healthy


def test_one_failure_is_enough_to_be_ill_and_a_warning_is_not() -> None:
    warning, failure = Finding("a", "warn", "b", "c"), Finding("a", "fail", "b", "c")
    assert report([warning]).healthy
    assert not report([warning, failure]).healthy


@pytest.mark.parametrize(
    ("device", "fix"),
    [
        (Device.ABSENT, "modprobe fuse"),
        (Device.FORBIDDEN, "chmod 666 /dev/fuse"),
        (Device.UNKNOWN_TO_KERNEL, "modprobe fuse"),
    ],
)
def test_without_the_device_nothing_can_be_mounted(device: Device, fix: str) -> None:
    assert is_bad(worst(judge_fuse(replace(FUSE, device=device))), "fail", fix)


def test_a_user_needs_fusermount3_with_roots_rights_and_root_does_not() -> None:
    absent, weak = replace(FUSE, fusermount=None), replace(FUSE, is_setuid=False)
    assert is_bad(worst(judge_fuse(absent)), "fail", "apt install fuse3")
    assert is_bad(worst(judge_fuse(weak)), "fail", "chmod u+s /usr/bin/fusermount3")
    kept_weak = replace(FUSE, stays_weak=True)
    assert is_bad(worst(judge_fuse(kept_weak)), "fail", "no-new-privileges")
    for fuse in (absent, weak, kept_weak):
        assert worst(judge_fuse(replace(fuse, is_root=True))).verdict == "ok"


def test_a_library_that_cannot_be_loaded_is_named() -> None:
    finding = worst(judge_fuse(replace(FUSE, library_error="libfuse3.so.3: no such file")))
    assert "libfuse3.so.3" in finding.says
    assert is_bad(finding, "fail", "libfuse3")
    assert is_bad(worst(judge_libraries({"trio": "1", "httpx": None})), "fail", "install p2pfs")


def test_a_dead_mount_is_answered_with_the_command_that_ends_it() -> None:
    findings = judge_mounts({"/a": Answer.ALIVE, "/my p2p": Answer.DEAD})
    assert is_bad(worst(findings), "fail", "`fusermount3 -uz '/my p2p'`")
    assert is_bad(worst(judge_mounts({"/b": Answer.SILENT})), "warn", "fusermount3 -uz /b")
    assert worst(judge_mounts({})).verdict == "ok"


@pytest.mark.parametrize(
    ("error", "moves_on", "verdict", "fix"),
    [
        (errno.EADDRINUSE, False, "fail", "ss -lntup 'sport = :7117'"),
        (errno.EADDRINUSE, True, "warn", "--listen"),
        (errno.EACCES, False, "fail", "1024"),
        (errno.EADDRNOTAVAIL, False, "fail", "ip addr"),
        (errno.EAFNOSUPPORT, True, "ok", ""),
    ],
)
def test_a_port_that_is_not_to_be_had(error: int, moves_on: bool, verdict: str, fix: str) -> None:
    finding = worst(judge_ports([Port("[::]:7117", error)], moves_on=moves_on))
    assert is_bad(finding, verdict, fix)


def test_a_clock_that_is_wrong_or_alone() -> None:
    assert is_bad(judge_clock(Clock(0.0, None)), "fail", "timedatectl")
    assert is_bad(judge_clock(Clock(NOW, False)), "warn", "timedatectl")
    assert judge_clock(Clock(NOW, None)).verdict == "ok"
    assert judge_clock(Clock(NOW, True), behind=200.0).verdict == "ok"
    for behind, which in ((600.0, "10 min behind"), (-600.0, "10 min ahead")):
        finding = judge_clock(Clock(NOW, True), behind)
        assert is_bad(finding, "fail", "timedatectl")
        assert which in finding.says


def test_a_folder_must_take_writes() -> None:
    assert is_bad(judge_folder(replace(FOLDER, writable=False)), "fail", "chown $USER /home/a")
    assert is_bad(judge_folder(replace(FOLDER, free_bytes=1000)), "fail", "free some space")
    assert is_bad(judge_folder(replace(FOLDER, free_inodes=3)), "warn", "remove files")
    assert is_bad(judge_folder(FOLDER, 20 << 30), "warn", "min_free")
    assert judge_folder(replace(FOLDER, free_inodes=None)).verdict == "ok"


def test_limits_of_the_system() -> None:
    assert is_bad(judge_descriptors(100), "fail", "ulimit")
    assert is_bad(judge_descriptors(1024), "warn", "LimitNOFILE")
    assert is_bad(judge_watches(100), "warn", "max_user_watches")
    assert is_bad(judge_watches(1 << 20, "too many folders"), "warn", "max_user_watches")
    assert is_bad(judge_watches(None), "warn", "INOTIFY")


def test_whether_neighbours_can_be_found_is_told() -> None:
    assert "10.0.0.2" in judge_lan(["10.0.0.2"], wanted=True).says
    assert "--peer" in judge_lan([], wanted=True).says
    assert "lan_discovery" in judge_lan(["10.0.0.2"], wanted=False).says


def test_the_node_that_runs_is_asked_whom_it_knows() -> None:
    assert judge_running(Running(there=False)).verdict == "ok"
    assert is_bad(judge_running(Running(True, "no answer")), "fail", "p2pfs umount DIR")
    assert is_bad(judge_running(replace(ALIVE, contacts=0)), "warn", "--peer")
    assert is_bad(judge_running(replace(ALIVE, problem=UDP_BLOCKED)), "warn", "let UDP through")
    assert is_bad(judge_running(replace(ALIVE, wrong=2)), "warn", "p2pfs peers")
    assert judge_running(replace(ALIVE, contacts=0, mode="starting")).verdict == "ok"


def test_a_router_that_has_failed_is_named_with_its_reason() -> None:
    routers = (("https://a", ""), ("https://b", "https://b: it is busy"))
    sound, failing = judge_routers(replace(ALIVE, routers=routers))
    assert (sound.verdict, sound.fix) == ("ok", "")
    assert is_bad(failing, "warn", "delegated")
    assert failing.says == "https://b: it is busy"
    assert judge_routers(ALIVE) == []
