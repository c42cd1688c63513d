"""What a browser makes of a page: its outline, the colours of its style sheet, and Chromium itself."""

import html
import re
import subprocess
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
RULE = re.compile(r"([^{}]+)\{([^{}]*)\}")


class Outline(HTMLParser):
    """Elements with their attributes, and the text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def colour_pairs(style: str, ink: str, papers: tuple[str, ...]) -> Iterator[tuple[str, str, str]]:
    """(selector, text colour, background) of each rule that sets one: its own, or what it may stand on or hold."""
    variables = dict(re.findall(r"(--[\w-]+):\s*(#[0-9a-fA-F]{6})", style))
    named = re.sub(r"var\((--[\w-]+)\)", lambda found: variables[found[1]], style)
    for selector, body in RULE.findall(named):
        declared = dict(re.findall(r"(?:^|;)\s*(color|background):\s*(#[0-9a-fA-F]{6})", body))
        if not declared:
            continue
        for paper in (declared["background"],) if "background" in declared else papers:
            yield selector.strip(), declared.get("color", ink), paper


def contrast(first: str, second: str) -> float:
    """WCAG's contrast ratio of two colours as #rrggbb, from 1 to 21."""
    light, dark = sorted((_luminance(first), _luminance(second)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def _luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def run_browser(browser: str, *options: str, page: Path, profile: Path) -> str:
    """What headless Chromium prints on being given a page and these options."""
    command = [
        browser,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--no-first-run",
        "--hide-scrollbars",
        f"--user-data-dir={profile}",
        *options,
        page.as_uri(),
    ]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=240).stdout


def framed(page: str, width: int) -> str:
    """A page that holds `page` in a frame of `width` pixels, all folds open, and says how wide its content is and what
    it asked the network for."""
    opened = page.replace("<details", "<details open")
    return f"""<!DOCTYPE html>
<iframe style="width:{width}px;height:800px;border:0" srcdoc="{html.escape(opened)}"></iframe>
<p id="said"></p>
<script>
onload = () => {{
  const shown = document.querySelector("iframe").contentWindow;
  const asked = shown.performance.getEntriesByType("resource").map(entry => entry.name);
  const wide = shown.document.documentElement.scrollWidth;
  document.getElementById("said").textContent = `wide: ${{wide}}, asked for: ${{asked}}`;
}};
</script>"""
