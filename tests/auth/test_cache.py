from hypothesis import given
from hypothesis import strategies as st

from kotatsu_auth.cache import TokenCache, Verified
from kotatsu_common.identity import Identity

BIRD = Identity(7, "bird", "https://avatars.example/7")
CAT = Identity(8, "cat", "https://avatars.example/8")


def make(size: int = 10) -> TokenCache:
    return TokenCache(ttl=60, refused_ttl=10, stale=3600, size=size)


def test_postponing_does_not_lengthen_the_hour() -> None:
    cache = make()
    key = cache.key("abc")
    entry = cache.verify(key, BIRD, None, now=0)
    cache.postpone(key, entry, until=5000)
    fresh = cache.fresh(key, now=3600)
    assert isinstance(fresh, Verified)
    assert fresh.is_stale
    assert cache.fresh(key, now=3601) is None


def test_a_refusal_ends_a_verification_and_the_other_way_round() -> None:
    cache = make()
    key = cache.key("abc")
    cache.verify(key, BIRD, None, now=0)
    cache.refuse(key, "unknown", now=1)
    assert cache.known(key, now=1) is None
    cache.verify(key, BIRD, None, now=2)
    assert isinstance(cache.fresh(key, now=2), Verified)


def test_the_token_used_longest_ago_is_forgotten_first() -> None:
    cache = make(size=2)
    a, b, c = (cache.key(t) for t in "abc")
    cache.verify(a, BIRD, None, now=0)
    cache.verify(b, CAT, None, now=0)
    cache.fresh(a, now=1)
    cache.verify(c, CAT, None, now=2)
    assert cache.known(a, now=3) is not None
    assert cache.known(b, now=3) is None


def test_a_flood_of_refused_tokens_does_not_push_out_a_verified_one() -> None:
    cache = make(size=2)
    good = cache.key("good")
    cache.verify(good, BIRD, None, now=0)
    for n in range(1000):
        cache.refuse(cache.key(f"made up {n}"), "unknown", now=1)
    assert cache.known(good, now=2) is not None


def test_a_token_has_another_key_in_every_process() -> None:
    assert make().key("abc") != make().key("abc")


def test_the_token_is_nowhere_in_the_cache() -> None:
    cache = make()
    cache.verify(cache.key("canary"), BIRD, None, now=0)
    everything = repr([vars(part) for part in (cache, cache._verified, cache._refused)])
    assert "canary" not in everything


steps = st.lists(st.tuples(st.sampled_from("vr"), st.integers(0, 30)), max_size=100)


@given(steps, st.integers(1, 5))
def test_it_never_holds_more_than_its_size(steps: list[tuple[str, int]], size: int) -> None:
    cache = make(size)
    for step, n in steps:
        key = cache.key(str(n))
        if step == "v":
            cache.verify(key, BIRD, None, now=0)
        else:
            cache.refuse(key, "unknown", now=0)
        assert len(cache) <= size
        assert len(cache._refused) <= size
