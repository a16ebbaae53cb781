import re
from collections.abc import Iterator

import pytest

from dinox_mcp.errors import DinoxError, InputError, UnsupportedError


def tree(root: type[DinoxError]) -> Iterator[type[DinoxError]]:
    yield root
    for child in root.__subclasses__():
        yield from tree(child)


def test_each_error_has_a_code_of_its_own() -> None:
    codes = [error.code for error in tree(DinoxError)]
    assert len(set(codes)) == len(codes)
    assert all(re.fullmatch("[a-z_]+", code) for code in codes)
    assert UnsupportedError("no").code == "unsupported", "programs compare codes: they stay as they are"


@pytest.mark.parametrize(
    ("message", "remedy"),
    [
        ("max_objects is 0; choose 1 to 1000", "choose 1 to 1000"),
        (
            "it cannot do masks; the backend local can; otherwise leave it out",
            "the backend local can; otherwise leave it out",
        ),
        ("the prompt 'a; b' is too long; use short nouns", "use short nouns"),
        ('"a; b" is not an image', ""),
        ("it's wrong (got 'a; b'); correct it", "correct it"),
        ("nothing can be done", ""),
    ],
)
def test_the_remedy_is_what_follows_the_problem(message: str, remedy: str) -> None:
    error = InputError(message)
    assert (str(error), error.remedy) == (message, remedy)


@pytest.mark.parametrize("hostile", ["'", "(", '"', "a'", "'a", "()"])
def test_a_hostile_value_does_not_keep_the_remedy_busy(hostile: str) -> None:
    assert InputError(f"{hostile * 50_000}\n; go on").remedy == "go on"
