"""What both VOICEVOX engines say of a voice."""

from rows import each

from kotatsu_voice.engines.voices import credit


@each(
    "speaker, line",
    [
        ("ずんだもん", "VOICEVOX:ずんだもん"),
        ("小夜/SAYO", "VOICEVOX:小夜/SAYO"),
        ("†聖騎士 紅桜†", "VOICEVOX:†聖騎士 紅桜†"),
        ("もち子さん", "VOICEVOX:もち子(cv 明日葉よもぎ)"),
        ("Voidoll", "VOICEVOX:Voidoll(CV:丹下桜)"),
        ("ユーレイちゃん", "VOICEVOX:ユーレイちゃん(CV:神崎零)"),
        ("里石ユカ", "VOICEVOX:里石ユカ（つぼみ）"),
        ("女声1", "VOICEVOX Nemo"),
        ("男声3", "VOICEVOX Nemo"),
    ],
)
def test_the_credit_is_as_the_voices_terms_write_it(speaker: str, line: str) -> None:
    assert credit(speaker) == line
