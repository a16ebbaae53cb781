"""Every error that this package raises on purpose.

Each is a `DinoxError`, and of its three kinds: a `SettingsError`, an `InputError` or a `BackendError`. `code` stays the
same from release to release. Each message is one line of the form "what was wrong, with the value; remedy". A model
reads it and must be able to act on it.
"""

import re
from typing import ClassVar

_VALUE = re.compile(r"""(?<!\w)'[^']*'(?!\w)|"[^"]*"|\([^()]*\)""")
"""A value in a message, in quotation marks or parentheses: a semicolon in it does not begin the remedy."""


class DinoxError(Exception):
    """The root of every error that this package raises on purpose.

    Attributes:
        code: the kind of error in snake case, for programs; it stays the same when the message changes.

    Example:
        try:
            result = await detector.detect("photo.jpg", "person")
        except DinoxError as error:
            print(error.code, error.remedy)
    """

    code: ClassVar[str] = "error"

    @property
    def remedy(self) -> str:
        """What the caller can do about it: the message after its first semicolon; empty where it has none."""
        message = str(self)
        outside = _VALUE.sub(lambda value: "_" * len(value[0]), message)
        problem, _, remedy = outside.partition("; ")
        return message[len(problem) + 2 :] if remedy else ""


class SettingsError(DinoxError):
    """A flag or an environment variable is wrong."""

    code = "invalid_settings"


class InputError(DinoxError):
    """An argument of the call is wrong."""

    code = "invalid_input"


class ImageError(InputError):
    """The image cannot be found, read, fetched or decoded."""

    code = "image_unreadable"


class ForbiddenError(ImageError):
    """The image may not be read: its folder, address or size is not allowed."""

    code = "image_forbidden"


class NotFoundError(InputError):
    """There is no such result, object, job or saved prompt."""

    code = "not_found"


class BackendError(DinoxError):
    """The backend could not answer."""

    code = "backend_failed"


class UnsupportedError(BackendError):
    """The backend can never do this; the message names one that can."""

    code = "unsupported"


class KeyRejectedError(BackendError):
    """The API key is missing, wrong or lacks permission."""

    code = "key_rejected"


class QuotaError(BackendError):
    """The account has no credit left."""

    code = "quota_exceeded"


class BusyError(BackendError):
    """Too many requests, or too much work waiting."""

    code = "busy"


class DeadlineError(BackendError):
    """No answer came in time."""

    code = "timed_out"


class UnreachableError(BackendError):
    """The service cannot be reached."""

    code = "unreachable"


class ServiceError(BackendError):
    """The service answered with a failure."""

    code = "service_failed"
