from __future__ import annotations

from p2pfs.addresses import Endpoint
from p2pfs.dht.kad.tokens import EPOCH_SECONDS, TOKEN_LIFE_SECONDS, Tokens

HERE, THERE = Endpoint("192.0.2.1", 7117), Endpoint("192.0.2.1", 7118)


def test_a_token_holds_for_its_own_address_alone() -> None:
    tokens = Tokens(b"secret")
    token = tokens.issue(HERE, 1000)
    assert tokens.check(token, HERE, 1000)[1]
    assert not tokens.check(token, THERE, 1000)[1]
    assert not tokens.check(None, HERE, 1000)[1]
    assert not Tokens(b"another").check(token, HERE, 1000)[1]


def test_a_token_holds_through_the_next_epoch_and_no_longer() -> None:
    tokens = Tokens(b"secret")
    token = tokens.issue(HERE, 0)
    assert tokens.check(token, HERE, 2 * EPOCH_SECONDS - 1)[1]
    assert not tokens.check(token, HERE, 2 * EPOCH_SECONDS)[1]


def test_an_asker_lets_a_token_go_while_it_still_holds() -> None:
    tokens = Tokens(b"secret")
    issued = EPOCH_SECONDS - 1
    assert tokens.check(tokens.issue(HERE, issued), HERE, issued + TOKEN_LIFE_SECONDS)[1]
