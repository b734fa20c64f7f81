"""The text of `README.txt` at the root of the mount."""

from __future__ import annotations

README = b"""\
This is p2pfs: files that nodes like this one publish, as a directory tree.
There is no server; who has what is known by the nodes together.

  ls  by-tag/music                  what the network has under a tag
  cat by-tag/music/song.mp3         only what is read is fetched, from several peers at once
  ls  "by-tag/artist|Pearl Jam"     any tag can be opened, in any spelling; also artist:pearl-jam
  ls  by-tag/music+2026             what has both tags
  ls  search/nutcracker             files whose name or title holds the word; search/blue+night
                                    both words, "search/night+artist|Pearl Jam" the tag as well
  cat by-hash/<content id>          any file or directory by its content id (an IPFS CID)
  cp  song.mp3 share/               publishes it: everything in share/ can be read by everybody
  cp  talk.mp4 share/talks/2026/    ... under the tags "talks" and "2026"
  rm  share/song.mp3                withdraws it
  cat .p2pfs/status                 how this node is doing

  getfattr -n user.p2pfs.cid FILE   also: tags publisher crc32 mime published providers cached
                                    state last_error

A listing is empty when nobody has published under that tag, when no peer is known yet (see
`p2pfs status`; name one with `p2pfs mount --peer HOST:PORT`), or when the network has not
answered yet: look again after some seconds.

by-tag/ itself shows only the tags that this node has met or looked up lately. A listing holds at
most 10,000 files (max_entries in the settings); to reach the rest, ask for a second tag as well
(by-tag/music+2026). search/ itself shows what was searched for since the node started.

Everything but share/ is read-only. A file in share/ is published when it has been left alone for
a second or so; user.p2pfs.state says how far it is. Names that begin with a dot are not published.
"""
