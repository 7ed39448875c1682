"""The report: it says what the figures say, and holds nothing that runs or loads."""

import json
import re
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Picture

from medprotect.audit.pictures import Shown
from medprotect.audit.report import make_report, write_report
from medprotect.audit.report_schema import Attacker, Audit
from medprotect.audit.verdict import headline, list_figures, percent, sentences

from .audits import make_audit, make_row
from .chromium import BINARY, browse

HOSTILE = "<script>alert('x')</script>\"><img src=x onerror=alert(1)>$date &amp;"
VOID = frozenset({"meta", "img", "br", "hr", "link", "input"})


class Read(HTMLParser):
    """Tags, attributes and text of a page; fails where tags do not close in order."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(page)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] != "style":
            self.text += data


def make_picture(side: int = 28) -> bytes:
    stream = BytesIO()
    Picture.fromarray(np.zeros((side, side), dtype=np.uint8)).save(stream, "PNG")
    return stream.getvalue()


def with_text_everywhere(audit: Audit, text: str) -> Audit:
    """Put `text` wherever the audit takes text."""

    def replace(value: object) -> object:
        match value:
            case str():
                return text
            case list() | tuple():
                return [replace(each) for each in value]
            case dict():
                return {name: replace(each) for name, each in value.items()}
        return value

    replaced = replace(audit)
    assert isinstance(replaced, dict)
    changed: Audit = json.loads(json.dumps(replaced))
    changed["fidelity"] = audit["fidelity"]
    return changed


def around(share: float | None) -> tuple[float, float] | None:
    return None if share is None else (share - 0.03, share + 0.02)


def without_figures(audit: Audit) -> Audit:
    """Leave out all that need not be measured."""
    audit["protection"].update(
        measurable=False,
        plain=None,
        plain_interval=None,
        worst=None,
        worst_interval=None,
        worst_attacker=None,
        with_images=[],
        decoys="unknown",
    )
    audit["accuracy"].update(clean=None, clean_victim=None)
    row = make_row("resnet18", "none", 0.5)
    row.update(protection=None, interval=None, attacker_best=None)
    audit.update(matrix=[row], utility=None, curves=[], tried=[], not_tried=[])
    audit["fidelity"] = {"vif": {"protected": None, "jpeg_50": 0.5}}
    del audit["environment"]
    return audit


class TestSafe:
    def test_every_text_is_escaped(self) -> None:
        page = make_report(with_text_everywhere(make_audit(), HOSTILE), [Shown(HOSTILE, b"")][:0])
        read = Read(page)
        assert not {"script", "img", "iframe", "object", "link"} & set(read.tags)
        assert not [name for name, _ in read.attributes if name.startswith("on")]
        assert read.text.count("<script>alert('x')</script>") > 10
        assert "$date &amp;" in read.text

    def test_captions_of_pictures_are_escaped(self) -> None:
        read = Read(make_report(make_audit(), [Shown(HOSTILE, make_picture())]))
        assert "script" not in read.tags
        assert read.tags.count("img") == 1

    def test_nothing_is_loaded_or_run(self) -> None:
        page = make_report(make_audit(), [Shown("before", make_picture())])
        read = Read(page)
        assert ("content", "default-src 'none'; style-src 'unsafe-inline'; img-src data:") in (
            read.attributes
        )
        assert not re.search("https?:|//[a-z]|@import|url\\(|javascript:", page)
        sources = [value or "" for name, value in read.attributes if name in ("src", "href")]
        assert [source[:22] for source in sources] == ["data:image/png;base64,"]

    def test_a_picture_that_is_no_png_is_refused(self) -> None:
        with pytest.raises(ValueError, match="not a PNG"):
            make_report(make_audit(), [Shown("before", b"<svg onload=alert(1)></svg>" * 2)])

    def test_pictures_come_with_a_warning(self) -> None:
        assert "must not leave the house" not in make_report(make_audit())
        page = make_report(
            make_audit(), [Shown("a", make_picture(28)), Shown("b", make_picture(300))]
        )
        assert "must not leave the house" in page
        assert page.count('class="small"') == 1


class TestSays:
    def test_the_verdict_comes_first(self) -> None:
        text = Read(make_report(make_audit())).text
        places = [
            text.index(each)
            for each in (
                "learns hardly anything; vgg with jpeg-10 learns more than half",
                "from an attacker without a clean image0.95",
                "With 10 clean images of each class0.69",
                "Without a clean image, after jpeg-100.41",
                "What was tried",
                "jpeg-10 0.41",
            )
        ]
        assert places == sorted(places)

    @pytest.mark.parametrize(
        ("plain", "worst", "expected"),
        [
            (0.95, 0.94, "a model learns hardly anything."),
            (0.95, 0.92, "hardly anything; vgg with grey learns less than half of what"),
            (0.95, 0.51, "hardly anything; vgg with grey learns more than half of what"),
            (0.95, 0.04, "hardly anything; vgg with grey learns as much as from the originals."),
            (0.95, None, "a model learns hardly anything."),
            (0.92, 0.92, "a model learns less than half of what the originals teach."),
            (0.7, 0.6, "a model learns less than half of what the originals teach."),
            (0.52, 0.52, "a model learns more than half of what the originals teach."),
            (0.3, 0.2, "a model learns more than half of what the originals teach."),
            (0.05, 0.02, "a model learns as much as from the originals."),
            (-0.1, None, "a model learns as much as from the originals."),
            (None, None, "could not be measured"),
        ],
    )
    def test_the_headline_follows_the_figures(
        self, plain: float | None, worst: float | None, expected: str
    ) -> None:
        audit = make_audit()
        attacker = None if worst is None else Attacker(victim="vgg", countermeasure="grey")
        audit["protection"].update(
            plain=plain,
            plain_interval=around(plain),
            worst=worst,
            worst_interval=around(worst),
            worst_attacker=attacker,
        )
        assert expected in headline(audit)

    def test_figures_are_by_what_an_attacker_has_and_only_what_was_measured(self) -> None:
        assert [(name, share) for name, share, _ in list_figures(make_audit())] == [
            ("without a clean image", 0.95),
            ("with 10 clean images of each class", 0.69),
            ("without a clean image, after jpeg-10", 0.41),
        ]
        assert list_figures(without_figures(make_audit())) == []

    def test_where_a_few_clean_images_teach_nearly_all_that_is_said(self) -> None:
        ten, fifty = sentences(make_audit())[-2:]
        assert "reaches 61\u202f% with these alone, 71\u202f% with the protected images" in ten
        assert "too little more to tell" in fifty

    def test_images_that_were_left_out_are_told(self) -> None:
        audit = make_audit()
        assert "left out" not in " ".join(sentences(audit))
        audit["data"]["left_out"] = 3
        assert sentences(audit)[-1].startswith("3 images for training are not among the protected")

    def test_accuracies_are_told_in_sentences(self) -> None:
        told = " ".join(sentences(make_audit()))
        assert "8 classes apart with an accuracy of 93\u202f%; guessing gives 12.5\u202f%" in told
        assert "vgg with jpeg-10; it reaches 60\u202f%" in told

    def test_what_held_and_what_did_not_is_listed_by_the_worst_model(self) -> None:
        text = Read(make_report(make_audit())).text
        held, part, missed, untried = re.findall(
            r"Held(.*)◐ Held in part(.*)○ Did not hold(.*)Not tried(.*)How it was tried", text
        )[0]
        assert "augmentation 0.94" in held
        assert "grey 0.91" in part  # its interval begins at 0.88
        assert "median filter 0.84" in part
        assert "jpeg-10 0.41" in missed
        assert "segmentation" in untried

    def test_every_field_says_its_degree_without_colour(self) -> None:
        page = make_report(make_audit())
        signs = {"held": "●", "part": "◐", "not": "○"}
        fields = re.findall(r'<td class="(held|part|not)"><b>(.)', page)
        assert len(fields) == len(make_audit()["matrix"])
        assert all(signs[degree] == sign for degree, sign in fields)

    def test_what_is_closer_than_jpeg_is_counted(self) -> None:
        audit = make_audit()
        audit["fidelity"]["psnr_db"] = {"protected": None, "jpeg_50": 30.0}
        audit["fidelity"]["max_change"] = {"protected": 0.0, "jpeg_50": 80.0}
        text = Read(make_report(audit)).text
        assert "or closer, by 14 of 15 figures" in text
        assert "no change" in text

    def test_the_limits_are_stated(self) -> None:
        text = Read(make_report(make_audit())).text
        assert "released in clear earlier undo all of it" in text
        assert "Segmentation and detection were not tried" in text
        assert "not for AI-assisted diagnosis" in text

    def test_what_was_not_measured_is_left_out(self) -> None:
        text = Read(make_report(without_figures(make_audit()))).text
        assert "could not be measured" in text
        assert "not measured" in text
        assert "None" not in text
        assert "nan" not in text.replace("resonance", "")

    def test_nothing_at_all_was_measured(self) -> None:
        audit = without_figures(make_audit())
        audit.update(matrix=[], fidelity={})
        assert "Nothing was measured." in Read(make_report(audit)).text


class TestPercent:
    @pytest.mark.parametrize(
        ("share", "expected"),
        [(0.954, "95"), (1.0, "100"), (-0.05, "\N{MINUS SIGN}5"), (-0.001, "0")],
    )
    def test_it_is_a_share_of_hundred(self, share: float, expected: str) -> None:
        assert percent(share) == f"{expected}\u202f%"

    def test_none_is_a_dash(self) -> None:
        assert percent(None) == "\N{EN DASH}"


@pytest.mark.skipif(BINARY is None, reason="no chromium on PATH")
class TestBrowser:
    @pytest.mark.parametrize("width", [320, 360, 1200])
    def test_it_fits_complains_of_nothing_and_loads_nothing(
        self, tmp_path: Path, width: int
    ) -> None:
        path = tmp_path / "audit.html"
        pictures = [Shown(each, make_picture()) for each in ("before", "after", "noise")]
        audit = make_audit()
        audit["data"]["classes"][0] = "x" * 200
        audit["command"] = "medprotect audit " + "y" * 300
        audit["matrix"] += [make_row(f"victim-{n}", "none", n / 9) for n in range(9)]
        write_report(audit, path, pictures)
        with browse(tmp_path / "profile") as page:
            page.open(path, width)
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            assert page.evaluate("document.body.scrollWidth") <= width
            assert page.evaluate("document.querySelector('.heat').offsetWidth") > 320
            assert page.evaluate("[...document.images].every(each => each.naturalWidth)")
            assert page.complaints() == []
            others = [url for url in page.requested() if not url.startswith("data:image/png")]
            assert others == [path.as_uri()]

    def test_it_prints_to_a4(self, tmp_path: Path) -> None:
        path = tmp_path / "audit.html"
        write_report(make_audit(), path)
        with browse(tmp_path / "profile") as page:
            page.open(path, 1200)
            printed = page.print_pdf()
        assert printed.startswith(b"%PDF-")
        width, height = map(float, re.findall(rb"/MediaBox \[0 0 ([\d.]+) ([\d.]+)\]", printed)[0])
        assert (width, height) == pytest.approx((595, 842), abs=1)

    def test_the_policy_stops_what_slips_through(self, tmp_path: Path) -> None:
        path = tmp_path / "audit.html"
        page_text = make_report(make_audit())
        injected = "<script>document.title = 'taken'</script></main>"
        path.write_text(page_text.replace("</main>", injected), encoding="utf-8")
        with browse(tmp_path / "profile") as page:
            page.open(path, 1200)
            assert page.evaluate("document.title").startswith("Audit of")
            assert page.complaints()
