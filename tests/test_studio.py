"""The studio as a film maker uses it, in Chromium: words, a board, an edit, a film, its marks - mouse and keys."""

from __future__ import annotations

import io
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from server_room import Running

sync_api = pytest.importorskip("playwright.sync_api")
expect = sync_api.expect
pytestmark = [pytest.mark.browser, pytest.mark.slow]
expect.set_options(timeout=30_000)
FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip
PROMPT = "A penguin walks in the snow, then a cat sleeps in a living room, then a dog runs on the beach"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    running = Running(tmp_path_factory.mktemp("data"), pretend=2.0)
    yield running
    running.stop()


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        program = shutil.which("chromium") or shutil.which("google-chrome")
        opened = playwright.chromium.launch(executable_path=program, args=list(FLAGS))
        yield opened
        opened.close()


@pytest.fixture
def page(browser: Any, server: Running) -> Iterator[Any]:
    """A fresh page of the studio, which must stay without errors, and ask nobody but its server."""
    context = browser.new_context(viewport={"width": 1440, "height": 900}, reduced_motion="reduce")
    opened = context.new_page()
    wrong: list[str] = []
    opened.on("pageerror", lambda error: wrong.append(str(error)))
    opened.on(
        "console", lambda line: wrong.append(line.text) if "Content Security Policy" in line.text else None
    )
    opened.on("request", lambda asked: wrong.append(asked.url) if not ours(asked.url, server.url) else None)
    visit(opened, server.url)
    yield opened
    context.close()
    assert not wrong


def ours(url: str, server: str) -> bool:
    return url.startswith((server, f"blob:{server}", "data:"))


def visit(page: Any, url: str) -> None:
    page.goto(f"{url}/")
    page.wait_for_selector("body[data-ready]")


def direct(page: Any, prompt: str = PROMPT, seconds: int = 12) -> None:
    page.get_by_label("The film in words").fill(prompt)
    page.locator("#seconds").fill(str(seconds))
    page.get_by_role("button", name="Make a storyboard").click()
    expect(page.locator(".card[data-shot]").first).to_be_visible()


def board(page: Any) -> Any:
    return json.loads(page.evaluate("localStorage.getItem('longtake.board')"))["board"]


def shots(page: Any) -> list[str]:
    return [shot["id"] for shot in board(page)["shots"]]


def test_from_a_prompt_to_a_film_that_says_what_it_is(page: Any, server: Running) -> None:
    direct(page)
    assert len(shots(page)) == 3
    expect(page.locator("#board-length")).to_contain_text("12 s")
    page.locator("#shot-s1").get_by_label("Seconds").fill("6.5")
    expect(page.locator("#board-length")).to_contain_text("14.5 s")
    widths = page.locator("#strip li").evaluate_all(
        "all => all.map(one => one.getBoundingClientRect().width)"
    )
    assert widths[0] > 1.4 * widths[1]
    page.get_by_role("button", name="Film this board").click()
    job = page.locator("#queue .job")
    expect(job).to_have_count(1)
    expect(job).to_contain_text("A penguin walks")
    expect(job.locator("progress")).not_to_have_js_property("value", 0)
    expect(job.locator("img")).to_be_visible()  # a preview frame
    expect(page.locator("#toasts")).to_contain_text("is ready")
    expect(page.locator("#queue-empty")).to_be_visible()
    page.get_by_role("link", name="Gallery").click()
    film = page.locator(".film").first
    expect(film).to_contain_text("A penguin walks")
    assert film.locator("img").evaluate("async one => { await one.decode(); return one.naturalWidth; }") > 0
    film.click()
    dialog = page.get_by_role("dialog")
    assert dialog.locator("video").evaluate(
        "async one => { while (one.readyState < 2) await new Promise(r => setTimeout(r, 50)); return one.videoWidth; }"
    )
    expect(dialog).to_contain_text(str(board(page)["seed"]))
    expect(dialog.locator(".shots li")).to_have_count(3)
    with page.expect_download() as got:
        dialog.get_by_role("button", name="Download").click()
    assert Path(got.value.path()).read_bytes()[4:8] == b"ftyp"
    dialog.get_by_role("button", name="Check its marks").click()
    verdict = page.locator("#verdict")
    expect(verdict.get_by_role("heading")).to_contain_text("Made by AI")
    expect(verdict.locator(".signals li")).to_have_count(4)
    expect(verdict.locator(".signals li.found")).not_to_have_count(0)


def test_one_shot_is_made_again_and_the_others_stay(page: Any, server: Running) -> None:
    direct(page)
    page.locator("#shot-s2 .again").click()
    expect(page.locator("#toasts")).to_contain_text("Film the board once")
    page.get_by_role("button", name="Film this board").click()
    expect(page.locator("#toasts")).to_contain_text("is ready")
    page.locator("#shot-s2 .again").click()
    expect(page.locator("#queue .job")).to_have_count(1)
    seeds = [shot["seed"] for shot in board(page)["shots"]]
    assert seeds[0] is None and isinstance(seeds[1], int) and seeds[2] is None
    expect(page.locator("#queue .job")).to_have_count(0)
    page.locator("#shot-s1").get_by_role("button", name=re.compile("^Lock")).click()
    expect(page.locator("#shot-s1 .again")).to_be_disabled()


def test_shots_are_put_in_order_by_mouse_and_by_keys_and_undone(page: Any) -> None:
    direct(page)
    assert shots(page) == ["s1", "s2", "s3"]
    page.locator("#shot-s1 .handle").focus()
    page.keyboard.press("ArrowRight")
    assert shots(page) == ["s2", "s1", "s3"]
    expect(page.locator("#shot-s1 .handle")).to_be_focused()
    source, target = (page.locator(f"#shot-{id} .handle").bounding_box() for id in ("s3", "s2"))
    page.mouse.move(source["x"] + 5, source["y"] + 5)
    page.mouse.down()
    page.mouse.move(target["x"] + 40, target["y"] + 60, steps=6)
    page.mouse.up()
    assert shots(page) == ["s3", "s2", "s1"]
    page.locator("#shot-s2").get_by_label("What happens").fill("a cat wakes up")
    page.locator("#shot-s2").get_by_role("button", name="Duplicate").click()
    assert shots(page) == ["s3", "s2", "s4", "s1"]
    assert board(page)["shots"][2]["action"] == "a cat wakes up"
    page.locator("#shot-s3").get_by_role("button", name="Delete").click()
    page.get_by_role("button", name="Add a shot").click()
    assert shots(page) == ["s2", "s4", "s1", "s3"]
    for _ in range(6):
        page.get_by_role("button", name="Undo").click()
    assert shots(page) == ["s1", "s2", "s3"]
    page.get_by_role("button", name="Redo").click()
    assert shots(page) == ["s2", "s1", "s3"]
    page.reload()
    expect(page.locator(".card[data-shot]")).to_have_count(3)
    assert shots(page) == ["s2", "s1", "s3"]


def test_names_follow_as_they_are_typed(page: Any) -> None:
    direct(page)
    page.get_by_label("Place", exact=True).last.fill("at the seaside")
    expect(page.locator("#shot-s3 .gist")).to_contain_text("at the seaside")
    page.get_by_role(
        "button", name="Add a character"
    ).click()  # the first click after typing meets its button
    expect(page.locator("#shot-s3 select[data-key$='.location'] option:checked")).to_have_text(
        "at the seaside"
    )
    page.locator(".noun").nth(3).get_by_label("Name").fill("Ada")
    page.locator("#shot-s3 summary").click()
    page.locator("#shot-s3").get_by_label("Ada").check()
    page.locator("#shot-s3").get_by_label("Where").last.select_option("left")
    page.locator("#shot-s3").get_by_role("button", name="Add a line").click()
    page.locator("#shot-s3").get_by_label("Says").fill("Look!")
    shot = board(page)["shots"][2]
    assert shot["characters"][-1] == {"id": "c4", "position": "left", "facing": ""}
    assert shot["dialogue"][-1]["text"] == "Look!"
    page.locator(".noun").nth(3).get_by_role("button", name="Remove Ada").click()
    assert all(cast["id"] != "c4" for cast in board(page)["shots"][2]["characters"])
    expect(page.locator("#board .problem:visible")).to_have_count(0)


def test_the_edge_of_a_shot_on_the_strip_changes_its_length(page: Any) -> None:
    direct(page)
    edge = page.get_by_role("slider", name="Length of shot 1")
    seconds = page.locator("#shot-s1").get_by_label("Seconds")
    before = float(seconds.input_value())
    edge.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("PageUp")
    expect(seconds).to_have_value(f"{before + 1.25:g}")
    expect(edge).to_be_focused()
    box = edge.bounding_box()
    page.mouse.move(box["x"] + 6, box["y"] + 20)
    page.mouse.down()
    page.mouse.move(box["x"] - 100, box["y"] + 20, steps=5)
    page.mouse.up()
    assert float(seconds.input_value()) < before
    page.get_by_role("button", name="Undo").click()
    expect(seconds).to_have_value(f"{before:g}")


def test_the_studio_works_below_a_path_of_a_proxy(browser: Any, server: Running) -> None:
    page = browser.new_page()
    page.route("**/below/**", lambda route: route.continue_(url=route.request.url.replace("/below/", "/")))
    page.goto(f"{server.url}/below/")
    page.wait_for_selector("body[data-ready]")
    direct(page)
    page.close()


def test_the_server_names_the_field_that_is_wrong(page: Any) -> None:
    direct(page)
    seconds = page.locator("#shot-s2").get_by_label("Seconds")
    seconds.fill("0.1")
    expect(page.locator("#shot-s2 .field.short .problem")).to_contain_text("must be 0.25 to 60 seconds")
    expect(seconds).to_have_attribute("aria-invalid", "true")
    expect(page.get_by_role("button", name="Film this board")).to_be_disabled()
    seconds.fill("3")
    expect(page.locator("#board .problem:visible")).to_have_count(0)
    expect(page.get_by_role("button", name="Film this board")).to_be_enabled()
    page.locator("#shot-s1 summary").click()
    page.locator("#shot-s1").get_by_label("Entered by").select_option("wipe")
    expect(page.locator("#shot-s1 .problem")).to_contain_text("cannot begin with a wipe")
    page.get_by_label("The film in words").fill(" ")
    page.get_by_role("button", name="Film it").click()
    expect(page.locator("#compose .problem")).to_contain_text("prompt is empty")


def test_a_board_is_saved_and_opened(page: Any, tmp_path: Path) -> None:
    direct(page)
    page.get_by_label("Title").fill("Snow/ <b>and</b> sand")
    with page.expect_download() as got:
        page.get_by_role("button", name="Save the board").click()
    assert got.value.suggested_filename == "Snow bandb sand.json"
    saved = json.loads(Path(got.value.path()).read_text(encoding="utf-8"))
    assert saved == board(page)
    page.locator("#close-board").click()
    expect(page.locator(".card")).to_have_count(0)
    saved["shots"] = saved["shots"][:2]
    (tmp_path / "board.json").write_text(json.dumps(saved), encoding="utf-8")
    page.locator("#open-board").set_input_files(tmp_path / "board.json")
    expect(page.locator(".card[data-shot]")).to_have_count(2)
    (tmp_path / "not.json").write_text('{"shots": [{"id": "s1", "duration": 99}]}', encoding="utf-8")
    page.locator("#open-board").set_input_files(tmp_path / "not.json")
    expect(page.locator("#toasts")).to_contain_text("shots[0].duration")


def test_no_text_becomes_markup(page: Any, server: Running) -> None:
    evil = '<img src=x onerror="window.hit=1"><script>window.hit=1</script>'
    page.get_by_label("The film in words").fill(evil)
    page.get_by_role("button", name="Film it").click()
    expect(page.locator("#queue .job")).to_contain_text("<script>")
    expect(page.locator("#queue .job")).to_have_count(0)
    page.get_by_role("link", name="Gallery").click()
    page.locator(".film").first.click()
    expect(page.get_by_role("dialog").get_by_role("heading")).to_contain_text(evil)
    assert page.evaluate("window.hit") is None
    assert page.locator('img[src="x"]').count() == 0


def test_the_queue_can_be_cancelled_and_put_in_order(browser: Any, tmp_path: Path) -> None:
    slow = Running(tmp_path / "data", pretend=120.0)
    page = browser.new_page()
    try:
        visit(page, slow.url)
        job = {
            name: page.locator("#queue .job", has_text=f"{name} film")
            for name in ("first", "second", "third")
        }
        for name in job:
            page.get_by_label("The film in words").fill(f"{name} film")
            page.get_by_role("button", name="Film it").click()
            expect(job[name]).to_be_visible()
        expect(job["third"]).to_contain_text("1 job ahead")
        job["third"].locator(".handle").focus()
        page.keyboard.press("ArrowUp")
        expect(job["third"]).to_contain_text("next")
        expect(job["second"]).to_contain_text("1 job ahead")
        for name in job:
            job[name].get_by_role("button", name="Cancel").click()
            expect(job[name]).to_contain_text("Cancelled")
        job["second"].get_by_role("button", name="Clear").click()
        expect(job["second"]).to_have_count(0)
    finally:
        page.close()
        slow.stop()


def test_a_failure_is_told_in_the_servers_words(page: Any) -> None:
    page.get_by_label("The film in words").fill("fail")
    page.get_by_role("button", name="Film it").click()
    failed = page.locator("#queue .job.failed")
    expect(failed).to_contain_text("cannot be read")
    failed.get_by_role("button", name="Clear").click()
    expect(failed).to_have_count(0)


def test_films_are_made_of_films(page: Any, server: Running) -> None:
    page.get_by_label("The film in words").fill("a dog at night")
    page.get_by_role("button", name="Film it").click()
    expect(page.locator("#toasts")).to_contain_text("is ready")
    for make, fill in (("remix", True), ("extend", True), ("edit", True), ("loop", False)):
        page.get_by_role("link", name="Gallery").click()
        page.locator(".film", has_text="a dog at night").first.click()
        form = page.locator(f"#make-{make}")
        form.locator("summary").click()
        if fill:
            form.get_by_label("The film in words").fill(f"now {make}")
        form.get_by_role("button", name="Make it").click()
        expect(page.get_by_role("dialog")).to_have_count(0)
        page.get_by_role("link", name="Film", exact=True).click()
        expect(page.locator("#queue .job").first).to_be_visible()
        expect(page.locator("#queue .job")).to_have_count(0)
    page.get_by_role("link", name="Gallery").click()
    expect(page.locator(".film", has_text="now extend")).to_contain_text("Extended")
    page.locator(".film", has_text="now extend").click()
    page.get_by_role("button", name="Begin a film with this frame").click()
    expect(page.locator(".begin.has img")).to_be_visible()
    page.get_by_role("link", name="Gallery").click()
    page.locator(".film", has_text="now extend").click()
    page.locator("#delete-film").click()
    page.get_by_role("button", name="Delete it").click()
    expect(page.locator(".film", has_text="now extend")).to_have_count(0)


def test_takes_are_sent_only_when_they_are_chosen(page: Any) -> None:
    page.get_by_label("The film in words").fill("a dog in the snow")
    page.locator("summary", has_text="Advanced").click()
    for count in ("2", ""):
        page.get_by_label("Takes").select_option(count)
        with page.expect_response(re.compile(r"/v1/videos$")) as answer:
            page.get_by_role("button", name="Film it").click()
        assert answer.value.ok
        sent = answer.value.request.post_data_buffer.decode()
        assert re.findall(r'name="takes"\s+(\d)', sent) == ([count] if count else [])
    page.reload()
    expect(page.locator("[data-key=takes]")).to_have_value("")  # what was chosen last is kept


def test_an_unmarked_picture_proves_nothing(page: Any) -> None:
    out = io.BytesIO()
    Image.new("RGB", (320, 240), "teal").save(out, "PNG")
    page.get_by_role("link", name="Verify").click()
    picture = {"name": "mine.png", "mimeType": "image/png", "buffer": out.getvalue()}
    page.locator("#verify-file").set_input_files(picture)
    expect(page.locator("#verdict")).to_contain_text("No marks found")
    expect(page.locator("#verdict")).to_contain_text("proves nothing")
    page.locator("#verify-file").set_input_files(picture | {"buffer": b"words"})
    expect(page.locator("#verdict")).to_contain_text("neither a picture nor a video")


def test_two_languages_and_a_phone(browser: Any, server: Running) -> None:
    context = browser.new_context(viewport={"width": 390, "height": 844}, locale="zh-CN", has_touch=True)
    page = context.new_page()
    visit(page, server.url)
    assert page.evaluate("document.documentElement.lang") == "zh"
    expect(page.get_by_role("button", name="开拍")).to_be_visible()
    page.get_by_label("用文字描述影片").fill("一只企鹅在雪地里走，然后一只猫在客厅里睡觉")
    page.get_by_role("button", name="生成分镜").click()
    expect(page.locator(".card[data-shot]").first).to_be_visible()
    for view in ("film", "queue", "gallery", "verify"):
        page.locator(f"[data-go={view}]").click()
        assert page.evaluate("document.documentElement.scrollWidth") == 390, f"{view} is wider than the phone"
    out = io.BytesIO()
    Image.new("RGB", (64, 48), "teal").save(out, "PNG")
    picture = {"name": f"{'long' * 30}.png", "mimeType": "image/png", "buffer": out.getvalue()}
    page.locator("#verify-file").set_input_files(picture)
    expect(page.locator("#verdict")).to_contain_text("未发现标识")
    expect(page.locator("#verdict")).to_contain_text("没有 AIGC 字段")
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    page.locator("#language").click()
    assert page.evaluate("document.documentElement.lang") == "en"
    expect(page.locator("#verdict")).to_contain_text("no AIGC key")
    page.reload()
    expect(page.get_by_role("link", name="Gallery")).to_be_visible()  # remembered
    context.close()


def test_every_control_has_a_name(page: Any) -> None:
    direct(page)
    page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true; })")
    nameless = page.evaluate(
        """() => [...document.querySelectorAll("button, input, select, textarea, a")].filter(one => !one.hidden &&
        !(one.getAttribute("aria-label") || one.labels?.length || one.textContent.trim())).map(one => one.outerHTML)"""
    )
    assert nameless == []
    page.keyboard.press("Tab")
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"


def test_a_server_with_keys_asks_for_one(browser: Any, tmp_path: Path) -> None:
    made = subprocess.run(
        [sys.executable, "-m", "longtake", "keys", "api", "create", "anna", "--data", str(tmp_path / "data")],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    guarded = Running(tmp_path / "data", pretend=3.0)
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    page = context.new_page()
    try:
        page.goto(f"{guarded.url}/")
        page.get_by_label("API key").fill("wrong")
        page.get_by_role("button", name="Use this key").click()
        expect(page.locator("#key-dialog")).to_contain_text("does not know this key")
        page.get_by_label("API key").fill(made.stdout.strip())
        page.get_by_role("button", name="Use this key").click()
        page.wait_for_selector("body[data-ready]")
        page.get_by_label("The film in words").fill("a dog")
        page.get_by_role("button", name="Film it").click()
        expect(page.locator("#queue .job progress")).not_to_have_js_property("value", 0)
        page.get_by_role("button", name="Watch").click()
        video = page.get_by_role("dialog").locator("video")
        expect(video).to_have_attribute("src", re.compile("^blob:"))
        kept = page.evaluate("[sessionStorage.getItem('longtake.key'), JSON.stringify(localStorage)]")
        assert kept[0] == made.stdout.strip() and kept[0] not in kept[1]
    finally:
        context.close()
        guarded.stop()
