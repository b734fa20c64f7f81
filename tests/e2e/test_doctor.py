"""`p2pfs doctor` on a machine with a node that lives, and with one that died."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from p2pfs.doctor.findings import Finding, Report
from tests.e2e.conftest import MakeNode
from tools.testbed import Node

pytestmark = pytest.mark.kernel


def diagnosis(node: Node) -> tuple[int, Report]:
    done = node.run("doctor", "--json")
    assert done.stderr == ""
    return done.returncode, msgspec.json.decode(done.stdout, type=Report)


def mount_of(node: Node, found: Report) -> Finding:
    return next(f for f in found.findings if f.subject == "mounts" and str(node.mount) in f.says)


def test_a_dead_mount_is_found_and_the_named_command_ends_it(make_node: MakeNode) -> None:
    node = make_node("A").start()
    _, found = diagnosis(node)
    assert mount_of(node, found).verdict == "ok"
    assert [f.verdict for f in found.findings if f.subject == "peers"] == ["warn"]  # alone
    assert node.process is not None
    node.process.kill()
    node.process.wait()
    code, found = diagnosis(node)
    dead = mount_of(node, found)
    assert (code, found.healthy, dead.verdict) == (1, False, "fail")
    subprocess.run(dead.fix.strip("`"), shell=True, check=True)  # noqa: S602 as a user would
    _, found = diagnosis(node)
    assert not any(str(node.mount) in finding.says for finding in found.findings)


def test_a_slip_in_the_settings_does_not_keep_the_doctor_from_the_rest(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text("cache_size = 'much'\n")
    done = subprocess.run(
        [sys.executable, "-m", "p2pfs", "doctor"],
        env={**os.environ, "P2PFS_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    lines = {line.split("\t")[1]: line.split("\t") for line in done.stdout.splitlines()}
    assert lines["settings"][0] == "fail"
    assert "cache_size" in lines["settings"][2]
    assert str(tmp_path / "config.toml") in lines["settings"][3]
    assert "clock" in lines
