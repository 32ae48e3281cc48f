"""The page of demo.py in a headless Chromium, used as a person does: by what stands on it, and by the keyboard."""

import json
import os
import shutil
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

from conftest import warm_python

from tlrec import paths
from tlrec.experiments import install_demo

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
DRIVER = shutil.which("chromedriver")


def missing_packages() -> str:
    """What the browser tests lack here and how it is installed; empty where they can run."""
    missing = [f"{name} (apt-get install chromium chromium-driver)" for name, path in
               (("chromium", CHROMIUM), ("chromium-driver", DRIVER)) if path is None]
    if not install_demo.folder().is_dir():
        missing.append("gradio and selenium (python -m tlrec.experiments.install_demo)")
    return f"missing: {', '.join(missing)}" if missing else ""


@contextmanager
def demo_server(log: Path, home: Path, *flags, **variables):
    """demo.py on a free port; gives its address."""
    path = f"{paths.ROOT}{os.pathsep}{install_demo.folder()}"
    environment = {**os.environ, "TLREC_HOME": str(home), "PYTHONPATH": path, **variables}
    with open(log, "w") as output:
        server = subprocess.Popen([warm_python(), "demo.py", "--port", "0", *map(str, flags)], cwd=paths.ROOT,
                                  env=environment, stdout=output, stderr=subprocess.STDOUT)
    try:
        yield lambda: _address(server, log)
    finally:
        server.terminate()
        code = server.wait(30)
    assert code in (0, -15, 143), log.read_text()


def _address(server: subprocess.Popen, log: Path) -> str:
    deadline = time.time() + 240
    while "\nopen " not in f"\n{log.read_text()}":
        assert server.poll() is None and time.time() < deadline, log.read_text()
        time.sleep(0.05)
    return f"\n{log.read_text()}".partition("\nopen ")[2].split()[0]


class Page:
    """A window of the browser."""

    def __init__(self):
        if str(install_demo.folder()) not in sys.path:
            sys.path.append(str(install_demo.folder()))  # behind the environment's own packages
        from selenium import webdriver
        from selenium.webdriver.chrome.service import Service
        from selenium.webdriver.common.keys import Keys

        options = webdriver.ChromeOptions()
        options.binary_location = CHROMIUM
        for flag in ("headless=new", "no-sandbox", "disable-dev-shm-usage", "disable-background-networking",
                     "disable-component-update", "no-first-run", "window-size=1280,1500", "lang=en"):
            options.add_argument(f"--{flag}")
        options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
        self.driver = webdriver.Chrome(options=options, service=Service(DRIVER))
        self.keys = Keys

    def open(self, address: str) -> None:
        self.driver.get(address)
        self.wait(lambda: self.find("#models input") or self.find("#answers .error"))

    def wait(self, condition, seconds: float = 120):
        """What the condition gives, once that is true."""
        deadline = time.time() + seconds
        while not (value := self._tried(condition)):
            assert time.time() < deadline, self.driver.find_element("css selector", "body").text
            time.sleep(0.05)
        return value

    def _tried(self, condition):
        from selenium.common.exceptions import StaleElementReferenceException

        try:
            return condition()
        except StaleElementReferenceException:  # gradio drew the element anew
            return None

    def find(self, selector: str) -> list:
        return self.driver.find_elements("css selector", selector)

    def text(self, selector: str) -> str:
        return "\n".join(element.text for element in self.find(selector))

    def rows(self, selector: str) -> list[list[str]]:
        """The body of a table."""
        return [[cell.text for cell in row.find_elements("css selector", "td")]
                for row in self.find(f"{selector} tbody tr")]

    def press(self, text: str) -> None:
        """Click the button that begins with this text."""
        buttons = [button for button in self.find("button") if button.text.startswith(text) and button.is_displayed()]
        self.driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", buttons[0])
        buttons[0].click()

    def search(self, words: str, title: str) -> None:
        """Search words and pick a title of those found."""
        field = self.find("#query textarea, #query input")[0]
        field.clear()
        field.send_keys(words)
        self.wait(lambda: [label for label in self.find("#found label") if label.text == title])[0].click()

    def marked(self, name: str) -> str:
        """What stands in the field of liked or disliked titles, or of the target."""
        if name == "target":
            return self.find("#target textarea, #target input")[0].get_attribute("value")
        return self.text(f"#{name} .token, #{name} [class*=token]")

    def mark(self, words: str, title: str, button: str) -> None:
        self.search(words, title)
        self.press(button)
        self.wait(lambda: title in self.marked(button.lower()))

    def choose_models(self, *names: str) -> None:
        for label in self.wait(lambda: self.find("#models label")):
            box = label.find_element("css selector", "input")
            if box.is_selected() != (label.text in names):
                box.click()

    def score(self) -> list[list[str]]:
        self.press("Score the target")
        return self.wait(lambda: self.rows("#answers"))

    def tab_to(self, text: str) -> None:
        """Press Tab until an element with this text, label or value has the focus."""
        from selenium.webdriver.common.action_chains import ActionChains

        for _ in range(60):
            ActionChains(self.driver).send_keys(self.keys.TAB).perform()
            focused = self.driver.switch_to.active_element
            if text in (focused.text, focused.get_attribute("aria-label"), focused.get_attribute("value")):
                return
        raise AssertionError(f"no {text} within 60 presses of Tab")

    def requested(self) -> set[str]:
        """Addresses that the browser has asked since the last call."""
        events = [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]
        return {event["params"]["request"]["url"] for event in events
                if event["method"] == "Network.requestWillBeSent"}
