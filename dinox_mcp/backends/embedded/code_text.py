# ruff: noqa: RUF001 - letters of all scripts stand here on purpose
"""The text of a code that does not say its encoding.

A QR code may name the encoding of its bytes, and most do not: readers then take them for UTF-8 or Latin-1. Here the
bytes are decoded in each encoding that is in use, and the text that looks most like text is taken. Where two look
alike, nobody can tell, and the bytes are written out.
"""

import re
import unicodedata
from collections.abc import Iterator
from functools import cache
from itertools import pairwise

ENCODINGS = ("cp1252", "iso8859-2", "cp1250", "cp1251", "iso8859-7", "gb18030", "big5", "euc-kr", "shift_jis")
"""In the order in which they are taken where they give one text; the first holds the standard's default, Latin-1."""
_CENTRAL = frozenset({"iso8859-2", "cp1250"})
_DEFAULT = 0.4
"""How much the default may look less likely than another."""
_LEAST, _MARGIN = 0.3, 0.2
_MIXED, _ODD, _RARE, _USUAL, _OFTEN, _FREQUENT = -2.0, -1.5, -1.0, 0.5, 1.2, 1.5

# The letters of each script that texts consist of for the most part, those of labels and addresses among them.
_LETTERS = frozenset(
    "äöüßéèàçñáíóúâêôëïîûùìòåøæãõąćęłńśźżčďěňřšťůýžőűăîșțđ"
    "оеаинтсрвлкмдпуб"
    "αοιετσνηυρπκμλςάέίό"
    "あいうえおかきくけこさしすせそたちつてとなにのはまもやよらりるれろをんがでだじどばぱアイウエオカキクケコサシスセソ"
    "タチツテトナニノハフヘホマミムメモラリルレロンガギグゲジズダデドバビブベボパピプペポーッャュョ"
)
_UNITS = frozenset("€£§°±²³µ½№")
_POLISH = re.compile(r"ñ[bcdfghjklmnpqrstvwxz]|[a-z][±²³¹][a-z]", re.IGNORECASE)
"""What no language of the West writes, and what Polish is taken for: ñ stands before vowels."""
_PUNCTUATION = frozenset("–—„“”’‘«»·…®©™×、。，：（）！？・「」　")
_IDEOGRAPHS = frozenset(
    "轴承文的一是不了人我在有他这中大来上个国和也子时道出而要于就下得可你年生自会那后能对着事其里所去行过家十用发天如然作方成"
    "者多日都三小军二无同么经法当起与好看学进种将还分此心前面又定见只主没公从世界零件号品名数量重产地址电话单货箱北京上海"
    "广东南江州市区路街楼省县工厂仓库机械型规格批次期检验合格包装螺丝钉母板管线条码字元张李王刘陈您请谢新老高长安全入口测试"
    "這個國來時會對發後過還將號碼電話貨單產數臺灣區廠倉庫檢驗裝機規門開關與為從沒說學進種體點線問間東車書請謝測試無"
    "本語部社株式会日月火水木金土曜県町村番製造商物料番様御中東京大阪神奈川電機器具材"
)
_SYLLABLES = frozenset(
    "이다는을의에가고하지은기를한도로사나리아자어대서해인시정그들부수전일라으있만보과장게상제것안주스유구오성관비조화국여원"
    "물동생경명위민신방공소문선무마산세거모당연적용요면내회치우러터와개학교실업품번호박김최강녕세계서울제품부산시험감합니습"
)


def decode(raw: bytes) -> tuple[str, str | None]:
    r"""Decode the bytes of a code that names no encoding.

    Returns:
        The text, and its encoding where that was guessed; an encoding of "" says that it could not be told, and that
        the text shows the bytes, those that are no ASCII as \xNN.
    """
    try:
        return raw.decode(), None
    except UnicodeDecodeError:
        pass
    ranked = sorted(_readings(raw), key=lambda reading: -reading[0])
    texts = {text: encoding for _, encoding, text in reversed(ranked)}
    if ranked and ranked[0][0] >= _LEAST:
        score, _, text = ranked[0]
        if all(other == text or score - rival >= _MARGIN for rival, _, other in ranked):
            return text, texts[text]
    return raw.decode("ascii", "backslashreplace"), ""


def rival(raw: bytes) -> tuple[str, str] | None:
    """Give the text in an encoding of Central Europe, and its name, where only custom speaks for the default."""
    (best, encoding, text), *others = sorted(_readings(raw), key=lambda reading: -reading[0]) or [(0.0, "", "")]
    if encoding != ENCODINGS[0]:
        return None
    least = max(best - _DEFAULT - _MARGIN, _LEAST)
    near = ((other, name) for score, name, other in others if score >= least and name in _CENTRAL)
    return next((reading for reading in near if reading[0] != text), None)


def _readings(raw: bytes) -> Iterator[tuple[float, str, str]]:
    for encoding in ENCODINGS:
        try:
            text = raw.decode(encoding)
        except UnicodeDecodeError:
            continue
        if not any(unicodedata.category(letter) in {"Cc", "Cn", "Co"} and letter not in "\t\r\n" for letter in text):
            yield _plausibility(text, encoding), encoding, text


def _plausibility(text: str, encoding: str) -> float:
    """Rate a text by its letters beyond ASCII, about from -2 to 1.5."""
    rates = [_rate(letter, encoding) for letter in text if not letter.isascii()]
    rates += [_odds(one, other) for one, other in pairwise(text) if not (one + other).isascii()]
    rates += [_MIXED for _ in _POLISH.findall(text)]
    rates += [_rate_greek(word) for word in text.split() if encoding == "iso8859-7"]
    count = sum(not letter.isascii() for letter in text)
    return sum(rates) / max(count, 1) + (_DEFAULT if encoding == ENCODINGS[0] else 0.0)


def _rate(letter: str, encoding: str) -> float:
    """Rate a letter by how often it is used."""
    if letter in _IDEOGRAPHS or letter in _SYLLABLES or letter in _LETTERS:
        return _FREQUENT
    if letter.lower() in _LETTERS or letter in _UNITS or _script(letter) == "HALFWIDTH":
        return _OFTEN
    if letter in _PUNCTUATION:
        return _USUAL
    if letter.isalpha() and not _is_wide(letter):
        return _USUAL
    return _USUAL if _is_common(letter, encoding) else _RARE


def _odds(one: str, other: str) -> float:
    """Rate two neighbours: what is never written side by side speaks against a text."""
    if _UNITS & {one, other}:
        return (
            _ODD if any(letter.isalpha() and not letter.isascii() and letter != "µ" for letter in (one, other)) else 0.0
        )
    if one.isalpha() and other.isalpha():
        if _script(one) != _script(other):
            return _MIXED
        if one.islower() and other.isupper():
            return _ODD
        return _RARE if _script(one) == "LATIN" and not one.isascii() and not other.isascii() else 0.0
    if _are_letter_and_digit(one, other) or _are_letter_and_digit(other, one):
        return _RARE
    inner = (one.isalpha() and not other.isascii()) or (other.isalpha() and not one.isascii())
    symbol = other if one.isalpha() else one
    return _ODD if inner and not _is_wide(symbol) and unicodedata.category(symbol) not in {"Pf", "Pi", "Pd"} else 0.0


def _are_letter_and_digit(letter: str, digit: str) -> bool:
    return letter.isalpha() and not _is_wide(letter) and letter not in _UNITS and digit.isdecimal()


def _rate_greek(word: str) -> float:
    """Rate a word in Greek, which has an accent unless it is in capitals, and a sigma of its own at its end."""
    letters = [letter for letter in word if letter.isalpha()]
    if len(letters) < 3 or word.isascii() or word.isupper():  # noqa: PLR2004 - short words have no accent
        return 0.0
    accents = sum(letter in "άέήίόύώΐΰΆΈΉΊΌΎΏ" for letter in letters)
    misplaced = letters[-1] == "σ" or "ς" in letters[:-1]
    return (_FREQUENT if accents == 1 else 2 * _MIXED) + (_MIXED if misplaced else 0.0)


def _is_wide(letter: str) -> bool:
    return unicodedata.east_asian_width(letter) in {"W", "F"}


@cache
def _script(letter: str) -> str:
    """Name a letter's script; those of Chinese and Japanese are one."""
    first = unicodedata.name(letter, "?").split()[0]
    return "CJK" if first in {"CJK", "HIRAGANA", "KATAKANA", "KATAKANA-HIRAGANA", "FULLWIDTH", "IDEOGRAPHIC"} else first


def _is_common(letter: str, encoding: str) -> bool:
    """Tell whether an encoding has a character among the common ones, which come first."""
    lead = letter.encode(encoding)[0]
    common = {"gb18030": (0xB0, 0xD7), "big5": (0xA4, 0xC6), "euc-kr": (0xB0, 0xC8), "shift_jis": (0x88, 0x97)}
    first, last = common.get(encoding, (0, 0))
    return first <= lead <= last
