import pytest

from esdseg.scoring.paired import Difference
from esdseg.scoring.verdict import beats, describe_verdict


def differences(
    contest: float | None, macro: float | None, spread: float | None = 0.02
) -> dict[str, Difference]:
    return {
        name: Difference(
            value, None if value is None or spread is None else (value - spread, value + spread), 0.5
        )
        for name, value in (("contest_f1", contest), ("f1_macro", macro))
    }


@pytest.mark.parametrize(
    ("contest", "macro", "answer"),
    [
        (0.1, 0.1, True),
        (0.1, -0.1, False),
        (-0.1, 0.1, False),
        (0.1, 0.0, False),
        (None, 0.1, None),
        (-0.1, None, None),
    ],
)
def test_the_trees_are_beaten_where_both_scores_are_higher(
    contest: float | None, macro: float | None, answer: bool | None
) -> None:
    assert beats(differences(contest, macro)) is answer


def test_the_words_say_by_how_much_and_how_sure() -> None:
    assert describe_verdict(differences(0.1, 0.05)) == (
        "Beats gradient-boosted trees on cell statistics (cell_boosting, same training tiles): contest F1 "
        "+0.100 (95 % interval +0.080 to +0.120), macro F1 +0.050 (95 % interval +0.030 to +0.070)."
    )
    unsure = describe_verdict(differences(-0.1, 0.01))
    assert unsure.startswith("Does not beat gradient-boosted trees")
    assert "in both contest F1 and macro F1: contest F1 -0.100" in unsure
    assert "in both" not in describe_verdict(differences(-0.1, -0.1))
    assert unsure.endswith("These tiles alone do not settle it for macro F1.")
    assert "contest F1 and macro F1" in describe_verdict(differences(0.1, 0.1, spread=None))
    assert "contest F1 is undefined" in describe_verdict(differences(None, 0.1))
