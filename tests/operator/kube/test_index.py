"""A dict that finds its values by what they have in common."""

import pytest

from kotatsu_operator.kube.index import Indexed


@pytest.fixture
def words():
    made = Indexed(lambda word: set(word))
    made["a"] = "cat"
    made["b"] = "act"
    made["c"] = "dog"
    return made


def test_values_are_found_by_each_of_their_terms(words):
    assert (words.having("c"), words.having("g"), words.having("x")) == (["a", "b"], ["c"], [])
    assert (words.count("t"), words.count("x")) == (2, 0)


def test_a_value_that_is_replaced_is_found_by_its_new_terms_only(words):
    words["a"] = "tar"
    assert (words.having("c"), words.having("t"), words.having("r")) == (["b"], ["a", "b"], ["a"])


@pytest.mark.parametrize("how", ["del", "pop", "clear"])
def test_a_value_that_is_gone_is_not_found(words, how):
    if how == "del":
        del words["a"]
    elif how == "pop":
        assert words.pop("a", None) == "cat"
        assert words.pop("never", None) is None
    else:
        words.clear()
    assert "a" not in words.having("c")
    assert (words.count("t"), len(words)) == ((0, 0) if how == "clear" else (1, 2))


def test_nothing_is_kept_of_terms_that_nobody_has(words):
    words.clear()
    assert words._keys == {}
