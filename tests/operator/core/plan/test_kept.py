"""What is kept is limited by its size."""

from kotatsu_operator.core.plan.kept import Kept


def made(most=10):
    return Kept(most, lambda _, result: len(result))


def test_what_was_not_used_for_the_longest_time_goes_first():
    kept = made()
    for key in "abc":
        kept.put(key, "xxx")
    assert kept.get("a") == "xxx"
    kept.put("d", "xxx")
    assert [kept.get(key) for key in "abcd"] == ["xxx", None, "xxx", "xxx"]
    assert kept.size == 9


def test_a_result_takes_the_place_of_the_one_before():
    kept = made()
    kept.put("a", "xxxxxxxx")
    kept.put("a", "x")
    assert (kept.get("a"), kept.size) == ("x", 1)


def test_the_latest_result_is_kept_however_large_it_is():
    kept = made()
    kept.put("a", "x")
    kept.put("b", "x" * 100)
    assert (kept.get("a"), kept.get("b")) == (None, "x" * 100)
    kept.put("c", "x")
    assert (kept.get("b"), kept.size) == (None, 1)
