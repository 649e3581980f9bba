"""What signs and units are called: one a line, as it is written and as it is said."""


def _table(lines: str) -> dict[str, str]:
    return dict(line.split() for line in lines.strip().splitlines())


CURRENCIES = _table("""
¥ 円
$ ドル
US$ ドル
€ ユーロ
£ ポンド
₩ ウォン
₿ ビットコイン
""")
CENTS = _table("""
ドル セント
ユーロ セント
ポンド ペンス
""")
# Only those that one of the two dictionaries, Open JTalk's and voicevox_core's, does not know.
UNITS = _table("""
ms ミリ秒
μs マイクロ秒
ns ナノ秒
s 秒
sec 秒
min 分
h 時間
m メートル
g グラム
t トン
l リットル
L リットル
dL デシリットル
KiB キビバイト
MiB メビバイト
GiB ギビバイト
TiB テビバイト
GB ギガバイト
kB キロバイト
KB キロバイト
PB ペタバイト
bps ビット毎秒
kbps キロビット毎秒
Mbps メガビット毎秒
Gbps ギガビット毎秒
kWh キロワット時
Wh ワット時
mAh ミリアンペア時
mA ミリアンペア
kcal キロカロリー
μm マイクロメートル
μg マイクログラム
px ピクセル
fps フレーム毎秒
Mi メビ
Gi ギビ
req/s リクエスト毎秒
x 倍
""")
DIGITS = _table("""
0 ゼロ
1 イチ
2 ニー
3 サン
4 ヨン
5 ゴー
6 ロク
7 ナナ
8 ハチ
9 キュー
""")
GREEK = _table("""
α アルファ
β ベータ
γ ガンマ
δ デルタ
ε イプシロン
θ シータ
λ ラムダ
μ ミュー
π パイ
σ シグマ
φ ファイ
ω オメガ
Δ デルタ
Σ シグマ
Ω オーム
""")
