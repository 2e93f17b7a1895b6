"""Failures of a command: the exit code by the error's class, and always one JSON object."""

import json

import pytest

from lowu import cli
from lowu.node.errors import (
    BadInput,
    ConfigError,
    MachineRefuses,
    NodeError,
    PortTaken,
    StorageError,
)
from lowu.node.topology.network import NotReady


def run(monkeypatch, capsys, *arguments, raising=None):
    """Run a command in this process; return exit code, object and standard error."""
    monkeypatch.setattr("sys.argv", ["lowu", *map(str, arguments), "--json"])
    if raising is not None:

        def fail(**options):
            raise raising

        monkeypatch.setattr(cli.cli, "main", fail)
    code = cli._run()
    output = capsys.readouterr()
    return code, json.loads(output.out), output.err


@pytest.mark.parametrize(
    ("arguments", "code", "message", "hint"),
    [
        (["status", "--bad"], 2, "No such option", "lowu status --help"),
        (["frob"], 2, "No such command", "lowu --help"),
        (["veriy"], 2, "Did you mean `lowu verify`?", "lowu --help"),
        (["validate", "nowhere"], 2, "dev-4", "lowu validate --help"),
    ],
)
def test_usage_errors_are_objects(monkeypatch, capsys, arguments, code, message, hint):
    found, told, text = run(monkeypatch, capsys, *arguments)
    assert found == code and message in text
    assert (told["ok"], told["figures"], told["error"]["code"]) == (False, {}, "usage")
    assert message in told["error"]["message"] and told["error"]["hint"] == hint


@pytest.mark.parametrize("folder", ["files", "reports", "written", "port"])
def test_a_bad_file_is_a_bad_file_in_whatever_folder(tmp_path, monkeypatch, capsys, folder):
    """Regression: the exit code was derived from the message, which names the folder."""
    path = tmp_path / folder / "network.toml"
    path.parent.mkdir()
    path.write_text("x=")
    code, told, _ = run(monkeypatch, capsys, "validate", path)
    assert code == 2 and told["error"]["code"] == "usage" and str(path) in told["error"]["message"]


@pytest.mark.parametrize(
    ("error", "code", "word"),
    [
        (NodeError("x"), 1, "failed"),
        (BadInput("x"), 1, "failed"),
        (StorageError("x"), 1, "failed"),
        (ConfigError("a port, as it is written"), 2, "usage"),
        (MachineRefuses("x"), 3, "environment"),
        (PortTaken("x"), 3, "environment"),
        (NotReady("x"), 4, "not_ready"),
        (ExceptionGroup("", [NodeError("x"), NotReady("y")]), 4, "not_ready"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (BaseExceptionGroup("", [NodeError("x"), KeyboardInterrupt()]), 130, "interrupted"),
    ],
    ids=repr,
)
def test_an_error_s_class_knows_its_exit_code(monkeypatch, capsys, error, code, word):
    found, told, _ = run(monkeypatch, capsys, raising=error)
    assert (found, told["error"]["code"]) == (code, word)


def test_what_nobody_expected_is_told_and_raised(monkeypatch, capsys):
    with pytest.raises(ZeroDivisionError):
        run(monkeypatch, capsys, raising=ZeroDivisionError("by nothing"))
    told = json.loads(capsys.readouterr().out)
    assert told["error"]["code"] == "internal" and "by nothing" in told["error"]["message"]


def test_a_command_that_has_answered_answers_once(monkeypatch, capsys):
    def fail(**options):
        cli.emit_json(False, {"done": 3})
        raise NodeError("afterwards")

    monkeypatch.setattr(cli.cli, "main", fail)
    code, told, text = run(monkeypatch, capsys)
    assert code == 1 and told == {"ok": False, "figures": {"done": 3}} and "afterwards" in text
