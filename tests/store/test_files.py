"""The one way of writing files."""

import os
import stat
from pathlib import Path

import pytest

from dinox_mcp.store.files import write_atomically, write_new


def test_a_link_is_replaced_and_what_it_points_to_stays(tmp_path: Path) -> None:
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_bytes(b"mine")
    link.symlink_to(target)
    write_atomically(link, b"new")
    assert (target.read_bytes(), link.read_bytes(), link.is_symlink()) == (b"mine", b"new", False)


def test_without_a_mode_a_file_is_as_others_are(tmp_path: Path) -> None:
    usual, secret = tmp_path / "usual", tmp_path / "secret"
    plain = tmp_path / "plain"
    plain.touch()
    write_atomically(usual, b"")
    write_atomically(secret, b"", 0o600)
    assert stat.S_IMODE(usual.stat().st_mode) == stat.S_IMODE(plain.stat().st_mode)
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no such pipes")
def test_what_is_no_file_is_not_replaced(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(OSError, match="a folder, a device or a pipe has this name"):
        write_atomically(pipe, b"")
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    assert list(tmp_path.iterdir()) == [pipe]


def test_a_name_of_any_length_is_written(tmp_path: Path) -> None:
    write_atomically(tmp_path / ("n" * 250), b"x")
    assert [path.name for path in tmp_path.iterdir()] == ["n" * 250]


@pytest.mark.parametrize("links", [True, False], ids=["hard links", "none"])
def test_a_new_file_replaces_nothing_not_even_a_link_to_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool
) -> None:
    if not links:

        def refused(*_: object) -> None:
            raise PermissionError

        monkeypatch.setattr(os, "link", refused)
    write_new(tmp_path / "new", b"new")
    (tmp_path / "link").symlink_to(tmp_path / "missing")
    for name in ("new", "link"):
        with pytest.raises(FileExistsError):
            write_new(tmp_path / name, b"other")
    assert (tmp_path / "new").read_bytes() == b"new"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "new"]
