"""What the console says of addresses that ask for nothing there can be, and where it says so."""

import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.console_stack import Page, Visitor, running_console, visitor

NAVIGATION = '<nav aria-label="Pages">'


@pytest.fixture
async def browser(tmp_path: Path, database: str) -> AsyncIterator[Visitor]:
    """Yield a browser in which nobody is signed in."""
    async with running_console(tmp_path, database) as stack, visitor(stack.url) as browser:
        yield browser


def said_at(page: Page, field: str) -> str | None:
    """Return the message that a field of a page refers to, None where it refers to none."""
    described = re.search(rf'name="{field}"[^>]* aria-describedby="(error-{field})"', page.text)
    message = described and re.search(rf'id="{described[1]}"[^>]*>([^<]+)<', page.text)
    return message[1] if message else None


async def test_what_a_filter_cannot_be_is_said_at_its_field(browser: Visitor) -> None:
    await browser.sign_in()
    long = "x" * 300
    refused = {
        "/runs": {"since": "nonsense", "until": "2026", "status": "wrong", "tenant": "*"},
        "/audit": {"since": "0", "until": "soon", "install": "1", "actor": long, "op": long},
        "/schedules": {"text": long, "cron": long, "tenant": long},
        "/tenants": {"tenant": "*"},
        "/installs": {"name": long, "version": long, "tenant": "*"},
    }
    for path, fields in refused.items():
        for field, text in fields.items():
            page = await browser.get(f"{path}?{field}={text}")
            assert (path, field, page.status) == (path, field, 400)
            assert said_at(page, field), (path, field)
            assert f'value="{text}"' in page.text or field == "status"
            assert "fits" not in page.words
            assert (await browser.get(f"{path}?{field}={text}&as=csv")).status == 400
    load = await browser.get("/load?tenant=*")
    assert (load.status, bool(said_at(load, "tenant"))) == (200, True)


async def test_what_has_no_field_on_the_page_is_said_all_the_same(browser: Visitor) -> None:
    await browser.sign_in()
    for path in ("/runs?install=1", "/runs?cursor=1", "/schedules?install=1", "/tenants?cursor=1"):
        page = await browser.get(path)
        parameter = path.partition("?")[2].partition("=")[0]
        assert page.status == 400
        assert f'role="alert">{parameter}: ' in page.text


async def test_errors_have_the_navigation_where_a_person_is_signed_in(browser: Visitor) -> None:
    missing = "/schedules/00000000-0000-0000-0000-000000000000"
    assert NAVIGATION not in (await browser.get("/nowhere")).text
    await browser.sign_in()
    for path in ("/nowhere", missing, f"{missing}/edit"):
        page = await browser.get(path)
        assert (page.status, NAVIGATION in page.text) == (404, True)
    forged = await browser.post(f"{missing}/run", {"csrf": "forged"})
    assert (forged.status, NAVIGATION in forged.text) == (403, True)


async def test_a_form_sent_after_the_session_ended_says_that_nothing_was_changed(
    browser: Visitor,
) -> None:
    await browser.sign_in()
    csrf = (await browser.get("/sessions")).csrf
    assert (await browser.post("/sign-out", {"csrf": csrf})).status == 303
    late = await browser.post("/tenants", {"csrf": csrf, "tenant": "acme", "paused": "yes"})
    assert late.status == 401
    assert "You are not signed in, or no longer" in late.words
    assert "Nothing was changed. Sign in, open the page again and repeat" in late.words


URLENCODED = "application/x-www-form-urlencoded"
MULTIPART = "multipart/form-data; boundary=b"
PART = b'--b\r\nContent-Disposition: form-data; name="link"\r\n'


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        (f"{URLENCODED}; charset=nonsense", b"link=1&csrf=1"),
        (f"{URLENCODED}; charset=utf-16", b"link=1"),
        (f"{URLENCODED}; charset=utf-8", b"link=\xff\xfe"),
        (MULTIPART, b"no boundary"),
        (MULTIPART, PART + b"Content-Type: text/plain; charset=nonsense\r\n\r\nx\r\n--b--\r\n"),
        (MULTIPART, PART + b"Content-Transfer-Encoding: nonsense\r\n\r\nx\r\n--b--\r\n"),
        (MULTIPART, b"--b\r\nno colon\r\n\r\nx\r\n--b--\r\n"),
        ("multipart/form-data", b"x"),
    ],
)
async def test_what_is_no_form_is_said_to_be_none(
    browser: Visitor, content_type: str, body: bytes
) -> None:
    await browser.sign_in()
    headers = {"Content-Type": content_type, "Accept": "text/html"}
    run = "/schedules/00000000-0000-0000-0000-000000000000/run"
    for path in ("/sign-in", run):
        async with browser.session.post(browser.url + path, data=body, headers=headers) as answer:
            assert answer.status in {400, 403}, path
