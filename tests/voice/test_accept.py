from rows import each

from kotatsu_voice.accept import choose

JSON = ("audio/mpeg", "audio/wav", "text/plain")
FORM = ("text/plain", "audio/mpeg", "audio/wav")


@each(
    "accept, offered, chosen",
    [
        (None, JSON, "audio/mpeg"),
        (None, FORM, "text/plain"),
        ("*/*", FORM, "text/plain"),
        ("audio/mpeg", FORM, "audio/mpeg"),
        ("Audio/WAV", JSON, "audio/wav"),
        ("text/plain", JSON, "text/plain"),
        ("audio/*", FORM, "audio/mpeg"),
        ("audio/wav;q=0.9, audio/mpeg;q=0.1", JSON, "audio/wav"),
        ("audio/mpeg;q=0, */*", JSON, "audio/wav"),
        ("application/json, text/plain, */*", JSON, "audio/mpeg"),
        ("text/plain, */*;q=0.1", JSON, "text/plain"),
        ("application/json", JSON, "audio/mpeg"),
        ("audio/wav;q=loud", JSON, "audio/mpeg"),
        ("audio/wav;q=nan", JSON, "audio/mpeg"),
        ("audio/mpeg;q=nan, audio/wav;q=0.5", JSON, "audio/wav"),
        ("audio/wav;q=inf, audio/mpeg;q=0.5", JSON, "audio/mpeg"),
        (",;=,", JSON, "audio/mpeg"),
    ],
)
def test_the_client_gets_what_it_likes_best(
    accept: str | None, offered: tuple[str, ...], chosen: str
) -> None:
    assert choose(accept, offered) == chosen
