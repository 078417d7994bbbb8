"""Configuration files: options of ``train`` and ``tune`` as TOML or YAML, checked like those of the command line."""

from __future__ import annotations

import json
import shlex
import tomllib
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import click

from ..errors import ArgumentError, MissingExtraError, did_you_mean

YAML_SUFFIXES = (".yaml", ".yml")


def use_configuration(context: click.Context, _: click.Parameter, path: Path | None) -> Path | None:
    """Let the options that a file names stand where the command line has none; the callback of ``--config``.

    Every value is checked as if it stood on the command line. Raises ArgumentError for a file that cannot be read, an
    option that does not exist, and a value that the option does not take.
    """
    if path is None:
        return None
    parameters = {parameter.name: parameter for parameter in context.command.params if parameter.name}
    known = [name for name in parameters if name not in ("config", "debug")]
    found = {}
    for name, value in read_configuration(path).items():
        key = name.replace("-", "_")
        if key not in known:
            raise ArgumentError(
                f"{path}: there is no option {name!r:.80}{did_you_mean(key, known)}; known are {', '.join(known)}"
            )
        text = _as_text(path, name, value)
        try:
            parameters[key].process_value(context, text)
        except click.BadParameter as error:
            raise ArgumentError(f"{path}: {name}: {error.message:.500}") from None
        found[key] = text
    context.default_map = {**(context.default_map or {}), **found}
    return path


def read_configuration(path: Path) -> dict[str, Any]:
    """Return the names and values in a TOML or YAML file.

    Raises ArgumentError for a file that is missing, of another kind, or not well formed, and MissingExtraError for YAML
    without PyYAML.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        close = did_you_mean(path.name, (item.name for item in path.parent.iterdir())) if path.parent.is_dir() else ""
        raise ArgumentError(f"there is no configuration file {path}{close}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ArgumentError(f"the configuration file {path} cannot be read: {error}") from None
    try:
        found = _from_yaml(path, text) if path.suffix.lower() in YAML_SUFFIXES else _from_toml(path, text)
    except RecursionError:
        raise ArgumentError(f"{path}: lists or tables are nested too deeply") from None
    if not isinstance(found, dict) or not all(isinstance(name, str) for name in found):
        raise ArgumentError(f"{path}: expected options and their values, such as target: outcome")
    return found


def write_configuration(options: Any) -> str:
    """Return the options as TOML, except the folder for the results and those that are None.

    >>> from chainrule.cli.train import Options
    >>> print(write_configuration(Options(Path("people.csv"), "sick", hidden=(8,))).partition("\\n\\n")[2])
    data = "people.csv"
    target = "sick"
    hidden = [8]
    epochs = 200
    seed = 0
    """
    values = {name: value for name, value in _values(options).items() if name != "out"}
    return as_toml("Trains the same network again: chainrule train --config config.toml", values)


def as_toml(heading: str, values: Mapping[str, Any]) -> str:
    """Return names and values as TOML below a line that says what it is for; what is None is left out."""
    lines = [f"{name} = {_toml(value)}" for name, value in values.items() if value is not None]
    return f"# {heading}\n\n" + "\n".join(lines) + "\n"


def command_line(options: Any) -> str:
    """Return the command that these options are, without those that have their defaults.

    >>> from chainrule.cli.train import Options
    >>> command_line(Options(Path("my data.csv"), "sick", hidden=(), seed=3))
    "chainrule train 'my data.csv' --target sick --hidden 0 --seed 3"
    """
    defaults = {field.name: field.default for field in fields(options)}
    words = ["chainrule", "train", str(options.data), "--target", options.target]
    for name, value in _values(options).items():
        if name in ("data", "target") or value == defaults[name]:
            continue
        written = ",".join(map(str, value)) or "0" if isinstance(value, tuple) else str(value)
        words += [f"--{name.replace('_', '-')}", written]
    return shlex.join(words)


def _values(options: Any) -> dict[str, Any]:
    return {field.name: getattr(options, field.name) for field in fields(options)}


def _from_toml(path: Path, text: str) -> Any:
    try:
        return tomllib.loads(text)
    except ValueError as error:  # numbers and dates that do not exist are such as well
        raise ArgumentError(f"{path} is not well-formed TOML: {error!s:.500}") from None


def _from_yaml(path: Path, text: str) -> Any:
    try:
        import yaml
    except ImportError:
        raise MissingExtraError("PyYAML", "yaml") from None
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError) as error:  # a date that does not exist is the latter
        raise ArgumentError(f"{path} is not well-formed YAML: {' '.join(str(error).split()):.500}") from None


def _as_text(path: Path, name: str, value: Any) -> str:
    """A value as it would stand on the command line, so that 1.5 or true is no whole number."""
    if isinstance(value, list) and all(isinstance(item, str | int | float) for item in value):
        return ",".join(map(str, value))
    if not isinstance(value, str | int | float):
        kind = "nothing" if value is None else "a table" if isinstance(value, Mapping) else type(value).__name__
        raise ArgumentError(f"{path}: {name}: expected text, a number or a list of numbers, got {kind}")
    return str(value)


def _toml(value: Any) -> str:
    if isinstance(value, tuple):
        return f"[{', '.join(map(str, value))}]"
    if isinstance(value, str | Path):
        return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")
    return repr(value)
