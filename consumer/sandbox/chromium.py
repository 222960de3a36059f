"""A real headless Chromium of Debian's package: pages to pictures.

It is told what to do over its DevTools protocol, so that width, colours and kind of
device are exactly what is asked for:
https://chromedevtools.github.io/devtools-protocol/tot/
"""

from __future__ import annotations

import base64
import itertools
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import aiohttp

from consumer.errors import SandboxError
from consumer.sandbox.answering import AnsweringProcess
from consumer.sandbox.debian import CHROMIUM, environment, unpacked

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_FLAGS: Final = (
    "--headless",
    "--disable-gpu",
    "--disable-quic",
    "--hide-scrollbars",
    "--no-first-run",
    # It would look for its maker's hosts at every start.
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
_FONTS: Final = """<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "urn:fontconfig:fonts.dtd">
<fontconfig>
<dir>{root}/usr/share/fonts</dir><dir>/usr/share/fonts</dir>
<cachedir>{folder}/fonts</cachedir>
<match><edit name="family" mode="append"><string>Roboto</string></edit></match>
</fontconfig>
"""


@dataclass(frozen=True, slots=True)
class Screen:
    """What somebody looks at a page with; `width` in CSS pixels."""

    width: int
    dark: bool = False
    phone: bool = False


@dataclass(frozen=True, slots=True)
class Picture:
    """A page as seen, whole, and how wide its contents are."""

    png: bytes
    content_width: int


class Chromium(AnsweringProcess):
    """Runs while it is entered; the first one ever downloads it."""

    def __init__(self, folder: Path) -> None:
        """Keep its profile in `folder`; SandboxError where it cannot be had."""
        folder.mkdir(parents=True, exist_ok=True)
        super().__init__("Chromium", folder / "chromium.log", ready="/json/version")
        self._folder = folder
        self._root = unpacked(CHROMIUM, with_dependencies=True)

    def command(self) -> Sequence[str]:
        """Return what to run."""
        fonts = self._folder / "fonts.conf"
        fonts.write_text(_FONTS.format(root=self._root, folder=self._folder), "utf-8")
        libraries = environment(self._root)["LD_LIBRARY_PATH"]
        as_root = ("--no-sandbox",) if os.getuid() == 0 else ()
        return [
            *("/usr/bin/env", f"LD_LIBRARY_PATH={libraries}"),
            f"FONTCONFIG_FILE={fonts}",
            str(self._root / "usr/lib/chromium/chromium"),
            *(*_FLAGS, *as_root),
            f"--user-data-dir={self._folder / 'profile'}",
            f"--remote-debugging-port={self.port}",
            "about:blank",
        ]

    async def picture(self, url: str, screen: Screen) -> Picture:
        """Open a page and take its picture."""
        async with aiohttp.ClientSession(self.address) as session:
            async with session.put("/json/new?about:blank") as answer:
                page = await answer.json()
            async with session.ws_connect(page["webSocketDebuggerUrl"]) as socket:
                tab = _Tab(socket)
                picture = await _taken(tab, url, screen)
            async with session.get(f"/json/close/{page['id']}"):
                return picture


async def _taken(tab: _Tab, url: str, screen: Screen) -> Picture:
    await tab.call("Page.enable")
    colours = {
        "name": "prefers-color-scheme",
        "value": "dark" if screen.dark else "light",
    }
    await tab.call("Emulation.setEmulatedMedia", features=[colours])
    await _resize(tab, screen, 800)
    await tab.call("Page.navigate", url=url)
    await tab.event("Page.loadEventFired")
    width, height = await tab.evaluate(
        "[document.documentElement.scrollWidth, document.documentElement.scrollHeight]"
    )
    await _resize(tab, screen, height)
    shot = await tab.call("Page.captureScreenshot", format="png")
    return Picture(base64.b64decode(shot["data"]), width)


async def _resize(tab: _Tab, screen: Screen, height: int) -> None:
    await tab.call(
        "Emulation.setDeviceMetricsOverride",
        width=screen.width,
        height=height,
        deviceScaleFactor=1,
        mobile=screen.phone,
    )


class _Tab:
    """One open page, spoken to over its socket."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)
        self._events: set[str] = set()

    async def call(self, method: str, **parameters: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
        """Give an order and return its result; SandboxError if it is refused."""
        number = next(self._numbers)
        order = {"id": number, "method": method, "params": parameters}
        await self._socket.send_json(order)
        while True:
            heard = await self._socket.receive_json(timeout=30.0)
            if heard.get("id") != number:
                self._events.add(heard.get("method", ""))
                continue
            if "error" in heard:
                raise SandboxError(f"Chromium refuses {method}: {heard['error']}.")
            result: dict[str, Any] = heard["result"]
            return result

    async def event(self, method: str) -> None:
        """Wait until something has happened."""
        while method not in self._events:
            heard = await self._socket.receive_json(timeout=30.0)
            self._events.add(heard.get("method", ""))

    async def evaluate(self, expression: str) -> Any:  # noqa: ANN401 - JSON
        """Return the value of an expression of the page's script."""
        found = await self.call(
            "Runtime.evaluate", expression=expression, returnByValue=True
        )
        return found["result"]["value"]
