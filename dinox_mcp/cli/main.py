"""The command line: serve an assistant, or detect for a person."""

import argparse
import gc
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NoReturn

from dinox_mcp import __version__
from dinox_mcp.cli import terminal
from dinox_mcp.errors import DinoxError, SettingsError

if TYPE_CHECKING:
    from dinox_mcp.detect.visual_prompts import Pointer
    from dinox_mcp.settings import Settings

_EPILOG = """\
examples:
  dinox-mcp                                       serve an assistant over stdio (what hosts start)
  dinox-mcp serve --transport http --port 8000    serve http://127.0.0.1:8000/mcp
  dinox-mcp detect photo.jpg person "red car" --out annotated.jpg
  dinox-mcp detect 'shelf/*.jpg' box --out annotated/ --json
  dinox-mcp detect photo.jpg person --open        look at it in the browser
  dinox-mcp detect clip.mp4 person car --out found/
  dinox-mcp pull fast                             download a model for the local backend
  dinox-mcp install cursor                        add this server to an assistant (install --list: which)
  dinox-mcp doctor                                say what works here, and what to do about what does not

environment:
  DINOX_API_KEY             key of the DINO-X cloud (https://deepdataspace.com); without one, text, codes and
                            markers are found on this machine
  IMAGE_STORAGE_DIRECTORY   folder where visualize, and detect without --out, save pictures at full size
  DINOX_MCP_TOKEN           bearer token that HTTP clients must send
  DINOX_MCP_*               every other option; the README lists them
"""
_DETECT_EPILOG = """\
A word is a picture if it is a URL, ends like one (.jpg .png .webp …), is an existing path with a slash in it (./photo)
or a pattern that matches files; every other word is a prompt. Without prompts, everything that the backend knows is
detected.

What ends like a video (.mp4 .mov .mkv .webm …) is one: the backend is asked about key frames, and what it finds is
followed between them. --out is a folder then: for the annotated video, its objects frame by frame, a contact sheet and
the tracks. Ctrl-C keeps what is done.

exit status: 0 all pictures answered, 1 some could not be, or the answers not written, 2 wrong usage or settings
"""
_REFUSED = {
    "--dinox-api-key": "every program of this machine can read a key on the command line; set DINOX_API_KEY instead",
    "--enable-client-key": "leave it out: clients may always bring their own key, in the header X-DINOX-API-Key; "
    "?key= in the address is not read, as addresses are logged",
}
_READER_LEFT = 141  # as a shell counts a program that SIGPIPE ended
_SERVING = ("transport", "host", "port", "no_auth", "warm_up")
_COMMON = ("backend", "log_level")


class _Parser(argparse.ArgumentParser):
    """A parser whose complaints are one line, as all of this program's are."""

    def error(self, message: str) -> NoReturn:
        sys.exit(_complain(f"{message.removeprefix('argument ')} (see {self.prog} --help)", 2))


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; exits with 0, 1 (a detection failed), 2 (wrong usage or settings), 130 or 141 (stopped)."""
    terminal.prepare()
    options = parser().parse_args(arguments)
    try:
        options.run(options)
    except SettingsError as error:
        sys.exit(_complain(error, 2))
    except DinoxError as error:
        sys.exit(_complain(error, 1))
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        sys.exit(_READER_LEFT)


def parser() -> argparse.ArgumentParser:
    """Build the parser of all commands."""
    top = _Parser(
        prog="dinox-mcp",
        description="Eyes for AI assistants: an MCP server that finds objects in pictures, exactly.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="version", version=f"dinox-mcp {__version__}")
    top.set_defaults(run=_serve)
    commands = top.add_subparsers(title="commands", metavar="COMMAND")
    _add_serve_options(top, None)
    # A command's defaults would replace what was given before the command.
    _add_serve_options(commands.add_parser("serve", help="serve an assistant (the default)"), argparse.SUPPRESS)
    _add_detect_command(commands)
    _add_pull_command(commands)
    _add_install_command(commands)
    _add_doctor_command(commands)
    return top


def _add_serve_options(command: argparse.ArgumentParser, default: str | None) -> None:
    command.set_defaults(run=_serve)
    group = command.add_argument_group("serving")
    group.add_argument(
        "--transport",
        type=str.lower,
        choices=("stdio", "http", "sse"),
        default=default,
        help="stdio (default), http or sse",
    )
    group.add_argument("--host", default=default, help="address to listen on (default 127.0.0.1)")
    group.add_argument(
        "--port",
        type=_number(int, 0, 65535),
        default=default,
        metavar="PORT",
        help="port to listen on, 0 for a free one (default 8000)",
    )
    group.add_argument(
        "--no-auth", action="store_true", default=default, help="serve a network without a token (DINOX_MCP_TOKEN)"
    )
    group.add_argument(
        "--warm-up", action="store_true", default=default, help="load the local model now, not at the first question"
    )
    _add_flags_of_the_vendor(group, default)
    _add_common_options(command, default)


def _add_flags_of_the_vendor(group: "argparse._ArgumentGroup", default: str | None) -> None:
    """Take the flags of the vendor's own server, or say what to do instead (docs/from-vendor.md)."""
    for transport in ("http", "stdio"):
        group.add_argument(
            f"--{transport}",
            action="store_const",
            dest="transport",
            const=transport,
            default=default,
            help=argparse.SUPPRESS,
        )
    for flag in _REFUSED:
        group.add_argument(flag, nargs="?", action=_Refused, default=argparse.SUPPRESS, help=argparse.SUPPRESS)


class _Refused(argparse.Action):
    """A flag of the vendor's server that this one does not take; its value, which may be a key, is not repeated."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        parser.error(f"{self.option_strings[0]}: {_REFUSED[self.option_strings[0]]}")


def _add_detect_command(commands: "argparse._SubParsersAction[_Parser]") -> None:
    detect = commands.add_parser(
        "detect",
        help="detect objects in pictures and print or draw them",
        description="Detect objects in pictures and print them as a table, or draw them.",
        epilog=_DETECT_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    detect.set_defaults(run=_detect)
    detect.add_argument(
        "words", nargs="+", type=_word, metavar="PICTURE_OR_PROMPT", help="pictures, and what to look for in them"
    )
    detect.add_argument("--out", metavar="PATH", help="write the annotated picture here: a .jpg, a .png, or a folder")
    detect.add_argument("--html", metavar="FILE", help="write a page that shows the result in any browser")
    detect.add_argument("--open", action="store_true", help="show the result in the browser, as such a page")
    detect.add_argument("--json", action="store_true", help="print one JSON document a line for each picture")
    part = _number(float, 0, 1)
    detect.add_argument("--min-score", type=part, metavar="S", help="lowest score, 0 to 1 (the model's own)")
    detect.add_argument(
        "--iou-threshold", type=part, metavar="T", help="overlap above which boxes are one (the model's own)"
    )
    detect.add_argument("--max-objects", type=_limit, metavar="N", help="objects to list at most (100)")
    _add_asking_options(detect)
    _add_video_options(detect)
    _add_common_options(detect, argparse.SUPPRESS)


def _add_asking_options(detect: argparse.ArgumentParser) -> None:
    """Add what there is to ask besides words."""
    group = detect.add_argument_group("asking")
    group.add_argument(
        "--include",
        type=_outputs,
        default=(),
        metavar="OUTPUT,...",
        help="more of each object: masks, pose, hands, caption, category, text",
    )
    group.add_argument("--masks", action="store_true", help="the same as --include masks")
    group.add_argument(
        "--like",
        type=_example,
        action="append",
        metavar="EXAMPLE",
        help="find what looks like it: X1,Y1,X2,Y2 or X,Y in the picture, X1,Y1,X2,Y2@OTHER.jpg, or the name of a "
        "saved prompt; LABEL=... says what to call it; may be repeated",
    )
    group.add_argument(
        "--not-like",
        type=_counterexample,
        action="append",
        dest="like",
        metavar="EXAMPLE",
        help="... but not like this",
    )
    group.add_argument(
        "--describe", metavar="SENTENCE", help='find what a sentence tells from others: "the man left of the car"'
    )
    group.add_argument(
        "--tiles", type=_number(int, 1, 8), default=1, metavar="N", help="look in N parts along the long side too (1)"
    )
    group.add_argument("--model", metavar="NAME", help="model of the backend to ask")


def _add_video_options(detect: argparse.ArgumentParser) -> None:
    group = detect.add_argument_group("videos")
    group.add_argument(
        "--every",
        type=_number(float, 0, 3600),
        metavar="S",
        help="seconds from one key frame to the next (0.5, or more so that --max-calls are enough)",
    )
    group.add_argument(
        "--max-calls",
        type=_number(int, 1, 100_000),
        metavar="N",
        help="calls to the backend for one video at most (DINOX_MCP_VIDEO_MAX_CALLS)",
    )
    group.add_argument(
        "--start", type=_number(float, 0, 1_000_000), default=0.0, metavar="S", help="second to begin at"
    )
    group.add_argument("--end", type=_number(float, 0, 1_000_000), metavar="S", help="second to end at")


def _outputs(text: str) -> tuple[str, ...]:
    from dinox_mcp.types.detection import OUTPUTS

    names = tuple(name.strip() for name in text.split(",") if name.strip())
    if unknown := sorted(set(names) - set(OUTPUTS)):
        raise argparse.ArgumentTypeError(f"{unknown[0]!r:.80} is no output; choose from {', '.join(OUTPUTS)}")
    return names


def _example(text: str, *, negative: bool = False) -> "Pointer":
    from dinox_mcp.cli.arguments import pointer_of

    try:
        return pointer_of(text, negative=negative)
    except DinoxError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _counterexample(text: str) -> "Pointer":
    return _example(text, negative=True)


def _add_pull_command(commands: "argparse._SubParsersAction[_Parser]") -> None:
    pull = commands.add_parser(
        "pull",
        help="download a model for the local backend",
        description="Download a model for the local backend, or what is missing or new of it.",
    )
    pull.set_defaults(run=_pull)
    pull.add_argument(
        "model",
        nargs="?",
        metavar="MODEL",
        help="a preset, owner/name or owner/name@revision of the hub (default: DINOX_MCP_MODEL, or the device's)",
    )
    pull.add_argument("--list", action="store_true", help="list the presets and whether each is here")


def _add_install_command(commands: "argparse._SubParsersAction[_Parser]") -> None:
    install = commands.add_parser(
        "install",
        help="add this server to an assistant: Claude, Cursor, VS Code, Codex, ...",
        description="Add this server to assistants, or take it out; everything else in their settings stays.",
        epilog="The key is taken from DINOX_API_KEY, or asked for without being shown; it is never an argument.",
    )
    install.set_defaults(run=_install)
    install.add_argument(
        "hosts", nargs="*", metavar="HOST", help="claude-desktop, claude-code, ...: see --list; or all"
    )
    install.add_argument("--list", action="store_true", help="list the hosts, which are here, and which are set up")
    install.add_argument("--dry-run", action="store_true", help="show the change without making it")
    install.add_argument("--uninstall", action="store_true", help="take the server out again")
    install.add_argument("--project", action="store_true", help="set up the project in this folder, not the user")
    install.add_argument("--name", default="dinox", help="name of the server in the host (dinox)")
    install.add_argument("--replace", action="store_true", help="replace another server of this name")
    install.add_argument("--no-key", action="store_true", help="neither ask for a key nor take it from the environment")
    group = install.add_argument_group("what the host starts")
    group.add_argument("--backend", default=argparse.SUPPRESS, help="auto (default), dinox, local, embedded, ...")
    group.add_argument(
        "--env", action="append", default=[], metavar="NAME=VALUE", help="another option to set; may be repeated"
    )
    group.add_argument(
        "--launcher",
        choices=("auto", "uvx", "python"),
        default="auto",
        help="start by uvx, or this Python; auto (default) takes uvx where it is found",
    )
    group.add_argument(
        "--from", dest="source", metavar="SPEC", help="what uvx takes: dinox-mcp==1.2, a wheel, a folder"
    )
    group.add_argument(
        "--extra", action="append", dest="extras", default=[], choices=("local", "video"), help="extra to install"
    )


def _add_doctor_command(commands: "argparse._SubParsersAction[_Parser]") -> None:
    doctor = commands.add_parser(
        "doctor",
        help="say what works here, what does not, and what to do about it",
        description="Say what works here, what does not, and what to do about it. Costs no quota, prints no key.",
        epilog="exit status: 0 all is well, 1 there are problems",
    )
    doctor.set_defaults(run=_doctor)
    doctor.add_argument("--json", action="store_true", help="print one JSON document")
    doctor.add_argument("--offline", action="store_true", help="ask no service on the network")


def _add_common_options(command: argparse.ArgumentParser, default: str | None) -> None:
    command.add_argument(
        "--backend", default=default, help="auto (default), dinox, local, embedded, or a plug-in's name"
    )
    command.add_argument(
        "--log-level",
        type=str.lower,
        choices=("debug", "info", "warning", "error"),
        default=default,
        help="log to stderr (warning)",
    )


def _word(text: str) -> str:
    if not text.strip():
        raise argparse.ArgumentTypeError("a word is empty; name a picture or what to look for")
    return text


def _number(kind: type[int] | type[float], least: int, most: int) -> Callable[[str], float]:
    """Make a reader of numbers within limits."""

    def read(text: str) -> float:
        try:
            number = kind(text)
        except ValueError:
            number = kind(least - 1)
        if not least <= number <= most:  # NaN is not
            what = "a whole number" if kind is int else "a number"
            raise argparse.ArgumentTypeError(f"{text!r:.80} is not {what} from {least} to {most}")
        return number

    return read


def _limit(text: str) -> float:
    from dinox_mcp.detect.options import MAX_OBJECTS

    return _number(int, 1, MAX_OBJECTS)(text)


def _serve(options: argparse.Namespace) -> None:
    # Half of the start is building the SDK's classes; collecting garbage meanwhile finds none and takes 60 ms.
    gc.disable()
    from dinox_mcp.server.serve import serve

    gc.freeze()
    gc.enable()
    serve(_settings(**_flags(options, *_SERVING, *_COMMON)))


def _detect(options: argparse.Namespace) -> None:
    _refuse(options, "detect", *_SERVING)
    from dinox_mcp.cli.detect import detect

    # Whatever is set for serving: a person at the command line may read files.
    if not detect(_settings(transport="stdio", **_flags(options, *_COMMON)), options):
        sys.exit(1)


def _pull(options: argparse.Namespace) -> None:
    _refuse(options, "pull", *_SERVING, *_COMMON)
    from dinox_mcp.cli.pull import list_presets, pull

    if options.list:
        list_presets()
    else:
        pull(_settings(), options.model)


def _install(options: argparse.Namespace) -> None:
    _refuse(options, "install", *_SERVING, "log_level")
    from dinox_mcp.cli.install import run

    run(options)


def _doctor(options: argparse.Namespace) -> None:
    _refuse(options, "doctor", *_SERVING, *_COMMON)
    from dinox_mcp.cli.doctor import run

    if not run(as_json=options.json, offline=options.offline):
        sys.exit(1)


def _refuse(options: argparse.Namespace, command: str, *names: str) -> None:
    """Refuse options given before a command that has no use for them."""
    for flag, value in _flags(options, *names).items():
        if value is not None:
            raise SettingsError(f"--{flag.replace('_', '-')} is no option of {command}; leave it out")


def _flags(options: argparse.Namespace, *names: str) -> dict[str, object]:
    return {name: getattr(options, name) for name in names}


def _settings(**flags: object) -> "Settings":
    from dinox_mcp.settings import Settings, unknown_variables

    for line in unknown_variables():
        sys.stderr.write(f"dinox-mcp: {terminal.printable(line)}\n")
    return Settings.load(**flags)


def _complain(problem: DinoxError | str, status: int) -> int:
    sys.stderr.write(f"dinox-mcp: {terminal.printable(str(problem))}\n")
    return status
