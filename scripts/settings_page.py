"""Write docs/SETTINGS.md: every key of a network file and of config.ini."""

from __future__ import annotations

from dataclasses import MISSING, fields
from pathlib import Path

from lowu.node.settings import NODE_SETTINGS, SETTINGS, Setting
from lowu.node.topology.spec import Settings

PAGE = Path(__file__).resolve().parents[1] / "docs" / "SETTINGS.md"
HEAD = """\
# Settings

A network is one TOML file: `lowu validate FILE` tells every problem with its line and the mend,
`lowu up FILE` starts it. `lowu up --set KEY=VALUE` changes a setting of the file, several times if
needed. In a folder that holds a network, `lowu up FILE` compares the file with it: what may change
is changed while the nodes are stopped, anything else is refused with the difference (`--recreate`
deletes the network there and starts afresh). This page is written from the code by
`scripts/generate_docs.py`.

## [network]

"Kept" settings are those of a chain for good. The others stand in each node's `config.ini`, under
the name in the last column, where they may be changed for one node by hand.

| key | default | values | kept | meaning | in config.ini |
|---|---|---|---|---|---|
"""
TABLES = """
## [[institution]], in the order of their organisation numbers

| key | default | meaning |
|---|---|---|
| id | must be given | name in commands: lower-case letters, digits, '-' |
| side | must be given | SZ, HK, MO or SG |
| roles | none | list of ADMIN, ISSUER, VERIFIER, WITNESS, OPERATOR, REGULATOR, GOVERNOR |
| schemas | none | ids of the documents that an ISSUER may issue |
| client_of | itself | the institution whose node it uses |
| name, name_zh | the id, none | what people call it |

## [[node]], in the order of node0, node1, …

| key | default | meaning |
|---|---|---|
| institution | must be given | whose node it is |
| kind | "consensus" | "consensus" votes, "observer" does not |
| weight | 1 | weight of its vote, 1 to 10000 |

## [[route]]

`from` and `to` are jurisdictions: documents of one may be used in the other. Without any, routes
lead both ways between SZ and HK and between SZ and MO ([how to](HOWTO.md#open-a-route)).

## [[schema]]

A kind of document ([Documents](DOCUMENTS.md#a-schema-of-your-own)).

## config.ini of a node

Besides the settings above:

| section | key | default | values | meaning |
|---|---|---|---|---|
"""


def render() -> str:
    """Return the page."""
    rows = "".join(_row(setting) for setting in SETTINGS.values())
    own = "".join(
        f"| [{item.section}] | {item.key} | {item.default} | {item.values} | {item.meaning} |\n"
        for item in NODE_SETTINGS
    )
    return HEAD + rows + TABLES + own


def _row(setting: Setting) -> str:
    section, _, key = setting.ini.partition(".")
    ini = f"[{section}] {key}" if section else ""
    kept = "kept" if setting.is_fixed else ""
    cells = (setting.key, _default(setting.key), _values(setting), kept, setting.meaning, ini)
    return f"| {' | '.join(cells)} |\n"


def _default(key: str) -> str:
    (known,) = (item for item in fields(Settings) if item.name == key)
    if key == "web3_chain_id":
        return "drawn"
    match known.default:
        case default if default is MISSING:
            return "must be given"
        case bool(flag):
            return "true" if flag else "false"
        case ():
            return "none"
        case default:
            return str(default)


def _values(setting: Setting) -> str:
    if setting.kind is bool:
        return "true, false"
    if setting.kind is int:
        high = {2**53: "2^53"}.get(setting.high, str(setting.high))
        return f"{setting.low} to {high}"
    return "list of texts" if setting.kind is list else "text"
