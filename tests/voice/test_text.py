import pytest
from hypothesis import given
from hypothesis import strategies as st
from rows import each

from kotatsu_voice.reading import kanji
from kotatsu_voice.text import (
    HARD_PIECE_CHARACTERS,
    PIECE_CHARACTERS,
    TextError,
    pieces,
    prepare,
    speakable,
)

LIMIT = 500


def refusal(text: str | None) -> str:
    with pytest.raises(TextError) as caught:
        prepare(text, LIMIT)
    return caught.value.title


@each("text", [None, "", " ", "\n\t", "\u3000"])
def test_nothing_is_not_provided(text: str | None) -> None:
    assert refusal(text) == "Text not provided"


@each("text", ["😀", "🐦‍⬛🎉", "!?", "。。。", "…", "ー", "～～", "♪", "\u200b", "( )"])
def test_emoji_and_punctuation_alone_are_nothing_to_speak(text: str) -> None:
    assert refusal(text) == "Nothing to speak"


@each("text", ["\ud800", "あ\udfffい", "caf\ufffd"])
def test_broken_characters_are_not_readable(text: str) -> None:
    assert refusal(text) == "Text is not readable"


def test_twenty_thousand_characters_are_too_long_even_if_they_repeat() -> None:
    assert refusal("あ" * 20_000) == "Text is too long"
    assert refusal("😀" * 20_000) == "Text is too long"


def test_the_limit_counts_characters_written_out() -> None:
    assert prepare("あい" * 250, LIMIT)
    assert refusal("㍿" * 126) == "Text is too long"  # each becomes 株式会社


@each(
    "text, spoken",
    [
        ("ハハハハハハハハハハ", "ハハハ"),
        ("あ" * 500, "あああ"),
        ("きゃーーーーーーー", "きゃーーー"),
        ("ぴよぴよぴよぴよぴよ", "ぴよぴよぴよ"),
        ("は、は、は、は、は、", "は、は、は、"),
        ("ﾊﾊﾊﾊﾊﾊ", "ハハハ"),
        ("wwwwww", "www"),
        ("すごい！！！！！！", "すごい！！！"),
        ("母母母母母母母", "母母母"),
    ],
)
def test_what_repeats_is_heard_three_times(text: str, spoken: str) -> None:
    assert prepare(text, LIMIT) == spoken


@pytest.mark.parametrize("text", ["1000000円", "すもももももももものうち"])
def test_digits_and_real_words_stay(text: str) -> None:
    assert prepare(text, LIMIT).startswith(text[:4])


@each(
    "text, spoken",
    [
        ("元気？😀うん!", "元気？うん！"),
        ("気温は25℃", "気温は25度"),
        ("10〜20分", "10から20分"),
        ("ええ…まあ", "ええ、まあ"),
        ("ええ...まあ", "ええ、まあ"),
        ("①番", "1番"),
        ("がき\u3099", "がぎ"),
        ("一行目\n二行目", "一行目。二行目"),
        ("a\x00b\x1bc", "a b c"),
        ("  広い   空 ", "広い 空"),
        ("1️⃣ばん", "1ばん"),
    ],
)
def test_what_has_no_sound_goes_and_the_rest_is_written_out(text: str, spoken: str) -> None:
    assert prepare(text, LIMIT) == spoken


def texts(text: str) -> list[str]:
    return [piece.text for piece in pieces(prepare(text, LIMIT))]


@each(
    "text, parts",
    [
        ("こんにちは。元気？はい！", ["こんにちは。", "元気？", "はい！"]),
        ("「やあ。」と言った。", ["「やあ。」", "と言った。"]),
        ("3.14は円周率。", ["3.14は円周率。"]),
        ("Hello there. I am a bird.", ["Hello there.", "I am a bird."]),
        ("。、はい。。。", ["。", "、はい。。。"][1:]),
        ("ーーはい", ["はい"]),
    ],
)
def test_a_text_is_spoken_sentence_by_sentence(text: str, parts: list[str]) -> None:
    assert texts(text) == parts


def test_a_long_sentence_is_parted_at_commas_with_shorter_pauses() -> None:
    clause = "とても長い文をどこかで区切りたいので、"
    parts = pieces(prepare(f"はい。{clause}{clause[:-2]}も{clause}{clause[::-1]}おわり。", LIMIT))
    assert len(parts) > 2
    assert all(len(part.text) <= PIECE_CHARACTERS for part in parts)
    assert parts[1].pause < parts[0].pause == parts[-1].pause


def test_the_first_piece_is_short_where_a_comma_allows() -> None:
    assert (
        texts("こんにちは、私はこたつのそばで暮らしている青い小さな鳥です。")[0] == "こんにちは、"
    )


@each(
    "text, first",
    [
        ("こたつの歴史は室町時代にさかのぼります。", "こたつの歴史は"),
        ("窓口の営業時間は九時から五時までです。", "窓口の営業時間は"),
        ("今日は天気が良いので散歩に行きました。", "今日は天気が良いので散歩に行きました。"),
        ("東京の冬は寒いです。", "東京の冬は寒いです。"),
        ("東京の冬は、雪の日が少なくなりました。", "東京の冬は、"),
    ],
)
def test_a_long_first_sentence_without_a_comma_is_parted_after_its_topic(
    text: str, first: str
) -> None:
    assert texts(text)[0] == first


@each(
    "parts",
    [
        ["こたつは", "冬のあいだ家族が集まる場所です昔から多くの人にとても愛されてきました"],
        ["窓口で書類の取り扱いを", "確認してから帰ります"],
        ["あついおちゃを", "のんでそれからすぐにねました"],
        ["1000個のうち5個が2分の1に減らされたそうです"],
        ["今日は天気がとても", "良いので散歩に行きました"],
        ["プログラミング", "言語設計思想比較研究会発表資料"],
    ],
)
def test_a_long_first_sentence_without_punctuation_is_parted_after_its_first_phrase(
    parts: list[str],
) -> None:
    assert texts("".join(parts)) == parts


def test_latin_words_are_parted_at_a_space() -> None:
    assert texts("I am a bird near the kotatsu") == ["I am", "a bird near the kotatsu"]


def test_a_long_clause_is_parted_at_phrases_and_not_inside_a_word() -> None:
    words = ("毎日", "新しい", "発見を", "コンピュータの", "研究は", "社会に", "期待されて")
    text = "".join(words[n % len(words)] for n in range(60))
    parts = texts(text)
    assert all(len(part) <= PIECE_CHARACTERS for part in parts)
    assert all(part.endswith(words) for part in parts)


@given(st.text(max_size=600))
def test_any_text_is_prepared_or_refused(text: str) -> None:
    try:
        prepared = prepare(text, LIMIT)
    except TextError:
        return
    assert speakable(prepared)
    parts = pieces(prepared)
    assert parts
    assert all(speakable(part.text) for part in parts)
    assert all(len(part.text) <= HARD_PIECE_CHARACTERS for part in parts)


JAPANESE = st.text("あいうハヒ母東京、。！？ー「」ab1 ", min_size=1, max_size=300)


@given(JAPANESE)
def test_pieces_lose_no_letter_and_keep_their_order(text: str) -> None:
    try:
        prepared = prepare(text, LIMIT)
    except TextError:
        return
    letters = [c for c in prepared if speakable(c)]
    assert [c for part in pieces(prepared) for c in part.text if speakable(c)] == letters


@given(JAPANESE)
def test_nothing_repeats_more_than_three_times(text: str) -> None:
    try:
        prepared = prepare(text, LIMIT)
    except TextError:
        return
    assert not any(c * 4 in prepared for c in "あいうハヒ母東京ー！？ab")


@each(
    "written, said",
    [
        ("髙橋さんと山﨑さん", "高橋さんと山崎さん"),
        ("𠮷野家", "吉野家"),
        ("濵田德郞", "浜田徳郎"),
        ("\ufa19社と\ufa1b岡", "神社と福岡"),
        ("葛\U000e0100城", "葛城"),
    ],
)
def test_a_kanji_gets_the_form_that_has_a_reading(written: str, said: str) -> None:
    assert prepare(written, 100) == said


def test_each_such_form_is_in_jis_x_0208_and_stays_as_it_is() -> None:
    for said in map(chr, kanji.VARIANTS.values()):
        assert said.encode("shift_jis")
        assert said.translate(kanji.VARIANTS) == said


def test_of_a_prepared_text_only_letters_that_are_not_read_are_named() -> None:
    text = "髙橋さん、こたつは〇℃、αとΩ、ABC、ｶﾅ、1½、々〆ヶ。"
    assert kanji.unread(prepare(text, 100)) == ""
    assert kanji.unread("한국어のéと龘とПと龘") == "한국어é龘П"
    assert kanji.unread("".join(map(chr, range(0xAC00, 0xAC00 + 500)))) == "".join(
        map(chr, range(0xAC00, 0xAC00 + kanji.MOST_NAMED))
    )
