"""demo.py in a real browser. With SCREENSHOTS=docs/images the last test draws the pictures of docs/demo.md."""

import csv
import json
import os
import tempfile
import urllib.error
import urllib.request
from contextlib import ExitStack
from pathlib import Path

import pytest
from browser_page import Page, demo_server, missing_packages
from conftest import make_adapter, make_rows, write_split
from loopback_server import LoopbackServer, QuietHandler, running

from tlrec import paths
from tlrec.data.preference_text import History
from tlrec.evaluation import ranking
from tlrec.evaluation.ranking import Profile
from tlrec.model.base_model import load_base_model
from tlrec.model.prompt_encoder import Encoder

pytestmark = pytest.mark.skipif(bool(missing_packages()), reason=missing_packages())
MARKUP = ['<img src=x onerror="document.title=1">', "[x](javascript:document.title=1)", "$$x^2$$",
          "{{7*7}} ${7*7}", "<script>document.title=1</script> **bold**"]
MODELS = ["untuned", "zero-shot: movielens", "few-shot: movielens, 64 rows, seed 0"]


@pytest.fixture(scope="module")
def proxy():
    """A proxy of the server's process, which would get whatever that asks of other hosts; and what it got."""
    asked = []

    class Handler(QuietHandler):
        def handle_one_request(self):
            asked.append(self.rfile.readline())
            self.close_connection = True

    with running(LoopbackServer(Handler)) as server:
        yield server.base, asked


@pytest.fixture(scope="module")
def servers(tiny_llama, tmp_path_factory, proxy):
    """Addresses of a page with two adapters and a wrong one, and of a page with a wrong base model."""
    home = tmp_path_factory.mktemp("demo")
    folder = home / "rec_data/movie"
    folder.mkdir(parents=True)
    write_split(folder, "train", *make_rows(60, 0))
    with open(folder / "item_mapping.csv", "w", newline="") as file:
        titles = [*(f"No Film {number} ({1950 + number})" for number in range(1, 40)), *MARKUP]
        csv.writer(file).writerows([["id", "title"], *enumerate(titles)])
    for number, name in enumerate(("instruction_model/tiny-llama/movie/movielens",
                                   "output_model/tiny-llama/movie/movielens/0_64")):
        make_adapter(tiny_llama, home / name, seed=number)
    address, _ = proxy
    variables = {name: address for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy")} | {
        "NO_PROXY": "", "no_proxy": ""}
    with ExitStack() as stack:
        started = [stack.enter_context(demo_server(home / f"{number}.log", home, *flags, **variables))
                   for number, flags in enumerate((
                       ("--base_model", tiny_llama, "--lora_weights", home / "nowhere", "--dtype", "float32"),
                       ("--base_model", home / "no-model")))]
        yield [address() for address in started]


@pytest.fixture(scope="module")
def browser(servers):
    page = Page()
    yield page
    page.driver.quit()


@pytest.fixture
def page(browser, servers):
    browser.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    browser.open(servers[0])
    return browser


def test_whole_path_of_a_user(page, servers, tiny_llama, proxy):
    page.mark("film 7", "No Film 7 (1957)", "Liked")
    page.mark("9 film", "No Film 9 (1959)", "Disliked")
    page.mark("1953", "No Film 3 (1953)", "Target")
    page.choose_models(*MODELS)
    answers = page.score()
    assert [row[0] for row in answers] == [*MODELS, "liked-ratio", "item-mean"]
    assert answers[3][1] == "0.500" and 0 < float(answers[4][1]) < 1
    assert len({row[1] for row in answers[:3]}) == 3  # each adapter is another system

    model, tokenizer = load_base_model(tiny_llama, False, "float32", "cpu")
    sample = Profile("1", ["No Film 7 (1957)"], ["No Film 9 (1959)"]).samples(
        History([], [], "movie", '"X"?'), ["No Film 3 (1953)"])
    p_yes = ranking.language_model_scorer(model, Encoder(tokenizer))(sample)[0]
    assert float(answers[0][1]) == pytest.approx(p_yes, abs=6e-4)

    influences = page.rows("#influences")
    assert sorted(row[:2] for row in influences) == [["No Film 7 (1957)", "liked"], ["No Film 9 (1959)", "disliked"]]
    assert len(influences[0]) == 5 and any(row[2] != "+0.000" for row in influences)
    page.press("The prompt that was sent")
    prompt = page.find("#prompt textarea")[0].get_attribute("value")
    assert 'User Preference: "No Film 7 (1957)"' in prompt and prompt.rstrip().endswith("### Response:")

    page.press("Rank the catalogue")
    ranked = page.wait(lambda: page.rows("#ranking"))
    assert len(ranked) == 10 and len(ranked[0]) == 5 and not any("No Film 7 " in cell for row in ranked for cell in row)

    page.press("Results")
    page.wait(lambda: page.find("#figures img"))
    assert "this is the reference record, results/reference/movie/runs.jsonl" in page.text("#record")
    assert len(page.find("#figures img")) == 3
    assert {"liked-ratio", "TALLRec"} <= {row[0] for row in page.rows("#tables")}
    for label in page.find("#systems label")[1:]:
        label.click()
    page.wait(lambda: [row[0] for row in page.rows("#tables") if row[1] == "ours"] == ["liked-ratio"])

    asked = page.requested()
    assert len(asked) > 20
    assert [url for url in asked if not url.startswith((servers[0], "data:", "blob:", "chrome:", "about:"))] == []
    assert proxy[1] == []
    assert [entry for entry in page.driver.get_log("browser") if entry["level"] == "SEVERE"] == []


@pytest.mark.parametrize("named", ["path", "url"])
def test_no_file_of_the_machine_is_copied_or_fetched(servers, proxy, tmp_path, named):
    secret = tmp_path / "secret.txt"
    secret.write_text("not to be read")
    path = secret if named == "path" else f"{proxy[0]}/secret.txt"
    file = {"path": str(path), "meta": {"_type": "gradio.FileData"}}
    for number in range(12):  # all functions of the page
        body = {"fn_index": number, "session_hash": f"s{number}", "data": [file, [], [], file]}
        request = urllib.request.Request(f"{servers[0]}/gradio_api/queue/join", json.dumps(body).encode(),
                                         {"Content-Type": "application/json"})
        try:
            urllib.request.urlopen(request, timeout=20).close()
            with urllib.request.urlopen(f"{servers[0]}/gradio_api/queue/data?session_hash=s{number}",
                                        timeout=20) as events:
                text = events.read().decode()
        except urllib.error.HTTPError as error:
            text = error.read().decode()
        assert "file=" not in text and "not to be read" not in text
    assert proxy[1] == []
    copies = Path(os.environ.get("GRADIO_TEMP_DIR", Path(tempfile.gettempdir()) / "gradio"))
    assert not copies.exists() or not list(copies.rglob("secret.txt"))


def test_markup_in_a_title_is_shown_as_text(page):
    for title, button in zip(MARKUP, ("Liked", "Liked", "Disliked", "Liked", "Target"), strict=True):
        page.mark(title.split()[0], title, button)
    page.choose_models(MODELS[0])
    page.score()
    page.press("Rank the catalogue")
    page.wait(lambda: page.rows("#ranking"))
    assert MARKUP[4] in page.text("#answers caption")
    assert {row[0] for row in page.rows("#influences")} == set(MARKUP[:4])
    assert page.driver.title == "TLRec"
    assert page.find("img[src=x], a[href^=javascript], .katex, #answers script, #influences script, strong") == []


def test_titles_that_are_not_in_the_catalogue_are_taken_as_text(page):
    field = page.find("#liked input")[0]
    field.send_keys("Alien, The (1979)" + page.keys.ENTER)
    page.wait(lambda: "Alien, The (1979)" in page.marked("liked"))
    page.find("#target textarea, #target input")[0].send_keys("Dune <1984>")
    page.choose_models(MODELS[0])
    assert page.score()[-1] == ["item-mean", "title not in the training rows"]
    assert page.rows("#influences")[0][:2] == ["Alien, The (1979)", "liked"]


def test_two_users_at_once_see_their_own_titles_alone(page, servers):
    first = page.driver.current_window_handle
    page.mark("film 7", "No Film 7 (1957)", "Liked")
    page.choose_models(*MODELS)
    page.driver.switch_to.new_window("window")
    page.open(servers[0])
    page.mark("film 8", "No Film 8 (1958)", "Disliked")
    page.choose_models(*MODELS)
    page.press("Rank the catalogue")
    second = page.driver.current_window_handle
    page.driver.switch_to.window(first)
    page.press("Rank the catalogue")
    seen = {}
    for window, own in ((first, "liked"), (second, "disliked")):
        page.driver.switch_to.window(window)
        seen[own] = str(page.wait(lambda: page.rows("#ranking")))
        assert page.marked({"liked": "disliked", "disliked": "liked"}[own]) == ""
    assert "No Film 7 " not in seen["liked"] and "No Film 8 " not in seen["disliked"]
    page.driver.close()
    page.driver.switch_to.window(first)


def test_keyboard_alone_marks_scores_and_changes_the_tab(page):
    from selenium.webdriver.common.action_chains import ActionChains

    def keys(*pressed):
        ActionChains(page.driver).send_keys(*pressed).perform()

    page.find("#query textarea, #query input")[0].send_keys("film 2")
    chosen = page.wait(lambda: (titles := page.text("#found label").splitlines()) and "Film 2 " in titles[0] and titles)
    page.tab_to(chosen[1])  # gradio gives each radio button a group of its own, so that Tab reaches each
    keys(page.keys.SPACE)
    page.tab_to("Liked")
    keys(page.keys.ENTER)
    page.wait(lambda: chosen[1] in page.marked("liked"))
    page.find("#target textarea, #target input")[0].send_keys("No Film 3 (1953)", page.keys.ENTER)
    assert page.wait(lambda: page.rows("#answers"))[0][0] == "untuned"
    page.driver.execute_script("document.activeElement.blur(); window.scrollTo(0, 0)")
    page.tab_to("Results")
    keys(page.keys.ENTER)
    page.wait(lambda: page.find("#tables table"))


@pytest.mark.parametrize("width", [360])
def test_narrow_screen_needs_no_sideways_scrolling(page, width):
    page.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {
        "width": width, "height": 800, "deviceScaleFactor": 1, "mobile": True})
    page.press("Example user")
    page.choose_models(*MODELS)
    page.score()
    page.press("Rank the catalogue")
    page.wait(lambda: page.rows("#ranking"))

    def overhang():
        return page.driver.execute_script("return document.documentElement.scrollWidth") - width

    assert overhang() <= 0
    page.press("Results")
    page.wait(lambda: page.find("#figures img"))
    assert overhang() <= 0


def test_wrong_adapter_and_missing_marks_are_messages_on_the_page(page):
    page.choose_models(MODELS[0])
    page.press("Score the target")
    page.wait(lambda: "no title is liked or disliked" in page.text("#answers .error"))
    page.press("Example user")
    wrong = page.find("#models label")[-1].text
    page.choose_models(wrong)
    page.press("Score the target")
    page.wait(lambda: "nowhere: no such adapter" in page.text("#answers .error"))
    page.choose_models(MODELS[0])
    page.press("Score the target")
    page.wait(lambda: [row[0] for row in page.rows("#answers")][:1] == MODELS[:1])  # in place of the controls' rows


def test_wrong_base_model_is_a_message_on_the_page(browser, servers):
    browser.open(servers[1])
    assert "no-model: no such model folder" in browser.text("#answers [role=alert]")
    browser.press("Results")
    browser.wait(lambda: browser.find("#tables table"))


@pytest.mark.skipif(not os.environ.get("SCREENSHOTS"), reason="SCREENSHOTS names no folder")
def test_screenshots(tmp_path):
    """Of the embedded model on movie, with the adapters under TLREC_HOME."""
    folder, browser = Path(os.environ["SCREENSHOTS"]), Page()
    folder.mkdir(parents=True, exist_ok=True)
    home = Path(os.environ.get("TLREC_HOME", paths.ROOT))
    with demo_server(tmp_path / "log", home) as address:
        browser.open(address())
        for words, title, button in (
                ("alien", "Alien (1979)", "Liked"), ("terminator the", "Terminator, The (1984)", "Liked"),
                ("blade runner", "Blade Runner (1982)", "Liked"), ("mary pop", "Mary Poppins (1964)", "Disliked"),
                ("dave", "Dave (1993)", "Disliked"), ("aliens", "Aliens (1986)", "Target")):
            browser.mark(words, title, button)
        browser.score()
        browser.press("Rank the catalogue")
        browser.wait(lambda: browser.rows("#ranking"), 600)
        shoot(browser, folder / "demo.png", 1280)
        shoot(browser, folder / "demo-narrow.png", 400)
        browser.press("Results")
        browser.wait(lambda: browser.find("#figures img"), 200)
        shoot(browser, folder / "demo-results.png", 1280)
    browser.driver.quit()


def shoot(browser: Page, path: Path, width: int) -> None:
    """A picture of all of the page at a width in pixels."""
    import base64

    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    browser.driver.execute_script("document.activeElement.blur()")
    height = browser.driver.execute_script("return document.documentElement.scrollHeight")
    browser.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics | {"height": height})
    picture = browser.driver.execute_cdp_cmd("Page.captureScreenshot", {"format": "png"})
    path.write_bytes(base64.b64decode(picture["data"]))
