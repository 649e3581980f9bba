"""Numbers with signs around them, as a table: what is seen, and what is said.

The rules run from top to bottom, each over the whole text. Every repetition in a pattern is
bounded or can match in one way only, so the work is linear.
"""

import re
from collections.abc import Callable

from kotatsu_voice.reading.tables import CENTS, CURRENCIES, DIGITS, GREEK, UNITS

_Said = str | Callable[[re.Match[str]], str]

_NUMBER = r"\d[\d,]{0,40}(?:\.\d{1,20})?"
_WEEKDAY = r"\s?\([月火水木金土日]\)"
# What follows a day and no fraction: 3/5に会う, but 1/2に減らす.
_ON_A_DAY = re.compile("から|まで|に(?![なし減縮分増])")
_HALVES = {"": "", "a": "午前", "p": "午後"}
# Counters after which a dash means "to": 3-5人.
_COUNTER = "円人個時分秒日月年度回件点台枚本歳階話章巻倍泊匹杯冊名位割軒"


def _any(words: dict[str, str]) -> str:
    return "|".join(map(re.escape, sorted(words, key=len, reverse=True)))


def _date(found: re.Match[str]) -> str:
    year, month, day = found[1], int(found[2]), int(found[3])
    return f"{year}年{month}月{day}日" if 1 <= month <= 12 and 1 <= day <= 31 else found[0]


def _day_or_fraction(found: re.Match[str]) -> str:
    """11/25 is a day, 3/4 is a fraction, 4/1 is a day; what can be neither is said as written."""
    first, second, weekday = int(found[1]), int(found[2]), found[3] or ""
    in_dates = (
        weekday
        or found.string.endswith("から", 0, found.start())
        or _ON_A_DAY.match(found.string, found.end())
    )
    if 1 <= first <= 12 and 1 <= second <= 31 and (in_dates or first >= second or second > 10):
        return f"{first}月{second}日{weekday}"
    if first < second:
        return f"{second}ぶんの{first}{weekday}"
    return f"{first}スラッシュ{second}{weekday}"


def _time(found: re.Match[str]) -> str:
    hour, minute, second = int(found[1]), int(found[2]), found[3]
    said = f"{_HALVES[(found[4] or '').lower()]}{hour}時"
    if minute or second:
        said += f"{minute}分"
    return said + (f"{int(second)}秒" if second else "")


def _hour(found: re.Match[str]) -> str:
    return f"{_HALVES[found[2].lower()]}{found[1]}時"


def _money(found: re.Match[str]) -> str:
    currency, number, power = CURRENCIES[found[1].upper()], found[2], found[3]
    whole, point, cents = number.partition(".")
    if point and len(cents) == 2 and not power and currency in CENTS:
        said = f"{whole}{currency}" if int(whole.replace(",", "")) or not int(cents) else ""
        return said + (f"{int(cents)}{CENTS[currency]}" if int(cents) else "")
    return f"{number}{power}{currency}"


def _version(found: re.Match[str]) -> str:
    parts = found[2].split(".")
    dot = "ドット" if len(parts) == 4 and not found[1] else "テン"
    return ("バージョン" if found[1] else "") + dot.join(str(int(part)) for part in parts)


def _phone(found: re.Match[str]) -> str:
    groups = re.findall(r"\d+", found[0])
    said = "ノ".join("".join(DIGITS[digit] for digit in group) for group in groups)
    return f"プラス{said}" if found[0].startswith("+") else said


RULES: tuple[tuple[re.Pattern[str], _Said], ...] = tuple(
    (re.compile(seen, re.ASCII), said)
    for seen, said in (
        # Numbers whose digits are read one by one.
        (r"(?<![\d-])\+\d{1,3}-\d{1,4}(?:-\d{2,4}){1,2}(?![\d-])", _phone),
        (r"(?<![\d-])(?:\(0\d{1,4}\)\s?|0\d{1,4}-)\d{1,4}-\d{3,4}(?![\d-])", _phone),
        (r"(?<![\d-])\d{3}-\d{4}(?![\d-])", _phone),
        # Dates and times.
        (r"(?<!\d)([12]\d{3})[-/.年](\d{1,2})[-/.月](\d{1,2})(?![\d日])(?:T(?=\d))?", _date),
        (r"(?<![\d/])([12]\d{3})/(0?[1-9]|1[0-2])(?![\d/])", r"\1年\2月"),
        (rf"(?<![\d/.])(\d{{1,4}})/(\d{{1,4}})(?![\d/.])({_WEEKDAY})?", _day_or_fraction),
        (
            r"(?<![\d:])([01]?\d|2[0-4]):([0-5]\d)(?::([0-5]\d))?(?![\d:])(?:\s?([AaPp])\.?[Mm]\b)?",
            _time,
        ),
        (r"(?<![\d:])(1[0-2]|[1-9])\s?([AaPp])\.?[Mm]\b\.?", _hour),
        (r"(?<![\d:])(\d{1,4}):(\d{1,4})(?![\d:])", r"\1対\2"),
        (r"(?<!\d)0時", "零時"),
        # Versions and IP addresses.
        (r"(?<![A-Za-z\d.])([vV](?:er\.? ?)?)(\d{1,6}(?:\.\d{1,6}){0,4})(?![\d.]*\d)", _version),
        (r"(?<![\d.])()(\d{1,6}(?:\.\d{1,6}){2,4})(?![.\d])", _version),
        # Money.
        (rf"({_any(CURRENCIES)})\s?({_NUMBER})([万億兆]?)円?(?:-(?![\d]))?", _money),
        # Dashes between numbers: a score, "to", arithmetic, or the parts of an address.
        (r"(?<=\d)-(?=\d{1,3}(?:で|の)(?:勝|負|敗|逆転))", "対"),
        (rf"(?<=\d[{_COUNTER}%])\s?[-−–—]\s?(?=\d)", "から"),
        (rf"(?<=\d)\s?[-−–—]\s?(?=\d[\d,.]{{0,20}}[{_COUNTER}%])", "から"),
        (r"(?<=\d)[–—](?=\d)", "から"),
        (r"(?<=\d)(?: ?− ?| - |-(?=\d[\d.]{0,20} ?[=+×÷]))(?=\d)", "引く"),
        (r"(?<=\d)-(?=\d)", "の"),
        # Signs of arithmetic.
        (r"[±]\s?(?=\d)", "プラスマイナス"),
        (r"(?<=\d) ?\+ ?(?=\d)", "足す"),
        (r"(?<=\d) ?[×*] ?(?=\d)", "掛ける"),
        (r"(?<=\d) ?÷ ?(?=\d)", "割る"),
        (r"(?<![A-Za-z\d])[-−](?=\d)", "マイナス"),
        (r"(?<![A-Za-z\d])\+(?=\d)", "プラス"),
        (r"(?<=[A-Za-z])-(?=\d)", ""),
        (r" ?(?:==?) ?", "イコール"),
        (r" ?≠ ?", "ノットイコール"),
        (r" ?≒ ?", "ニアリーイコール"),
        (r" ?(?:≦|≤|<=) ?(?=\d)", "以下"),
        (r"(?<=[\dA-Za-z]) ?< ?(?=[\dA-Za-z])", "小なり"),
        (r"(?<=[\dA-Za-z]) ?> ?(?=[\dA-Za-z])", "大なり"),
        (r"√(?=\d)", "ルート"),
        ("∞", "無限大"),
        (r"\b[Kk]8s\b", "クバネティス"),
        (r"(?<!\d)1st\b", "ファースト"),
        # Units; with 2 or 3 behind them (m2) the dictionaries know them, and with others (m/s).
        (rf"(?<=\d) ?({_any(UNITS)})(?!/?[A-Za-z]|[23](?!\d))", lambda m: UNITS[m[1]]),
        # Words with signs or digits.
        (r"\b[Cc]#", "シーシャープ"),
        (r"#(?=\d)", "ナンバー"),
        (r"#(?=[^\s#])", "ハッシュタグ"),
        (r"(?<=\S) ?& ?(?=\S)", "アンド"),
        (r"@", "アット"),
        (f"[{''.join(GREEK)}]", lambda m: GREEK[m[0]]),
    )
)  # fmt: skip


def read(text: str) -> str:
    """The text with each rule applied."""
    for seen, said in RULES:
        text = seen.sub(said, text)
    return text
