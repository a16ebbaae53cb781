"""Replies of the service: data, or a failure and its remedy; and what errors say about proxies and certificates."""

import json
import socket
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from pydantic import SecretStr

from dinox_mcp.backends.base import Call
from dinox_mcp.backends.dinox.replies import Failure, Verdict, read_reply, read_status
from dinox_mcp.errors import (
    BackendError,
    BusyError,
    KeyRejectedError,
    QuotaError,
    ServiceError,
    UnreachableError,
)
from dinox_mcp.types.detection import DetectionRequest
from tests.backends.dinox.conftest import Connect, plain


@pytest.mark.parametrize("status", ["failed", "error", "ERROR", "cancelled", "timeout", "expired"])
def test_a_task_that_ends_without_a_result_ends_the_call(status: str) -> None:
    with pytest.raises(Failure, match=r"the DINO-X task failed .*out of memory") as caught:
        read_status({"status": status, "error": "out of memory"}, SecretStr("sesame"))

    assert caught.value.verdict is Verdict.FINAL


@pytest.mark.parametrize("status", ["waiting", "running", "pending", "queued", "thinking", None])
def test_a_task_of_any_other_status_goes_on(status: str | None) -> None:
    assert read_status({"status": status, "error": ""}, SecretStr("sesame")) is None


def reply(status: int, content: bytes, **headers: str) -> Failure:
    with pytest.raises(Failure) as caught:
        read_reply(status, headers, content, SecretStr("sesame"))
    return caught.value


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"null",
        b"[]",
        b"7",
        b'"text"',
        b"\xff\xfe",
        b"[" * 100_000,
        b"{}",
        b'{"code": 0}',
        b'{"code": 0, "data": null}',
        b'{"code": 0, "data": [1]}',
        b'{"code": 0, "msg": {"a": 1}, "data": 1}',
        b"1" * 5000,
    ],
    ids=lambda content: repr(content[:30]),
)
def test_no_content_breaks_the_reader(content: bytes) -> None:
    failure = reply(200, content)

    assert isinstance(failure.error, ServiceError)
    assert failure.verdict is Verdict.UNCLEAR


@pytest.mark.parametrize(
    ("message", "error"),
    [
        ("Token is invalid", KeyRejectedError),
        ("invalid token", KeyRejectedError),
        ("Unauthorized", KeyRejectedError),
        ("Token out of Quota", QuotaError),
        ("Token exceeds Rate Limit", BusyError),
        ("Resource Not Found", ServiceError),
        ("prompt exceeds 77 tokens", ServiceError),
        (None, ServiceError),
        (["a", 1], ServiceError),
    ],
    ids=str,
)
def test_a_code_in_a_200_is_recognized_by_its_message(message: object, error: type[BackendError]) -> None:
    failure = reply(200, json.dumps({"code": 17, "msg": message}).encode())

    assert type(failure.error) is error
    assert "code 17" in str(failure)


@pytest.mark.parametrize(
    ("text", "pause"),
    [
        ("3", 3),
        (" 0.5 ", 0.5),
        ("-1", 0),
        ("nan", None),
        ("inf", None),
        ("soon", None),
        ("1e300", 86_400),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0),
    ],
)
def test_retry_after_is_read_in_all_its_forms(text: str, pause: float | None) -> None:
    assert reply(429, b"", **{"retry-after": text}).after == pause


def test_retry_after_may_be_a_date() -> None:
    then = format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)

    assert reply(503, b"", **{"retry-after": then}).after == pytest.approx(30, abs=2)


@pytest.mark.parametrize("status", [200, 201, 202])
def test_data_is_data_with_any_status_of_success(status: int) -> None:
    assert read_reply(status, {}, b'{"code": "0", "data": {"a": 1}}', SecretStr("sesame")) == {"a": 1}


@pytest.mark.parametrize("status", [301, 400, 401, 403, 404, 409, 413, 418, 429, 500, 504, 599])
def test_every_failure_is_one_line_of_bounded_length_without_the_key(status: int) -> None:
    body = '{"msg": "Sesame\\nopen sesame", "errors": ["' + "sesame x" * 1000 + '"]}'

    message = str(reply(status, body.encode()))

    assert len(message) < 900
    assert "\n" not in message
    assert "sesame" not in message.lower()
    assert f"HTTP {status}" in message
    assert "; " in message


pytestmark = pytest.mark.anyio
DOG = DetectionRequest(prompts=("dog",))


async def test_a_broken_proxy_setting_is_reported(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "gopher://127.0.0.1")

    with pytest.raises(UnreachableError, match="proxy"):
        await connect().detect(plain(), DOG, Call())


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        ("ALL_PROXY", "socks5://user:sesame@127.0.0.1:1", r"ALL_PROXY is 'socks5://127.0.0.1:1'.*socksio"),
        ("ALL_PROXY", "ftp://proxy", "ALL_PROXY is 'ftp://proxy'"),
        ("HTTP_PROXY", "http://127.0.0.1:99999", "HTTP_PROXY is .* from 0 to 65535"),
        ("all_proxy", "http://[::1", "all_proxy is"),
        ("SSL_CERT_FILE", "/nowhere/ca.pem", "SSL_CERT_FILE is '/nowhere/ca.pem', which is not a file"),
        ("SSL_CERT_FILE", __file__, "SSL_CERT_FILE is .*which holds no certificates"),
    ],
)
async def test_a_setting_of_the_environment_that_does_not_work_is_named(
    connect: Connect, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, words: str
) -> None:
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.setenv(variable, value)
    backend = connect(api_base_url="http://192.0.2.1:1")  # a proxy is not asked about this machine

    with pytest.raises(UnreachableError, match=words) as caught:
        await backend.detect(plain(), DOG, Call())

    assert f"correct or unset {variable}" in str(caught.value)
    assert "sesame" not in str(caught.value)
    assert "\n" not in str(caught.value)


async def test_where_nothing_is_wrong_with_the_environment_the_variables_that_are_set_are_named(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{unused.getsockname()[1]}")
        backend = connect(api_base_url="http://192.0.2.1:1")

        with pytest.raises(UnreachableError, match=r"check the network, HTTP_PROXY \(which is set\)"):
            await backend.detect(plain(), DOG, Call())
