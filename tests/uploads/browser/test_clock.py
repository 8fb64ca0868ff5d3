"""A browser whose clock is an hour off: what was signed lives by the server's time."""

from __future__ import annotations

from typing import Any

import pytest

from storages.uploads import kinds

from . import scripted
from .conftest import choose, done, of_browser, opened, save, stored, written
from .test_widget import choose as choose_sized
from .test_widget import opened as opened_script
from .test_widget import row

MIB = 1024**2
HOUR = 3600 * 1000  # milliseconds
OFF = """
globalThis.Date = class extends Date {
    constructor(...said) { said.length ? super(...said) : super(Date.now()); }
    static now() { return super.now() + %d; }
};
"""


@pytest.mark.threat("T-40")
@pytest.mark.parametrize("off", [-HOUR, HOUR], ids=["behind", "ahead"])
@pytest.mark.parametrize(
    ("life", "asked"), [(300, [[1, 2, 3]]), (-2, [[1, 2, 3], [2, 3], [3]])], ids=["living links", "dead links"]
)
def test_link_is_asked_for_again_when_it_is_over_and_not_before(page, script, monkeypatch, off, life, asked):
    page.context.add_init_script(OFF % off)
    monkeypatch.setattr(scripted, "_in", lambda seconds, ends=scripted._in: ends(life if seconds == 300 else seconds))
    script.kind, script.part_size, script.concurrency = "multipart", 1000, 1
    opened_script(page, script)
    choose_sized(page, ("a.txt", 3000))
    row(page, "done").wait_for()
    assert abs(page.evaluate("Date.now() - performance.timeOrigin - performance.now()") - off) < 60_000
    assert [call["numbers"] for call in script.called("parts")] == asked


@pytest.mark.threat("T-40")
@pytest.mark.usefixtures("chromium")
@pytest.mark.django_db(transaction=True)
@pytest.mark.urls("tests.uploads.browser.site")
def test_links_of_seconds_are_signed_again_in_time(
    signed_in: Any, bucket: Any, wire: Any, tmp_path: Any, settings: Any, monkeypatch: Any
) -> None:
    from tests.uploads.form_models import Letter

    settings.UPLOADS_LINK_EXPIRE = 2
    monkeypatch.setattr(kinds, "CONCURRENCY", 1)
    checksum = written(tmp_path / "film.bin", 10 * MIB)
    signed_in.context.add_init_script(OFF % -HOUR)
    page = opened(signed_in)
    wire.latency = 0.4
    choose(page, tmp_path / "film.bin")
    done(page).wait_for(timeout=30_000)
    wire.heal()
    sent = [request.status for request in of_browser(wire.requests, "PUT")]
    assert sent.count(200) == 2
    assert set(sent) <= {200, 403}
    save(page, "late")
    assert stored(Letter.objects.get()) == checksum
