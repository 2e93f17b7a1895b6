"""Tracing one unit of code: its straight line, branches, exits and ends.

The tracer follows the code from the unit's entry with a symbolic stack. It folds constants,
follows jumps to known targets, and writes at most a few lines for each opcode. At a branch, a
side that ends soon is nested, any other becomes an exit to another unit, and the tracer
continues on the other side. An exit that is often taken is joined: the other unit's code is
nested in its place, with all that is known there. Gas is summed, and taken before anything that
could fail, end the frame, or be observed from outside.
"""

from __future__ import annotations

from lowu.node.execution.compiler import operations as op
from lowu.node.execution.compiler.code import MISFIT, Code, Facts
from lowu.node.execution.compiler.handlers import operate
from lowu.node.execution.compiler.path import Path, Value, constant
from lowu.node.execution.compiler.writer import Writer

STACK_MAX = 1024
OPERATIONS_MAX = 700
"""Most opcodes in one unit; the code after them is another unit."""
JOINED_OPERATIONS_MAX = 2_000
"""The same for a unit that others were joined into."""
INDENT_MAX = 40
"""Greatest depth of nested branches; Python itself allows a hundred."""
NESTED_MAX = 80
"""Most opcodes of a side branch that is nested."""


class Tracer(Writer):
    """Writes the function of one unit."""

    def __init__(
        self,
        code: Code,
        pc: int,
        facts: Facts,
        joined: frozenset[int] = frozenset(),
        *,
        is_watched: bool = False,
    ) -> None:
        super().__init__(code)
        self._pc = pc
        self._facts = facts
        self._joined = joined
        self._is_watched = is_watched
        self.branches: set[int] = set()
        """Units that branches of this one exit to; they could be joined into it."""
        self.operations = 0
        """Number of opcodes traced."""
        self._is_loop = False

    def write(self) -> str:
        """Return the text of the unit's function, named ``unit``."""
        path = Path(self._pc, 0)
        path.entries = {depth: constant(word) for depth, word in self._facts}
        if self._pc == 0 and 0 not in self.code.destinations:
            path.length = 0  # no jump leads here: the frame begins
        self._limit = JOINED_OPERATIONS_MAX if self._joined else OPERATIONS_MAX
        self._trace(path, self._limit)
        return "\n".join(self._frame())

    def _frame(self) -> list[str]:
        fits = f"len(S) < {self.need} or len(S) > {STACK_MAX - self.room}"
        head = ["def unit(C, S, G):", " gas = G.gas_remaining"]
        if "memory" in self.uses:
            head += [" m = C._memory._bytes", " ml = len(m)"]
        if "accounts" in self.uses:
            head += [" A = C.state._account_db", " SA = C.msg.storage_address"]
        if "data" in self.uses:
            head.append(" D = pad_call_data(C.msg.data)")
        if self._is_loop:
            head.append(" while True:")
        pad = "  " if self._is_loop else " "
        head += [
            f"{pad}if {fits}:",
            f"{pad} G.gas_remaining = gas",
            f"{pad} return {MISFIT}",
        ]
        return head + [pad + line for line in self.lines]

    def _exit(self, path: Path, pc: int) -> None:
        """Exit to another unit, or to the start of this one."""
        facts = path.facts(self.code.destinations)
        self.settle_stack(path)
        if (pc, facts) == (self._pc, self._facts):
            self._is_loop = True
            self.take_owed(path)
            if self._is_watched:
                self.emit(path, "C.tick()")
            self.emit(path, "continue")
            return
        self.leave(path, self.code.unit_number(pc, facts))

    def _exit_computed(self, path: Path, target: Value) -> None:
        """Exit to the target of a computed jump."""
        self.settle_stack(path)
        self.leave(path, f"JUMP({target.text})")

    def _refuse_jump(self, path: Path, target: int) -> None:
        error = self.code.jump_error(target)
        self.fail(path, type(error).__name__, str(error))

    # --- following the code -------------------------------------------------------------------

    def _trace(self, path: Path, limit: int) -> None:
        """Write code for a path until it ends."""
        data, last = self.code.data, self.operations + limit
        while True:
            pc = path.pc
            opcode = data[pc] if pc < len(data) else op.STOP
            if self.operations >= last and opcode not in (op.STOP, op.RETURN, op.REVERT):
                self._exit(path, pc)
                return
            self.operations += 1
            path.pc = pc + 1
            if opcode == op.JUMP:
                if not self._jump(path):
                    return
            elif opcode == op.JUMPI:
                if not self._jump_if(path):
                    return
            elif opcode == op.JUMPDEST:
                if self._is_known(path, pc):
                    self._exit(path, pc)
                    return
                path.owed += 1
            elif not operate(self, path, opcode):
                return

    def _is_known(self, path: Path, pc: int) -> bool:
        """Whether this path has passed `pc` before in the same state; note that it has now."""
        key = (pc, path.height, path.facts(self.code.destinations))
        if key in path.seen:
            return True
        path.seen.add(key)
        return False

    def _jump(self, path: Path) -> bool:
        target = self.pop(path)
        path.owed += 8
        if target.constant is None:
            self._exit_computed(path, target)
            return False
        return self._go(path, target.constant)

    def _go(self, path: Path, target: int) -> bool:
        if target not in self.code.destinations:
            self._refuse_jump(path, target)
            return False
        path.pc = target
        return True

    def _jump_if(self, path: Path) -> bool:
        target, condition = self.pop(path), self.pop(path)
        path.owed += 10
        path.growth = None
        if condition.constant is not None:
            if not condition.constant:
                return True
            if target.constant is not None:
                return self._go(path, target.constant)
        taken = path.branch(path.pc)
        if target.constant is None:
            self.emit(path, f"if {condition.text}:")
            self._exit_computed(taken, target)
            return True
        taken.pc = target.constant
        if taken.pc not in self.code.destinations:
            self.emit(path, f"if {condition.text}:")
            self._refuse_jump(taken, taken.pc)
            return True
        self._divide(path, taken, condition)
        return True

    def _divide(self, path: Path, taken: Path, condition: Value) -> None:
        """Nest a side that ends soon or is joined, or write an exit; continue on the other."""
        is_short = self._ends_soon(taken.pc)
        if not is_short and self._ends_soon(path.pc):
            aside = path.branch(path.pc)
            self.emit(path, f"if not {condition.text}:")
            self._trace(aside, NESTED_MAX)
            path.pc = taken.pc
            return
        self.emit(path, f"if {condition.text}:")
        if is_short:
            self._trace(taken, NESTED_MAX)
            return
        number = self.code.unit_number(taken.pc, taken.facts(self.code.destinations))
        left = self._limit - self.operations
        if number in self._joined and left > 0 and taken.indent <= INDENT_MAX:
            self._trace(taken, left)
        else:
            self.branches.add(number)
            self._exit(taken, taken.pc)

    def _ends_soon(self, pc: int) -> bool:
        """Whether the code from `pc` ends the frame within a few opcodes, without branching."""
        data, before = self.code.data, -1
        for _ in range(NESTED_MAX):
            opcode = data[pc] if pc < len(data) else op.STOP
            if opcode in (op.STOP, op.RETURN, op.REVERT, 0xFE, 0xFF):
                return True
            if opcode == op.JUMPI:
                return False
            if opcode == op.JUMP:
                if before not in self.code.destinations:
                    return False
                pc = before
                continue
            width = opcode - op.PUSH0 if op.PUSH0 <= opcode <= op.PUSH32 else 0
            before = int.from_bytes(data[pc + 1 : pc + 1 + width], "big") if width else -1
            pc += 1 + width
        return False
