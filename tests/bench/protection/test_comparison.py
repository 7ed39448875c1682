"""Protection at k from runs: worked out by hand beside."""

import numpy as np
import pytest

from medprotect.audit.attempt import EARLY_SHARE
from medprotect.bench.protection.comparison import Attack, Comparison, Experience, Result, stop
from medprotect.bench.protection.record import Run
from medprotect.confounder.accuracy import balanced_accuracy

from .invented import LABELS, make_run

PLAIN = Attack("resnet18", "none")

CLEAN = [make_run("clean", seed=seed, right=0.85) for seed in (1, 2)]


def result(runs: list[Run], attack: Attack = PLAIN, label: str = "em") -> Result:
    comparison = Comparison(runs, Experience(runs))
    (row,) = [each for each in comparison.rows if each.label == label]
    found = comparison.result(row, attack)
    assert found is not None
    return found


def test_protection_is_the_share_of_what_clean_images_teach_that_is_not_learned() -> None:
    found = result([*CLEAN, *(make_run(seed=seed, right=0.4) for seed in (1, 2))])
    assert found.seeds == (1, 2)
    assert found.best == pytest.approx(0.4)
    assert found.at_k is not None
    assert found.at_k.protection == pytest.approx(1 - 0.15 / 0.60)
    assert found.at_k.interval is not None
    low, high = found.at_k.interval
    assert 0.6 < low < 0.75 < high < 0.9


def test_who_has_no_clean_image_stops_as_serves_him_best() -> None:
    rising = make_run(right=[0.3, 0.7, 0.5, 0.4, 0.35], held=[0.1, 0.2, 0.9, 0.9, 0.3])
    found = result([*CLEAN, rising])
    assert found.stopped == {
        "as it ends": pytest.approx(0.35),
        "best on the set": pytest.approx(0.5),  # the first of the best
        "stopped early": pytest.approx(0.4),  # the moment before the last
    }
    assert found.best == pytest.approx(0.5)
    assert found.early == EARLY_SHARE


def test_the_best_moment_of_an_oracle_gives_a_protection_of_its_own() -> None:
    runs = [make_run("clean", right=0.75, oracle=0.85), make_run(right=0.3, oracle=0.65)]
    found = result(runs)
    assert found.at_k is not None
    assert found.by_oracle is not None
    assert found.at_k.protection == pytest.approx(1 - 0.05 / 0.5)
    assert found.by_oracle.protection == pytest.approx(1 - 0.4 / 0.6)


def test_a_run_that_holds_its_end_alone_has_one_way_of_stopping() -> None:
    assert list(result([*CLEAN, make_run(right=0.4)]).stopped) == ["as it ends"]


def test_clean_images_are_worth_what_the_best_model_learns_of_them() -> None:
    better = make_run("clean", attack=("vgg", "none"), right=0.95)
    found = result([*CLEAN, better, make_run(right=0.6)])
    assert found.at_k is not None
    assert found.at_k.protection == pytest.approx(1 - 0.35 / 0.70)
    assert found.clean == pytest.approx(0.85)


def test_under_a_countermeasure_its_own_cost_stands_beside() -> None:
    grey = Attack("resnet18", "grey")
    runs = [make_run("clean", attack=("resnet18", "grey"), right=0.7)]
    runs += [make_run(attack=("resnet18", "grey"), right=0.55), make_run(right=0.3)]
    found = result([*CLEAN, *runs], grey)
    assert found.at_k is not None
    assert found.at_k.protection == pytest.approx(0.5)
    assert found.clean == pytest.approx(0.7)


def with_images(name: str, share: float, **attacks: float) -> Run:
    return make_run(name, right=share, with_images={10: attacks})


def test_with_k_images_both_are_worth_what_they_add_to_the_k_alone() -> None:
    runs = [with_images("clean", 0.8, together=0.9), with_images("em", 0.3, together=0.6)]
    found = result([*runs, with_images("no set", 0.0, alone=0.5)], Attack("resnet18", "none", 10))
    assert found.alone == pytest.approx(0.5)
    assert found.best == pytest.approx(0.6)
    assert found.clean == pytest.approx(0.9)
    assert found.at_k is not None
    assert found.at_k.protection == pytest.approx(1 - 0.1 / 0.4)


def test_where_the_set_adds_little_to_the_k_nothing_is_measurable() -> None:
    runs = [with_images("clean", 0.8, together=0.85), with_images("em", 0.3, together=0.8)]
    found = result([*runs, with_images("no set", 0.0, alone=0.8)], Attack("resnet18", "none", 10))
    assert found.at_k is not None
    assert found.at_k.protection is None
    assert found.at_k.interval is None


def test_without_runs_of_the_k_alone_or_of_clean_images_there_is_no_protection() -> None:
    ten = Attack("resnet18", "none", 10)
    both = [with_images("clean", 0.8, together=0.9), with_images("em", 0.3, together=0.6)]
    assert result(both, ten).at_k is None
    assert result([make_run()]).at_k is None
    assert result([make_run()]).by_oracle is None


def test_one_training_with_a_few_images_and_without_counts_once() -> None:
    twice = [make_run(right=0.4), with_images("em", 0.4, together=0.6)]
    assert result([*CLEAN, *twice]).seeds == (1,)
    assert result([*CLEAN, *twice[::-1]]).seeds == (1,)


def test_groups_are_drawn_together_where_they_are_known() -> None:
    runs = [*CLEAN, make_run(right=0.4)]
    alike = [{**run, "groups": (np.arange(len(LABELS)) // 40).tolist()} for run in runs]
    apart, together = (result(each).at_k for each in (runs, alike))
    assert apart is not None
    assert together is not None
    assert apart.protection == together.protection
    assert apart.interval != together.interval


class TestExperience:
    CURVE = (0.3, 0.4, 0.7, 0.5, 0.4)

    def runs(self, dataset: str, curve: tuple[float, ...], **other: str) -> list[Run]:
        return [
            make_run("clean", dataset=dataset, right=0.85),
            make_run(dataset=dataset, right=curve, **other),
        ]

    def test_it_is_the_moment_that_did_best_on_other_sets(self) -> None:
        experience = Experience(
            [*self.runs("busi", self.CURVE[::-1]), *self.runs("mednist", self.CURVE)]
        )
        assert experience.share("busi", "em", "resnet18") == pytest.approx(0.6)
        assert experience.share("cifar10", "em", "resnet18") == pytest.approx(0.6)
        assert experience.share("mednist", "em", "resnet18") == pytest.approx(0.6)

    def test_sets_are_weighed_by_what_their_clean_images_teach(self) -> None:
        easy = [
            make_run("clean", dataset="mednist", right=0.95),
            make_run(dataset="mednist", right=[0.40, 0.35]),  # 0.05 of 0.70 is little
        ]
        hard = [
            make_run("clean", dataset="cifar10", right=0.45),
            make_run(dataset="cifar10", right=[0.30, 0.34]),  # 0.04 of 0.20 is much
        ]
        assert Experience([*easy, *hard]).share("busi", "em", "resnet18") == 1.0
        assert Experience(easy).share("busi", "em", "resnet18") == 0.5
        for ks in ((10,), (50,), (10, 50)):  # the same training again, with a few images besides
            few = {k: {"together": 0.5} for k in ks}
            easy.append(make_run(dataset="mednist", right=[0.40, 0.35], with_images=few))
        assert Experience([*easy, *hard]).share("busi", "em", "resnet18") == 1.0

    @pytest.mark.parametrize(
        "asked", [("mednist", "em", "resnet18"), ("busi", "tap", "resnet18"), ("busi", "em", "vgg")]
    )
    def test_the_same_set_another_protection_or_victim_says_nothing(
        self, asked: tuple[str, str, str]
    ) -> None:
        assert Experience(self.runs("mednist", self.CURVE)).share(*asked) is None

    def test_ends_alone_and_sets_that_teach_nothing_say_nothing(self) -> None:
        assert Experience(self.runs("mednist", (0.4,))).share("busi", "em", "resnet18") is None
        untaught = [make_run("clean", dataset="cifar10", right=0.3)]
        untaught += [make_run(dataset="cifar10", right=self.CURVE)]
        assert Experience(untaught).share("busi", "em", "resnet18") is None

    def test_trainings_are_stopped_there(self) -> None:
        here = make_run(right=[0.6, 0.5, 0.55, 0.45, 0.4], held=[0, 0, 0, 0, 1])
        here_and_there = [*CLEAN, here, *self.runs("mednist", self.CURVE)]
        comparison = Comparison([*CLEAN, here], Experience(here_and_there))
        found = comparison.result(comparison.rows[1], PLAIN)
        assert found is not None
        assert found.early == pytest.approx(0.6)
        assert found.stopped["stopped early"] == pytest.approx(0.55)
        assert found.best == pytest.approx(0.55)


def test_real_runs_tell_what_their_files_say(runs: list[Run]) -> None:
    comparison = Comparison(runs, Experience(runs))
    assert [row.label for row in comparison.rows] == ["clean", "covered, all"]
    assert comparison.countermeasures == ["posterise-2"]
    assert comparison.ks == [2]
    for row in comparison.rows:
        for attack in row.attacks():
            found = comparison.result(row, attack)
            assert found is not None
            (run,) = row.seeds(attack)
            assert run["accuracy"]
            assert run["moments"]
            assert found.stopped["as it ends"] == pytest.approx(run["accuracy"]["as_it_ends"])
            assert found.oracle == pytest.approx(run["accuracy"]["oracle"])
            assert found.best >= max(found.stopped.values())
            for way, told in stop(run["moments"], EARLY_SHARE).items():
                accuracy = balanced_accuracy(told, comparison.labels, 2)
                assert found.stopped[way] == pytest.approx(accuracy, abs=1e-6)
