"""The command line: names of sub-commands, exit codes, and how errors are shown.

Exit codes: 0 ok, 1 failed, 2 usage or network file, 3 environment, 4 a network does not run or is
not ready in time, 130 interrupted. Results go to stdout, everything else to stderr. With ``--json``
one object ``{"ok": …, "figures": {…}, …}`` goes to stdout; the command exits 0 exactly if ``ok`` is
true. The object of a failed command contains ``"error": {"code", "message", "hint"}``.
"""

from __future__ import annotations

import importlib
import io
import json
import os
import signal
import sys
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

import click

from lowu.contracts.named import printable
from lowu.streams import PIPE_CLOSED_EXIT, OutputLost, give_up_output, open_streams

LINE_END = "\n"
_COMMANDS = {
    "demo": ("demo", "Play the pilot end to end on a fresh network."),
    "up": ("up", "Start a network; return when a quorum has committed a block."),
    "down": ("network", "Stop all nodes of a network."),
    "status": ("network", "Show the state of every node."),
    "start": ("network", "Start one node."),
    "stop": ("network", "Stop one node."),
    "kill": ("network", "Kill one node at once (SIGKILL)."),
    "restart": ("network", "Stop one node and start it again."),
    "node": ("node.command", "Add, remove and list nodes; give them votes."),
    "config": ("node.group_settings", "Show and change the settings of a running network."),
    "doctor": ("doctor.command", "Look for damage in the nodes' databases, and mend it."),
    "snapshot": ("snapshot.command", "Save a whole network in one file, and begin from one."),
    "readmit": ("network", "Let validators vote again that have lost their votes."),
    "logs": ("logs", "Show the logs of all nodes, merged by time."),
    "env": ("network", "Print the addresses and the chain id for clients."),
    "accounts": ("network", "List the institutions' accounts and nodes."),
    "validate": ("network", "Check a network file."),
    "build-chain": ("chain", "Write node folders as FISCO BCOS's build_chain.sh does."),
    "simulate": ("simulate.command", "Run the consensus core in a deterministic simulation."),
    "experiment": ("experiment.command", "Measure networks under load, from files."),
    "calibrate": (
        "experiment.calibrating",
        "Measure what work costs, for virtual time.",
    ),
    "sample": ("documents", "Write a sample document with invented content."),
    "issue": ("documents", "Package a document and register its anchor."),
    "add-receiver": ("documents", "Register another anchor of a document, for another receiver."),
    "carry": ("wallet", "Put a package into a holder's wallet."),
    "request": ("receiver", "Write a receiver's request for a document."),
    "consent": ("wallet", "Consent to a request, or withdraw consent."),
    "present": ("wallet", "Answer a request with a sealed presentation."),
    "verify": ("receiver", "Verify a presentation that a holder sent."),
    "trust": ("receiver", "Save what offline verification needs."),
    "revoke": ("documents", "Revoke a document."),
    "suspend": ("documents", "Suspend a document for a time."),
    "reinstate": ("documents", "Reinstate a suspended document."),
    "supersede": ("documents", "Replace a document with a newer one."),
    "erase": ("documents", "Destroy a package and record that on the ledger."),
    "forget": ("wallet", "Destroy a holder's copy of an erased document."),
    "witness": ("documents", "Confirm a registration by another institution."),
    "serve": ("serve", "Run an institution or wallet that processes orders from files."),
    "regulator": ("regulator", "Show an observer's counts and alerts."),
    "schema": ("schema", "List, show and begin document schemas."),
    "contract": ("contract", "Deploy contracts, call and change them."),
    "org": ("org.command", "Propose changes, vote on them, replace accounts and keys."),
    "scenarios": ("scenarios", "Play scenarios of the pilot and beyond on a real network."),
    "attack": ("attack.command", "Try an attack, and say what the attacker learns or gains."),
    "crash-matrix": ("crash.command", "Let nodes fail at each durable step, and check what holds."),
    "crash-test": ("crash.command", "Kill nodes at random under load, and check what holds."),
    "consistency": ("consistency.command", "Record what clients see under faults, and check it."),
    "state-tests": ("state_tests", "Run the official state tests in both EVM engines."),
    "bench": (
        "bench.command",
        "Measure performance, and compare it with other systems.",
    ),
    "version": ("network", "Show versions."),
}


_WORDS = {1: "failed", 2: "usage", 3: "environment", 4: "not_ready", 130: "interrupted"}
"""Error code in JSON, by exit code; an unexpected error has the code "internal"."""


class _Answer:
    """Whether the command has printed its one JSON object."""

    is_given = False


class LazyGroup(click.Group):
    """Imports a sub-command's module when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order of the table."""
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command, loading its module."""
        if cmd_name not in _COMMANDS:
            close = get_close_matches(cmd_name, _COMMANDS, 1)
            mend = f"Did you mean `lowu {close[0]}`?" if close else "`lowu --help` lists them all."
            raise click.UsageError(f"No such command {cmd_name!r}. {mend}", ctx)
        module = importlib.import_module(f"lowu.commands.{_COMMANDS[cmd_name][0]}")
        command: click.Command = getattr(module, cmd_name.replace("-", "_"))
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without loading them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in _COMMANDS.items()])


def _print_version(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if value:
        from lowu.node.version import VERSION

        click.echo(f"lowu {VERSION}")
        ctx.exit()


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="First steps: `lowu demo`, or `lowu up` and then `lowu status`.",
)
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, help="Show Lowu's version.",
    callback=_print_version,
)  # fmt: skip
def cli() -> None:
    """Lowu: a permissioned ledger node simulator for cross-boundary data validation."""


def emit_json(is_ok: bool, figures: Mapping[str, float], **details: Any) -> None:
    """Print the one JSON object of a command."""
    encoding = getattr(sys.stdout, "encoding", None) or ""
    is_utf8 = encoding.lower().replace("-", "") == "utf8"
    text = json.dumps({"ok": is_ok, "figures": figures, **details}, ensure_ascii=not is_utf8)
    _Answer.is_given = True
    click.echo(text)


def _interrupt(number: int, frame: object) -> None:
    """Treat SIGTERM as Ctrl-C, which trio delivers where it is safe."""
    signal.raise_signal(signal.SIGINT)


def _exit_code(error: BaseException) -> int:
    """Return the exit code that an expected error's class defines; -1 for a bug."""
    if isinstance(error, UnicodeEncodeError):
        return 2
    code: int = getattr(error, "exit_code", -1)
    return code


def _describe(error: BaseException) -> str:
    if isinstance(error, UnicodeEncodeError):
        return (
            "an argument or a name of a file has bytes that are no UTF-8 text: is it in another "
            "encoding?"
        )
    return str(error)


def _prepare_process() -> None:
    """Survive any locale; keep child processes from importing from the current folder."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    # `python -m` and multiprocessing's `-c` would look for modules in the current folder first.
    os.environ["PYTHONSAFEPATH"] = "1"


def main() -> int:
    """Run the command line; every expected error is one clear message, never a traceback."""
    _prepare_process()
    # A shell's background job starts with SIGINT ignored; SIGTERM must still stop it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, _interrupt)
    flaw = open_streams()
    if flaw:
        click.echo(f"error: {flaw}", err=True)
        return 3
    try:
        code = _install_failpoints() or _run()
        sys.stdout.flush()
    except OutputLost as error:
        return _tell_lost(error)
    return code


def _install_failpoints() -> int:
    """Fail at a step of this command's own files, if that is ordered (docs/CRASHES.md).

    Returns the exit code for an order that is none, else 0.
    """
    order = os.environ.pop("LOWU_FAIL_FILES", "")  # not for child processes
    if not order:
        return 0
    from lowu.commands.crash.file_steps import install

    try:
        install(order)
    except ValueError as error:
        shown = printable(order, LINE_END)
        message = f"LOWU_FAIL_FILES={shown}: {error}; it reads kind:way:count, as store:after:3"
        click.echo(f"error: {message}", err=True)
        return _fail(2, message)
    return 0


def _run() -> int:
    _Answer.is_given = False
    try:
        code = cli.main(prog_name="lowu", standalone_mode=False)
    except click.ClickException as error:
        shown = io.StringIO()
        error.show(file=shown)
        click.echo(printable(shown.getvalue(), LINE_END), err=True, nl=False)
        return _fail(error.exit_code, error.format_message(), _find_help(error))
    except (KeyboardInterrupt, click.Abort):
        return _interrupted()
    except BaseException as error:
        code = _explain(error)
        if code < 0:
            raise
        return code
    return int(code or 0)  # click returns the code of its Exit, and commands return nothing


def _explain(error: BaseException) -> int:
    """Report why the command failed; return its exit code, or -1 for an unexpected error."""
    from lowu.node.errors import root_causes

    causes = root_causes(error)
    if any(isinstance(cause, KeyboardInterrupt) for cause in causes):
        return _interrupted()
    for cause in causes:
        if isinstance(cause, OutputLost):
            raise cause from error
    codes = [_exit_code(cause) for cause in causes]
    if not codes or min(codes) < 0:
        _fail(1, "; ".join(map(repr, causes)), "please report it", word="internal")
        return -1
    message = printable("\n".join(map(_describe, causes)), LINE_END)
    click.echo(f"error: {message}", err=True)
    return _fail(max(codes), message)


def _interrupted() -> int:
    click.echo("interrupted", err=True)
    return _fail(130, "interrupted")


def _find_help(error: click.ClickException) -> str:
    context = getattr(error, "ctx", None)
    return f"{context.command_path} --help" if context is not None else ""


def _fail(exit_code: int, message: str, hint: str = "", word: str = "") -> int:
    """With ``--json``, print the error as the command's one object; return the exit code."""
    if "--json" in sys.argv and not _Answer.is_given:
        error = {"code": word or _WORDS.get(exit_code, "failed"), "message": message, "hint": hint}
        emit_json(False, {}, error=error)
    return exit_code


def _tell_lost(error: OutputLost) -> int:
    """Report a lost result, but print nothing if the reader has closed the pipe."""
    give_up_output()
    if error.is_pipe_closed:
        return PIPE_CLOSED_EXIT
    click.echo(f"error: {error}", err=True)
    return 1
