"""The JSON Schema for editors: it allows what the parser does, and has the same keys."""

import json
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner

from lowu import cli
from lowu.commands.experiment.editor_schema import build_editor_schema
from lowu.experiments.load.planned.experiment_file import parse_experiments
from lowu.node.errors import ConfigError

CONFIGS = Path(__file__).parents[4] / "configs" / "experiments"
SCHEMA = build_editor_schema()


def flaws(schema, value, where="file"):
    """Return how a value differs from a schema: as much of JSON Schema as ours uses."""
    if "oneOf" in schema:
        found = [flaws(item, value, where) for item in schema["oneOf"]]
        return [] if [] in found else min(found, key=len)
    if "enum" in schema:
        return [] if value in schema["enum"] else [f"{where}: {value!r}"]
    kinds = {
        "object": dict, "array": list, "string": str, "boolean": bool, "integer": int,
        "number": (int, float),
    }  # fmt: skip
    wanted = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    if not any(isinstance(value, kinds[kind]) for kind in wanted):
        return [f"{where}: {value!r} is no {schema['type']}"]
    if isinstance(value, list):
        return [
            flaw
            for item in value
            for flaw in flaws(schema.get("items", {"enum": [item]}), item, where)
        ]
    if isinstance(value, dict) and "properties" in schema:
        missing = [f"{where}: no {key}" for key in schema.get("required", ()) if key not in value]
        unknown = [f"{where}.{key}" for key in value if key not in schema["properties"]]
        within = [
            flaw
            for key, item in value.items()
            if key in schema["properties"]
            for flaw in flaws(schema["properties"][key], item, f"{where}.{key}")
        ]
        return missing + unknown + within
    if "minimum" in schema and value < schema["minimum"]:
        return [f"{where}: {value}"]
    return [f"{where}: {value}"] if "maximum" in schema and value > schema["maximum"] else []


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.toml")), ids=lambda path: path.stem)
def test_the_experiments_that_come_with_lowu_are_allowed(path):
    assert flaws(SCHEMA, tomllib.loads(path.read_text())) == []


def test_a_mistake_is_found():
    text = (CONFIGS / "leader-crash.toml").read_text()
    assert flaws(SCHEMA, tomllib.loads(text.replace("kill", "kil"))) == ["file.fault.kil"]
    assert flaws(SCHEMA, tomllib.loads(text.replace('"register"', '"regster"')))


@pytest.mark.parametrize("table", ["experiment", "load", "link", "fault", "random_faults"])
def test_the_parser_knows_the_same_keys(table):
    schema = SCHEMA["properties"][table]
    properties = schema.get("items", schema)["properties"]
    head = f"[[{table}]]" if table in ("link", "fault") else f"[{table}]"
    text = "\n".join([head, *(f"{key} = -1" for key in properties), "nonsense = 1"])
    with pytest.raises(ConfigError) as refused:
        parse_experiments(text, Path("x.toml"))
    told = str(refused.value)
    assert "unknown key 'nonsense'" in told
    assert [key for key in properties if f"unknown key '{key}'" in told] == []


def test_the_command_prints_it():
    done = CliRunner().invoke(cli.cli, ["experiment", "schema"])
    assert json.loads(done.stdout) == json.loads(json.dumps(SCHEMA))
