"""What prompts mean to a model that knows COCO's 80 kinds of everyday object."""

import random

import pytest

from dinox_mcp.backends import kinds
from dinox_mcp.backends.kind_words import KINDS
from dinox_mcp.backends.kinds import Sense, sense


def meaning(*names: str, narrower: bool = False) -> Sense:
    return Sense(frozenset(names), narrower)


def test_the_kinds_are_cocos_in_cocos_order() -> None:
    assert len(set(KINDS)) == 80
    places = {0: "person", 9: "traffic light", 20: "elephant", 32: "sports ball", 62: "tv", 79: "toothbrush"}
    assert {place: KINDS[place] for place in places} == places


def test_a_kind_goes_by_its_name() -> None:
    for kind in KINDS:
        assert sense(kind) == sense(f"All the {kind.upper()}.") == meaning(kind)


@pytest.mark.parametrize(
    ("prompt", "kind"),
    [
        ("Fire-Hydrant!", "fire hydrant"),
        ("suit case", "suitcase"),
        ("  STOP\tsign ", "stop sign"),
        ("T.V.", "tv"),
        ("every bench", "bench"),
        ("each of the dogs", "dog"),
        ("most of these apples", "apple"),
        ("3 zebras", "zebra"),
        ("how many people", "person"),
        ("the total number of people", "person"),
        ("dog(s)", "dog"),
        ("the dog's", "dog"),
        ("dogs\u2019", "dog"),
        ("people in the image", "person"),
        ("cars visible in this picture", "car"),
    ],
)
def test_the_way_of_writing_does_not_matter(prompt: str, kind: str) -> None:
    assert sense(prompt) == meaning(kind)


@pytest.mark.parametrize(
    ("prompt", "kind"),
    [
        ("people", "person"),
        ("persons", "person"),
        ("mice", "mouse"),
        ("knives", "knife"),
        ("sheep", "sheep"),
        ("ski", "skis"),
        ("scissors", "scissors"),
        ("buses", "bus"),
        ("busses", "bus"),
        ("benches", "bench"),
        ("couches", "couch"),
        ("toothbrushes", "toothbrush"),
        ("vases", "vase"),
        ("lorries", "truck"),
        ("neckties", "tie"),
        ("wine glasses", "wine glass"),
        ("wineglasses", "wine glass"),
    ],
)
def test_plurals_are_read(prompt: str, kind: str) -> None:
    assert sense(prompt) == meaning(kind)


@pytest.mark.parametrize(
    ("prompt", "kind"),
    [
        ("bike", "bicycle"),
        ("motorbike", "motorcycle"),
        ("aeroplane", "airplane"),
        ("stoplight", "traffic light"),
        ("sofa", "couch"),
        ("television", "tv"),
        ("monitor", "tv"),
        ("mobile", "cell phone"),
        ("fridge", "refrigerator"),
        ("doughnut", "donut"),
        ("hair dryer", "hair drier"),
        ("houseplant", "potted plant"),
        ("table", "dining table"),
        ("remote control", "remote"),
        ("computer mouse", "mouse"),
        ("stuffed animal", "teddy bear"),
        ("human beings", "person"),
        ("glass of wine", "wine glass"),
    ],
)
def test_a_synonym_means_the_same(prompt: str, kind: str) -> None:
    assert sense(prompt) == meaning(kind)


@pytest.mark.parametrize(
    ("prompt", "names"),
    [
        ("women", ["person"]),
        ("children", ["person"]),
        ("policemen", ["person"]),
        ("passers-by", ["person"]),
        ("taxi", ["car"]),
        ("van", ["car", "truck"]),
        ("puppies", ["dog"]),
        ("calves", ["cow"]),
        ("geese", ["bird"]),
        ("canoes", ["boat"]),
        ("mug", ["cup"]),
        ("beer glass", ["wine glass", "cup"]),
        ("beer glasses", ["wine glass", "cup"]),
        ("cupcake", ["cake"]),
        ("baseball", ["sports ball"]),
        ("18-wheeler", ["truck"]),
        ("carry-on luggage", ["suitcase", "backpack", "handbag"]),
    ],
)
def test_a_word_for_less_than_a_kind_is_called_narrower(prompt: str, names: list[str]) -> None:
    assert sense(prompt) == meaning(*names, narrower=True)


@pytest.mark.parametrize(
    ("prompt", "names"),
    [
        ("fruit", ["banana", "apple", "orange"]),
        ("pets", ["cat", "dog"]),
        ("two-wheelers", ["bicycle", "motorcycle"]),
        ("cutlery", ["fork", "knife", "spoon"]),
        ("glass", ["wine glass", "cup"]),
        ("baggage", ["suitcase", "backpack", "handbag"]),
        ("fruits and vegetables", ["banana", "apple", "orange", "broccoli", "carrot"]),
    ],
)
def test_a_wider_word_means_several_kinds(prompt: str, names: list[str]) -> None:
    assert sense(prompt) == meaning(*names)


@pytest.mark.parametrize(
    ("prompt", "some"),
    [("vehicle", {"car", "truck", "bus"}), ("animals", {"bird", "giraffe"}), ("furniture", {"chair", "bed"})],
)
def test_a_wider_word_means_what_belongs_to_it(prompt: str, some: set[str]) -> None:
    found = sense(prompt)
    assert found
    assert found.kinds > some
    assert "person" not in found.kinds


@pytest.mark.parametrize(
    ("prompt", "kind"),
    [
        ("red car", "car"),
        ("parked police cars", "car"),
        ("ice cream cake", "cake"),
        ("fire truck", "truck"),
        ("baby elephant", "elephant"),
        ("water bottles", "bottle"),
        ("baseball player", "person"),
        ("children's bicycles", "bicycle"),
        ("sleeping cat", "cat"),
        ("vegetable cutting knife", "knife"),
        ("red dining table", "dining table"),
        ("black and white cat", "cat"),
        ("orange and white cat", "cat"),
        ("tall wine glasses", "wine glass"),
    ],
)
def test_words_before_the_head_narrow_it(prompt: str, kind: str) -> None:
    assert sense(prompt) == meaning(kind, narrower=True)


@pytest.mark.parametrize(
    ("prompt", "kind"),
    [
        ("man in red", "person"),
        ("person wearing a hat", "person"),
        ("people sitting at a table", "person"),
        ("someone holding a phone", "person"),
        ("woman cutting a cake", "person"),
        ("man juggling balls", "person"),
        ("dog chasing the ball", "dog"),
        ("dog on the sofa", "dog"),
        ("dog, sitting on the sofa", "dog"),
        ("cars covered with snow", "car"),
        ("cup of coffee", "cup"),
        ("person with cats and dogs", "person"),
        ("pedestrian crossing the road", "person"),
        ("person not wearing a helmet", "person"),
    ],
)
def test_words_after_the_head_narrow_it(prompt: str, kind: str) -> None:
    assert sense(prompt) == meaning(kind, narrower=True)


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("pair of scissors", meaning("scissors")),
        ("bunches of bananas", meaning("banana")),
        ("slice of pizza", meaning("pizza")),
        ("flock of sheep", meaning("sheep")),
        ("group of people", meaning("person")),
        ("large group of people", meaning("person", narrower=True)),
        ("group of people in red", meaning("person", narrower=True)),
        ("pair of glasses", None),
        ("bag of crisps", None),
    ],
)
def test_of_leads_to_what_is_counted(prompt: str, expected: Sense | None) -> None:
    assert sense(prompt) == expected


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("cats and dogs", meaning("cat", "dog")),
        ("cat/dog", meaning("cat", "dog")),
        ("cars, trucks or buses", meaning("car", "truck", "bus")),
        ("a knife and a pair of scissors", meaning("knife", "scissors")),
        ("men and dogs", meaning("person", "dog", narrower=True)),
        ("dogs and balloons", None),
        ("car,", meaning("car")),
    ],
)
def test_and_asks_for_all_of_them_or_nothing(prompt: str, expected: Sense | None) -> None:
    assert sense(prompt) == expected


@pytest.mark.parametrize(
    "prompt",
    [
        *("car door", "dog food", "phone case", "bird cage", "mouse pad", "keyboard keys", "chair leg", "bus stop"),
        *("human head", "face", "hands", "person's left hand", "person's shadow", "skeleton", "pose"),
        *("hand holding a cup", "hand of a person", "airplane wing in the sky", "hot dog stand", "pizza box"),
        *("license plate", "traffic sign", "traffic cone", "forklift truck", "helmet", "hard hat", "box", "tree"),
        *("text", "barcode", "window", "building", "pedestrian crossing", "car parking"),
    ],
)
def test_a_part_or_another_thing_is_none_of_the_kinds(prompt: str) -> None:
    assert sense(prompt) is None


@pytest.mark.parametrize(
    "prompt",
    [
        *("seahorse", "sea horse", "prairie dog", "catfish", "pineapple", "pine apple", "eggplant", "power plant"),
        *("pancake", "meatball", "crystal ball", "car seat", "mobile home", "flower bed", "truck bed", "bookshelf"),
        *("glasses", "sunglasses", "sun glasses", "reading glasses", "microphone", "snow man", "bus stop sign"),
        *("screwdriver", "record player", "heat sink", "plastic bags", "zip tie"),
    ],
)
def test_a_name_that_only_ends_like_a_kind_is_none_of_them(prompt: str) -> None:
    assert sense(prompt) is None


@pytest.mark.parametrize("prompt", ["plan", "kit", "care", "carpet", "mane", "us", "personal"])
def test_a_word_that_only_looks_like_a_kind_is_none_of_them(prompt: str) -> None:
    assert sense(prompt) is None


@pytest.mark.parametrize("prompt", ["no dogs", "on the table", "behind the car", "box on the table", "photo of a cat"])
def test_what_stands_after_a_preposition_is_not_asked_for(prompt: str) -> None:
    assert sense(prompt) is None


def test_a_word_has_one_meaning_and_known_kinds() -> None:
    meanings: dict[str, set[Sense | None]] = {}
    for word, found in kinds.entries({kind: kind for kind in KINDS}):
        assert word, "an entry is longer than what is looked up"
        meanings.setdefault(word, set()).add(found)
        assert found is None or (found.kinds and found.kinds <= set(KINDS))
    assert [word for word, found in meanings.items() if len(found) > 1] == []


@pytest.mark.parametrize(
    "prompt",
    [
        "",
        " ",
        "the",
        "all of the",
        "and",
        "'s",
        "." * 20_000,
        "," * 20_000,
        "a " * 20_000,
        "s" * 20_000,
        "pair of " * 20_000,
        "dog and " * 20_000 + "box",
        "person standing " * 20_000,
        "orange and " * 20_000,
        "".join(map(chr, random.Random(7).choices(range(0x20, 0xD7FF), k=300))),  # noqa: S311 - no secret
    ],
    ids=lambda prompt: ascii(prompt[:12]),
)
def test_a_hostile_prompt_takes_few_look_ups(prompt: str, monkeypatch: pytest.MonkeyPatch) -> None:
    looked_up: list[int] = []
    key = kinds.key_of
    monkeypatch.setattr(kinds, "key_of", lambda words: looked_up.append(len(words)) or key(words))
    found = sense(prompt)
    assert len(looked_up) < 3000
    assert found is None or prompt.startswith(("dog", "person", "orange"))
