import re
from dataclasses import replace
from pathlib import Path

import pytest

from medprotect.confounder.measured import MEASURED, Measured
from medprotect.errors import NoPipelineError, PipelineError
from medprotect.imaging.image import Traits
from medprotect.intensity.budget import STRENGTHS
from medprotect.plan.selection import Candidate, Choice, choose_pipeline, find_candidates

from ..confounder.measured_pipeline import shipped_figures
from .cards import candidate, make_card

CT = Traits("dicom", modality="CT")
HEAD = Traits("dicom", modality="CT", body_part="HEAD")
COLOUR = Traits("png", photometric="RGB", channels=3)
CELLS = "blood-microscopy"


class TestChoice:
    def test_it_goes_by_modality_and_photometric_interpretation(self) -> None:
        candidates = [
            candidate("mr", modalities=("MR",), experimental=()),
            candidate("ct", modalities=("CT",), experimental=()),
            candidate("colour", channels=3, modalities=("", "SM"), experimental=()),
        ]
        assert choose_pipeline(candidates, CT).pipeline == "ct"
        assert choose_pipeline(candidates, COLOUR).pipeline == "colour"

    def test_one_for_the_body_part_comes_before_one_for_any(self) -> None:
        candidates = [
            candidate("any", modalities=("CT",), experimental=()),
            candidate("head", modalities=("CT",), experimental=(), body_parts=("HEAD",)),
        ]
        assert choose_pipeline(candidates, HEAD).pipeline == "head"
        assert choose_pipeline(candidates, CT).pipeline == "any"

    def test_one_tested_on_the_modality_comes_before_one_that_is_not(self) -> None:
        candidates = [
            candidate("untested", modalities=("CT",), experimental=("CT",)),
            candidate("tested", modalities=("CT",), experimental=()),
        ]
        assert choose_pipeline(candidates, CT).pipeline == "tested"
        assert "experimental_modality" in choose_pipeline(candidates[:1], CT).warnings
        assert "experimental_modality" not in choose_pipeline(candidates, CT).warnings

    def test_what_states_no_modality_goes_to_the_one_for_such_images(self) -> None:
        candidates = [
            candidate("ct", modalities=("CT", ""), experimental=("CT",)),
            candidate("grey", modalities=("",), experimental=("",)),
            candidate("mr", modalities=("MR", ""), experimental=("MR",)),
        ]
        assert choose_pipeline(candidates, Traits("png")).pipeline == "grey"
        assert choose_pipeline(candidates[::2], Traits("png")).pipeline == "ct"
        assert choose_pipeline(candidates, CT).pipeline == "ct"

    def test_a_named_one_comes_first_and_takes_modalities_that_are_not_its_own(self) -> None:
        candidates = [
            candidate("ct", modalities=("CT",), experimental=()),
            candidate("mine", named=True, modalities=("MR",), experimental=()),
        ]
        choice = choose_pipeline(candidates, CT)
        assert choice.pipeline == "mine"
        assert choice.warnings[0] == "modality_not_of_pipeline"
        assert choice.why == "named; CT, MONOCHROME2"

    def test_a_named_one_never_takes_images_of_other_channels(self) -> None:
        with pytest.raises(NoPipelineError, match="colour"):
            choose_pipeline([candidate("mine", named=True)], COLOUR)

    def test_quantitative_images_are_taken_by_name_only(self) -> None:
        pet = Traits("dicom", modality="PT", quantitative=True)
        images = {"modalities": ("PT",), "experimental": ()}
        with pytest.raises(NoPipelineError, match="a measurement"):
            choose_pipeline([candidate("pet", **images)], pet)
        choice = choose_pipeline([candidate("pet", named=True, **images)], pet)
        assert choice.warnings[0] == "quantitative"

    @pytest.mark.parametrize(
        "traits",
        [
            Traits("dicom", modality="US", photometric="RGB", channels=3),
            Traits("dicom", modality="OT"),
            Traits("dicom", modality="PT", quantitative=True),
        ],
        ids=["colour ultrasound", "grey", "quantitative"],
    )
    def test_where_none_fits_the_pipelines_that_are_advised_take_it(self, traits: Traits) -> None:
        with pytest.raises(NoPipelineError) as caught:
            choose_pipeline(find_candidates(["auto"]), traits)
        advised = re.findall(r"--pipeline ([a-z-]+)", str(caught.value))
        assert choose_pipeline(find_candidates(advised), traits).pipeline == advised[-1]

    def test_advice_keeps_other_images_with_their_pipelines(self) -> None:
        ultrasound = Traits("dicom", modality="US", photometric="RGB", channels=3)
        with pytest.raises(NoPipelineError) as caught:
            choose_pipeline(find_candidates(["auto"]), ultrasound)
        advised = find_candidates(re.findall(r"--pipeline ([a-z-]+)", str(caught.value)))
        assert choose_pipeline(advised, CT).pipeline == "ct"
        with pytest.raises(NoPipelineError, match="in a folder of their own"):
            choose_pipeline(find_candidates(["auto"]), Traits("dicom", modality="OT"))

    def test_where_no_pipeline_given_takes_it_the_reason_says_which_may(self) -> None:
        with pytest.raises(NoPipelineError, match="give --pipeline auto"):
            choose_pipeline(find_candidates(["ct"]), COLOUR)

    def test_where_none_fits_the_reason_says_what_for(self) -> None:
        with pytest.raises(NoPipelineError, match="grey images of modality US"):
            choose_pipeline(
                [candidate("ct", modalities=("CT",), experimental=())], Traits("dicom", "US")
            )


class TestProtection:
    """A choice says how much its pipeline was measured to protect at the strength of the run."""

    RADIOGRAPH = Traits("dicom", modality="CR")

    def choose(self, folder: Path, strength: str) -> Choice:
        card = replace(make_card("mine", modalities=("CR",), experimental=()), folder=folder)
        return choose_pipeline([Candidate(card)], self.RADIOGRAPH, strength)

    def test_it_is_of_the_strength_that_was_asked_for(self, tmp_path: Path) -> None:
        (tmp_path / MEASURED).write_text(
            "[low]\nprotection = -0.08\n[standard]\nprotection = 0.49\nwith_10_images = 0.1\n"
        )
        low, standard = Measured(-0.08), Measured(0.49, 0.1)
        assert self.choose(tmp_path, "low").measured == low
        assert self.choose(tmp_path, "standard").measured == standard
        assert self.choose(tmp_path, "standard").protection == 0.49
        assert self.choose(tmp_path, "high").measured is None
        assert self.choose(tmp_path, "high").protection is None
        assert self.choose(tmp_path, "high").at_strengths == {"low": low, "standard": standard}

    def test_one_of_ones_own_was_not_measured_until_its_owner_says_so(self, tmp_path: Path) -> None:
        assert self.choose(tmp_path, "standard").measured is None

    def test_of_a_modality_that_the_pipeline_was_not_made_for_nothing_was_measured(self) -> None:
        for strength in ("standard", "high"):
            choice = choose_pipeline(find_candidates(["chest-x-ray"]), CT, strength)
            assert choice.pipeline == "chest-x-ray"
            assert choice.measured is choice.protection is None

    @pytest.mark.parametrize("strength", STRENGTHS)
    def test_of_those_shipped_it_is_what_their_file_says(self, strength: str) -> None:
        shipped = find_candidates(["auto"])
        for traits, name in ((CT, "ct"), (self.RADIOGRAPH, "chest-x-ray"), (COLOUR, CELLS)):
            found = choose_pipeline(shipped, traits, strength).measured
            assert found == shipped_figures(name, strength)


class TestCandidates:
    def test_auto_is_all_that_are_shipped(self) -> None:
        names = {each.card.name for each in find_candidates(["auto"])}
        assert {"blood-microscopy", "radiology-grey"} <= names
        assert not any(each.named for each in find_candidates(["auto"]))

    @pytest.mark.parametrize(
        ("modality", "pipeline"),
        [
            ("CT", "ct"),
            ("MR", "mr"),
            ("CR", "chest-x-ray"),
            ("DX", "chest-x-ray"),
            ("US", "ultrasound"),
            ("", "radiology-grey"),
        ],
    )
    def test_of_those_shipped_each_modality_has_its_own(self, modality: str, pipeline: str) -> None:
        for candidates in (find_candidates(["auto"]), find_candidates(["auto"])[::-1]):
            choice = choose_pipeline(candidates, Traits("dicom", modality=modality))
            assert choice.pipeline == pipeline
            assert "experimental_modality" in choice.warnings  # none was seen in full

    @pytest.mark.parametrize("modality", ["", "SM", "GM", "XC"])
    def test_colour_goes_to_the_one_for_colour(self, modality: str) -> None:
        traits = Traits("dicom", modality=modality, photometric="RGB", channels=3)
        choice = choose_pipeline(find_candidates(["auto"]), traits)
        assert choice.pipeline == "blood-microscopy"

    @pytest.mark.parametrize("modality", ["MG", "XA", "PT", "NM", "OP", "OT"])
    def test_what_none_was_made_for_has_none(self, modality: str) -> None:
        with pytest.raises(NoPipelineError, match=f"grey images of modality {modality}"):
            choose_pipeline(find_candidates(["auto"]), Traits("dicom", modality=modality))

    def test_one_named_beside_auto_is_named(self) -> None:
        named = {each.card.name: each.named for each in find_candidates(["radiology-grey", "auto"])}
        assert named["radiology-grey"]
        assert not named["blood-microscopy"]

    def test_one_that_is_none_is_said_to_be(self) -> None:
        with pytest.raises(PipelineError, match="There is no pipeline 'sharpener'"):
            find_candidates(["sharpener"])
