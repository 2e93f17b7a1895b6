"""What was proposed to a network's consortium at run time: institutions and schemas.

The ledger has hashes of them only. Their names, keys and rules stand beside the desks' stores, so
that everybody's commands find them.
"""

from __future__ import annotations

import json
from collections.abc import Container, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import click

from lowu.arguments import write_file
from lowu.contracts.registry import Jurisdiction, Role
from lowu.contracts.schemas.document_schema import Schema
from lowu.contracts.schemas.schema_tables import write_schema
from lowu.institutions.files import hold_lock, make_private_folder
from lowu.node.topology.spec import NAME, SCHEMAS_MAX, Institution, load_schemas


class ProposalFiles:
    """The files of proposed institutions and schemas in a folder."""

    def __init__(self, folder: Path, members: Container[str]) -> None:
        """Name the folder, and the institutions of the network file: newcomers use their nodes."""
        self._members = members
        self._newcomers = folder / "newcomers.json"
        self._schemas = folder / "schemas.toml"

    def read_newcomers(self) -> list[Institution]:
        """Return the institutions that were proposed as members."""
        path = self._newcomers
        if not path.is_file():
            return []
        try:
            rows = json.loads(path.read_text(encoding="utf-8"))
            for name, _, _, schemas, via in rows:
                if (
                    not NAME.match(name)
                    or via not in self._members
                    or "" in map(str.strip, schemas)
                ):
                    raise ValueError(name)
            return [
                Institution(
                    name, Jurisdiction[side], Role(roles), tuple(schemas), via, name, name_zh=""
                )
                for name, side, roles, schemas, via in rows
            ]
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise click.ClickException(
                f"{path} is damaged ({type(error).__name__}: {error}); without it, institutions "
                "that were proposed since genesis are not known here"
            ) from error

    def keep_newcomer(self, drafted: Institution) -> None:
        """Record an institution; what was proposed before under its name gives way."""
        with _alone(self._newcomers):
            others = [item for item in self.read_newcomers() if item.id != drafted.id]
            rows = [
                [item.id, item.side.name, int(item.roles), list(item.schemas), item.client_of]
                for item in [*others, drafted]
            ]
            write_file(self._newcomers, json.dumps(rows, indent=1).encode())

    def read_schemas(self) -> tuple[Schema, ...]:
        """Return the schemas that were proposed."""
        return load_schemas(self._schemas) if self._schemas.is_file() else ()

    def keep_schemas(self, fresh: Sequence[Schema], known: Mapping[str, Schema]) -> None:
        """Record schemas, so that everybody here knows their rules.

        The same again changes nothing; another under a known id or number is refused.
        """
        with _alone(self._schemas):
            kept = list(self.read_schemas())
            everything = {**known, **{item.id: item for item in kept}}
            check_free(fresh, everything)
            kept += [schema for schema in fresh if schema.id not in everything]
            if len(kept) > SCHEMAS_MAX:
                raise click.UsageError(f"a network has at most {SCHEMAS_MAX} schemas of its own")
            write_file(self._schemas, "\n".join(map(write_schema, kept)).encode())


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Change a file as the only one: two operators may propose at the same time."""
    make_private_folder(path.parent)
    with hold_lock(path.with_suffix(".lock"), lambda: None):
        yield


def check_free(fresh: Sequence[Schema], known: Mapping[str, Schema]) -> None:
    """Raise `UsageError` if a schema has the id or the number of another one."""
    for schema in fresh:
        for other in known.values():
            if other.id == schema.id and other.digest != schema.digest:
                raise click.UsageError(
                    f"{schema.id} is known with other rules; a changed schema is another one: "
                    "raise its version, and change its number"
                )
            if other.id != schema.id and other.number == schema.number:
                raise click.UsageError(
                    f"number {schema.number} of {schema.id} is that of {other.id}"
                )
