import json

import pytest

from qvec_hub import QVecError
from qvec_hub.training.recipes.training_recipe import TrainingRecipe


def test_the_defaults_are_the_papers():
    recipe = TrainingRecipe()
    assert (recipe.learning_rate, recipe.weight_decay, recipe.warmup_steps) == (1e-5, 0.1, 500)
    assert (recipe.clip_norm, recipe.batch_size, recipe.seed) == (1.0, 128, 2038)


def test_to_dict_is_json_and_makes_the_same_recipe():
    recipe = TrainingRecipe(epochs=3, precision="bf16")
    values = json.loads(json.dumps(recipe.to_dict()))
    assert next(iter(values.items())) == ("name", "ste")
    assert TrainingRecipe(**values) == recipe


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"epochs": 0}, "epochs must be a number above 0, found 0"),
        ({"learning_rate": float("nan")}, "learning_rate must be a number above 0"),
        ({"learning_rate": "1e-5"}, "learning_rate must be a number above 0, found '1e-5'"),
        ({"batch_size": 0}, "batch_size must be an integer of at least 1"),
        ({"batch_size": 12.0}, "batch_size must be an integer"),
        ({"grad_accumulation": True}, "grad_accumulation must be an integer"),
        ({"weight_decay": -0.1}, "weight_decay must be a number of at least 0"),
        ({"seed": 2**32}, "seed must be below"),
        ({"precision": "int8"}, "precision must be one of 'fp32', 'bf16', 'fp16', found 'int8'"),
        ({"optimizer": "sgdd"}, "optimizer must be one of .* found 'sgdd'"),
        ({"head": "mean"}, "head must be one of 'random', 'probe', found 'mean'"),
        ({"name": "magic"}, "name must be one of 'distill', 'ste', found 'magic'"),
    ],
)
def test_values_out_of_range(values, message):
    with pytest.raises(QVecError, match=message):
        TrainingRecipe(**values)
