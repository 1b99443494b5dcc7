"""A page in a real browser: what it asks for, says and draws, whether it fits its window, and what axe-core says of it.

The browser is a Chromium that is on the machine; Playwright steers it.
"""

from __future__ import annotations

import re
import shutil
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
PHONE, DESK = (390, 844), (1440, 900)
NARROWEST = (320, 640)
"""As WCAG 1.4.10 has it: 1280 px at a zoom of 400%."""
RULES = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa")
FIRST_COLOUR = rb"\b0 \.4471 \.698 RG"
"""In a PDF: #0072b2 for what is stroked."""

UNDRAWN = "all => all.filter(f => !f.querySelector('.main-svg :is(.trace, .point)')).map(f => f.id)"
BARE = "all => all.filter(p => !p.querySelector('rect')).map(p => `${p.id}: white hatches on nothing`)"
OUTSIDE = """() => {
  const wide = document.scrollingElement.scrollWidth;
  const out = wide > innerWidth ? [`the page is ${wide} px wide`] : [];
  const name = (e) => `${e.tagName}.${e.className.baseVal ?? e.className} ${e.textContent.trim().slice(0, 30)}`;
  for (const e of document.querySelectorAll("body *")) {
    // What scrolls within itself may be wider; what isn't shown is nowhere.
    if (e.closest(".scroll > *, pre, .skip, .store, dialog, #said, defs, #js-plotly-tester")) continue;
    const box = e.getBoundingClientRect();
    if (box.width && (box.right > innerWidth + 1 || box.left < -1)) out.push(name(e));
  }
  return out;
}"""
OVERLAPPING = """() => {
  const out = [];
  const shared = (a, b) => Math.min(Math.min(a.right, b.right) - Math.max(a.left, b.left),
                                    Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top));
  const check = (parts, name) => {
    const boxes = parts.map((e) => e.getBoundingClientRect());
    boxes.forEach((a, i) => boxes.slice(i + 1).forEach((b, k) => {
      if (a.width && b.width && shared(a, b) > 1) out.push(`${name(parts[i])} over ${name(parts[i + 1 + k])}`);
    }));
  };
  const tag = (e) => `${e.tagName}#${e.id}.${e.className.baseVal ?? e.className} ${e.textContent.trim().slice(0, 30)}`;
  const apart = ".skip, .store, dialog, #said, script, .anchor, .caption, .nme, #js-plotly-tester";
  for (const parent of document.querySelectorAll("body, main, section, figure.plot, .gallery, .table, .bar, .faces"))
    check([...parent.children].filter((e) => !e.matches(apart)), tag);
  const words = ".xtick text, .ytick text, .xtitle, .ytitle, .legendtext, .annotation-text";
  for (const plot of document.querySelectorAll(".drawing"))
    check([...plot.querySelectorAll(words)], (e) => `${plot.parentElement.id}: ${e.textContent}`);
  return out;
}"""


class Opened:
    """A page in a window of its own.

    Args:
        browser: Playwright's.
        place: the page's file, or its address.
        size: of the window.

    Attributes:
        page: Playwright's.
        requests: what it asked for.
        said: messages of the console, and errors.
    """

    def __init__(self, browser: Any, place: Path | str, size: tuple[int, int] = DESK) -> None:
        self.address = place.as_uri() if isinstance(place, Path) else place
        phone = size[0] <= PHONE[0]
        self._context = browser.new_context(
            viewport={"width": size[0], "height": size[1]}, has_touch=phone, is_mobile=phone, accept_downloads=True,
            permissions=["clipboard-read", "clipboard-write"],
        )  # fmt: skip
        self.page = self._context.new_page()
        self.page.set_default_timeout(20_000)
        self.requests: list[str] = []
        self.said: list[str] = []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.goto(self.address)

    def close(self) -> None:
        self._context.close()

    # Each gives what is wrong.

    def asked(self) -> list[str]:
        """Requests that leave the file, or what lies below an address that ends with a slash."""
        own = self.address
        below = ("data:", "blob:", *([own] if own.endswith("/") else []))
        return [url for url in self.requests if url.partition("#")[0] != own and not url.startswith(below)]

    def undrawn(self) -> list[str]:
        """Plots that aren't drawn once they were in sight."""
        for plot in self.page.locator("figure.plot").all():
            plot.scroll_into_view_if_needed()
            self.page.wait_for_timeout(30)
        self.page.wait_for_timeout(200)
        bare = self.page.eval_on_selector_all(".drawing pattern", BARE)
        return [*self.page.eval_on_selector_all("figure.plot", UNDRAWN), *bare]

    def outside(self) -> list[str]:
        """What reaches out of the window, but for what scrolls within itself."""
        return list(self.page.evaluate(OUTSIDE))

    def overlapping(self) -> list[str]:
        """Blocks, or words of a plot, that lie over each other."""
        return list(self.page.evaluate(OVERLAPPING))

    def inaccessible(self) -> list[str]:
        """What axe-core says of WCAG 2.1, levels A and AA."""
        from axe_playwright_python.base import AXE_SCRIPT

        self.page.evaluate(AXE_SCRIPT)
        options = {"runOnly": {"type": "tag", "values": RULES}, "resultTypes": ["violations"]}
        found = self.page.evaluate("options => axe.run(options)", options)
        return [
            f"{violation['id']}: {node['target']} {node.get('failureSummary', '')}"
            for violation in found["violations"]
            for node in violation["nodes"]
        ]

    def problems(self) -> dict[str, list[str]]:
        """All of it, by what was looked at; empty of a page that is whole."""
        checks: dict[str, Callable[[], list[str]]] = {
            "undrawn": self.undrawn, "outside": self.outside, "overlapping": self.overlapping,
            "inaccessible": self.inaccessible, "asked": self.asked, "said": lambda: self.said,
        }  # fmt: skip
        return {name: found for name, check in checks.items() if (found := check())}


def drawn_in(pdf: bytes) -> int:
    """How often the first colour of plots becomes that of a line in a PDF."""
    count = 0
    for stream in re.findall(rb"stream\r?\n(.*?)endstream", pdf, re.DOTALL):
        try:
            content = zlib.decompressobj().decompress(stream)  # which takes the line's end behind it
        except zlib.error:
            continue
        count += len(re.findall(FIRST_COLOUR, content))
    return count
