"""What studies take, and what they say where they cannot take it."""

import pytest

from medprotect.bench.options import run, take_names, take_numbers
from medprotect.errors import ConfigError


def test_names_are_separated_by_commas_and_each_is_taken_once() -> None:
    assert take_names("vgg, vit,vgg", ("vit", "vgg"), "victims") == ("vgg", "vit")


def test_an_unknown_name_is_refused_with_those_there_are() -> None:
    with pytest.raises(ConfigError, match=r"--victims has no 'vig'; choose from vit, vgg"):
        take_names("vit,vig", ("vit", "vgg"), "victims")


def test_seeds_are_whole_numbers_and_each_is_taken_once() -> None:
    assert take_numbers("3, 1,3") == (3, 1)


@pytest.mark.parametrize("seeds", ["", "1,", "1 2", "1.5"])
def test_other_seeds_are_refused(seeds: str) -> None:
    with pytest.raises(ConfigError, match="separated by commas"):
        take_numbers(seeds)


def test_a_study_says_in_one_line_what_it_cannot_take(monkeypatch: pytest.MonkeyPatch) -> None:
    def study(seeds: str) -> None:
        take_numbers(seeds)

    monkeypatch.setattr("sys.argv", ["study", "one"])
    with pytest.raises(SystemExit, match=r"^error: --seeds takes whole numbers"):
        run(study)
