"""Names and patterns."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventlog import MAX_TYPE_LENGTH, Topics, is_pattern, is_type

WORD = st.text("abc_09", min_size=1, max_size=4)
TYPE = st.lists(WORD, min_size=1, max_size=4).map(".".join)


@pytest.mark.parametrize("name", ["a", "system.status", "a_1.b.c", "x" * MAX_TYPE_LENGTH])
def test_type_with_dotted_words_is_valid(name: str) -> None:
    assert is_type(name)
    assert is_pattern(name)


@pytest.mark.parametrize("name", ["", ".", "a.", ".a", "a..b", "A", "a b", "a-b", "a\n", "ä", "*", "a.*", "x" * 129])
def test_type_with_anything_else_is_refused(name: str) -> None:
    assert not is_type(name)


@pytest.mark.parametrize("text", ["*", "agent.*", "a.b.*"])
def test_pattern_with_trailing_star_is_valid(text: str) -> None:
    assert is_pattern(text)


@pytest.mark.parametrize("text", ["", "**", "a*", "*.a", "a.*.b", "a.**", ".*", "a.*.*"])
def test_pattern_with_star_elsewhere_is_refused(text: str) -> None:
    assert not is_pattern(text)
    with pytest.raises(ValueError, match="not an event type or pattern"):
        Topics([text])


def test_pattern_matches_what_lies_below_and_not_its_own_stem() -> None:
    """`agent.*` is agent.status and agent.task.done, but neither agent nor agents.status."""
    topics = Topics(["agent.*"])
    assert topics.matches("agent.status")
    assert topics.matches("agent.task.done")
    assert not topics.matches("agent")
    assert not topics.matches("agents.status")


@given(st.lists(TYPE, max_size=5), TYPE)
def test_topics_match_by_the_documented_rule(patterns: list[str], name: str) -> None:
    """A type matches if it is named or lies below a named stem; asking twice gives the same answer."""
    topics = Topics([*patterns, *(f"{pattern}.*" for pattern in patterns[:2])])
    wanted = name in patterns or any(name.startswith(f"{stem}.") for stem in patterns[:2])
    assert topics.matches(name) is wanted
    assert topics.matches(name) is wanted


def test_topics_with_the_same_patterns_are_equal() -> None:
    assert Topics(["a", "b.*"]) == Topics(["b.*", "a", "a"])
    assert hash(Topics(["a", "b.*"])) == hash(Topics(["b.*", "a"]))


@given(st.lists(TYPE | st.just("*"), max_size=3), st.lists(TYPE | st.just("*"), max_size=3), TYPE)
def test_topics_within_others_match_what_both_match(patterns: list[str], bound: list[str], name: str) -> None:
    """What a client may see bounds what it asks for, whatever the patterns."""
    within = Topics(bound)
    assert Topics(patterns, within=within).matches(name) is (Topics(patterns).matches(name) and within.matches(name))


def test_topics_within_different_bounds_differ() -> None:
    """They must not share a batch."""
    assert Topics(["*"], within=Topics(["a"])) != Topics(["*"], within=Topics(["b"]))
    assert Topics(["*"], within=Topics(["a"])) != Topics(["*"])
    assert Topics(["*"], within=Topics(["a"])) == Topics(["*"], within=Topics(["a"]))
