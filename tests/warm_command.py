"""`lowu` and `pytest` for the scripts of tests, as fast as commands that are forked.

On PATH lie small clients; they hand their arguments, folder, environment and open streams to a
server that has imported both, which forks one process for each call.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import traceback
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

PYTEST_NETWORKS = 4
"""Networks that one call of pytest starts with a warm supervisor; further ones start cold."""
ROOT = Path(__file__).resolve().parents[1]
CLIENT = """#!{python} -IS
import json, os, socket, sys
with socket.socket(socket.AF_UNIX) as server:
    server.connect({path!r})
    order = json.dumps([sys.argv, os.getcwd(), dict(os.environ)]).encode()
    socket.send_fds(server, [len(order).to_bytes(4, "big")], [0, 1, 2])
    server.sendall(order)
    sys.exit(server.recv(1)[0])
"""


@contextmanager
def warm_commands(folder):
    """Serve while the block runs; yields a folder for PATH, in which the two commands lie."""
    tools = folder / "tools"
    tools.mkdir()
    path = str(folder / "server")
    for name in ("lowu", "pytest"):
        client = tools / name
        client.write_text(CLIENT.format(python=sys.executable, path=path), "utf-8")
        client.chmod(0o755)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        command = [sys.executable, "-m", __name__, str(listener.fileno())]
        server = subprocess.Popen(command, cwd=ROOT, pass_fds=[listener.fileno()])
    try:
        yield tools
    finally:
        server.kill()
        server.wait()


def _serve(listener):
    """Fork a process for each call, for ever."""
    import tests.command_imports  # noqa: F401  (what is imported once)

    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those who answer
    while True:
        connection, _ = listener.accept()
        if os.fork() == 0:
            listener.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            _answer(connection)
        connection.close()


def _answer(connection):
    """Run one command in a process of its own, and tell its exit code; never returns."""
    size, streams, _, _ = socket.recv_fds(connection, 4, 3)
    with connection.makefile("rb") as reader:
        order = json.loads(reader.read(int.from_bytes(size, "big")))
    pid = os.fork()
    if pid == 0:
        connection.close()
        _be_command(*order, streams)
    _, status = os.waitpid(pid, 0)
    connection.sendall(bytes([os.waitstatus_to_exitcode(status) % 256]))
    os._exit(0)


def _be_command(called, cwd, environment, streams):
    from tests.command import be_command, become, keep_supervisors_warm

    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    code = 1
    try:
        program, *arguments = called
        if Path(program).name == "lowu":
            be_command(arguments, cwd, environment)
        become(called, cwd, environment)
        sys.path.insert(0, cwd)  # as with `python -m pytest`
        keep_supervisors_warm(PYTEST_NETWORKS)
        sys.exit(pytest.console_main())
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:  # without taking all modules down, which takes longer than most commands
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):
                stream.flush()
        os._exit(code)


if __name__ == "__main__":
    _serve(socket.socket(fileno=int(sys.argv[1])))
