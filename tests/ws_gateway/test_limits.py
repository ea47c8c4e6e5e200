"""How much is too much, from both sides."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ws_gateway.limits import Admission, Full, TokenBucket


def test_burst_is_allowed_at_once_and_one_more_is_not() -> None:
    bucket = TokenBucket(rate_per_s=20, burst=100, now_s=0)
    assert [bucket.take(0) for _ in range(101)] == [True] * 100 + [False]


def test_rate_is_allowed_for_ever() -> None:
    bucket = TokenBucket(rate_per_s=16, burst=100, now_s=0)
    for _ in range(100):
        bucket.take(0)
    assert all(bucket.take(number / 16) for number in range(1, 1000))
    assert not bucket.take(999 / 16)


def test_quiet_time_gives_back_no_more_than_the_burst() -> None:
    bucket = TokenBucket(rate_per_s=20, burst=3, now_s=0)
    assert [bucket.take(1000) for _ in range(4)] == [True, True, True, False]


def test_refused_takes_cost_nothing() -> None:
    bucket = TokenBucket(rate_per_s=1, burst=1, now_s=0)
    assert bucket.take(0)
    assert not any(bucket.take(0.5) for _ in range(10))
    assert bucket.take(1.0)


@given(st.lists(st.floats(0, 0.5), max_size=200))
def test_never_more_than_the_burst_and_the_rate(pauses_s: list[float]) -> None:
    bucket = TokenBucket(rate_per_s=5, burst=10, now_s=0)
    now_s, taken = 0.0, 0
    for pause_s in pauses_s:
        now_s += pause_s
        taken += bucket.take(now_s)
        assert taken <= 10 + 5 * now_s + 1e-6


def test_client_over_the_number_in_all_is_refused() -> None:
    admission = Admission(max_clients=2, max_clients_per_address=2)
    assert [admission.enter(address) for address in "abc"] == [None, None, Full.EVERYWHERE]
    assert admission.refused == 1
    admission.leave("a")
    assert admission.enter("c") is None


def test_client_over_the_number_of_its_address_is_refused_and_others_are_not() -> None:
    admission = Admission(max_clients=10, max_clients_per_address=2)
    assert [admission.enter("a") for _ in range(3)] == [None, None, Full.ADDRESS]
    assert admission.enter("b") is None
    admission.leave("a")
    assert admission.enter("a") is None
    assert admission.enter("a") is Full.ADDRESS


def test_refused_client_takes_no_place() -> None:
    admission = Admission(max_clients=1, max_clients_per_address=1)
    admission.enter("a")
    for _ in range(5):
        admission.enter("b")
    admission.leave("a")
    assert admission.enter("b") is None
    assert admission.refused == 5


def test_client_without_room_of_another_kind_is_refused_as_if_all_places_were_taken() -> None:
    admission = Admission(max_clients=2, max_clients_per_address=2)
    assert admission.enter("a", is_narrow=True) is Full.EVERYWHERE
    assert [admission.enter("a"), admission.enter("b")] == [None, None]


@given(st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), max_size=100))
def test_places_are_counted_right_whoever_comes_and_goes(moves: list[tuple[str, bool]]) -> None:
    admission = Admission(max_clients=4, max_clients_per_address=2)
    here: list[str] = []
    for address, comes in moves:
        if comes:
            full = admission.enter(address)
            if len(here) == 4:
                assert full is Full.EVERYWHERE
            elif here.count(address) == 2:
                assert full is Full.ADDRESS
            else:
                assert full is None
                here.append(address)
        elif address in here:
            here.remove(address)
            admission.leave(address)


@pytest.mark.parametrize("address", ["", "2001:db8::1"])
def test_any_text_is_an_address(address: str) -> None:
    """A peer without one shares its places with the others that have none."""
    admission = Admission(max_clients=10, max_clients_per_address=1)
    assert [admission.enter(address), admission.enter(address)] == [None, Full.ADDRESS]
