"""What a page is served: named contents, files of one folder and of no other, its own requests."""

import http.client
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.targets.browser.server import Server, serving


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    (folder := tmp_path / "modules").mkdir()
    (folder / "a file.js").write_bytes(b"let a")
    (tmp_path / "secret.txt").write_bytes(b"secret")
    with serving({"/page.html": b"<p>", "/a file.js": b"named"}, folder) as opened:
        yield opened


def answer(
    server: Server, path: str, body: bytes | None = None
) -> tuple[int, bytes, dict[str, str]]:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=10)
    connection.request("POST" if body is not None else "GET", path, body)
    response = connection.getresponse()
    found = response.status, response.read(), dict(response.getheaders())
    connection.close()
    return found


def test_named_contents_come_before_files_of_the_folder(server: Server) -> None:
    assert answer(server, "/page.html")[:2] == (200, b"<p>")
    assert answer(server, "/a%20file.js")[:2] == (200, b"named")
    (server.folder / "b.js").write_bytes(b"let b")
    assert answer(server, "/b.js?v=1")[:2] == (200, b"let b")


@pytest.mark.parametrize(
    "path", ["/none.js", "/../secret.txt", "/%2e%2e/secret.txt", "//etc/passwd", "/"]
)
def test_nothing_outside_the_folder_is_served(server: Server, path: str) -> None:
    assert answer(server, path)[:2] == (404, b"")


def test_a_kind_of_file_is_named_and_no_other_address_may_be_asked(server: Server) -> None:
    _, _, headers = answer(server, "/page.html")
    assert headers["Content-Type"].startswith("text/html")
    assert "default-src 'self'" in headers["Content-Security-Policy"]
    assert headers["Cross-Origin-Opener-Policy"] == "same-origin"


def test_what_a_page_posts_and_asks_for_is_kept_in_order(server: Server) -> None:
    for path in ("/page.html", "/none.js"):
        answer(server, path)
    assert answer(server, "/answer", b'{"scores": []}')[:2] == (204, b"")
    assert server.requested == ["/page.html", "/none.js"]
    assert server.posted.get(timeout=1) == b'{"scores": []}'


def test_nothing_listens_afterwards(tmp_path: Path) -> None:
    with serving({}, tmp_path) as server:
        assert answer(server, "/")[0] == 404
    with pytest.raises(ConnectionRefusedError):
        answer(server, "/")
