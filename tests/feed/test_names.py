import pytest
from hypothesis import given
from hypothesis import strategies as st
from rows import each

from kotatsu_feed.domain.names import MAX_LENGTH, BadNameError, clean_name


@each(
    "name",
    [
        "DASH",
        "ダッシュ",
        "🐦",
        "👨‍👩‍👧",
        "🏴‍☠️",
        "x" * 50,
        "สวัสดีน้ำผึ้ง",
        "e\u0332\u0333\u0324\u0325",
        "ㅤㅤ.",
        "'; DROP TABLE pets; --",
    ],
)
def test_people_call_their_pets_all_kinds_of_names(name: str) -> None:
    assert clean_name(name) == name


def test_a_name_is_trimmed_and_composed() -> None:
    assert clean_name("  か\u3099  ") == "が"


@each(
    "name",
    [
        "",
        "\u200d",
        "\u0301",
        "a\x00b",
        "a\nb",
        "\x1b[31m",
        "\ud800",
        "\u202eHSAD",
        "\ue000",
        "\u3164",
        "\u115f\u1160\uffa0",
        "Z" + "\u0332" * 5,
        "Zalgo" + "\u0489" * 45,
        "x" * 51,
    ],
)
def test_some_can_not_be_shown_or_stored(name: str) -> None:
    with pytest.raises(BadNameError):
        clean_name(name)


@given(st.text(st.characters(), max_size=300))
def test_an_accepted_name_fits_and_stays_as_it_is(name: str) -> None:
    try:
        cleaned = clean_name(name)
    except BadNameError:
        return
    assert 1 <= len(cleaned) <= MAX_LENGTH
    assert "\x00" not in cleaned
    assert cleaned.encode()
    assert clean_name(cleaned) == cleaned
