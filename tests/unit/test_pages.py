"""`web/pages.py`: the files of the dashboard, as they are sent."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import pytest
from starlette.requests import Request

from bsgateway.web.pages import Files, asset

PAGE = '<!doctype html><base href="/bsgateway/"><script src="assets/app-0123ABCD.js"></script>'
SCRIPT = "export const answer = 42;\n" * 100


@pytest.fixture
def files(tmp_path: Path) -> Files:
    """Those of a small build."""
    (tmp_path / "index.html").write_text(PAGE)
    (tmp_path / "app-0123ABCD.js").write_text(SCRIPT)
    (tmp_path / "icon.svg").write_text("<svg/>")
    return Files(tmp_path)


def request(root: str = "", name: str = "", **headers: str) -> Request:
    """A GET under this root path."""
    scope: dict[str, Any] = {
        "type": "http",
        "method": "GET",
        "path": f"{root}/bsgateway/",
        "root_path": root,
        "path_params": {"name": name},
        "query_string": b"",
        "headers": [(key.replace("_", "-").encode(), value.encode()) for key, value in headers.items()],
    }
    return Request(scope)


def test_files_with_a_hash_are_kept_and_the_page_is_not(files: Files) -> None:
    script = files.file(request(name="app-0123ABCD.js"))
    assert script.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert script.headers["content-type"].startswith("text/javascript")
    assert files.file(request(name="icon.svg")).headers["cache-control"] == "no-cache"
    assert files.page(request()).headers["cache-control"] == "no-cache"


def test_a_file_is_sent_once(files: Files) -> None:
    first = files.file(request(name="app-0123ABCD.js"))
    again = files.file(request(name="app-0123ABCD.js", if_none_match=f'W/{first.headers["etag"]}, "x"'))
    assert (again.status_code, again.body) == (304, b"")
    assert files.file(request(name="app-0123ABCD.js", if_none_match='"x"')).status_code == 200


@pytest.mark.parametrize(
    ("accepted", "packed"),
    [("gzip, br", True), ("br, GZIP;q=0.5", True), ("gzip;q=0", False), ("gzip; q=0.00", False), ("br", False)],
)
def test_a_file_is_packed_for_who_can_unpack_it(files: Files, accepted: str, packed: bool) -> None:
    answer = files.file(request(name="app-0123ABCD.js", accept_encoding=accepted))
    assert ("content-encoding" in answer.headers) == packed
    body = bytes(answer.body)
    assert (gzip.decompress(body) if packed else body).decode() == SCRIPT
    assert answer.headers["vary"] == "Accept-Encoding"


def test_the_page_knows_under_which_path_it_is_reached(files: Files) -> None:
    assert bytes(files.page(request()).body).decode() == PAGE
    under = files.page(request('/a"><script>/'))
    assert b'<base href="/a&quot;&gt;&lt;script&gt;/bsgateway/">' in bytes(under.body)
    assert under.headers["etag"] != files.page(request()).headers["etag"]


def test_only_names_of_files_are_found(files: Files) -> None:
    for name in ("", ".", "..", "../test_pages.py", "/etc/passwd", "App-0123ABCD.js", "index.html/"):
        assert files.file(request(name=name)).status_code == 404


def test_a_tree_without_built_pages_says_so(tmp_path: Path) -> None:
    files = Files(tmp_path / "none")
    answer = files.page(request())
    assert (answer.status_code, answer.headers["cache-control"]) == (503, "no-store")
    assert b"make web" in bytes(answer.body)
    (tmp_path / "none").mkdir()
    (tmp_path / "none" / "index.html").write_text(PAGE)
    assert files.page(request()).status_code == 200  # built since


def test_what_is_packed_already_is_not_packed_again() -> None:
    assert asset("font-0123ABCD.woff2", bytes(10_000)).packed is None
    assert asset("small.css", b"a {}").packed is None
