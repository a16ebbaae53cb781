"""Every error that a caller can meet.

    DinoxError
    ├── SettingsError         a flag or an environment variable is wrong
    ├── InputError            an argument of the call is wrong
    │   ├── ImageError        the picture cannot be found, read, fetched or decoded
    │   │   └── ForbiddenError    the picture may not be read: a folder, an address, a size
    │   └── NotFoundError     no such result, or no such object in it
    └── BackendError          the backend could not answer
        ├── UnsupportedError  it never can: the message names a backend that does
        ├── KeyRejectedError  the key is missing, wrong or without permission
        ├── QuotaError        the account has no credit left
        ├── BusyError         too many requests, or too much work waiting
        ├── DeadlineError     no answer in time
        ├── UnreachableError  the service cannot be reached
        └── ServiceError      the service answered with a failure

Each message is one line that says what was wrong, the value, and what to do about it: the assistant's model
reads it and has to be able to act on it.
"""


class DinoxError(Exception):
    """The root of every error that this package raises on purpose."""


class SettingsError(DinoxError):
    """A flag or an environment variable is wrong."""


class InputError(DinoxError):
    """An argument of the call is wrong."""


class ImageError(InputError):
    """The picture cannot be found, read, fetched or decoded."""


class ForbiddenError(ImageError):
    """The picture may not be read: its folder, address or size is not allowed."""


class NotFoundError(InputError):
    """There is no such result, or no such object in it."""


class BackendError(DinoxError):
    """The backend could not answer."""


class UnsupportedError(BackendError):
    """The backend can never do what was asked; the message names one that can."""


class KeyRejectedError(BackendError):
    """The API key is missing, wrong or lacks permission."""


class QuotaError(BackendError):
    """The account has no credit left."""


class BusyError(BackendError):
    """Too many requests, or too much work waiting."""


class DeadlineError(BackendError):
    """No answer came in time."""


class UnreachableError(BackendError):
    """The service cannot be reached."""


class ServiceError(BackendError):
    """The service answered with a failure."""
