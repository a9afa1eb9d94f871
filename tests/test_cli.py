"""The command line as a whole: one spelling of flags."""

import argparse
import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from hfdistill.cli import main, make_parser


def parsers(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """A parser and those of its verbs."""
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for verb in action.choices.values():
                yield from parsers(verb)


def test_every_flag_is_snake_case_and_has_help():
    seen = 0
    for parser in parsers(make_parser()):
        for action in parser._actions:
            for flag in action.option_strings:
                assert "-" not in flag.removeprefix("--").removeprefix("-"), f"{parser.prog} {flag}"
            assert action.help or isinstance(action, argparse._SubParsersAction), f"{parser.prog} {action.dest}"
            seen += 1
    assert seen > 50


@pytest.mark.parametrize("word", ["--max-total-tokens", "--max-total-tokens=3"])
def test_a_flag_with_dashes_is_told_its_name(word, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["serve", "model", word, "3"])
    assert ended.value.code == 2
    told = capsys.readouterr().err
    assert told == "error: unknown flag --max-total-tokens: write --max_total_tokens\n"


def test_values_may_have_dashes_and_so_may_verbs():
    args = make_parser().parse_args(["serve", "model", "--api_key=a--b-c"])
    assert args.api_key == "a--b-c"
    assert make_parser().parse_args(["install-hf-extension"]).force is False


def test_an_output_that_nobody_reads_is_one_sentence():
    script = "from hfdistill.errors import exit_on_user_error\n"
    script += "exit_on_user_error(lambda: print('line\\n' * 100_000))()"
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run([sys.executable, "-c", script], stdout=write, stderr=subprocess.PIPE, text=True)
    os.close(write)
    assert done.returncode == 2
    assert done.stderr == "error: whoever read the output closed it before its end\n"
