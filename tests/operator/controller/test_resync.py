from kotatsu_operator.controller.resync import BLIND_AFTER, MissedEvents


def after(*comparisons):
    found = MissedEvents()
    for uids in comparisons:
        found = found.after(set(uids))
    return found


def test_a_watch_that_shows_nothing_is_blind_after_its_time():
    assert not after(*["ab"] * (BLIND_AFTER - 1)).is_blind
    assert after(*["ab"] * BLIND_AFTER).is_blind


def test_new_pools_do_not_make_a_blind_watch_see():
    assert after(*["abcdefghij"[: 2 + n] for n in range(BLIND_AFTER)]).is_blind


def test_a_watch_that_shows_thousands_little_by_little_is_not_blind():
    pools = [str(n) for n in range(100)]
    assert not after(*[pools[n:] for n in range(99)]).is_blind


def test_once_it_has_shown_them_all_its_time_begins_anew():
    assert not after(*["a"] * (BLIND_AFTER - 1), "", "b").is_blind


def test_one_that_stops_half_way_is_blind_after_its_time():
    assert after("abc", "bc", *["c"] * BLIND_AFTER).is_blind
