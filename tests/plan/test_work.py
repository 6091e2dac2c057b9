"""What stages have to train, and on networks of how many FLOPs."""

import pytest
from support.recipes import Read, settings
from support.recipes import read as read

from pipeline.data.datasets import Dataset
from pipeline.plan import work

HEAD = "description: Mine\ndata: digits\n"


@pytest.mark.parametrize(
    ("budget", "expected"),
    [("{flops: 6M}", (2.4e6, 6e6)), ("{flops: 9M, macs: 2M}", (1.6e6, 4e6)), ("{}", None)],
)
def test_the_budget_says_how_many_flops(
    read: Read, few_digits: Dataset, budget: str, expected: tuple[float, float] | None
) -> None:
    loaded = read(f"{HEAD}budget: {budget}\nstages: [search]\n")
    assert work.flops(loaded, few_digits) == pytest.approx(expected)


def test_stages_train_more_with_more_epochs_and_rungs(read: Read) -> None:
    stages = "stages: [search: {trials: 9}, finetune, prune: {epochs: 4}, quantize, export]\n"
    steps = {step.name: step for step in read(HEAD + stages).stages}
    longer = {step.name: step for step in read(HEAD + stages, "search.trials=18").stages}
    assert work.of(longer["search"]).epochs[0] > work.of(steps["search"]).epochs[0]
    assert work.of(steps["finetune"]).epochs[1] == settings(read(HEAD + stages), "finetune").epochs
    assert work.of(steps["prune"]).epochs[1] > 4
    assert work.of(steps["export"]).epochs == (0, 0)


def test_halving_oracles_train_fewer_epochs(read: Read) -> None:
    def epochs(oracle: str) -> float:
        stages = f"stages: [search: {{trials: 9, epochs: 9, oracle: {oracle}}}]\n"
        return work.of(read(HEAD + stages).stages[0]).epochs[0]

    assert epochs("hyperband") == epochs("priorband") < epochs("random")


def test_a_val_image_costs_a_third_of_a_training_image(few_digits: Dataset) -> None:
    assert work.images(few_digits) == len(few_digits.train) + len(few_digits.val) // 3
