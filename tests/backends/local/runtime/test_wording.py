import pytest

from dinox_mcp.backends.local.runtime.requests import few, quoted


@pytest.mark.parametrize(
    ("names", "listed"), [([], ""), (["a"], "a"), (["a", "b", "c"], "a, b, c"), (list("abcde"), "a, b, c and 2 more")]
)
def test_a_few_are_named_and_the_others_counted(names: list[str], listed: str) -> None:
    assert few(names) == listed


def test_what_a_caller_wrote_is_quoted_and_shortened() -> None:
    assert quoted(["dog", "x" * 41, "y" * 42]) == f"'dog', '{'x' * 41}', '{'y' * 40}…'"
