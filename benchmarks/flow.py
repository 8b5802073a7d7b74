"""How long an annotator waits: key press to the next image on the screen, in a real browser, over a slow network.

    python -m benchmarks.flow digits
    python -m benchmarks.flow ../shared/data/mnist.npz --images 200 --delay 100 --away 30

The product as a stranger starts it (SQLite, one web process, workers and their rounds), Chromium with `--delay`
milliseconds added to every request, and one person who answers rightly by keys. A time is from the key's own time stamp
to the first moment after the frame in which the next image was drawn. Half-way the web server is stopped for `--away`
seconds; the person goes on as long as there are images. At the end every answer that the page took has to be in the
database, once.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from playwright.sync_api import Page, sync_playwright

from benchmarks.browser import ARGUMENTS, find_browser
from benchmarks.servers import ROOT, Server, machine_line, wait_until, web_server, worker
from tests.e2e.labelling import ready, saved, sent, shown

WATCH = """
() => {
  const table = document.querySelector("[data-table]");
  window.flow = [];
  let pressed = null;
  addEventListener("keydown", (event) => { if (!event.repeat) pressed = event.timeStamp; }, { capture: true });
  new MutationObserver(() => {
    const image = table.querySelector("img");
    if (pressed === null || !image) return;
    const [since, id, isDecoded] = [pressed, image.dataset.image, image.complete && image.naturalWidth > 0];
    pressed = null;
    requestAnimationFrame(() => {
      const channel = new MessageChannel();
      channel.port1.onmessage = () => window.flow.push([performance.now() - since, id, isDecoded]);
      channel.port2.postMessage(0);
    });
  }).observe(table, { childList: true, subtree: true, attributes: true, attributeFilter: ["src", "data-image"] });
}
"""


@dataclass
class Flow:
    """What came of the key presses, in milliseconds."""

    calm: list[float] = field(default_factory=list)
    away: list[float] = field(default_factory=list)
    undecoded: int = 0
    waits: list[float] = field(default_factory=list)  # seconds without any image to answer
    pressed: int = 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "source", nargs="?", default="digits", help="digits, or a .zip, .npz or folder of class folders"
    )
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--delay", type=float, default=100, help="milliseconds added to every request")
    parser.add_argument("--pace", type=float, default=0.5, help="seconds between two answers")
    parser.add_argument("--away", type=float, default=30, help="seconds without a server, half-way")
    options = parser.parse_args()
    print(f"$ python -m benchmarks.flow {' '.join(sys.argv[1:])}\n{machine_line()}")
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        os.environ |= {"DATA_DIR": folder, "DATABASE_URL": "", "DJANGO_ALLOW_ASYNC_UNSAFE": "true"}
        os.environ["DJANGO_SETTINGS_MODULE"] = "labeler.settings"
        password = prepare(options.source)
        web = start_all(Path(folder), stack)
        flow = label(web, password, options)
        kept, doubled = kept_answers()
    report(flow, kept, doubled)
    return 0 if kept == flow.pressed and not doubled else 1


def prepare(source: str) -> str:
    """Make the demo's project; returns the password of one annotator."""
    made = subprocess.run(
        [sys.executable, "manage.py", "demo", "--data", source, "--prepare-only"],
        cwd=ROOT, env=dict(os.environ), capture_output=True, text=True, check=True,
    )  # fmt: skip
    found = re.search(r"\banna\b\W+([a-z0-9]{4}(?:-[a-z0-9]{4}){3})", made.stdout)
    assert found, made.stdout
    return found[1]


def start_all(folder: Path, stack: ExitStack) -> Server:
    """All processes of the product; returns the web server."""
    web = web_server({}, log=folder / "web.log")
    others = [
        worker(kind, {}, log=folder / f"{kind}.log") for kind in ("learner", "worker", "importer", "background", "beat")
    ]
    for server in (web, *others):
        server.start()
        stack.callback(server.stop)
    return web


def label(web: Server, password: str, options: argparse.Namespace) -> Flow:
    import django

    django.setup()
    from labeler.models import OfferedLabel, Project

    slug = Project.objects.get().slug
    key_of = dict(Project.objects.get().classes.values_list("name", "shortcut"))
    truth = {str(image): key_of[name] for image, name in OfferedLabel.objects.values_list("image_id", "class_name")}
    flow = Flow()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_browser(), args=ARGUMENTS)
        page = browser.new_context(base_url=web.url).new_page()
        page.goto("/login/")
        page.get_by_label("Username").fill("anna")
        page.get_by_label("Password").fill(password)
        page.get_by_role("button", name="Sign in").click()
        page.wait_for_url(lambda url: "/login/" not in url)
        page.goto(f"/p/{slug}/label/")
        slow_down(page, options.delay)
        ready(page)
        page.evaluate(WATCH)
        for is_there in stages(web, options):
            press(page, truth, flow, flow.calm if is_there else flow.away, options)
        saved(page)
        sent(page)
        browser.close()
    return flow


def stages(web: Server, options: argparse.Namespace) -> Iterator[bool]:
    """Once for each image, whether the server is there; half-way it goes away, and comes back by itself."""
    back = threading.Timer(options.away, web.start)
    for number in range(options.images):
        if number == options.images // 2 and options.away:
            web.stop()
            back.start()
        yield not back.is_alive()
    if options.away:
        back.join()


def press(page: Page, truth: dict[str, str], flow: Flow, times: list[float], options: argparse.Namespace) -> None:
    """Answer what is in view rightly, and wait until the next is there."""
    began = time.monotonic()
    wait_until(lambda: bool(shown(page)), options.away + 90, "an image")
    if (waited := time.monotonic() - began) > 0.5:
        flow.waits.append(waited)
    page.wait_for_timeout(1000 * options.pace)
    before = len(page.evaluate("window.flow"))
    page.keyboard.press(truth[shown(page)])
    flow.pressed += 1
    page.wait_for_timeout(250)
    for milliseconds, _image, is_decoded in page.evaluate("window.flow")[before:]:
        times.append(milliseconds)
        flow.undecoded += not is_decoded


def slow_down(page: Page, delay: float) -> None:
    session = page.context.new_cdp_session(page)
    session.send("Network.enable")
    conditions = {"offline": False, "latency": delay, "downloadThroughput": -1, "uploadThroughput": -1}
    session.send("Network.emulateNetworkConditions", conditions)


def kept_answers() -> tuple[int, int]:
    """Live answers in the database, and images that have more than one of the person."""
    from labeler.models import Annotation, Outcome

    live = Annotation.objects.filter(retracted_at=None, outcome=Outcome.LABEL)
    images = list(live.values_list("image", flat=True))
    return len(images), len(images) - len(set(images))


def report(flow: Flow, kept: int, doubled: int) -> None:
    for words, times in (("the server is there", flow.calm), ("it is away", flow.away)):
        if times:
            p50, p95, most = np.percentile(times, [50, 95, 100])
            print(f"{words}: {len(times)} images, key to paint p50 {p50:.0f} ms, p95 {p95:.0f} ms, most {most:.0f} ms")
    print(f"not decoded when drawn: {flow.undecoded}; waits without an image: {[round(w, 1) for w in flow.waits]} s")
    print(f"{flow.pressed} answers given, {kept} in the database, {doubled} doubled")


if __name__ == "__main__":
    sys.exit(main())
