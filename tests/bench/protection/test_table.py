"""The page of the bench: a short table, a figure and a CSV that say what the runs say."""

import csv
import re
from collections.abc import Sequence
from io import StringIO

import pytest

from medprotect.audit.verdict import DASH
from medprotect.bench.protection.record import Run
from medprotect.bench.protection.table import Page, write_page

from .invented import make_run

CLEAN = [make_run("clean", seed=seed, right=0.85) for seed in (1, 2)]
GREY, JPEG = ("resnet18", "grey"), ("resnet18", "jpeg-10")
FINE_TUNED = ("pretrained", "none")


def page(runs: Sequence[Run]) -> Page:
    return write_page(runs, "benchmarks")


def cells(runs: Sequence[Run]) -> dict[str, dict[str, str]]:
    """Return the rows of the tables by their first field, with fields by title."""
    lines = [line for line in page(runs).markdown.splitlines() if line.startswith("| ")]
    titles, _, *rows = [line.strip("| ").split(" | ") for line in lines]
    return {row[0]: dict(zip(titles[1:], row[1:], strict=True)) for row in rows}


def lines(runs: Sequence[Run], dataset: str = "busi") -> list[dict[str, str]]:
    return list(csv.DictReader(StringIO(page(runs).files[f"{dataset}.csv"])))


def estimate(field: str) -> tuple[float, float, float]:
    """Return a protection and its interval, as a field has them."""
    plain = field.replace("\N{MINUS SIGN}", "-").replace("\N{NO-BREAK SPACE}", " ")
    found = re.match(r"\*\*(.+)\*\* \((.+) to (.+)\)", plain)
    assert found, field
    share, low, high = map(float, found.groups())
    return share, low, high


class TestTable:
    def test_rows_are_protections_in_the_order_of_the_house(self) -> None:
        names = ("gratings", "em", "control", "ours-labels", "ours")
        blood = {"pipeline": "blood", "pipeline_sha256": "ab"}
        runs = [make_run(each, **(blood if "ours" in each else {})) for each in names]
        assert list(cells([*runs, *CLEAN])) == [
            *("clean, accuracy", "control", "ours (blood)", "ours-labels (blood)"),
            *("em", "gratings"),
        ]

    def test_columns_are_those_that_were_tried_seven_at_most(self) -> None:
        few = {k: {"together": 0.5} for k in (5, 10, 50)}
        runs = [*CLEAN, make_run(with_images=few)]
        assert list(cells([*CLEAN, make_run()])["em"]) == ["noise", "plain", "oracle"]
        runs += [
            make_run(attack=GREY),
            make_run(attack=FINE_TUNED),
            make_run(attack=("vgg", "none")),
        ]
        assert list(cells(runs)["em"]) == [
            *("noise", "plain", "k = 5", "k = 50", "worst countermeasure", "fine-tuned", "oracle"),
        ]

    def test_a_field_is_protection_with_its_interval_and_seeds(self) -> None:
        row = cells([*CLEAN, *(make_run(seed=each, right=0.4, oracle=0.7) for each in (1, 2))])[
            "em"
        ]
        assert row["noise"] == "31.6 dB<br>VIF 0.57"
        share, low, high = estimate(row["plain"])
        assert share == 0.75
        assert 0.6 < low < share < high < 0.9
        assert row["plain"].endswith("<br>2 seeds")
        assert estimate(row["oracle"])[0] == 0.25

    def test_of_clean_images_stand_accuracies(self) -> None:
        runs = [*CLEAN, *(make_run("clean", attack=each, right=0.7) for each in (GREY, FINE_TUNED))]
        assert cells([*runs, make_run("clean", attack=JPEG, right=0.8)])["clean, accuracy"] == {
            "noise": DASH,
            "plain": "0.850<br>2 seeds",
            "worst countermeasure": "0.700<br>grey, of 2, 1 seed",
            "fine-tuned": "0.700<br>1 seed",
            "oracle": "0.850",
        }

    def test_runs_that_do_not_hold_the_balanced_classes_are_marked(self) -> None:
        known = cells([*CLEAN, make_run(right=0.4, balanced=0.5)])["em"]["plain"]
        assert estimate(known)[0] == 0.58
        assert "†" not in known
        some = [make_run(right=0.4, balanced=0.5), make_run(seed=2, right=0.4)]
        field = cells([*CLEAN, *some])["em"]["plain"]
        assert estimate(field.replace("†", ""))[0] == 0.75
        assert "†" in field
        assert "†" not in cells([*CLEAN, *some])["clean, accuracy"]["plain"]

    def test_of_the_same_training_the_run_that_holds_the_balanced_classes_counts(self) -> None:
        older = make_run(right=0.4, with_images={10: {"together": 0.6}})
        for runs in ([older, make_run(right=0.4, balanced=0.5)],) * 2:
            assert estimate(cells([*CLEAN, *runs])["em"]["plain"])[0] == 0.58
            runs.reverse()

    def test_the_worst_countermeasure_is_named_with_its_interval_and_seeds(self) -> None:
        runs = [make_run(seed=seed, right=0.3) for seed in (1, 2)]
        runs += [make_run(attack=JPEG, seed=seed, right=0.5) for seed in (1, 2)]
        field = cells([*CLEAN, *runs])["em"]["worst countermeasure"]
        assert field.endswith("<br>jpeg-10, of 1")
        runs.append(make_run(attack=GREY, right=0.7))
        field = cells([*CLEAN, *runs])["em"]["worst countermeasure"]
        assert field.endswith("<br>grey, of 2, 1 seed")
        share, low, high = estimate(field)
        assert share == 0.25
        assert low < share < high

    def test_more_than_clean_images_teach_has_a_true_minus(self) -> None:
        assert cells([*CLEAN, make_run(right=0.97)])["em"]["plain"].startswith(
            "**\N{MINUS SIGN}0.2"
        )

    def test_where_clean_images_teach_too_little_it_says_so(self) -> None:
        runs = [make_run("clean", right=0.3), make_run()]
        assert cells(runs)["em"]["plain"] == "n/m<br>1 seed"
        assert "**n/m**: not measurable" in page(runs).markdown

    def test_with_k_images_the_k_alone_count(self) -> None:
        runs = [
            make_run("clean", right=0.8, with_images={10: {"together": 0.9}}),
            make_run("no set", with_images={10: {"alone": 0.5}}),
            make_run(right=0.3, with_images={10: {"together": 0.6}}),
        ]
        rows = cells(runs)
        assert list(rows) == ["clean, accuracy", "em"]
        assert estimate(rows["em"]["k = 10"])[0] == 0.75
        assert rows["clean, accuracy"]["k = 10"] == "0.900"

    def test_without_clean_runs_there_is_no_protection(self) -> None:
        row = cells([make_run(right=0.4)])["em"]
        assert row["plain"] == row["oracle"] == DASH
        assert "not on clean ones" not in page([*CLEAN, make_run()]).markdown

    def test_another_strength_is_named_and_so_are_pipelines_of_one_name(self) -> None:
        runs = [make_run(budget_lsb=8), make_run(strength="low", budget_lsb=4)]
        runs += [make_run(budget_lsb=6), make_run(strength="low", budget_lsb=3)]
        runs += [make_run("ours", pipeline="mine", pipeline_sha256=digest) for digest in "ab"]
        rows = list(cells([*CLEAN, *runs]))
        assert {"em", "em, low", "em, 6 of 255", "em, low, 3 of 255"} < set(rows)
        assert sum(row.startswith("ours (mine), ") for row in rows) == 2


class TestPage:
    def test_a_section_says_what_the_data_is(self) -> None:
        text = page([*CLEAN, make_run()]).markdown
        assert "## BUSI: 1,500 images of 64 x 64 x 1, 1,000 steps\n" in text
        assert "Licence: CC BY 4.0. By Al-Dhabyani" in text
        assert (
            "4 classes; tested on 400 clean images: guessing gives 0.250, "
            "clean images teach 0.850 (resnet18)."
        ) in text
        assert "3 runs, 0.8 hours, 1,234 MB of memory at most; made with medprotect 0.1.0" in text

    def test_commands_are_folded_away_and_cannot_be_markup(self) -> None:
        begun = "medprotect bench protection --dataset busi --images '<b>&' --out runs"
        text = page([*CLEAN, make_run(command=begun)]).markdown
        folded = text[text.index("<details>") : text.index("</details>")]
        assert "--images '&lt;b&gt;&amp;'" in folded
        assert "\n\n" not in folded

    def test_steps_sizes_and_sets_have_sections_and_figures_of_their_own(self) -> None:
        runs: list[Run] = []
        for dataset, size, steps in (
            ("busi", 64, 1000),
            ("busi", 64, 200),
            ("busi", 128, 200),
            ("mednist", 64, 200),
        ):
            runs += [
                make_run(name, dataset=dataset, size=size, steps=steps, attack=attack)
                for name in ("clean", "em")
                for attack in (("resnet18", "none"), GREY)
            ]
        made = page(runs)
        headings = [each for each in made.markdown.splitlines() if each.startswith("## ")]
        assert [each.partition(": ")[2] for each in headings] == [
            "1,500 images of 64 x 64 x 1, 200 steps",
            "1,500 images of 64 x 64 x 1, 1,000 steps",
            "1,500 images of 128 x 128 x 1, 200 steps",
            "1,500 images of 64 x 64 x 1, 200 steps",
        ]
        assert sorted(made.files) == [
            "busi-128px.svg",
            "busi-64px-1000-steps.svg",
            "busi-64px-200-steps.svg",
            "busi.csv",
            "mednist.csv",
            "mednist.svg",
        ]
        linked = re.findall(r"!\[[^\]]+\]\(benchmarks/([^)]+)\)\]", made.markdown)
        assert sorted(linked) == [each for each in sorted(made.files) if each.endswith(".svg")]

    def test_without_countermeasures_there_is_no_figure(self) -> None:
        assert list(page([*CLEAN, make_run()]).files) == ["busi.csv"]

    def test_the_figure_holds_each_protection_under_each_countermeasure(self) -> None:
        runs = [*CLEAN, make_run(right=0.4), make_run(attack=GREY, right=0.7), make_run("tap")]
        drawn = page(runs).files["busi.svg"]
        assert "em: plain 0.75, grey 0.25" in drawn
        assert "tap" not in drawn  # plainly alone: the table has it

    def test_the_head_says_where_trainings_were_stopped_early(self) -> None:
        assert "after 0.90 of the steps: no protection" in page([*CLEAN, make_run()]).markdown
        runs = [
            make_run(name, dataset=dataset, right=curve)
            for dataset, curve in (("busi", [0.6, 0.5]), ("mednist", [0.5, 0.6]))
            for name in ("clean", "em")
        ]
        text = page(runs).markdown
        assert "- BUSI: clean 1.00, em 1.00\n- MedNIST: clean 0.50, em 0.50\n" in text

    def test_runs_that_hold_their_end_alone_are_called_so(self) -> None:
        ends = "These runs hold the end of each training alone"
        assert ends in page([*CLEAN, make_run()]).markdown
        assert ends not in page([*CLEAN, make_run(right=[0.5, 0.4])]).markdown


class TestCsv:
    def test_a_line_is_a_protection_an_attack_and_a_k(self) -> None:
        few = {10: {"together": 0.9}}
        runs = [make_run("clean", right=[0.5, 0.8], with_images=few)]
        runs += [make_run("no set", with_images={10: {"alone": 0.5}})]
        rises_late = [*[0.3] * 8, 0.6, 0.3]
        learned = {10: {"together": 0.7}}
        runs += [make_run(right=rises_late, held=[1, *[0] * 9], with_images=learned)]
        runs += [make_run(attack=GREY, right=[0.6, 0.5])]
        found = {
            (line["protection"], line["countermeasure"], line["k"]): line for line in lines(runs)
        }
        assert list(found) == [
            *(("clean", "none", "0"), ("clean", "none", "10")),
            *(("em", "none", "0"), ("em", "none", "10"), ("em", "grey", "0")),
        ]
        line = found["em", "none", "10"]
        assert [float(line[each]) for each in ("as_it_ends", "best_on_set", "stopped_early")] == [
            *(0.3, 0.3, 0.6)
        ]
        assert float(line["attacker_best"]) == 0.7
        assert float(line["alone"]) == 0.5
        assert float(line["clean"]) == 0.9
        assert float(line["protection_at_k"]) == pytest.approx(0.5)
        assert float(line["low"]) < 0.5 < float(line["high"])
        assert (line["psnr_db"], line["vif"], line["ms_ssim"]) == ("31.64", "0.5678", "0.98")
        assert (line["seconds_made"], line["seconds_trained"]) == ("61.7", "900.0")
        assert found["em", "grey", "0"]["clean"] == ""

    def test_seeds_are_listed_and_steps_are_told_apart(self) -> None:
        runs = [*CLEAN, *(make_run(seed=seed) for seed in (3, 1)), make_run(steps=200)]
        told = [(each["protection"], each["steps"], each["seeds"]) for each in lines(runs)]
        assert told == [("em", "200", "1"), ("clean", "1000", "1 2"), ("em", "1000", "1 3")]
