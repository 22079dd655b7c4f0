import re
from pathlib import Path

import pytest

from toynet.core.errors import UsageError
from toynet.runs.recipe import Recipe, heading, parse_value, setting_names, shipped, source

CASES = {  # SPEC 1: model, order, widths, dropout, rate at epochs 0, 30, 60, 99
    "pure_resnet18": ("pure_resnet18", None, 512, 0.0),
    "toynet20_init": ("toynet18", "post", 128, 0.0),
    "toynet20_half_lr": ("toynet18", "post", 128, 0.0),
    "toynet20_with_dropout": ("toynet18", "post", 128, 0.5),
    "toynet20_more_filters_with_preact": ("toynet18", None, 512, 0.0),
    "toynet20_exponential_decay_lr": ("toynet18", None, 512, 0.0),
    "toynet20_cosine_decay_lr": ("toynet18", None, 512, 0.0),
    "toynet14_less_layers": ("toynet14", None, 512, 0.0),
    "toynet14_with_dropout": ("toynet14", None, 512, 0.6),
}
STEPS = {  # epoch: learning rate, as read off the report's plots
    "toynet20_init": {0: 1e-3, 39: 1e-3, 40: 1e-4, 54: 1e-4, 55: 1e-5, 99: 1e-5},
    "toynet20_half_lr": {0: 5e-4, 29: 5e-4, 30: 5e-5, 49: 5e-5, 50: 1e-5, 99: 1e-5},
    "toynet20_with_dropout": {0: 7e-4, 29: 7e-4, 30: 2.7e-4, 49: 2.7e-4, 50: 2.7e-5, 99: 2.7e-5},
    "toynet20_more_filters_with_preact": {0: 6e-4, 14: 6e-4, 15: 2.4e-4, 34: 2.4e-4, 35: 2.4e-5},
}


def test_every_shipped_recipe_loads_and_opens_with_command_and_description():
    names = shipped()
    assert {"quick", "default"} <= names.keys()
    assert {f"report/{case}" for case in CASES} <= names.keys()
    for name in names:
        recipe = Recipe.load(name)
        command, description = heading(source(name))
        assert command.startswith(f"toynet train {name}")
        assert description.endswith(".")
        assert Recipe.from_table(name, recipe.to_table()) == recipe


@pytest.mark.parametrize("case", CASES)
def test_the_nine_cases_are_the_reports(case: str):
    recipe = Recipe.load(f"report/{case}")
    model, order, last_width, dropout = CASES[case]
    assert (recipe.model.name, recipe.model.order) == (model, order)
    assert (recipe.model.widths[-1], recipe.model.dropout) == (last_width, dropout)
    assert (recipe.train.batch_size, recipe.train.seed, recipe.data.protocol) == (32, 2021, "report")
    assert (recipe.optim.name, recipe.optim.eps) == ("adam", 1e-7)
    assert (recipe.augment.rotate_deg, recipe.augment.shift, recipe.augment.flip) == (15, 0.1, "random")
    assert recipe.schedule.plateau is None
    assert recipe.train.epochs == (50 if case == "toynet14_less_layers" else 100)


@pytest.mark.parametrize("case", STEPS)
def test_step_schedules_have_the_rates_of_the_reports_plots(case: str):
    from toynet.training import schedules

    recipe = Recipe.load(f"report/{case}")
    rate = schedules.build(recipe.schedule, epochs=100, steps_per_epoch=1)
    for epoch, expected in STEPS[case].items():
        assert recipe.optim.lr * rate(epoch) == pytest.approx(expected, rel=1e-9)


def test_overrides_reach_nested_keys_and_are_parsed_as_toml():
    recipe = Recipe.load(
        "default",
        {
            key: parse_value(text)
            for key, text in {
                "optim.lr": "5e-4",
                "model.widths": "[8,16,32,64]",
                "data.name": "glyphs",
                "schedule.plateau": "true",
            }.items()
        },
    )
    assert recipe.optim.lr == 5e-4
    assert recipe.model.widths == (8, 16, 32, 64)
    assert recipe.data.name == "glyphs"
    assert recipe.schedule.plateau.factor == 0.15
    assert Recipe.load("default", {"schedule.plateau.patience": 3}).schedule.plateau.patience == 3
    assert Recipe.load("default", {"augment.flip": False}).augment.flip == "none"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"optim.lrr": 0.1}, "optim.lrr is not a setting; did you mean optim.lr?"),
        ({"modle.widths": [1]}, "modle.widths is not a setting; did you mean model.widths?"),
        ({"train.epochs": 0}, "train.epochs: input should be greater than or equal to 1, got 0"),
        ({"train.epochs": "many"}, "train.epochs: input should be a number"),
        ({"optim.lr": -1}, "optim.lr: input should be greater than 0, got -1"),
        ({"model.dropout": 1.5}, "model.dropout: input should be less than 1, got 1.5"),
        ({"model.order": "sideways"}, "model.order: input should be 'pre', 'post' or 'relu_bn'"),
        ({"optim.name": "adma"}, "optim.name: input should be 'adam', 'adamw', 'sgd' or 'muon'"),
        ({"augment.mixup": 0.2, "augment.cutmix": 0.2}, "mixup and cutmix cannot both be on"),
        ({"model": 3}, "model: "),
        ({"optim.lr": True}, "optim.lr: input should be a number, got True"),
        ({"train.epochs": "3"}, "train.epochs: input should be a number, got '3'"),
        ({"optim.nesterov": "yes"}, "optim.nesterov: input should be true or false"),
        ({"schedule.warmup_epochs": float("inf")}, "schedule.warmup_epochs: input should be a finite number"),
        ({"train.seed": 10**400}, "train.seed: "),
        ({"data.name": "folder:\x1b[31m"}, "data.name: the name of a data set must be printable"),
        (
            {"train.kernels": "compiled", "train.memory_format": "contiguous"},
            "train: kernels=compiled needs memory_format=channels_last",
        ),
        ({"train.threads": 0}, "train.threads: input should be greater than or equal to 1, got 0"),
        ({"train.memory_format": "nhwc"}, "train.memory_format: input should be 'auto', 'channels_last' or"),
        ({"data.protocol": "full", "train.early_stop": 3}, "train.early_stop reads validation scores"),
        ({"data.protocol": "full", "schedule.plateau": True}, "schedule.plateau reads validation scores"),
    ],
)
def test_impossible_settings_are_one_line_that_names_the_key(changes: dict, message: str):
    with pytest.raises(UsageError, match=re.escape(message)) as caught:
        Recipe.load("default", changes)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2


def test_the_word_none_takes_an_optional_setting_back():
    recipe = Recipe.load("report/toynet20_init", {"model.order": "none", "schedule.period_epochs": "none"})
    assert recipe.model.order is None
    assert recipe.schedule.period_epochs is None
    assert Recipe.load("default", {"augment.flip": "none"}).augment.flip == "none"


def test_unknown_recipes_suggest_the_nearest():
    with pytest.raises(UsageError, match="did you mean report/toynet20_init"):
        Recipe.load("report/toynet20_int")


def test_a_file_extends_a_shipped_recipe_or_its_neighbour(tmp_path: Path):
    (tmp_path / "base.toml").write_text('extends = "report/toynet20_init"\n[train]\nepochs = 7\n')
    (tmp_path / "mine.toml").write_text('extends = "base.toml"\n[optim]\nlr = 0.5\n')
    recipe = Recipe.load(str(tmp_path / "mine.toml"))
    assert (recipe.train.epochs, recipe.optim.lr, recipe.model.order) == (7, 0.5, "post")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[train\n", "not valid TOML"),
        ('extends = "self.toml"\n', "extends itself"),
        ("extends = 3\n", "extends must be the name"),
        ("[train]\nepoch = 3\n", r"train.epoch is not a setting; did you mean train.epochs\?"),
        ("[trian]\nepochs = 3\n", r"trian is not a setting; did you mean train\?"),
        ("a = " + "[" * 3000, "not valid TOML"),
        ('extends = "x/../self.toml"\n', "extends itself"),
    ],
)
def test_broken_files_are_named(tmp_path: Path, text: str, message: str):
    path = tmp_path / "self.toml"
    path.write_text(text)
    with pytest.raises(UsageError, match=message):
        Recipe.load(str(path))


def test_an_editors_byte_order_mark_is_no_matter(tmp_path: Path):
    path = tmp_path / "mine.toml"
    path.write_bytes(b'\xef\xbb\xbfextends = "quick"\r\n[train]\r\nepochs = 7\r\n')
    assert Recipe.load(str(path)).train.epochs == 7


def test_a_value_is_one_value():
    assert parse_value("3\nseed = 2") == "3\nseed = 2"
    assert parse_value("9" * 5000) == "9" * 5000
    assert parse_value("none") == "none"


def test_missing_files_are_named(tmp_path: Path):
    with pytest.raises(UsageError, match=r"gone\.toml: cannot be read \(No such file"):
        Recipe.load(str(tmp_path / "gone.toml"))


def test_identity_covers_every_setting_but_names_and_checkpoints():
    recipe = Recipe.load("default")
    base = recipe.identity("images")
    assert recipe.identity("others") != base
    changes = {
        "train.seed": 1,
        "optim.lr": 0.123,
        "model.dropout": 0.1,
        "augment.flip": "none",
        "eval.tta": "flip",
        "schedule.alpha": 0.1,
        "loss.label_smoothing": 0.0,
        "data.protocol": "full",
        "train.precision": "fp32",
    }
    identities = {recipe.with_changes({key: value}).identity("images") for key, value in changes.items()}
    assert len(identities | {base}) == len(changes) + 1
    assert recipe.with_changes({"data.name": "folder:elsewhere"}).identity("images") == base
    same = {"checkpoint_every": 2, "kernels": "direct", "memory_format": "contiguous", "threads": 3}
    for key, value in same.items():
        assert recipe.with_changes({f"train.{key}": value}).identity("images") == base


def test_the_schema_of_the_issue_is_kept():
    promised = {
        "data": "name protocol",
        "augment": "rotate_deg shift flip fill crop_pad_px cutout_px mixup cutmix",
        "model": "name widths order dropout conv_dropout head",
        "loss": "name label_smoothing",
        "optim": "name lr weight_decay",
        "schedule": "name plateau.factor",
        "train": "epochs batch_size micro_batch precision ema seed early_stop",
        "eval": "tta",
    }
    wanted = {f"{table}.{key}" for table, keys in promised.items() for key in keys.split()}
    assert wanted <= set(setting_names())


def test_a_flat_head_takes_no_smaller_images():
    with pytest.raises(UsageError, match=r"train\.small changes the images' size.* use gap"):
        Recipe.load("quick", {"model.head": "flatten", "train.small": {"side_px": 16}})


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("model.widths", "abc", r"model\.widths: input should be a list, such as \[16, 32\], got 'abc'"),
        ("model", 3, "model: this is a table of settings; set its keys one by one"),
        ("train.epochs", 10**12, r"train\.epochs: input should be less than or equal to 100000"),
    ],
)
def test_errors_are_in_the_words_of_a_recipe(key: str, value: object, told: str):
    with pytest.raises(UsageError, match=told):
        Recipe.load("quick", {key: value})
