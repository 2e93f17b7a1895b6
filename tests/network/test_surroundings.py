"""A network comes up in every current folder and every locale."""

from tests.network.kit import processes_of
from tests.unit.lowu.test_surroundings import (  # noqa: F401
    LOCALES,
    LOWU,
    hostile,
    run,
    skip_without_a_path_to_libraries,
)


def test_a_network_comes_up_among_modules_of_the_current_folder(hostile):  # noqa: F811
    """N-L1: the supervisor ran the user's node.py. N-L2: dev-4 was not found in one locale."""
    skip_without_a_path_to_libraries("C")
    folder = hostile / "nodes"
    try:
        for order in (("up", "dev-4"), ("down",)):
            done = run(LOWU, *order, "--dir", folder, cwd=hostile, **LOCALES["C"])
            assert done.returncode == 0, done.stderr.decode(errors="replace")
    finally:
        for process in processes_of(folder):
            process.kill()
    for log in folder.rglob("nohup.out"):
        assert "of the current folder" not in log.read_text(encoding="utf-8")
