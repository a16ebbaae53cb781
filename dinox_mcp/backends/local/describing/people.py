"""Which labels mean a person, so that the thing has a body with the points that poses have."""

import re

_NOUNS = """\
person man woman child kid boy girl baby toddler infant teenager adult human guy lady gentleman people someone
pedestrian passerby cyclist bicyclist biker motorcyclist rider jockey driver passenger tourist
player athlete runner jogger swimmer surfer skier snowboarder skater skateboarder climber hiker dancer gymnast
wrestler goalkeeper goalie referee umpire batter golfer
worker farmer soldier policeman policewoman officer firefighter fireman doctor nurse surgeon patient chef cook
waiter waitress teacher student pupil singer musician guitarist drummer artist painter photographer actor actress
bride groom father mother dad mom son daughter brother sister grandfather grandmother
fisherman cowboy clown astronaut pilot sailor butcher baker barber mechanic carpenter craftsman businessman
businesswoman salesman spectator customer shopper visitor guest
"""
PEOPLE = frozenset(re.findall(r"\w+", _NOUNS))
"""Nouns in the singular; a label that has words before or after them means a person too ("man in red", "old lady").

Nouns that are things as often (coach, model, speaker) are left out.
"""
_PLURALS = {"people": "person", "men": "man", "women": "woman", "children": "child", "babies": "baby", "ladies": "lady"}
_DEVICES = frozenset(("record", "cd", "dvd", "mp3", "music", "media", "cassette", "video", "audio", "blu-ray", "vinyl"))
"""What before "player" makes it a thing."""
_THINGS = frozenset(("crossing", "clothing", "building", "swing", "ring", "earring", "wing", "string", "setting"))
"""Nouns that look as if they said what somebody does."""
_AFTER = frozenset(("in", "on", "at", "with", "of", "by", "from", "near", "behind", "under", "and", "or", "who", "to"))


def is_person(label: str) -> bool:
    """Tell whether a label means one person or each of several: its main noun decides."""
    words = re.findall(r"[\w'-]+", label.casefold().replace("_", " ").partition(",")[0])
    if not words or words[-1] in _THINGS:
        return False
    ends = (place for place, word in enumerate(words) if place and (word in _AFTER or word.endswith("ing")))
    *before, noun = words[: next(ends, len(words))]
    if noun.rstrip("s") == "player" and before and before[-1] in _DEVICES:
        return False
    return any(form in PEOPLE for form in _singulars(noun))


def _singulars(noun: str) -> tuple[str, ...]:
    if noun.endswith("men"):
        return (noun[:-3] + "man",)
    return noun, _PLURALS.get(noun, noun.removesuffix("s")), noun.removesuffix("es")
