"""Writing a unit's function: lines, variables, the symbolic stack, and gas owed."""

from __future__ import annotations

from lowu.node.execution.compiler.code import Code
from lowu.node.execution.compiler.path import WORD, Path, Value, constant
from lowu.node.execution.compiler.runtime import compute_memory_gas

_MEMORY_KNOWN_MAX = 1 << 16
_EXTENDED_MAX = 1 << 12
"""Most bytes of memory extended before their gas is taken; more is much work for little gas."""


class Writer:
    """Collects the text of one unit."""

    def __init__(self, code: Code) -> None:
        self.code = code
        self.lines: list[str] = []
        self.need = 0
        """Number of items that the stack must hold at the entry."""
        self.room = 0
        """Number of items that the stack may grow by."""
        self.uses: set[str] = set()
        """Which of memory, accounts and data the function looks up at its start."""
        self.known: dict[str, int] = {}
        """Names of py-evm's opcode functions that the text calls, with the opcodes."""
        self._names = 0

    # --- writing ------------------------------------------------------------------------------

    def emit(self, path: Path, text: str) -> None:
        """Add a line."""
        self.lines.append(" " * path.indent + text)

    def fresh(self) -> str:
        """Return the name of a new variable."""
        self._names += 1
        return f"v{self._names}"

    def assign(self, path: Path, text: str, bits: int = 256) -> Value:
        """Assign an expression to a new variable."""
        value = Value(self.fresh(), bits)
        self.emit(path, f"{value.text} = {text}")
        return value

    # --- the stack ----------------------------------------------------------------------------

    def entry(self, path: Path, depth: int) -> Value:
        """Return an item that was on the stack at the entry, loading it if necessary."""
        self.need = max(self.need, depth - path.shift)
        found = path.entries.get(depth)
        if found is None:
            found = path.entries[depth] = self.assign(path, f"S[-{depth}]")
        return found

    def pop(self, path: Path) -> Value:
        """Take the top of the symbolic stack."""
        if path.items:
            return path.items.pop()
        path.base += 1
        return self.entry(path, path.base)

    def push(self, path: Path, value: Value) -> None:
        """Put a word on the symbolic stack."""
        path.items.append(value)
        self.room = max(self.room, path.height)

    def hold(self, path: Path, count: int) -> None:
        """Bring at least `count` items from the entry stack into `items`."""
        while len(path.items) < count:
            path.base += 1
            path.items.insert(0, self.entry(path, path.base))

    def settle_stack(self, path: Path) -> None:
        """Write the symbolic stack back to the real one, and start over on top of it."""
        items, base = path.items, path.base
        kept = 0
        while kept < min(base, len(items)) and items[kept] is path.entries.get(base - kept):
            kept += 1
        facts = path.facts(self.code.destinations)
        fresh, gone = items[kept:], base - kept
        texts = ", ".join(item.text for item in fresh)
        if gone and fresh:
            self.emit(path, f"S[-{gone}:] = ({texts},)")
        elif gone:
            self.emit(path, f"del S[-{gone}:]")
        elif len(fresh) == 1:
            self.emit(path, f"S.append({texts})")
        elif fresh:
            self.emit(path, f"S += ({texts},)")
        path.shift = path.height
        path.items, path.base = [], 0
        path.entries = {depth: constant(word) for depth, word in facts}

    # --- gas and ends -------------------------------------------------------------------------

    def take_owed(self, path: Path) -> None:
        """Take the gas that is owed, and fail if there is too little."""
        path.growth = None
        if path.owed:
            self.emit(path, f"gas -= {path.owed}")
            self.emit(path, 'if gas < 0: raise OutOfGas("code")')
            path.owed = 0

    def leave(self, path: Path, result: object) -> None:
        """Return from the unit, with the gas left stored in the meter."""
        self.take_owed(path)
        self.emit(path, "G.gas_remaining = gas")
        self.emit(path, f"return {result}")

    def fail(self, path: Path, error: str, text: str) -> None:
        """Raise an error by name, or `OutOfGas` if the gas does not last so far."""
        self.take_owed(path)
        self.emit(path, f"raise {error}({text!r})")

    def name_function(self, opcode: int) -> str:
        """Return the name of py-evm's function for an opcode."""
        name = f"op_{opcode:02x}"
        self.known[name] = opcode
        return name

    def take_in(self, path: Path) -> str:
        """Return the gas left minus the gas owed, for a helper that fails if it is negative."""
        owed, path.owed = path.owed, 0
        return f"gas - {owed}" if owed else "gas"

    def grow(self, path: Path, start: Value, size: Value) -> None:
        """Extend memory to hold `size` bytes at `start`, and charge for it."""
        self.uses.add("memory")
        if size.constant == 0:
            return
        call = f"gas, ml, m = grow(C, gas, {path.owed}, {start.text}, {size.text})"
        if start.constant is not None and size.constant is not None:
            end = (start.constant + size.constant + WORD - 1) // WORD * WORD
            if end <= path.memory_min:
                return
            if path.length is not None and end <= _EXTENDED_MAX:
                self._extend(path, path.length, end)
                return
            path.length = None
            self.emit(path, f"if ml < {end}: {call}")
            if end <= _MEMORY_KNOWN_MAX:
                path.memory_min = end
        elif size.constant is not None:
            path.length = None
            self._cover(path, start, size.constant)
        else:
            path.length = None
            self.emit(path, f"if {size.text} and {start.text} + {size.text} > ml: {call}")

    def _extend(self, path: Path, length: int, end: int) -> None:
        """Extend memory of known length, at a known cost."""
        path.owed += compute_memory_gas(end // WORD) - compute_memory_gas(length // WORD)
        self.emit(path, f"m.extend(bytes({end - length}))")
        self.emit(path, f"ml = {end}")
        path.length = path.memory_min = end

    def _cover(self, path: Path, start: Value, size: int) -> None:
        """Extend memory `size` bytes past a variable, by widening the last check if possible.

        Growing a little early costs the same, and fails only if it would have failed later.
        """
        root, end = start.root, start.delta + size
        if end <= path.covered.get(root, -1):
            return
        path.covered[root] = end
        if path.growth is not None and path.growth[1] == root:
            line, _, owed = path.growth
        else:
            line, owed = len(self.lines), path.owed
            self.lines.append("")
        path.growth = line, root, owed
        call = f"grow(C, gas, {owed}, {root}, {end})"
        indent = " " * path.indent
        self.lines[line] = f"{indent}if {root} + {end} > ml: gas, ml, m = {call}"
