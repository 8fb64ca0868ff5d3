"""Parts with checksums in a browser: what is read for them, what they find, and a bucket that compares them."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

import pytest

from storages.uploads.models import Upload
from tests.uploads.form_models import Letter

from .conftest import done, of_browser, opened, save, stored, written
from .scripted import MIB, Answer, Request, Script
from .test_widget import choose_again, row
from .test_widget import opened as form_opened

pytestmark = [pytest.mark.usefixtures("chromium"), pytest.mark.threat("T-35")]

SUMMED = "x-amz-checksum-sha256"

# Counts what a page has read of the file and not summed up yet.
COUNTING = """
const read = Blob.prototype.arrayBuffer, digest = SubtleCrypto.prototype.digest;
window.held = 0; window.most = 0; window.all = 0;
Blob.prototype.arrayBuffer = async function () {
    held += this.size; all += this.size; most = Math.max(most, held);
    return read.call(this);
};
SubtleCrypto.prototype.digest = async function (name, bytes) {
    const sum = await digest.call(this, name, bytes);
    held -= bytes.byteLength;
    return sum;
};
"""


class SummingScript(Script):
    """A cloud that compares the checksums of parts, and a site that signs each part with one only."""

    def __init__(self) -> None:
        super().__init__()
        self.kind = "multipart"
        self.part_size = 2 * MIB
        self.batch = 16

    def _begin(self, data: dict[str, Any]) -> tuple[int, Any]:
        answer = super()._begin(data)
        self.uploads[answer[1]["upload"]]["sums"] = {}
        return answer

    def _told(self, token: str) -> dict[str, Any]:
        told = super()._told(token)
        told["parts"]["checksums"] = self.uploads[token]["part_checksums"]
        return told

    def _parts(self, data: dict[str, Any]) -> tuple[int, Any]:
        sums = self.uploads[data["upload"]]["sums"]
        if any(sums.setdefault(number, one) != one for number, one in data["checksums"].items()):
            error = {"code": "checksum_mismatch", "detail": "It changed.", "field": "checksums", "retryable": False}
            return 422, {"error": error}
        status, said = super()._parts(data)
        for part in said["parts"]:
            part["headers"] = {SUMMED: data["checksums"][str(part["number"])]}
        return status, said

    def _cloud(self, request: Request) -> Answer:
        cors = {"Access-Control-Allow-Origin": self.site.url}
        digest = base64.b64encode(hashlib.sha256(request.body).digest()).decode()
        if request.method == "PUT" and request.headers[SUMMED] != digest:
            return Answer(400, b"", cors)
        return super()._cloud(request)


@pytest.fixture
def script_class() -> type[SummingScript]:
    return SummingScript


def digests(content: bytes, size: int = 2 * MIB) -> dict[str, str]:
    pieces = [content[start : start + size] for start in range(0, len(content), size)]
    return {str(n): base64.b64encode(hashlib.sha256(piece).digest()).decode() for n, piece in enumerate(pieces, 1)}


def test_parts_are_summed_one_at_a_time_and_asked_for_as_they_are_sent(page, script, tmp_path):
    page.add_init_script(COUNTING)
    form_opened(page, script)
    content = bytes(range(256)) * (20 * MIB // 256) + b"the end"
    choose_again(page, tmp_path / "a.txt", content)
    row(page, "done").wait_for()
    upload = script.upload()
    assert upload["part_checksums"] is True
    assert upload["sums"] == digests(content)
    assert sum(upload["received"].values()) == len(content)
    assert max(len(call["numbers"]) for call in script.called("parts")) == script.concurrency
    assert page.evaluate("most") <= script.part_size + 2**17  # and the two ends that a file is known by
    assert page.evaluate("all") <= len(content) + 2**17


def test_part_that_was_broken_on_its_way_is_signed_and_sent_again(page, script, tmp_path):
    form_opened(page, script)
    script.faults = [None, 400]
    content = bytes(8 * MIB)
    choose_again(page, tmp_path / "a.txt", content)
    row(page, "done").wait_for()
    assert len(script.cloud.made("PUT")) == 5
    assert script.upload()["sums"] == digests(content)


def test_file_that_changed_before_it_was_gone_on_with_is_begun_again(page, script, tmp_path):
    form_opened(page, script)
    script.gate.clear()
    content = bytearray(6 * MIB)
    choose_again(page, tmp_path / "a.txt", bytes(content))
    script.wait(lambda: len(script.cloud.made("PUT")) == script.concurrency)
    form_opened(page, script)
    content[3 * MIB] = 1  # where nothing tells it from the one before
    choose_again(page, tmp_path / "a.txt", bytes(content))
    script.wait(lambda: script.called("abort"))
    script.gate.set()
    row(page, "done").wait_for()
    assert [upload["state"] for upload in script.uploads.values()] == ["aborted", "finished"]
    assert script.upload()["sums"] == digests(bytes(content))


def test_part_that_was_sent_before_is_compared_with_the_file_that_is_gone_on_with(page, script, tmp_path):
    form_opened(page, script)
    script.faults = [None, None, None, *[503] * 99]
    content = bytearray(8 * MIB)
    choose_again(page, tmp_path / "a.txt", bytes(content))
    script.wait(lambda: script.uploads and len(script.upload()["received"]) == 3)
    form_opened(page, script)
    content[3 * MIB] = 1
    choose_again(page, tmp_path / "a.txt", bytes(content))
    script.wait(lambda: script.called("abort"))
    script.faults = []
    row(page, "done").wait_for()
    assert [upload["state"] for upload in script.uploads.values()] == ["aborted", "finished"]
    assert script.upload()["sums"] == digests(bytes(content))


def test_file_that_changes_while_it_is_sent_is_told(page, script, tmp_path):
    page.add_init_script("""
        const slice = Blob.prototype.slice;
        window.change = false;
        Blob.prototype.slice = function (...ends) {
            const piece = slice.apply(this, ends);
            return window.change ? new Blob(["!", piece.size > 1 ? slice.call(piece, 1) : ""]) : piece;
        };
    """)
    form_opened(page, script)
    script.gate.clear()
    choose_again(page, tmp_path / "a.txt", bytes(8 * MIB))
    script.wait(lambda: script.cloud.made("PUT"))
    script.faults = [400]
    page.evaluate("window.change = true")
    script.gate.set()
    row(page, "failed").wait_for()
    assert page.locator(".storages-upload-error").inner_text() == "a.txt was refused"
    assert [upload["state"] for upload in script.uploads.values()] == ["aborted"]


@pytest.mark.django_db(transaction=True)
@pytest.mark.urls("tests.uploads.browser.site")
def test_bucket_compares_every_part_of_a_file(signed_in, scan, bucket, wire, tmp_path):
    scan.storage.checksums = "when_supported"
    checksum = written(tmp_path / "film.bin", 12 * MIB)
    page = opened(signed_in)
    page.locator("#id_scan").set_input_files(tmp_path / "film.bin")
    done(page).wait_for()
    save(page, "summed")
    assert stored(Letter.objects.get()) == checksum
    assert Upload.objects.get().part_checksums
    sent = of_browser(wire.requests, "PUT")
    parts = digests((tmp_path / "film.bin").read_bytes(), 5 * MIB)
    assert sorted(request.headers[SUMMED] for request in sent) == sorted(parts.values())
