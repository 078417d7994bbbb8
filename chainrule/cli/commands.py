"""The commands with their options, and what becomes of errors: one message and an exit status."""

from __future__ import annotations

import io
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from ..errors import ChainruleError
from . import bench, check, configuration, generate, inspection, predict, train, tune

FAILED, WRONG_USAGE, INTERRUPTED = 1, 2, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command (by default that of ``sys.argv``) and return its exit status.

    0: done; 1: an error, told in one message on standard error; 2: wrong usage; 130: interrupted by Ctrl-C.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal without → or ² must not stop a training
            stream.reconfigure(errors="backslashreplace")
    state = {"debug": False}
    try:
        status = group.main(arguments, prog_name="chainrule", standalone_mode=False, obj=state)
        sys.stdout.flush()
        return int(status or 0)
    except (KeyboardInterrupt, click.Abort):
        return _fail("interrupted", state, INTERRUPTED)
    except click.UsageError as error:
        error.show()
        return WRONG_USAGE
    except (
        BrokenPipeError
    ):  # the reader, such as head, has seen enough; the interpreter must not flush again at its end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except (ChainruleError, click.ClickException, OSError) as error:
        return _fail(f"error: {error}", state)
    except MemoryError:
        return _fail("error: there is not enough memory for this table or network", state)
    except Exception as error:
        return _fail(
            f"error: {type(error).__name__}: {error}\nThis is a defect of chainrule: please report it with what "
            "the same command prints with --debug",
            state,
        )


def _fail(message: str, state: dict[str, bool], status: int = FAILED) -> int:
    if state["debug"]:
        traceback.print_exc()
    click.echo(message, err=True)
    return status


def _set_debug(context: click.Context, _: click.Parameter, value: bool) -> None:
    if value:
        context.obj["debug"] = True


def _debug_option(function: Callable[..., Any]) -> Callable[..., Any]:
    return click.option(
        "--debug", is_flag=True, expose_value=False, callback=_set_debug, help="Show the traceback of an error."
    )(function)


def _config_option(function: Callable[..., Any]) -> Callable[..., Any]:
    return click.option(
        "--config", type=Path, is_eager=True, expose_value=False, callback=configuration.use_configuration,
        help="TOML or YAML file with any of these options, and data; those of the command line go before.",
    )(function)  # fmt: skip


def _hidden_sizes(_: click.Context, __: click.Parameter, text: str) -> tuple[int, ...]:
    """``64,32`` as (64, 32); an empty text or 0 means no hidden layer."""
    if text.strip() in ("", "0"):
        return ()
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdigit() and int(part) > 0 for part in parts):
        raise click.BadParameter(f"expected the sizes of the hidden layers, such as 64,32, got {text!r}")
    return tuple(map(int, parts))


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(version=sys.modules["chainrule"].__version__, prog_name="chainrule")
@_debug_option
def group() -> None:
    """Neural networks on your own computer: train one on a CSV file, and use it on another."""


@group.command("train")
@click.argument("data", type=Path)
@click.option("--target", required=True, help="The column to predict.")
@_config_option
@click.option("--task", help="binary, multiclass, classification or regression.  [default: found from the column]")
@click.option(
    "--hidden", default="64,32", show_default=True, callback=_hidden_sizes, help="Sizes of the hidden layers."
)
@click.option("--epochs", type=click.IntRange(1), default=200, show_default=True, help="The most epochs to train for.")
@click.option("--batch-size", type=click.IntRange(1), help="Rows per training step.  [default: by the number of rows]")
@click.option("--learning-rate", type=click.FloatRange(0, min_open=True), help="[default: by the number of rows]")
@click.option("--weight-decay", type=click.FloatRange(0), help="[default: by the number of rows]")
@click.option(
    "--dropout", type=click.FloatRange(0, 1, max_open=True),
    help="Share of hidden units left out in each step.  [default: by the number of rows]",
)  # fmt: skip
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Fixes everything random.")
@click.option("--out", type=Path, default=Path("chainrule_model"), show_default=True, help="Folder for the results.")
@_debug_option
def train_command(**options: Any) -> None:
    """Train a network on the CSV file DATA, test it on rows it has not seen, save it, and write a report.

    Ctrl-C ends training early: the best network so far is tested and saved.
    """
    train.run(train.Options(**options))


@group.command("tune")
@click.argument("data", type=Path)
@click.option("--target", required=True, help="The column to predict.")
@_config_option
@click.option("--task", help="binary, multiclass, classification or regression.  [default: found from the column]")
@click.option("--trials", type=click.IntRange(1), default=27, show_default=True, help="How many settings to try.")
@click.option("--seconds", type=click.FloatRange(0, min_open=True), help="Stop searching after this time.")
@click.option("--epochs", type=click.IntRange(1), default=200, show_default=True, help="The most epochs of a trial.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Fixes everything random.")
@click.option("--out", type=Path, default=Path("chainrule_model"), show_default=True, help="Folder for the results.")
@_debug_option
def tune_command(trials: int, seconds: float | None, **options: Any) -> None:
    """Search for settings that suit the CSV file DATA, then train, test, save and report as `train` does with the best.

    Settings are drawn at random; after a few epochs the best third goes on, and so forth. Test rows are not looked at.
    """
    tune.run(train.Options(**options), trials, seconds)


def _model_file(context: click.Context, parameter: click.Parameter, path: Path) -> Path:
    """The model in the folder that ``chainrule train`` wrote, or the path as it is."""
    inside = path / train.MODEL
    return inside if inside.is_file() else path


@group.command("predict")
@click.argument("model", type=Path, callback=_model_file)
@click.argument("data", type=Path)
@click.option("--out", type=Path, help="CSV file to write.  [default: standard output]")
@_debug_option
def predict_command(model: Path, data: Path, out: Path | None) -> None:
    """Predict the target for every row of the CSV file DATA with a saved MODEL: a file, or the folder of train's --out.

    Classes come with the probability of each, numbers in the target's own unit.
    """
    predict.run_predict(model, data, out)


@group.command("evaluate")
@click.argument("model", type=Path, callback=_model_file)
@click.argument("data", type=Path)
@_debug_option
def evaluate_command(model: Path, data: Path) -> None:
    """Compare the predictions of a saved MODEL with the target column of the CSV file DATA."""
    predict.run_evaluate(model, data)


@group.command("inspect")
@click.argument("model", type=Path, callback=_model_file)
@_debug_option
def inspect_command(model: Path) -> None:
    """Show the network, the preparation of columns and the training of a saved MODEL."""
    click.echo("\n".join(inspection.describe_file(model)))


@group.command("generate")
@click.argument("model", type=Path)
@click.option("--prompt", default="\n", help="The text to go on from.  [default: a line break]")
@click.option("--length", type=click.IntRange(1), default=500, show_default=True, help="How many tokens to write.")
@click.option(
    "--temperature", type=click.FloatRange(0, min_open=True), default=1.0, show_default=True,
    help="Low: the probable; high: the surprising.",
)
@click.option("--top-k", type=click.IntRange(1), help="Draw from the so many most probable tokens.  [default: all]")
@click.option("--seed", type=click.IntRange(0), help="Writes the same text again.  [default: another one every time]")
@_debug_option
def generate_command(
    model: Path, prompt: str, length: int, temperature: float, top_k: int | None, seed: int | None
) -> None:
    """Let the language model in the file MODEL write text, character by character or word by word."""
    generate.run(model, prompt, length, temperature, top_k, seed)


@group.command("bench")
@click.argument("names", metavar="[NAME]...", nargs=-1)
@_debug_option
def bench_command(names: tuple[str, ...]) -> int:
    """Run benchmarks by name, or all; without a name list them. Needs a source checkout."""
    return bench.run(names)


@group.command("check")
@_debug_option
def check_command() -> int:
    """Show what this installation can do: versions, processor, compiler, cache, optional libraries."""
    return check.run()
