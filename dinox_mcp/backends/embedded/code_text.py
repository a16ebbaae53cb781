# ruff: noqa: RUF001 - the tables have letters of all scripts on purpose
"""The text of a code that does not name its encoding.

A QR code may name the encoding of its bytes, but most do not, and readers assume UTF-8 or Latin-1. Here the bytes are
decoded in each common encoding, and the most plausible text is chosen. If two texts are about equally plausible, the
bytes are written out.
"""

import re
import unicodedata
from collections.abc import Iterator
from functools import cache
from itertools import pairwise

ENCODINGS = ("cp1252", "iso8859-2", "cp1250", "cp1251", "iso8859-7", "gb18030", "big5", "euc-kr", "shift_jis")
"""If several give the same text, the first is named. The first includes Latin-1, the default of the standard."""
_CENTRAL = frozenset({"iso8859-2", "cp1250"})
_DEFAULT = 0.4
"""How much less plausible the default may be than another encoding."""
_LEAST, _MARGIN = 0.3, 0.2
_MIXED, _ODD, _RARE, _USUAL, _OFTEN, _FREQUENT = -2.0, -1.5, -1.0, 0.5, 1.2, 1.5

# The most frequent letters of each script, also in labels and addresses.
_LETTERS = frozenset(
    "äöüßéèàçñáíóúâêôëïîûùìòåøæãõąćęłńśźżčďěňřšťůýžőűăîșțđ"
    "оеаинтсрвлкмдпуб"
    "αοιετσνηυρπκμλςάέίό"
    "あいうえおかきくけこさしすせそたちつてとなにのはまもやよらりるれろをんがでだじどばぱアイウエオカキクケコサシスセソ"
    "タチツテトナニノハフヘホマミムメモラリルレロンガギグゲジズダデドバビブベボパピプペポーッャュョ"
)
_UNITS = frozenset("€£§°±²³µ½№")
_POLISH = re.compile(r"ñ[bcdfghjklmnpqrstvwxz]|[a-z][±²³¹][a-z]", re.IGNORECASE)
"""What no Western language writes (ñ before a consonant, say), but Polish text gives if it is decoded as Latin-1."""
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
        The text, and its encoding if that was guessed. If the encoding is "", it could not be guessed, and bytes
        beyond ASCII are written as \xNN in the text.
    """
    try:
        return raw.decode(), None
    except UnicodeDecodeError:
        pass
    ranked = sorted(_decodings(raw), key=lambda reading: -reading[0])
    texts = {text: encoding for _, encoding, text in reversed(ranked)}
    if ranked and ranked[0][0] >= _LEAST:
        score, _, text = ranked[0]
        if all(other == text or score - other_score >= _MARGIN for other_score, _, other in ranked):
            return text, texts[text]
    return raw.decode("ascii", "backslashreplace"), ""


def alternative(raw: bytes) -> tuple[str, str] | None:
    """Return the text in a Central European encoding, and its name, if it is as plausible as the default."""
    (best, encoding, text), *others = sorted(_decodings(raw), key=lambda reading: -reading[0]) or [(0.0, "", "")]
    if encoding != ENCODINGS[0]:
        return None
    least = max(best - _DEFAULT - _MARGIN, _LEAST)
    near = ((other, name) for score, name, other in others if score >= least and name in _CENTRAL)
    return next((reading for reading in near if reading[0] != text), None)


def _decodings(raw: bytes) -> Iterator[tuple[float, str, str]]:
    for encoding in ENCODINGS:
        try:
            text = raw.decode(encoding)
        except UnicodeDecodeError:
            continue
        if not any(unicodedata.category(letter) in {"Cc", "Cn", "Co"} and letter not in "\t\r\n" for letter in text):
            yield _plausibility(text, encoding), encoding, text


def _plausibility(text: str, encoding: str) -> float:
    """Rate a text by its letters beyond ASCII, from about -2 to 1.5."""
    rates = [_rate(letter, encoding) for letter in text if not letter.isascii()]
    rates += [_rate_pair(one, other) for one, other in pairwise(text) if not (one + other).isascii()]
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


def _rate_pair(one: str, other: str) -> float:
    """Rate two neighboring letters: pairs that nobody writes are negative."""
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
    """Rate a Greek word: it has one accent unless it is in capitals, and ς only at its end."""
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
    """Return the script of a letter; those of Chinese and Japanese count as one."""
    first = unicodedata.name(letter, "?").split()[0]
    return "CJK" if first in {"CJK", "HIRAGANA", "KATAKANA", "KATAKANA-HIRAGANA", "FULLWIDTH", "IDEOGRAPHIC"} else first


def _is_common(letter: str, encoding: str) -> bool:
    """Return whether a character is among the common ones of an encoding, which come first."""
    lead = letter.encode(encoding)[0]
    common = {"gb18030": (0xB0, 0xD7), "big5": (0xA4, 0xC6), "euc-kr": (0xB0, 0xC8), "shift_jis": (0x88, 0x97)}
    first, last = common.get(encoding, (0, 0))
    return first <= lead <= last
