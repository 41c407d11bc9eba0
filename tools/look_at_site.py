"""Look at the built site: no external request, and screenshots at desktop and phone width.

Reads build/site, which `make lint-site` writes. Every page is searched for assets of other hosts.
With a Chromium (found by its path, or named in CHROMIUM) the pages in SHOWN are opened on a server
on loopback, their requests are read from Chromium's own log, and each is written as PNG files into
build/screenshots. Usage: python tools/look_at_site.py [--no-screenshots]. Exit status 1 for a
request to another host, or where there is no site.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from pages import SPEC

ROOT: Final = SPEC.parent
SITE: Final = ROOT / "build" / "site"
SHOTS: Final = ROOT / "build" / "screenshots"
BROWSERS: Final = ("/usr/bin/chromium", "/usr/bin/chromium-browser")
SHOWN: Final = (
    "", "00-overview", "03-frames", "10-errors", "16-build-one", "20-time", "21-two-rules",
    "93-deployed", "95-mutants", "96-operators", "97-coverage",
)  # fmt: skip
PHONE: Final = (390, 1400)
DESKTOP: Final = (1280, 1400)
FLAGS: Final = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--disable-extensions", "--virtual-time-budget=4000",
)  # fmt: skip
SECONDS_MAX: Final = 60
FOREIGN: Final = re.compile(r"^(?:https?:)?//")
IN_STYLE: Final = re.compile(r"(?:url\(|@import\s+)['\"]?((?:https?:)?//[^'\")\s]+)")
# Links of a page that the browser fetches without being asked.
FETCHED: Final = frozenset(
    ("stylesheet", "icon", "preload", "prefetch", "preconnect", "dns-prefetch", "manifest"),
)


class Assets(HTMLParser):
    """Collects the addresses that a browser fetches to display a page, without its links."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Record the addresses that the tag fetches."""
        values = {name: value or "" for name, value in attrs}
        self.found += [values[name] for name in ("src", "poster", "data") if name in values]
        self.found += [part.split()[0] for part in values.get("srcset", "").split(",") if part]
        if tag == "link" and FETCHED & set(values.get("rel", "").split()):
            self.found.append(values.get("href", ""))
        self.found += IN_STYLE.findall(values.get("style", ""))


def foreign_assets(site: Path) -> list[str]:
    """Return what pages and styles fetch from other hosts, each with its file."""
    problems = []
    for path in sorted(site.rglob("*")):
        found: list[str] = []
        if path.suffix == ".html":
            page = Assets()
            page.feed(path.read_text(encoding="utf-8"))
            found = page.found
        elif path.suffix in (".css", ".svg"):
            found = IN_STYLE.findall(path.read_text(encoding="utf-8"))
        problems += [
            f"{path.relative_to(site)} fetches {one}" for one in found if FOREIGN.match(one)
        ]
    return problems


class Quiet(SimpleHTTPRequestHandler):
    """Serves the site and a frame of phone width, since windows have a minimum width."""

    def do_GET(self) -> None:
        """Answer `/phone/PAGE` with the frame, anything else with the file."""
        if not self.path.startswith("/phone/"):
            super().do_GET()
            return
        width, height = PHONE
        inner = self.path.removeprefix("/phone")
        body = (
            f'<!doctype html><body style="margin:0"><iframe src="{inner}" width="{width}" '
            f'height="{height}" style="border:0"></iframe>'
        ).encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name of the base
        """Write nothing."""


@contextmanager
def served(site: Path) -> Iterator[str]:
    """Serve the site on loopback; yields its address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(site)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


def requests_in(log: dict[str, Any], origin: str) -> set[str]:
    """Return the addresses of other hosts that pages of `origin` requested, from a network log."""
    return {
        params["url"]
        for event in log["events"]
        if (params := event.get("params", {}))
        and urlsplit(str(params.get("url", ""))).scheme in ("http", "https", "ws", "wss")
        and str(params.get("initiator", "")).startswith(origin)
        and not params["url"].startswith(origin)
    }


def shoot(browser: str, origin: str, page: str, look: str) -> set[str]:
    """Write one screenshot; returns the requests to other hosts."""
    width, height = PHONE if look == "phone" else DESKTOP
    name = page or "index"
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "net.json"
        command = [
            browser, *FLAGS, *(["--force-dark-mode"] if look == "dark" else []),
            f"--user-data-dir={folder}", f"--log-net-log={log}",
            f"--window-size={max(width, 500)},{height}",
            f"--screenshot={SHOTS / f'{name}.{look}.png'}",
            f"{origin}/{'phone/' if look == 'phone' else ''}{page and f'{page}/'}",
        ]  # fmt: skip
        subprocess.run(command, check=True, capture_output=True, timeout=SECONDS_MAX)
        text = log.read_text()
    return requests_in(json.loads(text), origin)


def browser_path() -> str | None:
    """Return the path of a Chromium, or None."""
    named = os.environ.get("CHROMIUM")
    return next((path for path in (named, *BROWSERS) if path and shutil.which(path)), None)


def main(arguments: list[str] | None = None) -> int:
    """Run the tool; returns the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--no-screenshots", action="store_true", help="search the files only")
    options = parser.parse_args(arguments)
    if not (SITE / "index.html").is_file():
        print("look_at_site: no build/site: run make lint-site first")
        return 1
    problems = foreign_assets(SITE)
    browser = None if options.no_screenshots else browser_path()
    if browser:
        SHOTS.mkdir(parents=True, exist_ok=True)
        with served(SITE) as origin:
            for page in SHOWN:
                for look in ("desktop", "dark", "phone"):
                    found = shoot(browser, origin, page, look)
                    problems += [f"{page or 'index'} ({look}) asks for {one}" for one in found]
    elif not options.no_screenshots:
        print("look_at_site: no Chromium, screenshots skipped")
    for problem in problems:
        print(problem)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
