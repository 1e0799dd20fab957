"""Chromium, driven by Playwright, with nothing but files to read.

`python tests/browser.py` tells which one; without any it says what to do, and exits with 1.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from playwright.sync_api import Browser, Page, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
ARGUMENTS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]


def executable() -> str:
    """The browser that is here, or ONESUM_TEST_BROWSER."""
    named = os.environ.get("ONESUM_TEST_BROWSER")
    found = named or next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        raise RuntimeError(
            "Chromium is not here: install it (Debian, Ubuntu: apt-get install chromium), "
            "or name one by ONESUM_TEST_BROWSER"
        )
    return found


@contextmanager
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable(), args=ARGUMENTS)
        try:
            yield browser
        finally:
            browser.close()


class Watched:
    """Pages of which is kept what they complain of, and what they ask for that is no file."""

    def __init__(self, browser: Browser) -> None:
        self.browser = browser
        self.complaints: list[str] = []
        self.pages: dict[str, Page] = {}

    def open(self, url: str, **options: Any) -> Page:
        """A page that is loaded anew, in the window that was opened with these options before."""
        page = self.pages.get(repr(options)) or self._window(options)
        self.pages[repr(options)] = page
        page.emulate_media(color_scheme=options.get("color_scheme", "light"), reduced_motion="null")
        page.goto("about:blank")
        page.goto(url)
        return page

    def _window(self, options: dict[str, Any]) -> Page:
        page = self.browser.new_context(**options).new_page()
        page.set_default_timeout(10_000)
        page.on("console", lambda message: self._said(message.type, message.text))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("dialog", lambda dialog: (self.complaints.append("dialog"), dialog.dismiss()))
        page.route("**/*", self._asked)
        return page

    def _said(self, kind: str, text: str) -> None:
        if kind in ("error", "warning"):
            self.complaints.append(f"{kind}: {text}")

    def _asked(self, route: Any) -> None:
        if route.request.url.startswith("file:"):
            route.continue_()
        else:
            self.complaints.append(f"asked for {route.request.url}")
            route.abort()


def drawn(page: Any) -> None:
    """When the frame that a change asked for has been drawn."""
    page.evaluate("() => new Promise(done => requestAnimationFrame(() => done()))")


def address(page: Any) -> str:
    """The state in the address, when it has been written: that is put off by 150 ms."""
    later = "() => new Promise(done => setTimeout(() => done(location.hash), 200))"
    return page.evaluate(later).removeprefix("#")


if __name__ == "__main__":
    try:
        print(executable())
    except RuntimeError as error:
        sys.exit(str(error))
