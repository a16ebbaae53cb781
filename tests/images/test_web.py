"""Fetching from the web: what is reached, what never is, and how it ends."""

import asyncio
import datetime as dt
import os
import ssl
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path

import anyio
import httpx2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dinox_mcp.errors import ForbiddenError, ImageError
from dinox_mcp.images.loader import ImageLoader
from dinox_mcp.images.picture import Picture
from dinox_mcp.settings import Settings
from tests.images.samples import encode, field
from tests.images.site import Names, Site, redirect, response, serve

pytestmark = pytest.mark.anyio
PNG = encode(field())
HERE = [["127.0.0.1"]]


@pytest.fixture(scope="module", autouse=True)
def _system_certificates() -> Iterator[None]:
    """Read the certificates of the system once for all loaders: it takes 30 ms."""
    create, shared = httpx2.create_ssl_context, httpx2.create_ssl_context()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(httpx2, "create_ssl_context", lambda: create() if "SSL_CERT_FILE" in os.environ else shared)
        yield


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with serve() as site:
        site.pages["/cat.png"] = response(PNG, "Content-Type: image/png")
        yield site


async def load(url: str, names: Names | None = None, **options: object) -> Picture:
    """Load with a name server of the test's own, so that nothing is asked outside."""
    loader = ImageLoader(Settings(**options), resolve=names or Names())
    try:
        with anyio.fail_after(5):
            return await loader.load(url)
    finally:
        await loader.aclose()


async def load_from(site: Site, path: str = "/cat.png", **options: object) -> Picture:
    """Load from the site under a name for which the settings vouch."""
    host = f"pictures.test:{site.port}"
    return await load(f"http://{host}{path}", Names(pictures_test=HERE), private_hosts=(host,), **options)


async def test_a_picture_is_fetched(site: Site) -> None:
    picture = await load_from(site, "/cat.png?token=hunter2#top")
    assert picture.data == PNG
    assert (picture.width, picture.height) == (64, 48)
    assert picture.source == f"http://pictures.test:{site.port}/cat.png"


async def test_what_is_asked_and_under_which_name(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    await load_from(site, "/cat.png?size=2")
    (head,) = site.heads
    request, *headers = head.lower().split("\r\n")
    assert request == "get /cat.png?size=2 http/1.1"
    assert f"host: pictures.test:{site.port}" in headers
    assert "accept-encoding: identity" in headers
    assert not any(header.startswith(("cookie:", "authorization:", "referer:")) for header in headers)


async def test_cookies_are_not_kept(site: Site) -> None:
    site.pages["/one"] = response(b"", "Location: /cat.png", "Set-Cookie: session=1; Path=/", status=302)
    await load_from(site, "/one")
    assert len(site.heads) == 2
    assert "cookie" not in site.heads[1].lower()


# Addresses


@pytest.mark.parametrize(
    "addresses",
    [
        ["127.0.0.1"],
        ["fe80::1%eth0"],
        ["8.8.8.8", "127.0.0.1"],
        ["127.0.0.1", "8.8.8.8"],
        ["2606:4700::1111", "fd00::1"],
        ["nonsense"],
    ],
)
async def test_a_name_with_any_private_address_is_refused(addresses: list[str]) -> None:
    names = Names(evil_test=[addresses])
    with pytest.raises(ForbiddenError, match=r"^https://evil\.test/a\.jpg is on a private network, .*_PRIVATE_HOSTS"):
        await load("https://evil.test/a.jpg", names)
    assert names.asked == ["evil.test"]


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "127.0.0.1.", "127。0。0。1", "[::1]", "[0:0:0:0:0:0:0:1]", "[::ffff:127.0.0.1]", "[fe80::1%25eth0]"],
)
async def test_a_private_address_is_refused_without_a_look_up(host: str) -> None:
    names = Names()
    with pytest.raises(ForbiddenError, match="is on a private network"):
        await load(f"https://{host}/a.jpg", names)
    assert not names.asked


@pytest.mark.parametrize(
    "host",
    ["2130706433", "0x7f.1", "127.1", "2130706433.", "a%20b", "%31%32%37.0.0.1", "", ".", "exa$mple.com", "x" * 254],
)
async def test_a_host_that_programs_read_differently_is_refused_without_a_look_up(host: str) -> None:
    names = Names(**{"2130706433": [["8.8.8.8"]]})
    with pytest.raises(ForbiddenError, match="names no proper host"):
        await load(f"https://{host}/a.jpg", names)
    assert not names.asked


@pytest.mark.parametrize(
    "url", ["https://0177.0.0.1/", "https://①②⑦.0.0.1/", "https://[::1/", "https://a\u00ad.b/\u202e", "https://h:x/"]
)
async def test_what_is_no_url_is_an_error(url: str) -> None:
    with pytest.raises(ImageError, match=r"is not a valid URL|names no proper host"):
        await load(url)


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST", "localhost.", "localhost.."])
async def test_localhost_is_private_by_any_spelling(host: str) -> None:
    """With the resolver of this machine, which knows the name without asking anyone."""
    loader = ImageLoader(Settings())
    with pytest.raises(ImageError, match=r"is on a private network|is on an unknown host"):
        await loader.load(f"https://{host}/a.jpg")


@pytest.mark.parametrize("host", ["nowhere.test", "a..b", "x" * 70 + ".test"])
async def test_an_unknown_host_is_an_error(host: str) -> None:
    with pytest.raises(ImageError, match=r"/a\.jpg is on an unknown host, .*; check the spelling"):
        await load(f"https://{host}/a.jpg")


async def test_the_address_that_was_checked_is_the_one_that_is_asked(site: Site) -> None:
    """DNS rebinding: the name answers something else as soon as it was checked."""
    host = f"rebind.test:{site.port}"
    names = Names(rebind_test=[["127.0.0.1"], ["127.0.0.66"]])
    assert (await load(f"http://{host}/cat.png", names, private_hosts=(host,))).data == PNG
    assert names.asked == ["rebind.test"]


async def test_every_hop_is_looked_up_again(site: Site) -> None:
    host = f"rebind.test:{site.port}"
    site.pages["/go"] = redirect("/cat.png")
    names = Names(rebind_test=[["127.0.0.1"], ["127.0.0.1"]])
    await load(f"http://{host}/go", names, private_hosts=(host,))
    assert names.asked == ["rebind.test", "rebind.test"]


async def test_the_next_address_is_tried_when_one_does_not_answer(site: Site) -> None:
    host = f"pictures.test:{site.port}"
    names = Names(pictures_test=[["127.0.0.66", "127.0.0.1"]])
    assert await load(f"http://{host}/cat.png", names, private_hosts=(host,))


async def test_a_host_that_does_not_answer_is_an_error(site: Site) -> None:
    host = f"pictures.test:{site.port}"
    with pytest.raises(ImageError, match=r"/cat\.png cannot be reached; check the URL"):
        await load(f"http://{host}/cat.png", Names(pictures_test=[["127.0.0.66"]]), private_hosts=(host,))


# Schemes, ports, names


async def test_http_is_fetched_only_where_the_settings_say_so() -> None:
    names = Names(pictures_test=[["10.0.0.1"]])
    with pytest.raises(ForbiddenError, match="is not encrypted; pass an https:// URL or set DINOX_MCP_ALLOW_HTTP"):
        await load("http://pictures.test/a.jpg", names)
    assert not names.asked
    with pytest.raises(ForbiddenError, match="is on a private network"):
        await load("http://pictures.test/a.jpg", names, allow_http=True)


@pytest.mark.parametrize("port", [0, 22, 8080, 65535, 99999])
async def test_other_ports_are_refused(port: int) -> None:
    names = Names(pictures_test=[["8.8.8.8"]])
    with pytest.raises(ForbiddenError, match=f"uses port {port}, and only 80 and 443 are allowed; pass"):
        await load(f"https://pictures.test:{port}/a.jpg", names)
    assert not names.asked


@pytest.mark.parametrize(
    ("url", "trusted"),
    [
        ("https://nas.test/", "nas.test"),
        ("https://NAS.test./", "nas.test"),
        ("http://nas.test/", "NAS.TEST."),
        ("https://nas.test:80/", "nas.test"),
        ("https://nas.test:8080/", "nas.test:8080"),
        ("http://127.0.0.1:8080/", "127.0.0.1:8080"),
        ("https://[::1]/", "::1"),
        ("https://[0:0::1]/", "[::1]"),
        ("https://[::1]:8080/", "[::1]:8080"),
    ],
)
async def test_hosts_that_the_settings_vouch_for(url: str, trusted: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    async def refuse(remote_host: str, **_: object) -> None:
        asked.append(remote_host)
        raise ConnectionRefusedError

    monkeypatch.setattr("anyio.connect_tcp", refuse)
    with pytest.raises(ImageError, match="cannot be reached"):  # and not: is on a private network
        await load(url, Names(nas_test=[["10.0.0.1", "fd00::1"]]), private_hosts=(trusted,))
    assert asked in (["10.0.0.1", "fd00::1"], ["127.0.0.1"], ["::1"])


@pytest.mark.parametrize(
    ("url", "trusted"),
    [
        ("https://nas.test:8080/", "nas.test"),
        ("https://nas.test/", "nas.test:8080"),
        ("https://nas.test:8080/", "nas.test:80"),
        ("https://not-nas.test/", "nas.test"),
        ("https://nas.test.evil.test/", "nas.test"),
        ("https://10.0.0.1/", "nas.test"),
    ],
)
async def test_the_settings_vouch_for_no_other_host(url: str, trusted: str) -> None:
    private = [["10.0.0.1"]]
    names = Names(nas_test=private, nas_test_evil_test=private, **{"not-nas_test": private})
    with pytest.raises(ForbiddenError, match=r"is on a private network|uses port 8080"):
        await load(url, names, private_hosts=(trusted,))


@pytest.mark.parametrize("url", ["https://user:hunter2@pictures.test/?key=hunter2", "https://hunter2@pictures.test/"])
async def test_a_user_name_in_a_url_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(ForbiddenError, match=r"^https://pictures\.test/ carries a user name or a password") as error:
        await load(url)
    assert "hunter2" not in str(error.value)


@pytest.mark.parametrize(
    "url",
    ["https://nowhere.test/a?key=hunter2", "https://127.0.0.1/?key=hunter2", "https://h:x/?hunter2", "https://u:hunter2@[::1/",
     "https://h:22/#hunter2"],
)  # fmt: skip
async def test_no_error_shows_what_may_be_secret_in_a_url(url: str) -> None:
    with pytest.raises(ImageError) as error:
        await load(url)
    assert "hunter2" not in str(error.value)


@given(st.text(max_size=60), st.sampled_from(["", "/", "//", "///", "\\\\", "//u:p@", "//[", "//:"]))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_any_url_is_an_image_error_when_nobody_answers(text: str, slashes: str) -> None:
    with pytest.raises(ImageError) as error:
        await load(f"https:{slashes}{text}")
    assert len(str(error.value)) < 400


# Redirects


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirects_are_followed(site: Site, status: int) -> None:
    site.pages["/old"] = redirect("cat.png?again", status)
    picture = await load_from(site, "/old")
    assert picture.data == PNG
    assert picture.source == f"http://pictures.test:{site.port}/old"


@pytest.mark.parametrize(
    ("location", "message"),
    [
        ("https://10.0.0.1/a.jpg", r"/go redirects to https://10\.0\.0\.1/a\.jpg, which is on a private network"),
        ("https://[::1]/a.jpg", "is on a private network"),
        ("//169.254.169.254/latest/meta-data/", "is not encrypted"),
        ("https://evil.test/a.jpg", r"redirects to https://evil\.test/a\.jpg, which is on a private network"),
        ("https://nowhere.test/a.jpg", r"redirects to https://nowhere\.test/a\.jpg, which is on an unknown host"),
        ("http://evil.test/a.jpg", r"redirects to http://evil\.test/a\.jpg, which is not encrypted"),
        ("https://evil.test:6379/", "uses port 6379"),
        ("https://u:hunter2@evil.test/", r"redirects to https://evil\.test/, which carries a user name"),
        ("https://2130706433/", "names no proper host"),
        ("file:///etc/passwd", "redirects to file:///etc/passwd, which is not a web address"),
        ("data:image/png;base64,AAAA", "is not a web address"),
        ("ftp://evil.test/a.jpg", "is not a web address"),
        ("https://h:x/", r"/go redirects to 'https://h:x/' is not a valid URL"),
        ("https://[", "names no proper host"),
    ],
)
@pytest.mark.slow
async def test_every_redirect_is_checked(site: Site, location: str, message: str) -> None:
    site.pages["/go"] = redirect(location)
    host = f"pictures.test:{site.port}"
    names = Names(pictures_test=HERE, evil_test=[["8.8.8.8", "10.0.0.1"]])
    with pytest.raises(ImageError, match=message) as error:
        await load(f"http://{host}/go?key=hunter2", names, private_hosts=(host,))
    assert "hunter2" not in str(error.value)


async def test_redirects_end(site: Site) -> None:
    for step in range(6):
        site.pages[f"/{step}"] = redirect(f"/{step + 1}")
    site.pages["/6"] = response(PNG)
    assert await load_from(site, "/1")
    site.heads.clear()
    with pytest.raises(ImageError, match=r"/0 redirects more than 5 times; pass the image's own URL"):
        await load_from(site, "/0")
    assert len(site.heads) == 6


# Answers


@pytest.mark.parametrize(
    ("page", "message"),
    [
        (response(b"hunter2", status=403), "answered 403: it is not for everyone"),
        (response(b"hunter2", status=401), "answered 401: it needs a login"),
        (response(b"hunter2", status=404), "answered 404: there is nothing; check the URL"),
        (response(b"hunter2", status=500), "answered 500: it sent no image; try again later, or pass another URL"),
        (response(b"hunter2", status=302), "answered 302: it sent no image; try again later"),
        (response(b"", status=204), "answered 204"),
        (response(PNG, status=206), "answered 206"),
        (
            response(b"<html>hunter2", "Content-Type: text/html; charset=utf-8"),
            r"is a web page \(text/html\), not an image; pass the image's own URL",
        ),
        (response(b"<html>hunter2", "Content-Type: APPLICATION/XHTML+XML"), "is a web page"),
        (response(b"<html>hunter2", "Content-Type: image/png"), "page is not an image; pass a JPEG"),
        (response(b"hunter2"), "page is not an image"),
        (response(b""), "page is not an image"),
        (response(PNG, "Content-Encoding: gzip"), "was sent compressed although the request forbids it"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n" + PNG, "broke off"),
        (b"SSH-2.0-hunter2\r\n", "broke off"),
    ],
)
@pytest.mark.slow
async def test_answers_that_are_no_picture(site: Site, page: bytes, message: str) -> None:
    async def send(writer: asyncio.StreamWriter) -> None:
        writer.write(page)
        await writer.drain()

    site.pages["/page"] = send
    with pytest.raises(
        ImageError, match=rf"^http://pictures\.test:{site.port}/page .*" + message.removeprefix("page ")
    ) as error:
        await load_from(site, "/page")
    assert "hunter2" not in str(error.value)
    assert error.value.remedy


async def test_a_picture_is_known_by_its_bytes_whatever_it_is_called(site: Site) -> None:
    site.pages["/page"] = response(PNG, "Content-Type: application/octet-stream", "Content-Encoding: identity")
    assert (await load_from(site, "/page")).format == "PNG"


async def test_an_answer_that_says_it_is_too_large_is_not_read(site: Site) -> None:
    async def announce(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n")
        await asyncio.sleep(60)

    site.pages["/large"] = announce
    with pytest.raises(ForbiddenError, match=r"has more than the 1,000 bytes allowed; .*MAX_IMAGE_BYTES"):
        await load_from(site, "/large", max_image_bytes=1000)


@pytest.mark.parametrize("header", [b"Transfer-Encoding: chunked", b"Connection: close"])
async def test_an_answer_without_end_is_cut_off(site: Site, header: bytes) -> None:
    async def flood(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n" + header + b"\r\n\r\n")
        while True:
            writer.write(b"400\r\n" + b"x" * 1024 + b"\r\n")
            await writer.drain()

    site.pages["/large"] = flood
    with pytest.raises(ForbiddenError, match="more than the 100,000 bytes allowed"):
        await load_from(site, "/large", max_image_bytes=100_000)


async def test_a_picture_of_exactly_the_byte_cap_is_fetched(site: Site) -> None:
    assert await load_from(site, max_image_bytes=len(PNG))
    with pytest.raises(ForbiddenError):
        await load_from(site, max_image_bytes=len(PNG) - 1)


# Time


async def drip(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        writer.write(b"x")
        await writer.drain()
        await asyncio.sleep(0.02)


async def silence(_: asyncio.StreamWriter) -> None:
    await asyncio.sleep(60)


@pytest.mark.parametrize("handler", [drip, silence])
async def test_a_slow_answer_is_given_up(site: Site, handler: object) -> None:
    site.pages["/slow"] = handler
    start = anyio.current_time()
    with pytest.raises(ImageError, match=r"/slow did not arrive within 0\.2 s; try again"):
        await load_from(site, "/slow", fetch_timeout_s=0.2)
    assert anyio.current_time() - start < 2


async def test_redirects_share_one_time_limit(site: Site) -> None:
    async def slowly(writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.15)
        writer.write(redirect("/again"))
        await writer.drain()

    site.pages["*"] = slowly
    with pytest.raises(ImageError, match=r"did not arrive within 0\.2 s"):
        await load_from(site, "/go", fetch_timeout_s=0.2)
    assert len(site.heads) <= 2


async def test_a_slow_name_server_counts_too() -> None:
    async def resolve(_host: str, _port: int) -> list[str]:
        await anyio.sleep(60)
        return []

    loader = ImageLoader(Settings(fetch_timeout_s=0.1), resolve=resolve)
    with pytest.raises(ImageError, match=r"did not arrive within 0\.1 s"), anyio.fail_after(5):
        await loader.load("https://pictures.test/a.jpg")


async def test_a_call_that_is_cancelled_stops_at_once(site: Site) -> None:
    site.pages["/slow"] = silence
    with anyio.move_on_after(0.2) as scope:
        await load_from(site, "/slow")
    assert scope.cancelled_caught


async def test_many_fetches_at_once(site: Site) -> None:
    host = f"pictures.test:{site.port}"
    loader = ImageLoader(Settings(private_hosts=(host,)), resolve=Names(pictures_test=HERE))
    pictures: list[Picture] = []

    async def one() -> None:
        pictures.append(await loader.load(f"http://{host}/cat.png"))

    async with anyio.create_task_group() as group:
        for _ in range(40):
            group.start_soon(one)
    await loader.aclose()
    assert {picture.data for picture in pictures} == {PNG}
    assert len(pictures) == 40


# TLS


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for pictures.test, its own authority, with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "pictures.test")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("pictures.test")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "pictures.pem"
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path.write_bytes(private + made.public_bytes(pem))
    return path


@pytest.fixture
async def secure(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Site]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    async with serve(context) as site:
        site.pages["/cat.png"] = response(PNG)
        yield site


async def test_the_certificate_is_checked_against_the_name_and_not_the_address(secure: Site) -> None:
    host = f"pictures.test:{secure.port}"
    assert await load(f"https://{host}/cat.png", Names(pictures_test=HERE), private_hosts=(host,))


async def test_a_certificate_of_another_name_is_refused(secure: Site) -> None:
    host = f"other.test:{secure.port}"
    with pytest.raises(
        ImageError, match=r"/cat\.png has no valid certificate \(Hostname mismatch.*\); pass another URL"
    ):
        await load(f"https://{host}/cat.png", Names(other_test=HERE), private_hosts=(host,))
    assert not secure.heads


async def test_a_certificate_of_nobody_is_refused(secure: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    host = f"pictures.test:{secure.port}"
    with pytest.raises(ImageError, match="has no valid certificate"):
        await load(f"https://{host}/cat.png", Names(pictures_test=HERE), private_hosts=(host,))


async def test_a_connection_made_for_one_name_does_not_serve_another(secure: Site) -> None:
    """Both names live at one address: the second has to show its own certificate, which it does not have."""
    hosts = tuple(f"{name}.test:{secure.port}" for name in ("pictures", "other"))
    loader = ImageLoader(Settings(private_hosts=hosts), resolve=Names(pictures_test=HERE, other_test=HERE))
    assert await loader.load(f"https://{hosts[0]}/cat.png")
    with pytest.raises(ImageError, match="has no valid certificate"):
        await loader.load(f"https://{hosts[1]}/cat.png")
    await loader.aclose()


async def test_a_redirect_from_https_to_http_is_refused(secure: Site) -> None:
    secure.pages["/go"] = redirect("http://pictures.test/cat.png")
    host = f"pictures.test:{secure.port}"
    with pytest.raises(ForbiddenError, match=r"redirects to http://pictures\.test/cat\.png, which is not encrypted"):
        await load(f"https://{host}/go", Names(pictures_test=HERE), private_hosts=(host,))


# Proxies and certificates


@pytest.fixture
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


PUBLIC = Names(public_test=[["93.184.215.14"]])


@pytest.mark.usefixtures("no_proxy")
@pytest.mark.parametrize("variable", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
async def test_a_picture_is_fetched_through_the_proxy(
    site: Site, variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The proxy is asked for the address that was checked, under the name of the host."""
    monkeypatch.setenv(variable, f"http://127.0.0.1:{site.port}")
    site.pages["*"] = response(PNG)
    picture = await load("http://public.test/cat.png", PUBLIC, allow_http=True)
    assert picture.data == PNG
    (head,) = site.heads
    assert head.startswith("GET http://93.184.215.14/cat.png HTTP/1.1\r\n")
    assert "\r\nhost: public.test\r\n" in head.lower()


@pytest.mark.usefixtures("no_proxy")
async def test_an_encrypted_picture_is_asked_of_the_proxy_by_its_checked_address(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", f"http://user:hunter2@127.0.0.1:{site.port}")
    site.pages["*"] = response(b"no", status=403)
    with pytest.raises(
        ImageError, match=r"public\.test/cat\.png was refused by the proxy that HTTPS_PROXY names \(403.*NO_PROXY"
    ) as error:
        await load("https://public.test/cat.png", PUBLIC)
    assert "hunter2" not in str(error.value)
    assert site.heads[0].startswith("CONNECT 93.184.215.14:443 ")


@pytest.mark.usefixtures("no_proxy")
async def test_a_private_address_is_not_asked_of_a_proxy_either(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", f"http://127.0.0.1:{site.port}")
    for url in ("https://10.0.0.1/a.jpg", "https://evil.test/a.jpg"):
        with pytest.raises(ForbiddenError, match="is on a private network"):
            await load(url, Names(evil_test=[["8.8.8.8", "10.0.0.1"]]))
    assert not site.heads


@pytest.mark.usefixtures("no_proxy")
async def test_a_name_that_cannot_be_looked_up_is_not_left_to_a_proxy(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALL_PROXY", f"http://127.0.0.1:{site.port}")
    with pytest.raises(ImageError, match="hosts are checked here although ALL_PROXY names a proxy; check"):
        await load("https://nowhere.test/a.jpg")
    assert not site.heads


@pytest.mark.usefixtures("no_proxy")
async def test_hosts_of_no_proxy_are_asked_directly(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", f"http://127.0.0.1:{site.port}")
    monkeypatch.setenv("NO_PROXY", "other.test,public.test")
    asked = []

    async def refuse(remote_host: str, **_: object) -> None:
        asked.append(remote_host)
        raise ConnectionRefusedError

    monkeypatch.setattr("anyio.connect_tcp", refuse)
    with pytest.raises(ImageError, match="cannot be reached; check the URL"):
        await load("https://public.test/a.jpg", PUBLIC)
    assert asked == ["93.184.215.14"]
    assert not site.heads


@pytest.mark.usefixtures("no_proxy")
@pytest.mark.parametrize(
    ("proxy", "reason"),
    [
        ("socks5://127.0.0.1:1080", r"names a SOCKS proxy, which needs one more package \(pip install socksio\)"),
        ("ftp://u:hunter2@127.0.0.1:21", r"is ftp://127\.0\.0\.1, which is not an HTTP or SOCKS5 proxy"),
        ("http://127.0.0.1:99999", "is not a valid URL|has an invalid port"),
        ("http://127.0.0.1:port", "is not a valid URL"),
        ("http://", "is http://, which is not an HTTP or SOCKS5 proxy"),
        ("http://127.0.0.1:9", "does not answer; correct or unset it"),
    ],
)
async def test_a_proxy_that_cannot_be_used_is_named(proxy: str, reason: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "socksio", None)
    monkeypatch.setenv("ALL_PROXY", proxy)
    with pytest.raises(ImageError, match=rf"^https://public\.test/a\.jpg .*ALL_PROXY.*({reason})") as error:
        await load("https://public.test/a.jpg", PUBLIC)
    assert "hunter2" not in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.usefixtures("no_proxy")
async def test_certificates_that_cannot_be_read_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "broken.pem"
    broken.write_text("no certificate")
    for path in (broken, tmp_path / "missing.pem"):
        monkeypatch.setenv("SSL_CERT_FILE", str(path))
        with pytest.raises(
            ImageError, match=rf"cannot be fetched: SSL_CERT_FILE='.*{path.name}' holds no certificates \(.*\); correct"
        ):
            await load("https://public.test/a.jpg", PUBLIC)


@pytest.mark.usefixtures("no_proxy")
async def test_the_certificate_is_checked_against_the_name_behind_a_proxy_too(
    secure: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Be a proxy that leads every tunnel to the secure site."""
        asked.append((await reader.readuntil(b"\r\n\r\n")).split(b"\r\n")[0].decode())
        there, back = await asyncio.open_connection("127.0.0.1", secure.port)
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        await asyncio.gather(pump(reader, back), pump(there, writer))

    asked: list[str] = []
    proxy = await asyncio.start_server(forward, "127.0.0.1", 0)
    monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.sockets[0].getsockname()[1]}")
    names = Names(pictures_test=[["93.184.215.14"]], other_test=[["93.184.215.14"]])
    assert (await load("https://pictures.test/cat.png", names)).data == PNG
    with pytest.raises(ImageError, match="has no valid certificate"):
        await load("https://other.test/cat.png", names)
    assert asked == ["CONNECT 93.184.215.14:443 HTTP/1.1"] * 2
    proxy.close()


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError, ssl.SSLError):
        while data := await reader.read(4096):
            writer.write(data)
            await writer.drain()
    writer.close()
