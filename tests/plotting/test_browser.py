"""Pages in a real browser: no error, no request to any host, every picture there, nothing wider than the screen."""

import contextlib
import fcntl
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mcvae import plotting
from mcvae.config import validate_study
from mcvae.grid import plan

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
WIDTHS = (390, 1440)
QUIET = (
    "--headless --no-sandbox --disable-gpu --disable-dev-shm-usage --no-first-run --no-default-browser-check "
    "--disable-background-networking --disable-component-update --disable-sync --disable-extensions --hide-scrollbars "
    "--remote-debugging-pipe"
).split()

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: the pages are opened in no browser"),
]


class Browser:
    """Chromium over its debugging pipe: JSON messages that end in a zero byte."""

    def __init__(self, profile: Path) -> None:
        (theirs, to), (back, ours) = os.pipe(), os.pipe()
        high = [fcntl.fcntl(end, fcntl.F_DUPFD, 20) for end in (theirs, ours)]
        os.close(theirs), os.close(ours)

        def place() -> None:  # where Chromium looks for them
            os.dup2(high[0], 3)
            os.dup2(high[1], 4)

        resolver = "--host-resolver-rules=MAP * ~NOTFOUND"
        self.process = subprocess.Popen(
            [str(CHROMIUM), *QUIET, resolver, f"--user-data-dir={profile}", "about:blank"],
            preexec_fn=place,
            pass_fds=(3, 4),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for end in high:
            os.close(end)
        self.to, self.back = to, back
        self.rest, self.number = b"", 0
        self.events: list[dict[str, Any]] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")

    def close(self) -> None:
        with contextlib.suppress(OSError):
            os.close(self.to)
        self.process.terminate()
        self.process.wait(20)
        os.close(self.back)

    def read(self) -> dict[str, Any]:
        while b"\0" not in self.rest:
            part = os.read(self.back, 1 << 20)
            assert part, "Chromium has ended"
            self.rest += part
        message, _, self.rest = self.rest.partition(b"\0")
        return json.loads(message)

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        self.number += 1
        message: dict[str, Any] = {"id": self.number, "method": method, "params": parameters}
        if hasattr(self, "session"):
            message["sessionId"] = self.session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self.to, data) :]
        while True:
            found = self.read()
            if found.get("id") == self.number:
                assert "error" not in found, found
                return found["result"]
            self.events.append(found)

    def open(self, page: Path, width: int, height: int = 900, dark: bool = False) -> None:
        """Load a page at a width, and wait until it has loaded."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        self.events.clear()
        self.call("Page.navigate", url=page.resolve().as_uri())
        end = time.monotonic() + 60
        while not any(event["method"] == "Page.loadEventFired" for event in self.events):
            assert time.monotonic() < end, "the page did not load"
            self.evaluate("0")
        self.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
        self.evaluate("new Promise(done => setTimeout(done, 200))")

    def evaluate(self, script: str) -> Any:
        result = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def troubles(self) -> list[Any]:
        """What was logged as a warning or an error since the page was opened."""
        found = []
        for event in self.events:
            method, given = event["method"], event["params"]
            if method == "Runtime.exceptionThrown" or (
                method == "Runtime.consoleAPICalled" and given["type"] in ("error", "warning", "assert")
            ):
                found.append(given)
            if method == "Log.entryAdded" and given["entry"]["level"] in ("error", "warning"):
                found.append(given["entry"])
        return found

    def requests(self) -> set[str]:
        """Addresses that were asked for, without those that hold their own content."""
        asked = [e["params"]["request"]["url"] for e in self.events if e["method"] == "Network.requestWillBeSent"]
        return {url for url in asked if not url.startswith("data:")}

    def point(self, x: float, y: float) -> None:
        self.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    found = Browser(tmp_path_factory.mktemp("profile"))
    yield found
    found.close()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, folders: Any) -> tuple[Path, Path]:
    """A report with every figure of its runs, and a copy of it; and a page of a product of two curved surfaces."""
    results = tmp_path_factory.mktemp("study") / "results"
    experiment = {"dataset": "mnist", "latents": ["s2", "h2,s2"], "seeds": 1, "hidden": [[8]]}
    study = plan(validate_study({"study": "small", "experiments": {"geometry": experiment}}))
    (planned,) = study.experiments.values()
    place = results / "figures" / planned.name
    for run in planned.runs:
        folder = folders.write_run(results / run.place, run.config.canonical(), records=60)
        for kind in run.figures:
            draw = getattr(plotting, f"plot_{kind}")
            draw(folder, place / f"{run.id}.{kind}.svg", place / f"{run.id}.{kind}.png")
        for kind in run.pages:
            plotting.write_globe(folder, place / f"{run.id}.{kind}.html", note="stand-in: drawn for a test")
    for kind in planned.figures:
        draw = getattr(plotting, f"plot_{kind}")
        draw([results / run.place for run in planned.runs], place / f"{kind}.svg", place / f"{kind}.png")
    report = results / "reports" / "small.html"
    plotting.write_report(study, results, report)
    plotting.copy_report(report, results / "report.html")
    product = next(run for run in planned.runs if run.config.latent == "h2,s2")
    return report, place / f"{product.id}.globe.html"


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("dark", [False, True])
def test_the_report_opens_without_error_or_request_and_with_every_picture(browser, made, width, dark):
    report, _ = made
    browser.open(report, width, dark=dark)
    assert browser.troubles() == []
    assert browser.requests() == {report.resolve().as_uri()}
    broken = "[...document.images].filter(i => !i.complete || !i.naturalWidth).map(i => i.alt)"
    assert browser.evaluate("document.images.length") >= 10
    assert browser.evaluate(broken) == []
    assert browser.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("place", ["reports/small.html", "report.html"])
def test_the_links_of_the_report_and_of_its_copy_lead_to_pages(browser, made, place):
    page = made[0].parents[1] / place
    browser.open(page, 1440)
    links = browser.evaluate("[...document.querySelectorAll('.pages a')].map(a => a.href)")
    assert len(links) == 2
    assert all(Path(link.removeprefix("file://")).is_file() for link in links)


@pytest.mark.parametrize("width", WIDTHS)
def test_a_globe_opens_without_error_or_request_and_shows_the_record_under_the_pointer(browser, made, width):
    _, page = made
    browser.open(page, width)
    assert browser.evaluate("views.length") == 2
    for view in (0, 1):
        browser.evaluate(f"document.querySelectorAll('canvas.globe')[{view}].scrollIntoView()")
        x, y = browser.evaluate(
            f"(() => {{ const v = views[{view}], b = v.canvas.getBoundingClientRect();"
            "const p = v.at.filter(q => q[2] > 0.2)[0] || v.at[0]; return [b.left + p[0], b.top + p[1]]; })()"
        )
        browser.point(x, y)
        assert browser.evaluate("chosen") >= 0
        assert "record" in browser.evaluate("tip.textContent")
    assert browser.troubles() == []
    assert browser.requests() == {page.resolve().as_uri()}
    assert browser.evaluate("document.documentElement.scrollWidth") <= width
    pixels = "tip.querySelector('canvas').getContext('2d').getImageData(0, 0, 112, 112).data"
    assert browser.evaluate(f"new Set({pixels}).size") > 3


def test_a_globe_turns_zooms_flattens_and_hides_classes(browser, made):
    browser.open(made[1], 1440)
    state = "JSON.stringify(views.map(v => v.at.map(p => p.map(x => Math.round(x)))))"
    seen = [browser.evaluate(state)]
    for act in (
        "views[1].canvas.dispatchEvent(new KeyboardEvent('keydown', {key: 'ArrowLeft'}))",
        "views[1].canvas.dispatchEvent(new WheelEvent('wheel', {deltaY: -200}))",
        "(i => { i.value = 1; i.dispatchEvent(new Event('input')); })(document.querySelector('input[data-flat]'))",
    ):
        browser.evaluate(act)
        seen.append(browser.evaluate(state))
    assert len(set(seen)) == len(seen)
    flat = browser.evaluate("views[0].points.map(p => Math.hypot(p[0], p[1]))")
    assert max(flat) < 1  # inside the Poincaré disc
    browser.evaluate("document.querySelector('input[data-group]').click()")
    assert browser.evaluate("hidden.size") == 1
    assert browser.troubles() == []
