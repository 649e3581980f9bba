from kotatsu_voice.cache import ByteCache


def test_the_least_recently_used_goes_first() -> None:
    cache = ByteCache(10)
    cache.put("a", b"1234")
    cache.put("b", b"1234")
    assert cache.get("a") == b"1234"
    cache.put("c", b"1234")
    assert (cache.get("b"), cache.get("a"), cache.get("c")) == (None, b"1234", b"1234")
    assert cache.size == 8


def test_replacing_a_value_counts_it_once() -> None:
    cache = ByteCache(10)
    cache.put("a", b"123456")
    cache.put("a", b"12")
    assert (cache.size, len(cache)) == (2, 1)


def test_what_is_larger_than_everything_is_not_kept() -> None:
    cache = ByteCache(3)
    cache.put("a", b"12")
    cache.put("b", b"1234")
    assert cache.get("a") == b"12"
    assert cache.get("b") is None


def test_a_cache_of_no_bytes_keeps_nothing() -> None:
    cache = ByteCache(0)
    cache.put("a", b"1")
    assert len(cache) == 0
