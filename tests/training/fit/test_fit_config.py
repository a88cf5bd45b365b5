"""The configuration of a run: a YAML file, the command line over it, and errors that name the field."""

from pathlib import Path

import pytest

from unlossy_training.fit.config import FitConfig, parse

CONFIGS = Path(__file__).parents[3] / "training" / "recipes"


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.name)
def test_recipes_are_valid(path: Path) -> None:
    config = parse([str(path), "--pairs", "pairs", "--output", "out"])
    assert config.max_minutes


def test_the_command_line_overrides_every_field(tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    file.write_text("pairs: a\noutput: b\nmax_steps: 3\nlearning_rate: 1e-3\nmodel: {depths: [1, 1]}\nvisqol: false\n")
    config = parse([str(file)])
    assert (config.pairs, config.max_steps, config.learning_rate) == ("a", 3, 0.001)
    assert config.model == {"depths": [1, 1]}
    assert not config.visqol
    words = [str(file), "--pairs=c", "--batch-size", "2", "--model", '{"kernel_size": 3}', "--visqol", "true"]
    config = parse(words)
    assert (config.pairs, config.batch_size, config.model) == ("c", 2, {"kernel_size": 3})
    assert config.visqol
    assert config.output == "b"


@pytest.mark.parametrize(
    ("file", "words", "message"),
    [
        ("batchsize: 3", [], "there is no field batchsize (did you mean batch_size?)"),
        ("", ["--warm_up", "3"], "there is no field --warm_up (did you mean warmup?)"),
        ("batch_size: many", [], "batch_size"),
        ("batch_size: 1.5", [], "batch_size"),
        ("batch_size: [1]", [], "batch_size"),
        ("", ["--model", "[1]"], "model"),
        ("- a", [], "has no fields"),
        ("a: [", [], "is no YAML"),
        ("max_steps: 0", [], "max_steps must be above 0, got 0"),
        ("ema: 1.0", [], "ema must be"),
        ("degraded: 1.5", [], "degraded must be from 0 to 1, got 1.5"),
        ("tracker: wandb", [], "tracker"),
        ("part: decoder", [], "part"),
        ("{from_checkpoint: a, model: {depths: [1]}}", [], "leave out model"),
    ],
)
def test_mistakes_are_named(
    file: str, words: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(file or "seed: 0")
    with pytest.raises(SystemExit) as caught:
        parse([str(path), "--pairs", "a", "--output", "b", "--max_minutes", "1", *words])
    assert caught.value.code == 2
    assert message in capsys.readouterr().err


def test_what_is_missing_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words, message in (
        (["--output", "b", "--max_steps", "1"], "give pairs"),
        (["--pairs", "a", "--output", "b"], "max_minutes, max_steps"),
        ([str(tmp_path / "none.yaml")], "can't be read"),
    ):
        with pytest.raises(SystemExit):
            parse(words)
        assert message in capsys.readouterr().err


def test_a_run_keeps_what_its_state_depends_on() -> None:
    saved = vars(FitConfig(pairs="a", output="b", max_steps=1))
    FitConfig(pairs="a", output="b", max_steps=2, learning_rate=1.0, workers=3).refuse_changes(saved)
    with pytest.raises(ValueError, match="begun with seed=0"):
        FitConfig(pairs="a", output="b", seed=1).refuse_changes(saved)
