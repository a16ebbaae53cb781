"""What errors say about proxies and certificates."""

import socket

import pytest

from dinox_mcp.backends.base import Call
from dinox_mcp.errors import (
    UnreachableError,
)
from dinox_mcp.types.detection import DetectionRequest
from tests.backends.dinox.conftest import Connect, plain

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
