"""The page: everything said in it, escaped, with no name, and of use by mouse, key and on paper."""

import base64
import hashlib
import re
from dataclasses import replace
from pathlib import Path

import pytest

from medprotect.errors import ConfigError, InputError, OutputError
from medprotect.plan.selection import find_candidates
from medprotect.preview import write
from medprotect.preview.page import make_page
from medprotect.protect.inspection import AMPLIFIED

from ..audit.chromium import BINARY, Page, browse
from ..audit.test_report import HOSTILE, Read
from ..confounder.measured_pipeline import CAVEAT, make_measured, make_pipeline
from .conftest import COMMAND, PATIENT, Made, Make, make_settings


def test_it_says_what_is_shown_and_what_is_not(usual: Made) -> None:
    text = Read(usual.html).text
    assert "10 images of 4 series, of 4 series (13 images)" in text
    assert "3 more images of the series shown" in text
    assert "1 files that are not images" in text
    assert "Cannot be decoded in full" in text
    assert "Keep it in the house" in text
    assert COMMAND in text


def test_it_begins_with_what_a_model_still_learns(preview: Make, tmp_path: Path) -> None:
    grey = make_pipeline(tmp_path / "grey", "radiology-grey", standard=0.0)
    weak = make_pipeline(tmp_path / "weak", "ct", standard=0.0)
    made = preview(candidates=find_candidates([str(weak), str(grey)]), images=1)
    sentence = "A model still learns as much from these files as from the originals"
    assert f'<div class="lead"><p>{sentence} (protection 0.00).</p>' in made.html
    assert not made.preview.caveat
    own = make_measured(tmp_path / "own")
    made = preview(candidates=find_candidates([str(own), str(grey)]), images=1)
    assert f'<div class="lead"><p>{made.preview.summary} {made.preview.caveat}</p>' in made.html
    assert made.preview.caveat.endswith(CAVEAT.removeprefix("Protection"))


def test_series_are_shown_by_kind_in_their_windows(usual: Made) -> None:
    text = Read(usual.html).text
    for words in ("CT", "NIfTI volume, series 1", "NIfTI volume, series 2", "PNG"):
        assert words in text
    for words in ("Soft tissue 40 / 400", "Lung -600 / 1500", "Bone 400 / 1800"):
        assert words in text
    assert "Image 3 of 5" in text


def test_every_picture_has_words(usual: Made) -> None:
    page = Read(usual.html)
    words = [value for name, value in page.attributes if name == "alt"]
    assert len([each for each in words if each]) == len(words) - 3  # those of the large view
    assert "CT, image 1 of 5, window soft tissue: 40 / 400, before" in words
    difference = "CT, image 1 of 5, window lung: -600 / 1500, difference"
    (said,) = {each for each in words if each and each.startswith(difference)}
    assert f"times {AMPLIFIED}" in said
    assert "of its pixels changed" in said


def test_names_stand_in_it_only_where_asked_for(usual: Made, preview: Make) -> None:
    assert PATIENT not in usual.html
    assert "large.png" not in usual.html
    assert f"{PATIENT}/{PATIENT}-2.dcm" in preview(with_names=True).html


def test_more_or_fewer_images_are_shown_where_asked_for(preview: Make) -> None:
    assert "Image 3 of 5" in preview(images=1).html
    assert preview(images=50).html.count("<article") == 13


def test_only_its_own_script_may_run_and_nothing_may_load(usual: Made) -> None:
    page = Read(usual.html)
    (script,) = re.findall(r"<script>(.*?)</script>", usual.html, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = dict(page.attributes)["content"]
    (policy,) = (value for _, value in page.attributes if value and "default-src" in value)
    assert policy.startswith("default-src 'none'; style-src 'unsafe-inline'; img-src data:; ")
    assert f"script-src 'sha256-{digest}';" in policy
    assert page.tags.count("script") == 1
    for name, value in page.attributes:
        assert not name.startswith("on")
        if name in ("src", "href"):
            assert value.startswith(("data:image/png;base64,", "#"))
    assert "http" not in re.sub(r"base64,[\w+/=]*|http-equiv", "", usual.html)


def test_nothing_from_outside_becomes_markup(usual: Made) -> None:
    series, images = usual.preview.shown[0]
    place, shown = images[0]
    windows = tuple(replace(each, name=HOSTILE, level=HOSTILE) for each in shown.windows)
    page = make_page(
        replace(
            usual.preview,
            shown=[
                (
                    replace(series, kind=HOSTILE),
                    [(replace(place, path=HOSTILE), replace(shown, windows=windows, unit=HOSTILE))],
                )
            ],
            pipelines=[HOSTILE],
            command=HOSTILE,
            rejected={HOSTILE: 1},
            with_names=True,
        )
    )
    read = Read(page)
    assert read.tags.count("script") == 1
    assert not any(name.startswith("on") for name, _ in read.attributes)


def test_what_finds_no_room_is_left_out_and_said(
    preview: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(write._fit, "__defaults__", (400_000,))
    made = preview(images=5)
    assert made.page.stat().st_size < 500_000
    assert made.preview.left_out > 0
    assert f"{made.preview.left_out} of them for want of room" in Read(made.html).text


def test_a_series_that_would_be_held_back_is_said_to_be(preview: Make, own_export: Path) -> None:
    torn = own_export / PATIENT / f"{PATIENT}-2.dcm"
    torn.write_bytes(torn.read_bytes()[:-100])
    made = preview(export=own_export)
    assert made.preview.torn == 1
    assert "a run holds the whole series back" in Read(made.html).text


def test_of_a_series_of_one_file_nothing_is_held_back(preview: Make, own_export: Path) -> None:
    for path in sorted((own_export / PATIENT).iterdir())[1:]:
        path.unlink()
    (only,) = (own_export / PATIENT).iterdir()
    only.write_bytes(only.read_bytes()[:-100])
    made = preview(export=own_export)
    assert (made.preview.torn, made.preview.rejected["corrupt"]) == (0, 2)


def test_with_decoys_it_says_what_the_images_are_not_for(usual: Made) -> None:
    assert "AI-assisted" not in usual.html
    page = make_page(replace(usual.preview, decoys=True))
    assert "not for AI-assisted diagnosis" in page


def test_an_export_of_which_nothing_can_be_protected_gives_reasons_and_no_page(
    preview: Make, tmp_path: Path, own_export: Path
) -> None:
    for path in own_export.rglob("*"):
        if path.is_file() and path.name != "broken.dcm":
            path.unlink()
    with pytest.raises(InputError, match="1 corrupt"):
        preview(export=own_export)
    assert not (tmp_path / "preview.html").exists()


def test_it_is_never_written_into_the_export_or_an_out(house: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    make_settings(house / "export", tmp_path / "out").state.mkdir()
    with pytest.raises(OutputError, match="would be in EXPORT"):
        write.check_page_place(house / "export" / "a.html", house / "export")
    with pytest.raises(OutputError, match="is in an OUT"):
        write.check_page_place(tmp_path / "out" / "a.html", house / "export")
    with pytest.raises(ConfigError, match=r"end in \.html"):
        write.check_page_place(tmp_path / "image.dcm", house / "export")


@pytest.mark.skipif(BINARY is None, reason="no chromium on PATH")
class TestBrowser:
    @pytest.mark.parametrize("width", [360, 1200])
    def test_it_fits_complains_of_nothing_and_loads_nothing(
        self, usual: Made, tmp_path: Path, width: int
    ) -> None:
        with browse(tmp_path / "profile") as page:
            page.open(usual.page, width)
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            open_large(page)
            assert page.evaluate("document.querySelector('#viewer').scrollWidth") <= width
            assert page.complaints() == []
            others = [url for url in page.requested() if not url.startswith("data:image/png")]
            assert others == [usual.page.as_uri()]

    def test_a_window_button_changes_all_images_of_its_series(
        self, usual: Made, tmp_path: Path
    ) -> None:
        with browse(tmp_path / "profile") as page:
            page.open(usual.page, 1200)
            assert shown_windows(page) == ["soft tissue: 40 / 400"] * 3
            page.evaluate("document.querySelector('#s1 [data-choose=\"1\"]').click()")
            assert shown_windows(page) == ["lung: -600 / 1500"] * 3

    def test_large_before_and_after_take_each_others_place_by_key_and_button(
        self, usual: Made, tmp_path: Path
    ) -> None:
        with browse(tmp_path / "profile") as page:
            page.open(usual.page, 1200)
            open_large(page)
            places = set()
            for key, face in (("", "Before"), ("f", "After"), (" ", "Before"), ("d", "Difference")):
                press(page, key)
                assert face in page.evaluate("document.querySelector('#viewer .face').textContent")
                places.add(page.evaluate(PLACE_OF_UPPER))
            assert len(places) == 1
            page.evaluate("document.querySelector('#viewer [data-face=\"1\"]').click()")
            assert page.evaluate("document.querySelectorAll('.sheet img.up').length") == 1
            assert page.evaluate("document.querySelector('#viewer .face').textContent") == "After"

    def test_large_they_alternate_until_told_to_stop(self, usual: Made, tmp_path: Path) -> None:
        with browse(tmp_path / "profile") as page:
            page.open(usual.page, 1200)
            open_large(page)
            press(page, "a")
            assert page.evaluate(FLICKERING) == "true"
            assert page.ask(
                "Runtime.evaluate", expression=BOTH_FACES, awaitPromise=True, returnByValue=True
            )["result"]["value"]
            press(page, "f")
            assert page.evaluate(FLICKERING) == "false"

    def test_large_one_pixel_of_the_image_is_one_of_the_screen(
        self, usual: Made, tmp_path: Path
    ) -> None:
        with browse(tmp_path / "profile") as page:
            page.open(usual.page, 1200)
            open_large(page)
            press(page, "+")
            settle(page)
            assert page.evaluate("document.querySelector('.sheet').clientWidth") == 128
            press(page, "+")
            settle(page)
            assert page.evaluate("document.querySelector('.sheet').clientWidth") == 256

    def test_large_keys_change_window_and_image_and_escape_leads_back(
        self, usual: Made, tmp_path: Path
    ) -> None:
        with browse(tmp_path / "profile") as page:
            page.open(usual.page, 1200)
            open_large(page)
            press(page, "2")
            assert "lung" in page.evaluate("document.querySelector('#viewer-said').textContent")
            assert shown_windows(page) == ["lung: -600 / 1500"] * 3
            press(page, "n")
            title = page.evaluate("document.querySelector('#viewer-title').textContent")
            assert title == "CT, image 3 of 5"
            press(page, "Escape")
            settle(page)
            assert not page.evaluate("document.querySelector('#viewer').open")
            assert "image 3 of 5" in page.evaluate("document.activeElement.textContent")

    def test_without_scripts_each_image_is_shown_in_its_first_window(
        self, usual: Made, tmp_path: Path
    ) -> None:
        with browse(tmp_path / "profile") as page:
            page.ask("Emulation.setScriptExecutionDisabled", value=True)
            page.open(usual.page, 1200)
            assert shown_windows(page) == ["soft tissue: 40 / 400"] * 3
            assert page.evaluate("document.querySelector('.compare').offsetWidth") == 0

    def test_it_prints_to_a4_with_before_and_after_side_by_side(
        self, usual: Made, tmp_path: Path
    ) -> None:
        with browse(tmp_path / "profile") as page:
            page.open(usual.page, 1000)
            width, height = map(
                float, re.findall(rb"/MediaBox \[0 0 ([\d.]+) ([\d.]+)\]", page.print_pdf())[0]
            )
            assert (width, height) == pytest.approx((595, 842), abs=1)
            page.ask("Emulation.setEmulatedMedia", media="print")
            before, after = page.evaluate(
                "[...document.querySelectorAll('#s1 .trio img')].slice(0, 2)"
                ".map(each => each.getBoundingClientRect().toJSON())"
            )
            assert before["top"] == after["top"]
            assert before["right"] <= after["left"]


FLICKERING = "document.querySelector('[data-do=flicker]').getAttribute('aria-pressed')"
PLACE_OF_UPPER = (
    "JSON.stringify(document.querySelector('.sheet img.up').getBoundingClientRect().toJSON())"
)
BOTH_FACES = """new Promise((done) => {
  const seen = new Set(), face = document.querySelector('#viewer .face');
  const look = () => { seen.add(face.textContent); if (seen.size === 2) done([...seen]); };
  new MutationObserver(look).observe(face, {childList: true});
  look();
})"""


def open_large(page: Page) -> None:
    page.evaluate("document.querySelector('#s1 .compare').click()")
    settle(page)


def settle(page: Page) -> None:
    """Wait until the pictures are decoded and have their size."""
    page.ask(
        "Runtime.evaluate",
        expression="Promise.all([...document.querySelectorAll('.sheet img')].map(e => e.decode()))"
        ".then(() => new Promise(requestAnimationFrame))",
        awaitPromise=True,
    )


def press(page: Page, key: str) -> None:
    if key:
        text = {} if key == "Escape" else {"text": key}
        code = {"windowsVirtualKeyCode": 27} if key == "Escape" else {}
        for kind in ("keyDown", "keyUp"):
            page.ask("Input.dispatchKeyEvent", type=kind, key=key, **text, **code)


def shown_windows(page: Page) -> list[str]:
    windows: list[str] = page.evaluate(
        "[...document.querySelectorAll('#s1 .lay')].filter(each => each.offsetWidth)"
        ".map(each => each.dataset.name)"
    )
    return windows
