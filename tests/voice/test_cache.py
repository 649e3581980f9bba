from dataclasses import dataclass

from kotatsu_voice.cache import ByteCache


@dataclass(frozen=True)
class Sound:
    size: int


def test_the_least_recently_used_goes_first() -> None:
    cache: ByteCache[Sound] = ByteCache(10)
    cache.put("a", Sound(4))
    cache.put("b", Sound(3))
    assert cache.get("a") == Sound(4)
    assert cache.put("c", Sound(4)) == [Sound(3)]
    assert (cache.get("b"), cache.get("a"), cache.get("c")) == (None, Sound(4), Sound(4))
    assert cache.size == 8


def test_replacing_a_value_counts_it_once() -> None:
    cache: ByteCache[Sound] = ByteCache(10)
    cache.put("a", Sound(6))
    cache.put("a", Sound(2))
    assert cache.size == 2


def test_what_is_larger_than_everything_is_not_kept_and_takes_no_place() -> None:
    cache: ByteCache[Sound] = ByteCache(3)
    cache.put("a", Sound(2))
    assert cache.put("b", Sound(4)) == []
    assert cache.get("a") == Sound(2)
    assert cache.get("b") is None


def test_what_is_taken_out_has_no_size() -> None:
    cache: ByteCache[Sound] = ByteCache(3)
    cache.put("a", Sound(2))
    cache.pop("a")
    cache.pop("a")
    assert (cache.get("a"), cache.size) == (None, 0)
