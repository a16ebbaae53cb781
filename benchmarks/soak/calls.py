"""The mix of calls: what is asked, how it is meant, and what its answer must say."""

import random
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from benchmarks.soak import samples
from benchmarks.soak.cloud import FAULTS, NEVER, label

Kind = Literal["honest", "hostile", "cancelled", "fault"]
Verb = Literal["tool", "resource", "complete", "tools/list", "raw"]
Json = dict[str, Any]
SHARE = 0.05
"""Part of the calls that is hostile, that is cancelled, and that meets a fault of the cloud."""
UNKNOWN = "dinox://results/aaaaaaaaaaaaaaaa"


@dataclass(frozen=True)
class Call:
    """One call; `says` must be somewhere in its answer, and `cancel_after` are the seconds until it is given up."""

    kind: Kind
    verb: Verb
    name: str
    arguments: Json = field(default_factory=dict)
    says: str = ""
    cancel_after: float | None = None
    fault: int | None = None


@dataclass
class Asker:
    """Makes up calls for one caller, from what the caller was answered so far; `folder` where files can be read."""

    chance: random.Random
    folder: Path | None
    name: str
    recent: deque[tuple[str, list[int]]] = field(default_factory=lambda: deque(maxlen=8))
    """Latest results: the id, and the numbers of its objects."""
    known: list[tuple[str, str]] = field(default_factory=list)
    """Questions to ask again: pictures and prompts."""
    number: int = 0

    def call(self, kind: Kind) -> Call:
        """Make up a call of a kind."""
        self.number += 1
        if kind == "honest":
            return self._any(_HONEST)
        if kind == "fault":
            return self._fault(self.chance.randrange(len(FAULTS)))
        if kind == "hostile":
            made = self._any(_HOSTILE)
            return Call("hostile", made.verb, made.name, made.arguments)
        made = self._fault(NEVER) if self.chance.random() < 0.4 else self._any(_SLOW)
        return Call("cancelled", made.verb, made.name, made.arguments, cancel_after=self.chance.uniform(0.002, 0.3))

    def learn(self, structured: Json | None) -> None:
        """Remember a result for later calls."""
        if structured and structured.get("result_id"):
            numbers = [one["id"] for one in structured.get("objects", ())]
            self.recent.append((structured["result_id"], numbers))

    def picture(self, data: bytes) -> str:
        """Say where a picture is: in a file, or in the call itself."""
        if self.folder is None or self.chance.random() < 0.4:
            return samples.data_uri(data)
        path = self.folder / f"{self.name}-{self.number}"
        path.write_bytes(data)
        return str(path)

    def person(self) -> str:
        """Make a picture of a person."""
        return self.picture(samples.person(self.chance))

    def latest(self) -> tuple[str, int]:
        """Choose a result and the number of an object in it; "" and 0 where there is none."""
        full = [one for one in self.recent if one[1]]
        result, numbers = self.chance.choice(full) if full else ("", [0])
        return result, self.chance.choice(numbers)

    def _any(self, menu: "Menu") -> Call:
        (make,) = self.chance.choices(list(menu), list(menu.values()))
        return make(self)

    def _fault(self, fault: int) -> Call:
        prompt = label(fault, self.chance.randrange(1_000_000_000))
        says = prompt if FAULTS[fault].recovers else ""
        return Call("fault", "tool", "detect_objects", {"image": self.person(), "prompts": [prompt]}, says, None, fault)


Menu = dict[Callable[[Asker], Call], int]


def kinds(count: int, chance: random.Random) -> Iterator[Kind]:
    """Shuffle the kinds of so many calls, with exact shares."""
    part = round(SHARE * count)
    rare: tuple[Kind, ...] = ("hostile", "cancelled", "fault")
    shuffled: list[Kind] = [kind for kind in rare for _ in range(part)]
    shuffled += ["honest" for _ in range(count - len(shuffled))]
    chance.shuffle(shuffled)
    return iter(shuffled)


def _tool(tool: str, says: str = "", /, **arguments: object) -> Call:
    return Call("honest", "tool", tool, arguments, says)


def _people(asker: Asker) -> Call:
    return _tool("detect_objects", "person", image=asker.person(), prompts=["person"], model="embedded")


def _count_people(asker: Asker) -> Call:
    return _tool("count_objects", "person", image=asker.person(), prompts=["person"], model="embedded")


def _pose(asker: Asker) -> Call:
    arguments = {"image": asker.person(), "prompts": ["person"], "model": "embedded", "include": ["pose"]}
    return _tool("detect_objects", "person", **arguments)


def _code(asker: Asker) -> Call:
    data, words = samples.code(asker.chance)
    return _tool("detect_objects", words, image=asker.picture(data), prompts=["QR code"])


def _words(asker: Asker) -> Call:
    data, words = samples.words(asker.chance)
    return _tool("detect_objects", words, image=asker.picture(data), prompts="text")


def _everything(asker: Asker) -> Call:
    data, words = samples.code(asker.chance)
    return _tool("detect_prompt_free", words, image=asker.picture(data))


def _cloud(asker: Asker) -> Call:
    prompt = f"bolt {asker.name} {asker.number}"
    image = asker.person()
    asker.known.append((image, prompt))
    include = asker.chance.choice([[], [], ["masks"], ["caption"]])
    return _tool("detect_objects", prompt, image=image, prompts=[prompt, "washer"], include=include)


def _again(asker: Asker) -> Call:
    if not asker.known:
        return _cloud(asker)
    image, prompt = asker.chance.choice(asker.known[-5:])
    return _tool("detect_objects", prompt, image=image, prompts=[prompt, "washer"])


def _count_cloud(asker: Asker) -> Call:
    prompt = f"nut {asker.name} {asker.number}"
    return _tool("count_objects", prompt, image=asker.person(), prompts=[prompt])


def _visualize(asker: Asker) -> Call:
    result, number = asker.latest()
    if not number:
        boxes = [{"label": "box", "bbox": [10 * n, 10 * n, 10 * n + 40, 10 * n + 30]} for n in range(20)]
        return _tool("visualize", image=asker.person(), objects=boxes)
    return _tool("visualize", result=result, show=asker.chance.choice([["numbers"], ["boxes", "labels", "masks"]]))


def _zoom(asker: Asker) -> Call:
    result, number = asker.latest()
    if not number:
        return _tool("zoom", image=asker.person(), bbox=[20, 20, 200, 200])
    return _tool("zoom", result=result, object=number)


def _describe(asker: Asker) -> Call:
    result, number = asker.latest()
    if not number:
        return _tool("describe_regions", image=asker.person(), boxes=[[10, 10, 200, 200]], include=["caption"])
    return _tool("describe_regions", result=result, object=[number])


def _resource(asker: Asker) -> Call:
    result, number = asker.latest()
    if not number:
        return Call("honest", "resource", "dinox://backends")
    ends = [
        "",
        "/coco.json",
        "/annotated.jpg",
        "/image.jpg",
        f"/objects/{number}/crop.jpg",
        "/annotated.png",
        "/preview.jpg",
    ]
    return Call("honest", "resource", f"dinox://results/{result}{asker.chance.choice(ends)}")


def _complete(asker: Asker) -> Call:
    return Call("honest", "complete", "count_objects", {"name": "what", "value": asker.chance.choice(["", "p", "bo"])})


def _list(_asker: Asker) -> Call:
    return Call("honest", "tools/list", "")


_HONEST: Menu = {
    _people: 9,
    _count_people: 4,
    _pose: 2,
    _code: 9,
    _words: 5,
    _everything: 4,
    _cloud: 16,
    _again: 8,
    _count_cloud: 6,
    _visualize: 9,
    _zoom: 8,
    _describe: 4,
    _resource: 10,
    _complete: 3,
    _list: 3,
}
_SLOW: Menu = {_people: 2, _count_people: 3, _words: 2, _everything: 2, _visualize: 1}


def _bad_picture(asker: Asker) -> Call:
    image = asker.picture(samples.hostile(asker.chance))
    if asker.chance.random() < 0.3:
        return _tool("zoom", image=image, bbox=[0, 0, 10, 10])
    if asker.chance.random() < 0.3:
        return _tool("visualize", image=image)
    return _tool("detect_objects", image=image, prompts=["person"], model="embedded")


def _bad_place(asker: Asker) -> Call:
    places = [
        "/etc/passwd",
        "/dev/zero",
        "/proc/self/mem",
        "/nowhere/at/all.jpg",
        "../../etc/shadow",
        "file:///etc/passwd",
        "http://127.0.0.1:9/a.jpg",
        "https://127.0.0.1:9/a.jpg",
        "https://[::1]:9/a.jpg",
        "data:image/png;base64,%%%%",
        "data:,",
        f"{UNKNOWN}/image.jpg",
        "dinox://results/../../etc",
        "\0\x1b[2J\u202e.jpg",
        "x" * 90_000,
        "",
    ]
    return _tool("detect_objects", image=asker.chance.choice(places), prompts=["person"], model="embedded")


def _bad_arguments(asker: Asker) -> Call:
    image = asker.person()
    detect: list[Json] = [
        {"image": image},
        {"image": image, "prompts": []},
        {"image": image, "prompts": None},
        {"image": image, "prompts": [""] * 900},
        {"image": image, "prompts": ["person"], "min_score": 7},
        {"image": image, "prompts": ["person"], "tiles": -1},
        {"image": image, "prompts": ["person"], "tiles": 1e300},
        {"image": image, "prompts": ["person"], "model": "../../secret"},
        {"image": image, "prompts": ["person"], "include": ["everything"]},
        {"image": image, "prompts": {"a": {"b": {"c": {"d": {"e": {"f": []}}}}}}},
        {"image": [image, image], "prompts": ["person"]},
        {"image": {"url": image}, "prompts": 7},
        {"prompts": "person"},
        {},
    ]
    return _tool("detect_objects", **asker.chance.choice(detect))


def _too_much(asker: Asker) -> Call:
    image = asker.person()
    box = [1, 1, 300, 300]
    calls = [
        _tool("detect_objects", image=image, prompts="." * 40_000),
        _tool("detect_objects", image=image, prompts=["a," * 30_000]),
        _tool("detect_objects", image=image, prompts=[f"thing {number}" for number in range(20_000)]),
        _tool("detect_objects", image=image, prompts="[" * 50_000),
        Call("honest", "tool", "detect_objects", {"image": image} | {f"extra{number}": 1 for number in range(5000)}),
        _tool("count_objects", image=image, examples=[{"bbox": box}] * 20_000),
        _tool("visualize", image=image, objects=[{"bbox": box}] * 20_000),
        _tool("visualize", image=image, objects=[{"bbox": [n % 300, 1, 1 + n % 300, 9]} for n in range(900)]),
        _tool("visualize", image=image, objects=[{"bbox": ["a", None, {}, []]}] * 40_000),
        _tool("visualize", result="aaaaaaaaaaaaaaaa", object=list(range(60_000))),
        _tool("describe_regions", image=image, boxes=[box] * 20_000),
        _tool("detect_objects", image=image, caption="the cat and the dog, " * 4000),
        Call("honest", "complete", "count_objects", {"name": "what", "value": "x" * 1_000_000}),
    ]
    return asker.chance.choice(calls)


def _unknown(asker: Asker) -> Call:
    result, number = asker.latest()
    calls = [
        _tool("visualize", result="aaaaaaaaaaaaaaaa"),
        _tool("visualize", result=result or "b", object=[number + 900, -1, 10**30]),
        _tool("zoom", result=result or "b", object=number + 900),
        _tool("zoom", image=asker.person(), bbox=[1e308, -1e308, 1e308, 5]),
        _tool("zoom", image=asker.person(), bbox=[200, 200, 20, 20], padding=10),
        _tool("describe_regions", result="\x1b[31m"),
        _tool("save_prompt", name="../../etc/passwd", delete=True),
        _tool("detect_by_example", image=asker.person(), examples=[{"saved": "nobody's"}]),
        _tool("rm_rf"),
        Call("honest", "resource", UNKNOWN),
        Call("honest", "resource", f"{UNKNOWN}/annotated.png"),
        Call("honest", "resource", "dinox://prompts/..%2F..%2Fetc"),
        Call("honest", "resource", "file:///etc/passwd"),
        Call("honest", "resource", f"dinox://results/{result}/regions/0_0_99999999_99999999.jpg"),
        Call("honest", "resource", f"dinox://results/{result}/objects/999999999999999999999999/crop.jpg"),
        Call("honest", "complete", "no_such_prompt", {"name": "what", "value": "p"}),
    ]
    return asker.chance.choice(calls)


def _raw(asker: Asker) -> Call:
    """Send what no client sends, where there is a port to send it to."""
    if asker.folder is not None:
        return _bad_arguments(asker)
    return Call("hostile", "raw", asker.chance.choice(["token", "garbage", "null", "deep", "half", "closed"]))


_HOSTILE: Menu = {_bad_picture: 6, _bad_place: 4, _bad_arguments: 4, _too_much: 3, _unknown: 4, _raw: 2}
