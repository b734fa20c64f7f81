"""Nodes as real processes on this machine, for the end-to-end tests, the benchmarks and the demo.

Each node has a home, a port and, if wanted, a mount of its own; only what was started here is ended
here, by its process id.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from p2pfs.addresses import Endpoint

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# A network of its own, so that keys cost nothing to make and nobody else is in it.
NETWORK = "p2pfs-testbed"
_START_SECONDS = 30
_STOP_SECONDS = 15
_POLL_SECONDS = 0.02


def wait_until(condition: Callable[[], Any], seconds: float, what: str) -> Any:  # noqa: ANN401 whatever it gives
    """What `condition` returns once that is true; raises TimeoutError naming what was awaited."""
    deadline = time.monotonic() + seconds
    while True:
        result = condition()
        if result:
            return result
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {seconds} s for {what}")
        time.sleep(_POLL_SECONDS)


@dataclass
class Node:
    """One node: `start` it, use `mount`, `share` and `status()`, `stop` or `kill` it."""

    home: Path
    mounted: bool = True
    ip: str = "127.0.0.1"
    netns: str | None = None
    environ: dict[str, str] = field(default_factory=dict)
    words: tuple[str, ...] = ()  # of the command line, beside those of its address and peers
    command: tuple[str, ...] = (sys.executable, "-m", "p2pfs")
    process: subprocess.Popen[bytes] | None = None
    port: int = 0

    @property
    def mount(self) -> Path:
        return self.home / "mnt"

    @property
    def share(self) -> Path:
        """The writable folder: in the mount, or the real one behind it."""
        return self.mount / "share" if self.mounted else self.home / "data" / "share"

    @property
    def log(self) -> Path:
        return self.home / "log"

    @property
    def address(self) -> str:
        return str(Endpoint(self.ip, self.port))

    def start(self, *peers: Node) -> Node:
        """Start the process and return when it is usable and has an address."""
        self.home.mkdir(parents=True, exist_ok=True)
        words = ["mount", str(self.mount), "-f"] if self.mounted else ["node"]
        words += ["--listen", self.address, "--network", NETWORK, *self.words]
        words += [word for peer in peers for word in ("--peer", peer.address)]
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [*self._into_netns(), *self.command, *words],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._environ(),
                start_new_session=True,
            )
        try:
            wait_until(self._usable, _START_SECONDS, f"the node in {self.home} to start")
        except TimeoutError:
            self.kill()
            raise
        self.port = int(self.status()["address"].rpartition(":")[2])
        return self

    def status(self) -> dict[str, Any]:
        """`p2pfs status --json`."""
        done = self.run("status", "--json")
        return dict(json.loads(done.stdout)) if done.returncode == 0 else {}

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Another p2pfs command in this node's home."""
        return subprocess.run(
            [*self._into_netns(), *self.command, *words],
            env=self._environ(),
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    def begin(self, *words: str) -> subprocess.Popen[bytes]:
        """As `run`, not waiting for its end."""
        return subprocess.Popen(
            [*self._into_netns(), *self.command, *words],
            env=self._environ(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def share_state(self, path: str) -> str:
        """The state of a file of its share folder, empty while it is not known."""
        states = [share["state"] for share in self.status()["shares"] if share["path"] == path]
        return states[0] if states else ""

    def wait_published(self, path: str, seconds: float = 20) -> str:
        """The content id of a file of its share folder, once others can find it."""
        wait_until(lambda: self.share_state(path) == "published", seconds, f"{path} published")
        return str(next(s["cid"] for s in self.status()["shares"] if s["path"] == path))

    def wait_contacts(self, count: int, seconds: float = 20) -> None:
        """Wait until it knows that many other nodes."""
        wait_until(
            lambda: self.status()["overlay"]["contacts"] >= count, seconds, f"{count} contacts"
        )

    def stop(self) -> int:
        """End it as a user would (SIGTERM); its exit code."""
        if self.process is None:
            return 0
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(_STOP_SECONDS)
        finally:
            self.kill()

    def kill(self) -> None:
        """End it at once (SIGKILL) and take its dead mount away."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None
        if self.mounted and str(self.mount) in Path("/proc/self/mounts").read_text():
            subprocess.run(["fusermount3", "-u", "-z", str(self.mount)], check=False)

    def _usable(self) -> bool:
        if self.process is None or self.process.poll() is not None:
            raise RuntimeError(f"the node ended:\n{self.log.read_text()[-4000:]}")
        socket = self.home / "run" / "control.sock"
        return socket.exists() and self.status().get("address") is not None

    def _environ(self) -> dict[str, str]:
        return {**os.environ, "P2PFS_HOME": str(self.home), **self.environ}

    def _into_netns(self) -> list[str]:
        return ["nsenter", f"--net=/run/netns/{self.netns}", "--"] if self.netns else []


@contextmanager
def testbed(folder: Path) -> Iterator[Callable[..., Node]]:
    """A maker of nodes below a folder; all are ended at the end, and their homes removed."""
    nodes: list[Node] = []

    def make(name: str, **options: Any) -> Node:  # noqa: ANN401 Node's own
        nodes.append(Node(folder / name, **options))
        return nodes[-1]

    try:
        yield make
    finally:
        for node in reversed(nodes):
            if node.process is not None:
                node.process.terminate()
        for node in reversed(nodes):
            _end(node)


def _end(node: Node) -> None:
    if node.process is not None:
        try:
            node.process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            print(f"testbed: {node.home} did not end, killed", file=sys.stderr)
    node.kill()
    shutil.rmtree(node.home, ignore_errors=True)
