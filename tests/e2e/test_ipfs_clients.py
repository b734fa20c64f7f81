"""What clients that nobody here wrote get from real nodes over HTTPS."""

from __future__ import annotations

import os

import httpx

from p2pfs.content.car import CarReader
from p2pfs.content.cid import block_matches
from tests.e2e.conftest import MakeNode
from tools.testbed import Node, wait_until


def fetch_car(client: httpx.Client, node: Node, target: str) -> dict[str, bytes]:
    """The blocks of a CAR, each right; empty if there is none."""
    answer = client.get(f"https://{node.address}/ipfs/{target}", params={"format": "car"})
    if answer.status_code != 200:
        return {}
    assert len(answer.content) == int(answer.headers["content-length"])
    reader = CarReader()
    blocks = list(reader.feed(answer.content))
    reader.close()
    assert all(block_matches(cid, block) for cid, block in blocks)
    return {str(cid): bytes(block) for cid, block in blocks}


def test_a_folder_comes_whole_and_by_path_and_its_holder_is_named(make_node: MakeNode) -> None:
    holder = make_node("A", mounted=False).start()
    asker = make_node("B", mounted=False).start(holder)
    album = holder.share / "album"
    album.mkdir()
    (album / "song.bin").write_bytes(os.urandom(600_000))
    (album / "note.txt").write_bytes(b"a note")
    song = holder.wait_published("album/song.bin")
    [root] = [w for w in holder.run("cid", str(album)).stdout.split() if w.startswith("baf")][:1]
    with httpx.Client(verify=False, trust_env=False) as client:  # noqa: S501 the key is not the point
        wait_until(lambda: fetch_car(client, holder, root) != {}, 20, "the folder to be served")
        whole = fetch_car(client, holder, root)
        by_path = fetch_car(client, holder, f"{root}/song.bin")
        assert list(by_path)[:2] == [root, song]
        assert whole.keys() - by_path.keys() == {key for key in whole if whole[key] == b"a note"}

        def holders() -> dict[str, list[str]]:
            answer = client.get(f"https://{asker.address}/routing/v1/providers/{song}")
            return {each["ID"]: each["Addrs"] for each in answer.json()["Providers"]}

        multiaddr = f"/ip4/127.0.0.1/tcp/{holder.port}/tls/http"
        wait_until(lambda: holders() == {peer_id(holder): [multiaddr]}, 20, "the holder be found")


def peer_id(node: Node) -> str:
    return str(node.status()["peer_id"])
