from p2pfs.library.hints import Hints


async def test_a_batch_is_many_files_that_nobody_has_looked_at_yet() -> None:
    hints = Hints(1.0, lambda _: None)
    for _ in range(1000):
        hints.changed(b"a log that grows all the time")
    assert not hints.batch_comes_in()
    for number in range(20):
        hints.changed(b"%d" % number)
    assert hints.batch_comes_in()
    for number in range(20):
        hints.looked_at(b"%d" % number)
    assert not hints.batch_comes_in()
