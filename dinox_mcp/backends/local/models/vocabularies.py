"""Tokenizers of checkpoints, by `tokenizers` alone."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from dinox_mcp.errors import BackendError

if TYPE_CHECKING:
    from tokenizers import Tokenizer


@contextmanager
def checked(folder: Path) -> Iterator[None]:
    """Make one error of whatever is wrong with the vocabulary of a checkpoint.

    Raises:
        BackendError: The vocabulary is missing or damaged.
    """
    try:
        yield
    except Exception as error:  # the library raises Exception itself
        line = " ".join(str(error).split())[:200]
        raise BackendError(
            f"the vocabulary in {folder} does not load ({line}); get it anew with dinox-mcp pull"
        ) from error


def load(folder: Path, of_older_files: Callable[[Path], "Tokenizer"]) -> "Tokenizer":
    """Load the tokenizer of a checkpoint, which neither cuts nor pads texts.

    Args:
        folder: The folder of the checkpoint.
        of_older_files: Makes the tokenizer where the folder has no `tokenizer.json`.
    """
    from tokenizers import Tokenizer

    complete = folder / "tokenizer.json"
    tokenizer = Tokenizer.from_file(str(complete)) if complete.is_file() else of_older_files(folder)
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def id_of(tokenizer: "Tokenizer", token: str) -> int:
    """Return the number of a token.

    Raises:
        ValueError: The vocabulary does not have it.
    """
    number = tokenizer.token_to_id(token)
    if number is None:
        raise ValueError(f"it has no {token}")
    return number
