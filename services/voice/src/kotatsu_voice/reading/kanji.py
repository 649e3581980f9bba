"""Kanji that the dictionary lacks, and the form of each that it has.

The dictionary of Open JTalk has the kanji of JIS X 0208. Another form of one, most often in a name
(髙橋, 𠮷野家), has no reading: voicevox_core leaves such a character out without an error.
Compatibility ideographs are written out by NFKC; the other forms are in this table.

Keys are the kanji of Windows-31J and of the first plane of JIS X 0213 that are not in JIS X 0208,
and the old forms in it that have no reading by themselves. The forms are from the CJKVI Database
(cjkvi-variants, Copyright (c) 2014 CJKVI Database, MIT License) and pyopenjtalk-plus (MIT).
"""

import re
from collections.abc import Callable
from itertools import islice

_WRITTEN = (
    "㐂㒵㓛㞍㟢㬢㮶㯃䑓䖝䡄䦰乘來俠俱倂倞偀偁偂假僞儉儞兊兒兩冝凢凬凮剝剩劑勈勐勖勛勞"
    "勵卽吞呍咊啞喆嗎噓嚙嚞囊囑圈圡埿塡增墮壓壘壞壹姸孃寫寬寶將專尒尞屆屛屢屬峽崧嵓嶹"
    "巢帶幷廢廹开彈徑從徯徵德怘悅悊悞惞愼慘憘應懷戲戾抅拂拜挊挾搖搜摑摠擇擔據擧擴攝攢"
    "效敍敎敕斷昰昻晈晚晥晳暻曆曻柗柹栁桒梥榘槩槪槶樞樣橫檔檝檢欵歐歡步歷歸殘殼毆每毗"
    "汙涉涖淚淸渴溫滯潑潛澔濕濟濵瀆瀨灣灵焏焰煑熺燄燒爀爐牕狀狹猨獨獵獸獻瑇甁甯當瘂瘦"
    "發盌盜盡硃硏礮祕禪禱秊秔稱稻穩窻竊竫筭簞籭糝綋綠緖緣縨縱繡繫繼續纍纖缺罇羗聲聽肅"
    "膽臊臟臺苽莖萊蒞蔣薰藥蘐處虗虛號虵蛽蜋蝱蟬蠟蠶蠻裝裵褲覽觔訷謠譯譽讀賡賴贊贒軀輭"
    "轉遲邊郞鄕醉醫醬醱醼錄鍊鎭鏽鑄鑛閒陷隄隨險隯隱雙雜雞霸靈靎靏靑頰顚飜餘騭騷驅驒髓"
    "髙髮鬂鬭魲鱷鷄鷗麤麯麴麵黃黑默齒龢﨑﨔攪𠮟𠀋𠮷𡈽𣳾𥔎嵜"
)
_READ = (
    "喜貌功尻崎曦槊漆台虫軌鬮乗来侠倶併勍英称前仮偽倹爾兌児両宜凡風風剥剰剤勇猛勗勲労"
    "励即呑吽和唖哲罵嘘噛哲嚢嘱圏土泥填増堕圧塁壊壱妍嬢写寛宝将専爾燎届屏屡属峡嵩岩島"
    "巣帯并廃迫開弾径従蹊徴徳固悦哲誤欣慎惨喜応懐戯戻拘払拝弄挟揺捜掴総択担拠挙拡摂攅"
    "効叙教勅断是昂皎晩皖晰景暦昇松柿柳桑松矩概概椢枢様横档楫検款欧歓歩歴帰残殻殴毎毘"
    "汚渉莅涙清渇温滞溌潜浩湿済浜涜瀬湾霊丞焔煮熹焔焼赫炉窓状狭猿独猟獣献玳瓶寧当唖痩"
    "発碗盗尽朱研砲秘禅祷年粳称稲穏窓窃靖算箪篩糂紘緑緒縁幌縦繍繋継続累繊欠樽羌声聴粛"
    "胆鰺臓台菰茎莱莅蒋薫薬萱処虚虚号蛇貝螂虻蝉蝋蚕蛮装裴袴覧筋伸謡訳誉読続頼賛賢躯軟"
    "転遅辺郎郷酔医醤醗宴録錬鎮銹鋳鉱間陥堤随険島隠双雑鶏覇霊鶴鶴青頬顛翻余隲騒駆騨髄"
    "高髪鬢闘鱸鰐鶏鴎麁麹麹麺黄黒黙歯和崎欅撹叱丈吉土泰碕崎"
)
VARIANTS = str.maketrans(_WRITTEN, _READ)

# Letters that are not read, and kanji, of which those of JIS X 0208 are.
_STRANGE = re.compile(r"[^\W\d_A-Za-zΑ-ω\u3005-\u3007\u3040-\u30ff]")
MOST_NAMED = 20


def unread(text: str, reads: Callable[[str], bool] = lambda _: False) -> str:
    """Letters of a prepared text that the dictionary lacks, each once and at most MOST_NAMED.

    `reads` says which of them an engine reads all the same.
    """
    strange = dict.fromkeys(_STRANGE.findall(text))
    letters = (letter for letter in strange if not _is_common(letter) and not reads(letter))
    return "".join(islice(letters, MOST_NAMED))


def _is_common(kanji: str) -> bool:
    return kanji >= "\u4e00" and bool(kanji.encode("shift_jis", "ignore"))
