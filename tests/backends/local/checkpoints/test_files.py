import pytest

from dinox_mcp.backends.local.checkpoints.files import few


@pytest.mark.parametrize(
    ("names", "listed"), [([], ""), (["a"], "a"), (["a", "b", "c"], "a, b, c"), (list("abcde"), "a, b, c and 2 more")]
)
def test_a_few_are_named_and_the_others_counted(names: list[str], listed: str) -> None:
    assert few(names) == listed
