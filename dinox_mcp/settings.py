"""Every option, with its environment name and default."""

import os
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_origin
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    AnyHttpUrl,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from dinox_mcp.errors import SettingsError

MiB = 1024 * 1024
Names = tuple[str, ...]
Transport = Literal["stdio", "http", "sse"]
_PREFIX = "DINOX_MCP_"
VENDOR_TOKEN = "AUTH_TOKEN"  # noqa: S105 - a name
"""What the vendor's own server calls the token that HTTP clients must send."""
_SECRETS = {"api_key", "token", "store_password"}
_BACKENDS = ("auto", "dinox", "local", "embedded")


def _expanded(path: Path) -> Path:
    try:
        return path.expanduser()
    except RuntimeError:
        raise ValueError(f"no home is known for {path.parts[0]}; write the full path") from None


_Path = Annotated[Path, AfterValidator(_expanded)]
"""A path that may begin with `~`."""


class Settings(BaseModel):
    """Options of the server, the command line and the Python API.

    Each option is read from the environment variable `DINOX_MCP_<NAME>`, or from the variable that the vendor's own
    server reads, where there is one. Settings are frozen values: they can be compared and pickled.

    Example:
        detector = Detector(Settings(backend="embedded"))
    """

    # Not pydantic-settings: importing it would take 3 % of the server's start.
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    # Backends
    backend: str = Field("auto", description="auto, dinox, local, embedded, or a plug-in's name")
    api_key: SecretStr | None = Field(None, validation_alias="DINOX_API_KEY", description="key of the DINO-X cloud API")
    api_base_url: AnyHttpUrl = Field(
        AnyHttpUrl("https://api.deepdataspace.com"),
        validation_alias="DINOX_API_BASE_URL",
        description="the DINO-X cloud API, a proxy of it, or a test",
    )
    timeout_s: float = Field(120, gt=0, description="seconds that one detection may take")
    upload_max_side: int = Field(1536, ge=64, description="long side of the image uploaded to the cloud")
    upload_quality: int = Field(85, ge=1, le=95, description="JPEG quality of the image uploaded")
    max_calls: int = Field(64, ge=1, description="calls to a backend that one request may take, as with tiles")
    max_calls_per_job: int = Field(
        200, ge=1, description="calls to a paid backend that one search, evaluation or batch of many images takes"
    )
    prompts_folder: _Path | None = Field(None, description="folder of saved prompts; unset: in the user's data folder")
    jobs_folder: _Path | None = Field(
        None, description="folder of what searches of many images have found; unset: in the user's data folder"
    )
    min_scores: _Path | None = Field(
        None,
        description="file of thresholds by label, as dinox-mcp evaluate --tune writes it; unset: the models' own",
    )
    cache_ttl_s: float = Field(3600, ge=0, description="seconds that an answer is cached for the same request")

    # The local backend
    model: str | None = Field(
        None,
        description="a preset (balanced, fast, accurate, sam3, ...), a hub repository as owner/name or "
        "owner/name@revision, or a folder; unset: by device",
    )
    device: str = Field("auto", description="auto, cpu, cuda, cuda:1, mps, ...")
    precision: Literal["auto", "float32", "bfloat16", "float16", "int8"] = Field(
        "auto", description="of the model's numbers"
    )
    runtime: Literal["auto", "torch", "onnx"] = Field(
        "auto",
        description="what runs models; auto: ONNX Runtime on the CPU for the models that it can run, but torch for "
        "those that are faster in it; else torch",
    )
    vocabulary: _Path | None = Field(
        None, description="file of nouns to find where no prompts are given, instead of the built-in ones"
    )
    masks_model: str | None = Field(
        None, description="the model for masks of boxes: sam2.1-tiny, ..., owner/name or a folder; unset: by device"
    )
    pose_model: str | None = Field(
        None,
        description="the model for poses of people: vitpose-base, ..., owner/name or a folder; unset: vitpose-base",
    )
    caption_model: str | None = Field(
        None,
        description="the model for captions, categories and texts of boxes: florence2-base, ..., owner/name or a "
        "folder; unset: florence2-base",
    )
    features_max_bytes: int = Field(256 * MiB, ge=0, description="memory for the features of recent images")
    models_max_bytes: int = Field(8192 * MiB, gt=0, description="memory that several models may share")
    idle_unload_s: float = Field(
        600, ge=0, description="seconds without a request until a model leaves memory; 0 keeps it"
    )
    model_process: Literal["own", "same"] = Field(
        "own", description="where models run: in a process of their own, or in the server's"
    )
    warm_up: bool = Field(False, description="load the model when the server starts, not at the first request")
    queue_max: int = Field(64, ge=1, description="requests that may wait for a model")

    # Images coming in
    allowed_folders: tuple[_Path, ...] | None = Field(
        None,
        description="folders that images may be read from, joined by ':' (';' on Windows); "
        "unset: any over stdio, none over HTTP",
    )
    clipboard: bool = Field(True, description='read the clipboard for image="clipboard" (stdio and command line)')
    allow_http: bool = Field(False, description="fetch images over http:// too, not only https://")
    private_hosts: Names = Field(
        (), description="hosts (name or name:port) to fetch from although their address is private"
    )
    fetch_timeout_s: float = Field(20, gt=0, description="seconds that fetching an image may take")
    max_image_bytes: int = Field(50 * MiB, gt=0, description="largest image file")
    max_image_pixels: int = Field(100_000_000, gt=0, description="largest image in pixels")

    # Videos coming in
    video_max_calls: int = Field(60, ge=1, description="requests to the backend that one video may take")
    video_max_s: float = Field(600, gt=0, description="seconds of a video that are searched in one call")
    video_max_frames: int = Field(40_000, ge=1, description="frames of a video that are searched in one call")
    video_max_mask_frames: int = Field(100, ge=1, description="frames of a video that masks are followed through")
    video_max_bytes: int = Field(2048 * MiB, gt=0, description="largest video file")

    # Images and results going out
    output_folder: _Path | None = Field(
        None,
        validation_alias="IMAGE_STORAGE_DIRECTORY",
        description="folder where annotated images are saved at full size (stdio and command line)",
    )
    preview_max_side: int = Field(1568, ge=64, description="long side of an image in a reply")
    preview_max_bytes: int = Field(500_000, ge=10_000, description="size of an image in a reply")
    store_max_results: int = Field(500, ge=1, description="results kept for later calls")
    store_max_bytes: int = Field(
        256 * MiB, ge=1, description="bytes that kept results may take, in memory and in a shared store each"
    )

    store: str = Field(
        "memory",
        description="where results and uploads are kept for later calls: memory, or what several servers share: a "
        "folder, or redis://HOST:PORT (extra redis)",
    )
    store_password: SecretStr | None = Field(None, description="password of that Redis")
    store_keep_s: float = Field(86_400, gt=0, description="seconds that a shared store keeps a result")

    # Serving
    transport: Transport = Field("stdio", description="stdio, http (streamable) or sse")
    host: str = Field("127.0.0.1", description="address to listen on")
    port: int = Field(8000, ge=0, le=65535, description="port to listen on; 0 takes a free one")
    token: SecretStr | None = Field(None, description="bearer token that HTTP clients must send")
    no_auth: bool = Field(False, description="serve other hosts than localhost without a token")
    allowed_hosts: Names = Field((), description="Host headers to accept, as in 'mcp.example.com:*'")
    allowed_origins: Names = Field((), description="Origin headers to accept, as in 'https://example.com'")
    log_level: Literal["debug", "info", "warning", "error"] = Field("warning", description="log to stderr")

    @classmethod
    def load(cls, **flags: Any) -> Self:  # noqa: ANN401 - each flag is validated by its field
        """Read the environment; flags that are given (not None) win.

        Raises:
            SettingsError: one line that names the option, the value and what would be right.
        """
        given = {name: value for name, value in flags.items() if value is not None}
        try:
            settings = cls(**given)
        except ValidationError as error:
            raise SettingsError(", and ".join(_explain(cls, problem) for problem in error.errors())) from None
        return settings._with_token_of_the_vendor(given)

    def without_secrets(self) -> dict[str, Any]:
        """Return the options that are set, for `load` in another process, which takes secrets from its environment."""
        return self.model_dump(mode="json", exclude=_SECRETS, exclude_unset=True, exclude_none=True)

    def _with_token_of_the_vendor(self, given: dict[str, Any]) -> Self:
        """Take the token of the vendor's own server from AUTH_TOKEN if no other token is set.

        Over stdio there is no token, and the variable may belong to another program: a wrong one is ignored.
        """
        token = os.environ.get(VENDOR_TOKEN, "").strip()
        if not token or self.token is not None:
            return self
        try:
            return type(self)(**given, token=token)
        except ValidationError:
            if self.transport == "stdio":
                return self
            raise SettingsError(
                f"{VENDOR_TOKEN}: must be printable ASCII without spaces, as it goes into an HTTP header; "
                f"correct it, or set {environment_name('token')}"
            ) from None

    @model_validator(mode="before")
    @classmethod
    def _add_environment(cls, given: dict[str, Any]) -> dict[str, Any]:
        """Add the options that only the environment has; names count in any case, an empty variable is unset."""
        environment = {name.upper(): value for name, value in os.environ.items() if value}
        options = dict(given)
        for field, about in cls.model_fields.items():
            name = environment_name(field)
            key = name if name in given else field
            value = given[key] if key in given else environment.get(name) or environment.get(_PREFIX + field.upper())
            if isinstance(value, str):
                options[key] = _in_lower_case(field, about.annotation, value)
        return options

    @field_validator("private_hosts", "allowed_hosts", "allowed_origins", mode="before")
    @classmethod
    def _split_names(cls, value: object) -> object:
        return tuple(name.strip() for name in value.split(",") if name.strip()) if isinstance(value, str) else value

    @field_validator("allowed_folders", mode="before")
    @classmethod
    def _split_folders(cls, value: object) -> object:
        folders = value.split(os.pathsep) if isinstance(value, str) else value
        if not isinstance(folders, list | tuple):
            return folders
        return tuple(folder for folder in folders if str(folder))

    @field_validator("store")
    @classmethod
    def _store_is_known(cls, value: str) -> str:
        place = value.strip()
        if place.lower() == "memory":
            return "memory"
        if "://" in place:
            return _redis_url(place)
        if not {"/", os.sep} & set(place):
            raise ValueError(f"{place[:40]!r} is not memory, a folder (with a / in it) or redis://HOST:PORT; write one")
        return str(_expanded(Path(place)).absolute())

    @field_validator("api_key", "token")
    @classmethod
    def _key_fits_a_header(cls, value: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        if value is None:
            return None
        text = value.get_secret_value().strip()
        if info.field_name == "api_key" and text.startswith("${"):
            return None  # hosts and bundles pass a reference on as it is where nobody set the key
        if not text.isascii() or not text.isprintable() or " " in text:
            raise ValueError("must be printable ASCII without spaces, as it goes into an HTTP header; correct it")
        return SecretStr(text) if text else None


def _redis_url(value: str) -> str:
    """Check the URL of a Redis; none of the messages repeats it, since it may hold a password."""
    try:
        parts = urlsplit(value)
        secret, host = parts.password, parts.hostname
    except ValueError:
        raise ValueError("it is not a valid URL; write redis://HOST:PORT") from None
    if parts.scheme not in {"redis", "rediss", "unix"} or not (host or parts.scheme == "unix"):
        raise ValueError("a store with :// is a Redis; write redis://HOST:PORT, or rediss:// with TLS")
    if secret is not None or parts.query:
        raise ValueError("the URL holds a password or options; leave them out, and set DINOX_MCP_STORE_PASSWORD")
    return value


def _in_lower_case(field: str, kind: object, value: str) -> str:
    """Take a value of a fixed list (names, true and false) in any case and with spaces around it."""
    plain = value.strip().lower()
    if field == "backend":
        return plain if plain in _BACKENDS else value  # a plug-in is named as it likes
    return plain if kind is bool or get_origin(kind) is Literal or field == "device" else value


def environment_name(field: str) -> str:
    """Return the name of an option's environment variable."""
    alias = Settings.model_fields[field].validation_alias
    return alias if isinstance(alias, str) else _PREFIX + field.upper()


def unknown_variables() -> list[str]:
    """List warnings about environment variables that look like options and are not: mostly typing errors."""
    known = {environment_name(field): field for field in Settings.model_fields}
    lines = []
    for name in sorted(os.environ):
        if name.startswith(_PREFIX) and name not in known:
            import difflib

            close = difflib.get_close_matches(name, known, n=1)
            lines.append(f"{name} is not an option" + (f"; did you mean {close[0]}?" if close else ""))
    return lines


def _explain(cls: type[Settings], problem: Any) -> str:  # noqa: ANN401 - pydantic's ErrorDetails
    name = str(problem["loc"][0])
    field = name if name in cls.model_fields else name.removeprefix(_PREFIX).lower()
    field = next((known for known in cls.model_fields if environment_name(known) == name), field)
    if field not in cls.model_fields:
        return f"{name} is not an option; see dinox-mcp --help"
    message = str(problem["msg"])
    if problem["type"] != "value_error" and field not in _SECRETS:  # whose values are secret
        message = f"{problem['input']!r} is not valid; {message[0].lower()}{message[1:]}"
    return f"{environment_name(field)}: {message.removeprefix('Value error, ')}"
