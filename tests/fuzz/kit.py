"""Changes of structure: values that no reader expects, at any place of a JSON value."""

import copy
import json

ODD = (
    None, True, False, 0, -1, 1, 2**53, 2**53 - 1, 2**64, 0.5, "", "0", "zz", "é", "e\u0301",
    "\ud800", "a" * 70_000, "AB" * 32, "ab" * 31, "00" * 32, "/", [], {}, [[]], [0] * 300,
    {"a": 1}, {"": {}},
)  # fmt: skip


def deep(depth=40):
    value = 1
    for _ in range(depth):
        value = [value]
    return value


def places(value, path=()):
    """Yield the path of every value inside a JSON value."""
    yield path
    items = value.items() if isinstance(value, dict) else ()
    items = enumerate(value) if isinstance(value, list) else items
    for key, item in items:
        yield from places(item, (*path, key))


def change(value, random, odd_values=ODD):
    """Return a JSON value with one change of structure."""
    value = json.loads(json.dumps(value))  # a copy, ten times as fast as deepcopy's
    path = random.choice(list(places(value)))
    odd = copy.deepcopy(random.choice((*odd_values, deep())))
    if not path:
        if random.random() < 0.3 or not isinstance(value, dict | list):
            return odd
        return {**value, "more": odd} if isinstance(value, dict) else [*value, odd]
    holder = value
    for key in path[:-1]:
        holder = holder[key]
    kind = random.choice(("replace", "replace", "remove", "double"))
    if kind == "replace":
        holder[path[-1]] = odd
    elif kind == "remove":
        del holder[path[-1]]
    elif isinstance(holder, list):
        holder.insert(path[-1], copy.deepcopy(holder[path[-1]]))
    else:
        holder["x" + str(path[-1])] = holder[path[-1]]
    return value
