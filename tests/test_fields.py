"""Options are documented once: help comes from the docstring, and argparse takes the classes as they are."""

import dataclasses

import pytest
from trl import SFTConfig, TrlParser

from hfdistill.fields import effects_of, plain, read_args
from hfdistill.flags import stage_class
from hfdistill.kinds import KINDS, STAGES
from hfdistill.ppo import PPOConfig
from hfdistill.sections import SHARED
from hfdistill.training.arguments import ALWAYS, EFFECTS, WITHOUT_EFFECT


CLASSES = {**SHARED, **{stage: stage_class(stage) for stage in STAGES}, "PPOConfig": PPOConfig}


@pytest.mark.parametrize("name", CLASSES)
def test_every_own_field_has_a_help_and_nothing_that_argparse_does_not_know(name):
    cls = CLASSES[name]
    own = [field for field in dataclasses.fields(cls) if field.name in cls.__annotations__]
    assert own
    for field in own:
        assert field.metadata.get("help"), field.name
        assert set(field.metadata) <= {"help", "aliases", "choices", "nargs", "const"}, field.name


@pytest.mark.parametrize("name", CLASSES)
def test_what_the_docstring_speaks_of_are_fields(name):
    cls = CLASSES[name]
    assert read_args(cls.__doc__).keys() <= {field.name for field in dataclasses.fields(cls)}


@pytest.mark.parametrize("name", CLASSES)
def test_every_field_says_what_it_decides(name):
    cls = CLASSES[name]
    assert effects_of(cls).keys() == {field.name for field in dataclasses.fields(cls)}
    named = {kind for effect in effects_of(cls).values() if effect for kind in (*effect.kinds, *effect.unless)}
    assert named <= KINDS.keys()


def test_the_lists_of_inherited_fields_name_fields():
    known = {field.name for field in dataclasses.fields(SFTConfig)}
    assert EFFECTS.keys() <= known
    assert not set(WITHOUT_EFFECT.split()) & set(ALWAYS.split())


def test_users_of_trl_see_the_help(capsys):
    parser = TrlParser(PPOConfig)
    with pytest.raises(SystemExit) as ended:
        parser.parse_args_and_config(["--help"])
    assert ended.value.code == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "epsilon of the policy's clipping. (default: 0.2)" in shown
    assert "see AdaptiveKL. (default: 10000)" in shown
    (config,) = parser.parse_args_and_config(["--output_dir", "x", "--cliprange", "0.3", "--use_cpu"])
    assert (config.cliprange, config.kl_coef) == (0.3, 0.2)


def test_entries_of_a_docstring():
    text = """A thing.

    Args:
        a (`int`, *optional*), b (`list[str]`): both: of them,
            about 30 % of [`~some.where.Thing`].
        c, d (`str`): a pair.
        e: without a type.
        a sentence that speaks of no argument, however long it may go on, and on, and on, and on, and on, and on

    Returns:
        f (`int`): no argument.
    """
    both = "both: of them, about 30 %% of Thing."
    assert read_args(text) == {"a": both, "b": both, "c": "a pair.", "d": "a pair.", "e": "without a type."}
    assert read_args("Nothing.") == {}


def test_a_setting_is_the_same_however_it_is_written():
    assert plain({"b": (1.0, "x"), "a": None}) == {"a": None, "b": [1, "x"]}
    assert plain('{"a": 1}') == {"a": 1}
    assert plain("{question}") == "{question}"
    assert [type(plain(value)) for value in (1.0, True, 0.5)] == [int, bool, float]
