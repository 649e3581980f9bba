import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rows import each

from kotatsu_feed.domain.wardrobe import BACKGROUNDS, CLOTHES, UnknownItemError, Wardrobe

SEASONS = {"春": "spring", "夏": "summer", "秋": "autumn", "冬": "winter"}


@each("label, key", [("デフォルト", "normal"), *SEASONS.items()])
def test_clothes_have_japanese_labels_and_english_keys(label: str, key: str) -> None:
    assert CLOTHES.key(label) == key
    assert CLOTHES.key(key) == key


@each("label, key", [("デフォルト", "spring"), ("default", "spring"), *SEASONS.items()])
def test_the_default_background_is_spring(label: str, key: str) -> None:
    assert BACKGROUNDS.key(label) == key
    assert BACKGROUNDS.key(key) == key


def test_a_label_may_come_decomposed() -> None:
    assert CLOTHES.key(unicodedata.normalize("NFD", "デフォルト")) == "normal"


@each("item", ["", "Spring", "spring ", "default", "梅雨", "春夏", "\ud800"])
def test_anything_else_is_refused_and_the_choices_are_named(item: str) -> None:
    with pytest.raises(UnknownItemError, match=r"normal, spring, .*デフォルト、春、夏、秋、冬"):
        CLOTHES.key(item)


def test_the_sky_has_no_normal() -> None:
    with pytest.raises(UnknownItemError):
        BACKGROUNDS.key("normal")


@given(st.text(), st.sampled_from([CLOTHES, BACKGROUNDS]))
def test_whatever_is_accepted_is_one_of_the_keys(item: str, wardrobe: Wardrobe) -> None:
    try:
        assert wardrobe.key(item) in wardrobe.keys
    except UnknownItemError:
        assert item not in wardrobe.keys
