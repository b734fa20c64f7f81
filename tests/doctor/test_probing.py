"""The probes on the machine that runs the tests: they agree with what is done to it."""

from __future__ import annotations

import errno
import os
import socket
import time
from pathlib import Path

from p2pfs.addresses import Endpoint
from p2pfs.doctor.probing import (
    probe_clock,
    probe_descriptors,
    probe_folder,
    probe_fuse,
    probe_libraries,
    probe_mounts,
    probe_ports,
    probe_watches,
)


def test_a_port_that_is_taken_is_found_so_for_either_protocol() -> None:
    for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
        with socket.socket(socket.AF_INET, kind) as taken:
            taken.bind(("127.0.0.1", 0))
            if kind == socket.SOCK_STREAM:
                taken.listen()
            at = Endpoint(*taken.getsockname())
            assert [port.error for port in probe_ports([at])] == [errno.EADDRINUSE]
        assert [port.error for port in probe_ports([at])] == [0]


def test_an_address_of_another_machine_cannot_be_listened_on() -> None:
    (port,) = probe_ports([Endpoint("192.0.2.7", 7117)])
    assert port.error == errno.EADDRNOTAVAIL


def test_a_folder_that_is_not_there_yet_is_judged_by_the_one_above(tmp_path: Path) -> None:
    folder = probe_folder("cache", tmp_path / "a" / "b")
    assert (folder.path, folder.writable) == (str(tmp_path), True)
    assert folder.free_bytes == os.statvfs(tmp_path).f_bavail * os.statvfs(tmp_path).f_frsize


def test_the_rest_is_found_out_without_harm() -> None:
    assert probe_fuse().is_root == (os.geteuid() == 0)
    assert abs(probe_clock().now - time.time()) < 60
    assert probe_descriptors() > 0
    assert (probe_watches() or 1) > 0
    assert all(isinstance(path, str) for path in probe_mounts())
    found = probe_libraries(["trio", "no-such-package"])
    assert found["trio"]
    assert found["no-such-package"] is None
