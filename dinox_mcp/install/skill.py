"""The skill: a page that teaches an assistant when to use which tool, in the folder from which its host reads skills.

Hosts read `<folder>/<name>/SKILL.md` (https://agentskills.io). The file ends with a checksum of its text, so that a
later version replaces it and `--uninstall` removes it, but neither touches a file that a person has changed.
"""

import re
from hashlib import sha256
from pathlib import Path
from typing import Literal

from dinox_mcp.errors import DinoxError
from dinox_mcp.install import files
from dinox_mcp.install.files import Machine
from dinox_mcp.install.hosts import Host

NAME = "dinox"
"""The name of the skill, and of its folder."""
Outcome = Literal["written", "removed", "present", "absent", "changed by you"]
_FILE = Path(__file__).with_name("SKILL.md")
_STAMP = re.compile(r"\n<!-- Written by dinox-mcp install, sha256 ([0-9a-f]{16}) -->\n\Z")


def path_of(host: Host, machine: Machine) -> Path | None:
    """Return the path of the skill for a host; None where the host does not read skills."""
    return host.skills(machine) / NAME / "SKILL.md" if host.skills else None


def write(path: Path, *, dry_run: bool = False) -> Outcome:
    """Write the skill, or replace an earlier version of it.

    Returns:
        "written", "present" where the file is up to date, or "changed by you" where it was left alone.

    Raises:
        DinoxError: The file cannot be read or written.
    """
    old = files.read(path)
    text = _stamped(_FILE.read_text(encoding="utf-8"))
    if old.text == text:
        return "present"
    if old.content is not None and not _is_as_written(old.text):
        return "changed by you"
    if not dry_run:
        files.replace(old, text, secret=False, keep_backup=False)
    return "written"


def remove(path: Path, *, dry_run: bool = False) -> Outcome:
    """Remove the skill and its folder.

    Returns:
        "removed", "absent" where there is no file, or "changed by you" where it was left alone.

    Raises:
        DinoxError: The file cannot be read or removed.
    """
    old = files.read(path)
    if old.content is None:
        return "absent"
    if not _is_as_written(old.text):
        return "changed by you"
    if not dry_run:
        try:
            path.unlink()
            if not any(path.parent.iterdir()):
                path.parent.rmdir()
        except OSError as error:
            raise DinoxError(f"{path} cannot be removed ({error.strerror}); remove it yourself") from None
    return "removed"


def _stamped(text: str) -> str:
    return f"{text}\n<!-- Written by dinox-mcp install, sha256 {_checksum(text)} -->\n"


def _is_as_written(text: str) -> bool:
    stamp = _STAMP.search(text)
    return stamp is not None and stamp[1] == _checksum(text[: stamp.start()])


def _checksum(text: str) -> str:
    return sha256(text.encode()).hexdigest()[:16]
