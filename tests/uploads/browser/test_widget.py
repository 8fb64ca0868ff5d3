"""The widget and its client against a scripted server: every kind, every fault, on a page with a strict policy."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

from tests.servers.chromium import axe
from tests.servers.process import ServerError

from .scripted import MIB, Script

FORM = """<!doctype html>
<html lang="{lang}" dir="{direction}"><head><meta charset="utf-8"><title>Upload</title>
<link rel="stylesheet" href="/static/storages_uploads/uploads.css">
<script type="module" src="/static/storages_uploads/widget.js"></script></head>
<body><main><h1>A form</h1><form method="post" enctype="multipart/form-data" action="/">
<input type="hidden" name="csrfmiddlewaretoken" value="csrf-of-the-form">
<p><label for="id_doc">Document</label></p>
{rows}
<p><button id="save">Save</button> <button type="reset">Reset</button></p></form></main></body></html>"""
WIDGET = """<storages-upload name="{name}" endpoint="/uploads/" slot-token="slot" field="app.Model.doc" {attributes}>
<input type="file" name="{name}" id="id_{name}"></storages-upload>"""
HOSTILE = "<img src=x onerror=alert(1)>.txt"


def form(
    script: Script, attributes: str = "", *, lang: str = "en", direction: str = "ltr", names: tuple[str, ...] = ("doc",)
):
    rows = "".join(WIDGET.format(name=name, attributes=attributes) for name in names)
    script.page = lambda: FORM.format(rows=rows, lang=lang, direction=direction)


def opened(page: Any, script: Script, attributes: str = "", **options: Any) -> Any:
    form(script, attributes, **options)
    page.goto(script.site.url)
    page.locator(".storages-upload-hint").first.wait_for()
    return page


def choose(page: Any, *files: tuple[str, int], selector: str = "#id_doc") -> None:
    payloads = [{"name": name, "mimeType": "text/plain", "buffer": b"x" * size} for name, size in files]
    page.locator(selector).set_input_files(payloads)


def choose_again(page: Any, file: Path, content: bytes) -> None:
    """Choose a file on the disk: it has the same time after a reload."""
    if not file.exists() or file.read_bytes() != content:
        file.write_bytes(content)
    os.utime(file, (1, 1))
    page.locator("#id_doc").set_input_files(file)


def row(page: Any, state: str) -> Any:
    return page.locator(f".storages-upload-file[data-state={state}]")


def save(page: Any, script: Script) -> list[str]:
    count = len(script.posted)
    page.locator("#save").click()
    script.wait(lambda: len(script.posted) > count)
    page.wait_for_load_state()
    return script.posted[-1].values("doc")


@pytest.mark.parametrize("kind", ["post", "put", "multipart", "resumable", "blocks", "link", "tus"])
def test_file_of_every_kind_arrives_and_the_form_gets_its_token(page, script, kind):
    script.kind, script.part_size = kind, 1000
    opened(page, script)
    choose(page, ("a.txt", 4500))
    row(page, "done").wait_for()
    upload = script.upload()
    assert upload["state"] == "finished"
    assert (sum(upload["received"].values()) or len(upload["bytes"])) == 4500
    assert save(page, script) == ["storages-upload:file-upload-1"]


def test_forty_mebibytes_go_in_parts_signed_in_batches_several_at_once(page, script, tmp_path):
    script.kind = "multipart"
    opened(page, script)
    file = tmp_path / "a.bin"
    file.write_bytes(bytes(40 * MIB))
    page.locator("#id_doc").set_input_files(file)
    row(page, "done").wait_for()
    assert script.upload()["received"] == dict.fromkeys(range(1, 9), 5 * MIB)
    assert [len(call["numbers"]) for call in script.called("parts")] == [4, 4]
    assert len(script.cloud.made("PUT")) == 8


@pytest.mark.threat("T-32")
@pytest.mark.parametrize("kind", ["post", "put", "multipart", "resumable"])
def test_cloud_sees_no_cookie_no_csrf_token_and_no_referrer(page, script, kind):
    script.kind = kind
    opened(page, script)
    choose(page, ("a.txt", 100))
    row(page, "done").wait_for()
    seen = [request for request in script.cloud.requests if request.method != "OPTIONS"]
    assert seen
    for request in script.cloud.requests:
        assert not {"cookie", "x-csrftoken", "referer", "authorization"} & set(request.headers)
        assert "csrf-of-the-form" not in f"{request.headers}{request.body!r}"
    begin = script.site.made("POST", "/uploads/begin/")[0]
    assert begin.headers["x-csrftoken"] == "csrf-of-the-form"
    assert begin.headers["cookie"] == "sessionid=of-the-site"


@pytest.mark.parametrize(
    ("kind", "faults"),
    [
        ("post", [500]),
        ("put", [0]),
        ("link", [503]),
        *((kind, [429, None, 0]) for kind in ("multipart", "tus", "resumable")),
    ],
)
def test_fault_of_the_network_or_cloud_is_tried_again(page, script, kind, faults):
    script.kind, script.part_size, script.faults = kind, 1000, list(faults)
    opened(page, script)
    choose(page, ("a.txt", 3000))
    row(page, "done").wait_for()
    assert (sum(script.upload()["received"].values()) or len(script.upload()["bytes"])) == 3000


@pytest.mark.threat("T-40")
def test_expired_link_of_a_part_is_signed_again(page, script):
    script.kind, script.part_size, script.concurrency, script.faults = "multipart", 1000, 1, [None, 403]
    opened(page, script)
    choose(page, ("a.txt", 4000))
    row(page, "done").wait_for()
    assert [call["numbers"] for call in script.called("parts")] == [[1, 2, 3, 4], [2]]


def test_expired_grant_is_begun_again(page, script):
    script.faults = [403]
    opened(page, script)
    choose(page, ("a.txt", 10))
    row(page, "done").wait_for()
    assert [upload["state"] for upload in script.uploads.values()] == ["aborted", "finished"]


def test_lost_answer_of_a_single_put_is_no_fault(page, script):
    script.kind, script.faults = "put", [412]
    opened(page, script)
    script.failing["finish"] = [(503, "storage_unavailable")]
    script._finish = lambda data: (200, {"token": "t"})  # the bytes are there since the first attempt
    choose(page, ("a.txt", 10))
    row(page, "done").wait_for()
    assert len(script.called("begin")) == 1


def test_part_that_the_server_misses_is_sent_again(page, script):
    script.kind, script.part_size = "multipart", 1000
    opened(page, script)
    finish = script._finish

    def loses_one(data):
        script._finish = finish
        del script.uploads[data["upload"]]["received"][2]
        return finish(data)

    script._finish = loses_one
    choose(page, ("a.txt", 3000))
    row(page, "done").wait_for()
    assert [call["numbers"] for call in script.called("parts")] == [[1, 2, 3], [2]]


@pytest.mark.parametrize("kind", ["multipart", "tus", "resumable"])
def test_upload_killed_at_forty_percent_goes_on_after_a_reload(page, script, tmp_path, kind):
    script.kind, script.part_size, script.concurrency = kind, 1000, 1
    opened(page, script, tmp_path)
    script.faults = [*[None] * 4, *[0] * 50]
    choose_again(page, tmp_path / "a.txt", b"x" * 10_000)
    row(page, "sending").locator("text=The connection was lost").wait_for()
    page.context.set_offline(True)
    kept = page.evaluate("Object.entries(localStorage).map((pair) => pair.join('=')).join()")
    assert re.fullmatch(r"storages-uploads:[0-9a-f]{16}=upload-1", kept)
    page.context.set_offline(False)
    page.reload()
    script.faults = []
    sent = len(script.cloud.made("PUT") + script.site.made("PATCH"))
    choose_again(page, tmp_path / "a.txt", b"x" * 10_000)
    row(page, "done").wait_for()
    assert len(script.called("begin")) == 1
    assert len(script.cloud.made("PUT") + script.site.made("PATCH")) - sent == 6  # four of ten are there
    assert page.evaluate("localStorage.length") == 0
    assert save(page, script) == ["storages-upload:file-upload-1"]


def test_upload_that_ends_without_an_answer_is_kept_for_a_later_page(page, script, tmp_path):
    """As in a page that is being left, where a request breaks off and then the file cannot be read."""
    script.kind, script.part_size, script.concurrency = "multipart", 1000, 1
    opened(page, script)
    script.gate.clear()
    choose_again(page, tmp_path / "a.txt", b"x" * 3000)
    script.wait(lambda: script.cloud.made("PUT"))
    page.evaluate("() => { Blob.prototype.arrayBuffer = () => Promise.reject(new DOMException('gone')) }")
    script.faults = [0] * 9
    script.gate.set()
    row(page, "failed").wait_for()
    assert page.get_by_role("alert").inner_text() == "a.txt cannot be read any more; choose it again"
    script.faults = []
    opened(page, script)
    choose_again(page, tmp_path / "a.txt", b"x" * 3000)
    row(page, "done").wait_for()
    assert (script.called("abort"), len(script.called("begin"))) == ([], 1)


def test_upload_goes_on_by_itself_when_the_network_is_back(page, script):
    script.kind, script.part_size, script.concurrency = "multipart", 1000, 1
    opened(page, script)
    script.gate.clear()
    choose(page, ("a.txt", 5000))
    script.wait(lambda: script.cloud.made("PUT"))
    page.context.set_offline(True)
    script.faults = [0]
    script.gate.set()
    row(page, "sending").locator("text=The connection was lost").wait_for()
    page.context.set_offline(False)
    row(page, "done").wait_for()
    assert len(script.called("begin")) == 1


def test_other_file_of_the_same_name_and_size_is_not_gone_on_with(page, script, tmp_path):
    script.kind, script.part_size = "multipart", 1000
    opened(page, script)
    script.faults = [0] * 50
    choose_again(page, tmp_path / "a.txt", b"x" * 3000)
    row(page, "sending").locator("text=The connection was lost").wait_for()
    page.reload()
    script.faults = []
    choose_again(page, tmp_path / "a.txt", b"y" * 3000)
    row(page, "done").wait_for()
    assert len(script.called("begin")) == 2


def test_upload_that_the_server_has_forgotten_is_begun_again(page, script, tmp_path):
    script.kind, script.part_size = "multipart", 1000
    opened(page, script)
    script.faults = [0] * 50
    choose_again(page, tmp_path / "a.txt", b"x" * 3000)
    row(page, "sending").locator("text=The connection was lost").wait_for()
    page.reload()
    script.faults = []
    script.uploads.clear()
    choose_again(page, tmp_path / "a.txt", b"x" * 3000)
    row(page, "done").wait_for()
    assert save(page, script) == ["storages-upload:file-upload-2"]


def test_cancel_by_keyboard_deletes_what_came_and_keeps_the_focus(page, script):
    script.kind = "multipart"
    opened(page, script)
    script.gate.clear()
    choose(page, ("a.bin", MIB))
    script.wait(lambda: script.cloud.made("PUT"))
    page.locator("#id_doc").focus()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.getAttribute('aria-label')") == "Cancel upload of a.bin"
    page.keyboard.press("Enter")
    script.wait(lambda: script.called("abort"))
    assert page.evaluate("document.activeElement.id") == "id_doc"
    assert page.locator(".storages-upload-file").count() == 0
    assert page.evaluate("localStorage.length") == 0
    script.gate.set()
    assert save(page, script) == []


def test_upload_of_one_request_is_given_up_when_the_page_goes(page, script):
    opened(page, script)
    script.gate.clear()
    choose(page, ("a.bin", MIB))
    script.wait(lambda: script.cloud.made("POST"))
    page.evaluate(
        "() => { fetch = new Proxy(fetch, {apply: (f, w, a) => (sessionStorage.kept = a[1].keepalive, f(...a))}) }"
    )
    page.goto("about:blank")
    script.wait(lambda: script.called("abort"))
    page.goto(script.site.url)
    assert page.evaluate("sessionStorage.kept") == "true"


def test_submit_waits_for_the_upload(page, script):
    opened(page, script)
    script.gate.clear()
    choose(page, ("a.txt", 10))
    script.wait(lambda: script.cloud.made("POST"))
    page.locator("#save").click()
    page.locator("text=Wait until all files are uploaded").wait_for()
    assert script.posted == []
    script.gate.set()
    script.wait(lambda: script.posted)
    assert script.posted[0].values("doc") == ["storages-upload:file-upload-1"]


def test_failed_upload_keeps_the_form_and_can_be_retried(page, script):
    opened(page, script)
    script.failing["begin"] = [(429, "quota_exceeded")]
    choose(page, ("a.txt", 10))
    row(page, "failed").wait_for()
    assert page.get_by_role("alert").inner_text() == "Too many or too large uploads; try again later"
    described = page.locator("#id_doc").get_attribute("aria-describedby")
    assert page.locator(f"#{described}").inner_text() == page.get_by_role("alert").inner_text()
    page.locator("#save").click()
    assert script.posted == []
    page.get_by_role("button", name="Try again").click()
    row(page, "done").wait_for()
    assert page.locator("#id_doc").get_attribute("aria-describedby") is None
    assert page.evaluate("document.activeElement.getAttribute('aria-label')") == "Remove a.txt"
    assert save(page, script) == ["storages-upload:file-upload-1"]


@pytest.mark.parametrize(
    ("attributes", "size", "problem"),
    [
        ('max-size="1024"', 1025, "a.txt is larger than 1 kB"),
        ('min-size="10"', 9, "a.txt is smaller than 10 bytes"),
        ('min-size="1"', 0, "a.txt is empty"),
        ('types="image/*,video/mp4"', 9, "a.txt is not of an allowed type"),
    ],
)
def test_file_that_cannot_be_taken_is_not_begun(page, script, attributes, size, problem):
    opened(page, script, attributes)
    choose(page, ("a.txt", size))
    row(page, "failed").wait_for()
    assert page.get_by_role("alert").inner_text() == problem
    assert script.calls == []


def test_server_that_wants_a_checksum_gets_it(page, script):
    opened(page, script)
    script.failing["begin"] = [(400, "checksum")]
    page.locator("#id_doc").set_input_files([{"name": "a.txt", "mimeType": "text/plain", "buffer": b"abc"}])
    row(page, "done").wait_for()
    digest = {"algorithm": "sha256", "value": "ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0="}
    assert [call.get("checksum") for call in script.called("begin")] == [None, digest]


@pytest.mark.parametrize(
    ("verb", "status", "code"),
    [
        ("begin", 401, "not_authenticated"),
        ("begin", 403, "csrf_failed"),
        ("begin", 403, "slot_invalid"),
        ("finish", 404, "upload_not_found"),
    ],
)
def test_who_was_logged_out_meanwhile_is_told_to_reload(page, script, verb, status, code):
    script.failing[verb] = [(status, code)]
    opened(page, script)
    choose(page, ("a.txt", 100))
    row(page, "failed").wait_for()
    assert "reload the page" in row(page, "failed").inner_text()


def test_expired_slot_is_renewed(page, script):
    opened(page, script)
    script.failing["begin"] = [(403, "slot_expired")]
    choose(page, ("a.txt", 3))
    row(page, "done").wait_for()
    assert [call["slot"] for call in script.called("begin")] == ["slot", "fresh slot of app.Model.doc"]


def test_several_files_go_under_one_name(page, script):
    opened(page, script, "multiple")
    page.locator("#id_doc").evaluate("(input) => (input.multiple = true)")
    choose(page, ("a.txt", 3), ("b.txt", 4))
    row(page, "done").nth(1).wait_for()
    assert sorted(save(page, script)) == ["storages-upload:file-upload-1", "storages-upload:file-upload-2"]


def test_another_file_takes_the_place_of_the_first(page, script):
    opened(page, script)
    for name in ("a.txt", "b.txt"):
        choose(page, (name, 3))
        page.locator(f".storages-upload-file[data-state=done]:has-text('{name}')").wait_for()
    assert page.locator(".storages-upload-file").count() == 1
    script.wait(lambda: script.called("abort") == [{"upload": "upload-1"}])
    assert save(page, script) == ["storages-upload:file-upload-2"]


def test_dropped_file_is_uploaded(page, script):
    opened(page, script)
    page.evaluate(
        """() => {
            const files = new DataTransfer();
            files.items.add(new File(["abc"], "dropped.txt", {type: "text/plain"}));
            const target = document.querySelector("storages-upload");
            for (const type of ["dragover", "drop"])
                target.dispatchEvent(new DragEvent(type, {dataTransfer: files, bubbles: true, cancelable: true}));
        }"""
    )
    row(page, "done").wait_for()
    assert script.upload()["filename"] == "dropped.txt"


def test_row_of_a_formset_added_later_works_under_its_own_name(page, script):
    opened(page, script, names=("form-__prefix__-doc",))
    page.evaluate(
        """() => {
            const copy = document.querySelector("storages-upload").cloneNode(true);
            document.querySelector("form").prepend(copy);
            // As inlines.js of Django's admin does it.
            for (const element of [copy, ...copy.querySelectorAll("*")]) {
                if (element.id) element.id = element.id.replace("__prefix__", "7");
                if (element.name) element.name = element.name.replace("__prefix__", "7");
            }
        }"""
    )
    assert page.locator("storages-upload").first.locator(".storages-upload-hint").count() == 1
    choose(page, ("a.txt", 3), selector="#id_form-7-doc")
    row(page, "done").wait_for()
    page.locator("#save").click()
    script.wait(lambda: script.posted)
    assert script.posted[0].values("form-7-doc") == ["storages-upload:file-upload-1"]
    assert script.posted[0].values("form-__prefix__-doc") == []


def test_form_that_comes_back_with_an_error_keeps_the_file(page, script):
    opened(page, script, """value='[{"token": "kept", "name": "a.txt", "size": 3}]'""")
    row(page, "done").wait_for()
    assert save(page, script) == ["storages-upload:kept"]


def test_reset_brings_back_what_the_page_came_with(page, script):
    opened(page, script, """value='[{"token": "kept", "name": "a.txt", "size": 3}]'""")
    choose(page, ("b.txt", 3))
    page.locator("[data-state=done]:has-text('b.txt')").wait_for()
    page.get_by_role("button", name="Reset").click()
    assert save(page, script) == ["storages-upload:kept"]


@pytest.mark.threat("T-36")
def test_file_name_with_markup_is_a_text(page, script):
    opened(page, script, f"""value='[{{"token": "kept", "name": "{HOSTILE}", "size": 3}}]' multiple""")
    choose(page, (HOSTILE, 3))
    row(page, "done").nth(1).wait_for()
    assert page.locator(".storages-upload-name").all_inner_texts() == [HOSTILE, HOSTILE]
    assert page.locator("img").count() == 0


@pytest.mark.parametrize(("size", "text"), [(1, "1 byte"), (3, "3 bytes"), (3000, "3 kB")])
def test_size_of_a_file_is_told(page, script, size, text):
    opened(page, script)
    choose(page, ("a.txt", size))
    assert page.locator(".storages-upload-size").inner_text() == text


def test_row_begins_at_the_right_where_the_page_does(page, script):
    opened(page, script, lang="he", direction="rtl")
    choose(page, ("a.txt", 3000))
    row(page, "done").wait_for()
    begins, size = page.evaluate("""() => {
        const box = (part, from, to) => {
            const text = document.createTreeWalker(part, NodeFilter.SHOW_TEXT).nextNode();
            const range = document.createRange();
            range.setStart(text, from);
            range.setEnd(text, to ?? text.length);
            return range.getBoundingClientRect();
        };
        const row = document.querySelector(".storages-upload-file");
        const [name, size] = ["name", "size"].map((part) => row.querySelector(`.storages-upload-${part}`));
        return [row.getBoundingClientRect().right - box(name, 0).right, box(size, 0, 1).left < box(size, 2).left];
    }""")
    assert begins < 40  # pixels: of the mark beside it
    assert size  # "3 kB", not "kB 3"


def test_screen_reader_hears_start_quarters_and_end_only(page, script):
    script.kind, script.part_size, script.concurrency = "multipart", 1000, 1
    opened(page, script)
    page.evaluate(
        """() => {
            window.said = [];
            const status = document.querySelector("[role=status]");
            new MutationObserver(() => said.push(status.textContent)).observe(status, {childList: true});
        }"""
    )
    choose(page, ("a.txt", 20_000))
    row(page, "done").wait_for()
    assert page.evaluate("said") == [
        "Uploading a.txt",
        "a.txt: 25 %",
        "a.txt: 50 %",
        "a.txt: 75 %",
        "a.txt is uploaded",
    ]


def test_list_tells_what_is_uploaded_and_nothing_that_was(page, script):
    """To who comes back to it, and hears no tick."""
    opened(page, script)
    choose(page, ("a.txt", 100))
    row(page, "done").wait_for()
    assert "a.txt is uploaded" in row(page, "done").aria_snapshot()
    page.get_by_role("button", name="Remove a.txt").click()
    assert page.locator("[role=status]").inner_text() == ""


@pytest.mark.parametrize("kind", ["multipart", "tus"])
def test_lost_connection_is_told_until_something_moves_again(page, script, kind):
    """To who looks and to who listens, and not in turns with a percentage at every attempt."""
    script.kind, script.part_size, script.concurrency = kind, 1000, 1
    opened(page, script)
    page.evaluate(
        """() => {
            window.said = [];
            window.shown = [];
            const watched = (selector, found) => {
                const told = () => found.push(...[document.querySelector(selector)?.textContent].filter(Boolean));
                new MutationObserver(told).observe(document.body, {childList: true, subtree: true});
            };
            watched("[role=status]", said);
            watched(".storages-upload-percent", shown);
            Math.random = () => 0; // no pauses
        }"""
    )
    script.faults = [None, None, *[0] * 8]
    choose(page, ("a.txt", 20_000))
    row(page, "done").wait_for()
    said, shown = ([*dict.fromkeys(page.evaluate(name))] for name in ("said", "shown"))
    lost = "The connection was lost; trying again"
    assert said == ["Uploading a.txt", lost, "a.txt: 25 %", "a.txt: 50 %", "a.txt: 75 %", "a.txt is uploaded"]
    every = page.evaluate("shown")
    first, last = every.index(lost), len(every) - every[::-1].index(lost)
    assert set(every[first:last]) == {lost}
    assert shown[-1] == "a.txt is being checked"


def test_error_is_told_in_the_words_of_the_page(page, script):
    """Those of the server are for developers; the number under which its log has more stays."""
    number = "0d1c9a76-8f8e-4f8e-9d57-0d3c1f3c2c11"
    opened(page, script, f"""messages='{json.dumps({"failed": "{name} a échoué", "expired": "trop vieux"})}'""")
    script.detail = f"Not that one. ({number})"
    script.failing["begin"] = [(400, "bad_filename"), (403, "permission_denied")]
    choose(page, ("a.txt", 10))
    row(page, "failed").wait_for()
    assert page.get_by_role("alert").inner_text() == f"a.txt a échoué ({number})"
    script.detail = "Not for you."
    page.get_by_role("button", name="Try again").click()
    page.locator("text=You may not upload this file").wait_for()


def test_required_field_without_a_file_stops_the_form(page, script):
    opened(page, script, "required")
    page.locator("#save").click()
    assert page.evaluate("document.querySelector('form').checkValidity()") is False
    assert script.posted == []
    choose(page, ("a.txt", 3))
    row(page, "done").wait_for()
    assert save(page, script) == ["storages-upload:file-upload-1"]


def test_without_a_slot_the_input_is_an_ordinary_one(page, script):
    script.page = lambda: FORM.format(
        rows=WIDGET.format(name="doc", attributes="").replace('slot-token="slot"', ""), lang="en", direction="ltr"
    )
    page.goto(script.site.url)
    choose(page, ("a.txt", 3))
    assert save(page, script) == ["xxx"]
    assert script.calls == []


def test_without_javascript_the_form_posts_the_file(new_page, script):
    page = new_page(java_script_enabled=False)
    form(script)
    page.goto(script.site.url)
    choose(page, ("a.txt", 3))
    assert save(page, script) == ["xxx"]
    assert script.calls == []


@pytest.mark.parametrize("state", ["empty", "sending", "done", "failed"])
def test_axe_finds_nothing(new_page, script, state):
    try:
        source = axe()
    except ServerError as error:
        pytest.skip(str(error))
    page = new_page(bypass_csp=True)
    opened(page, script, "multiple")
    if state == "sending":
        script.gate.clear()
    if state == "failed":
        script.failing["begin"] = [(413, "too_large")]
    if state != "empty":
        choose(page, ("a.txt", 300))
        row(page, state).wait_for()
    page.evaluate(source)
    found = page.evaluate("axe.run()")
    assert [(rule["id"], rule["nodes"][0]["html"]) for rule in found["violations"]] == []
    assert len(found["passes"]) > 10
