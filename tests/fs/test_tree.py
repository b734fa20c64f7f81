import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from p2pfs.errors import NotFoundError
from p2pfs.fs.tree import (
    MAX_NAME_BYTES,
    ROOT_INODE,
    Node,
    Place,
    Shared,
    TagFolder,
    Tree,
    blocks,
    encoded_name,
    holdable,
)


def looked_up(tree: Tree, parent: Node, name: bytes, number: int, *, directory: bool) -> Node:
    node = tree.at(Shared(1, number))
    tree.link(node, parent, name, directory=directory)
    tree.remember(node)
    return node


@pytest.fixture
def tree() -> Tree:
    return Tree()


@pytest.fixture
def top(tree: Tree) -> Node:
    top = tree.at(Shared(1, 1))
    tree.remember(top)
    return top


def test_the_root_is_always_there(tree: Tree) -> None:
    tree.forget(ROOT_INODE, 1)
    assert tree.node(ROOT_INODE).thing is Place.ROOT


def test_a_thing_keeps_its_inode_until_all_lookups_are_given_back(tree: Tree) -> None:
    node = tree.at(TagFolder("jazz"))
    tree.remember(node)
    tree.remember(node)
    tree.forget(node.inode, 1)
    assert tree.at(TagFolder("jazz")) is node
    tree.forget(node.inode, 1)
    with pytest.raises(NotFoundError):
        tree.node(node.inode)
    assert tree.at(TagFolder("jazz")).inode > node.inode


def test_forgetting_what_is_not_known_does_nothing(tree: Tree) -> None:
    tree.forget(12345, 3)
    assert len(tree) == 1


def test_a_renamed_folder_takes_everything_below_it_along(tree: Tree, top: Node) -> None:
    folder = looked_up(tree, top, b"old", 2, directory=True)
    song = looked_up(tree, folder, b"song", 3, directory=False)
    tree.move((top, b"old"), (top, b"new"))
    assert tree.paths(song, top) == [(b"new", b"song")]


def test_a_hard_link_has_two_paths_and_a_folder_has_one(tree: Tree, top: Node) -> None:
    folder = looked_up(tree, top, b"a", 2, directory=True)
    file = looked_up(tree, top, b"one", 3, directory=False)
    tree.link(file, folder, b"two", directory=False)
    assert tree.paths(file, top) == [(b"one",), (b"a", b"two")]
    tree.link(folder, top, b"b", directory=True)
    assert tree.paths(folder, top) == [(b"b",)]


def test_another_file_under_a_known_name_takes_the_name_over(tree: Tree, top: Node) -> None:
    before = looked_up(tree, top, b"notes", 2, directory=False)
    after = looked_up(tree, top, b"notes", 3, directory=False)
    assert tree.paths(before, top) == []
    assert tree.paths(after, top) == [(b"notes",)]


def test_a_parent_outlives_the_kernels_interest_while_a_child_needs_it(
    tree: Tree, top: Node
) -> None:
    folder = looked_up(tree, top, b"folder", 2, directory=True)
    file = looked_up(tree, folder, b"file", 3, directory=False)
    tree.forget(folder.inode, 1)
    assert tree.paths(file, top) == [(b"folder", b"file")]
    tree.forget(file.inode, 1)
    assert len(tree) == 2


def test_exchanged_entries_change_places(tree: Tree, top: Node) -> None:
    one = looked_up(tree, top, b"one", 2, directory=False)
    two = looked_up(tree, top, b"two", 3, directory=False)
    tree.exchange((top, b"one"), (top, b"two"))
    assert tree.paths(one, top) == [(b"two",)]
    assert tree.paths(two, top) == [(b"one",)]


def test_a_removed_files_identity_may_come_back_as_another_inode(tree: Tree, top: Node) -> None:
    before = looked_up(tree, top, b"a", 2, directory=False)
    tree.unlink(top, b"a")
    tree.retire(before)
    after = looked_up(tree, top, b"a", 2, directory=False)
    assert after.inode != before.inode
    assert tree.node(before.inode) is before
    tree.forget(before.inode, 1)
    assert tree.at(Shared(1, 2)) is after


def test_folders_in_a_circle_have_no_path(tree: Tree, top: Node) -> None:
    one = looked_up(tree, top, b"one", 2, directory=True)
    two = looked_up(tree, one, b"two", 3, directory=True)
    tree.link(one, two, b"one", directory=True)  # what two renames behind the mount can look like
    assert tree.paths(two, top) == []


def test_a_file_that_is_not_empty_has_a_block_and_never_more_than_its_size() -> None:
    assert blocks(0, 0) == 0
    assert blocks(1, 0) == 1
    assert blocks(1000, 513) == 2
    assert blocks(1000, 99999) == 2


@given(st.text())
def test_a_name_that_is_listed_is_one_that_the_kernel_takes(name: str) -> None:
    encoded = encoded_name(name)
    if encoded is not None:
        assert holdable(encoded)
        assert encoded.decode() == name
        assert len(encoded) <= MAX_NAME_BYTES


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a\0b", "\ud800", "x" * 256])
def test_names_that_would_hide_a_whole_listing_are_left_out(name: str) -> None:
    assert encoded_name(name) is None


class KernelModel(RuleBasedStateMachine):
    """Random lookups, renames, removals and forgets: names stay one-to-one, nothing leaks."""

    def __init__(self) -> None:
        super().__init__()
        self.tree = Tree()
        self.top = self.tree.at(Shared(1, 1))
        self.tree.remember(self.top)
        self.lookups: dict[int, int] = {}

    def folder(self, number: int) -> Node:
        known = [self.tree.node(i) for i in self.lookups if self.is_folder(self.tree.node(i))]
        return [self.top, *known][number % (len(known) + 1)]

    @staticmethod
    def is_folder(node: Node) -> bool:
        return isinstance(node.thing, Shared) and node.thing.number < 5

    @rule(at=st.integers(0, 9), name=st.sampled_from([b"a", b"b", b"c"]), number=st.integers(2, 9))
    def look_up(self, at: int, name: bytes, number: int) -> None:
        parent = self.folder(at)
        node = looked_up(self.tree, parent, name, number, directory=number < 5)
        self.lookups[node.inode] = self.lookups.get(node.inode, 0) + 1

    @rule(
        at=st.integers(0, 9),
        to=st.integers(0, 9),
        old=st.sampled_from([b"a", b"b", b"c"]),
        new=st.sampled_from([b"a", b"b", b"c"]),
    )
    def rename(self, at: int, to: int, old: bytes, new: bytes) -> None:
        self.tree.move((self.folder(at), old), (self.folder(to), new))

    @rule(at=st.integers(0, 9), name=st.sampled_from([b"a", b"b", b"c"]))
    def remove(self, at: int, name: bytes) -> None:
        self.tree.unlink(self.folder(at), name)

    @rule(pick=st.integers(0, 99))
    def forget(self, pick: int) -> None:
        if self.lookups:
            inode = sorted(self.lookups)[pick % len(self.lookups)]
            self.tree.forget(inode, self.lookups.pop(inode))

    @invariant()
    def what_the_kernel_holds_is_there(self) -> None:
        for inode in self.lookups:
            assert self.tree.node(inode).inode == inode

    @invariant()
    def children_are_counted(self) -> None:
        for node in self.tree._nodes.values():
            named = [n for n in self.tree._nodes.values() for p, _ in n.names if p is node]
            assert node.children == len(named)

    def teardown(self) -> None:
        for inode, count in self.lookups.items():
            self.tree.forget(inode, count)
        # Circles of folders, which only changes behind the mount make, may hold each other.
        assert all(node.children or node.inode <= 2 for node in self.tree._nodes.values())


TestKernelModel = KernelModel.TestCase
TestKernelModel.settings = settings(max_examples=60, stateful_step_count=30)
