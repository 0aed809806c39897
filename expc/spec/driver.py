"""Runs the parse tables over tokens, and goes on after a mistake.

Comes in: tokens that are laid out and whose brackets balance. Goes out: whatever the builder made. Always true: one
step per token and rule, no recursion; a mistake costs the smallest statement around it (or its header), is reported
once, and the rest is read as if that statement were a `BROKEN` token. Which words are names depends on the state.
"""

from collections.abc import Callable, Sequence
from typing import Any, Literal, Protocol

from expc.diagnostics import Problem
from expc.frozen import dataclass
from expc.spec.lexing import BAD, SOFT, Token
from expc.spec.tables import BROKEN, END, NEWLINE, Rule, Tables

DEPTH_LIMIT = 150
"""How deep a tree may be: those who walk it call themselves."""

STACK_LIMIT = 1500
"""How many symbols may wait to be understood: more than brackets and operators nested as deep as allowed need."""

MENDED_LIMIT = 50
"""How many statements are read again after a token of theirs was mended."""


Context = Literal["file", "section", "body", "header"]


@dataclass(frozen=True)
class Place:
    """Where the driver stopped: token `at` of `tokens` fits nowhere.

    Tokens `first` to `last` (excluded) are the smallest statement around it, or the header of one, and `context` says
    of what. `accepts` tells whether a token of some kind would have fitted.
    """

    tokens: list[Token]
    first: int
    at: int
    last: int
    context: Context
    accepts: Callable[[str], bool]

    @property
    def token(self) -> Token:
        """The token that fits nowhere."""
        return self.tokens[self.at]

    @property
    def region(self) -> Sequence[Token]:
        """The tokens of the broken statement."""
        return self.tokens[self.first : self.last]


class Interpreter(Protocol):
    """What the driver asks of those who know what things mean."""

    def build(self, rule: str, parts: list[Any], start: int, end: int) -> Any:
        """The node that a rule makes of its parts."""

    def complain(self, problem: Problem) -> None:
        """Report a problem."""

    @property
    def enough(self) -> bool:
        """Whether so much is wrong that it is not worth reading on."""

    def too_deep(self, start: int, end: int) -> None:
        """Report what stands there as nested too deep."""

    def explain(self, place: Place) -> bool:
        """Report the token that does not fit. True: tokens were mended, read the statement again."""

    def salvage(self, place: Place) -> Any:
        """What is left of a broken statement."""


class Driver:
    """One reading of some tokens, the last of which is of kind `END`."""

    def __init__(self, tables: Tables, interpreter: Interpreter, tokens: list[Token], start: str) -> None:
        self._tables = tables
        self._interpreter = interpreter
        self._tokens = tokens
        self._end = tables.ends[start]
        # One entry per symbol on the stack: state, value, and (depth, first and last character, first token).
        self._states = [tables.starts[start]]
        self._values: list[Any] = []
        self._marks: list[tuple[int, int, int, int]] = []
        self._mended: set[int] = set()
        self._stuck = -1
        self._arrived: tuple[int, list[int]] = (-1, [])
        self._index = 0

    def run(self) -> Any:
        """The value of the start rule; none if it is broken beyond repair."""
        actions, rules = self._tables.actions, self._tables.rules
        states, tokens = self._states, self._tokens
        while True:
            token = tokens[self._index]
            kind = token.kind
            row = actions[states[-1]]
            if kind == "NAME" and token.text in SOFT and token.text in row:
                kind = token.text
            code = row.get(kind)
            if code is None:
                if not self._recover(reported=False):
                    return None
                continue
            if code >= 0:
                if len(states) > STACK_LIMIT:
                    self._interpreter.too_deep(token.start, token.end)
                    if not self._recover(reported=True):
                        return None
                    continue
                if token.problem is not None:
                    self._tell(token)
                self._push(code, token, (0, token.start, token.end, self._index))
                self._index += 1
                continue
            # LALR may reduce a few rules before it finds that a token does not fit. What would have fitted instead is
            # asked of the states as they were when the token came.
            if self._arrived[0] != self._index:
                self._arrived = (self._index, states.copy())
            rule = rules[~code]
            if rule.unit:
                states[-1] = self._tables.renamed(states[-2], rule.origin, "" if token.text in SOFT else kind)
            elif not self._reduce(rule):
                if not self._recover(reported=True):
                    return None
                continue
            if kind == END and states[-1] == self._end:
                return self._values[-1]

    def _push(self, state: int, value: Any, mark: tuple[int, int, int, int]) -> None:
        self._states.append(state)
        self._values.append(value)
        self._marks.append(mark)

    def _reduce(self, rule: Rule) -> bool:
        """Replace the last symbols by what the rule makes of them; false, and nothing done, where that is too deep."""
        size, marks = rule.size, self._marks
        if size:
            depth, _, end, _ = marks[-1]
            _, start, _, first = marks[-size]
            if size > 1:
                depth = max([mark[0] for mark in marks[-size:]])
        else:
            start = end = self._tokens[self._index].start
            first, depth = self._index, 0
        base = len(self._values) - size
        parts: list[Any] = []
        values, spliced = self._values, rule.spliced
        for position in rule.shape:
            if position is None:
                parts.append(None)
            elif not spliced or position not in spliced:
                parts.append(values[base + position])
            elif position == 0:
                parts = values[base]  # nobody else has this list: a long one grows in place
            else:
                parts += values[base + position]
        value: Any = parts
        if rule.passes and len(parts) == 1:
            value = parts[0]
        elif not rule.hidden:
            depth += 1
            if depth > DEPTH_LIMIT:
                self._interpreter.too_deep(start, end)
                return False
            value = self._interpreter.build(rule.name, parts, start, end)
        self._cut(base)
        self._push(self._tables.gotos[self._states[-1]][rule.origin], value, (depth, start, end, first))
        return True

    # ------------------------------------------------------------------------------------------------ mistakes

    def _recover(self, *, reported: bool) -> bool:
        """Report the token that does not fit and cut out the statement around it; false where there is none."""
        found = self._give_up() if self._interpreter.enough else self._enclosing(too_deep=reported)
        if found is None:
            everything = Place(self._tokens, 0, self._index, len(self._tokens) - 1, "body", self._accepts)
            _ = reported or self._report(everything)
            return False
        height, place = found
        mended = not reported and self._report(place)
        self._cut(height)
        self._index = place.first
        if mended:
            return True
        while (code := self._tables.actions[self._states[-1]][BROKEN]) < 0:
            self._reduce(self._tables.rules[~code])
        start = self._tokens[place.first].start
        end = self._tokens[max(place.first, place.last - 1)].end
        self._push(code, self._interpreter.salvage(place), (0, start, end, place.first))
        self._index = place.last
        if place.last == self._stuck:  # cannot be, but no text may ever keep us here for good
            if self._tokens[place.last].kind == END:
                return False
            self._index += 1
        self._stuck = place.last
        return True

    def _report(self, place: Place) -> bool:
        """Report what is wrong at `place`, once; true if it was mended and shall be read again.

        Nothing more is said of a statement in which something was mended, or a bracket repaired.
        """
        if place.token.kind == BAD or place.token.problem is not None:
            self._tell(place.token)
            return False
        if place.first in self._mended or any(token.repaired for token in place.region):
            return False
        if not self._interpreter.explain(place) or len(self._mended) >= MENDED_LIMIT:
            return False
        self._mended.add(place.first)
        return True

    def _tell(self, token: Token) -> None:
        if token.problem is not None:
            self._interpreter.complain(token.problem)
            token.problem = None

    def _enclosing(self, *, too_deep: bool) -> tuple[int, Place] | None:
        """The smallest statement or header around the current token, and how much of the stack stands before it.

        Where the stack is `too_deep`, a statement that makes room on it.
        """
        highest = min(len(self._values), STACK_LIMIT // 2) if too_deep else len(self._values)
        for height in range(highest, -1, -1):
            if BROKEN not in self._tables.actions[self._states[height]]:
                continue
            after = self._simulate(self._states[: height + 1], BROKEN)
            if after is None:
                continue
            first = self._marks[height][3] if height < len(self._marks) else self._index
            before = self._tokens[self._index - 1]
            if first < self._index and before.kind == "}" and before.depth < self._tokens[first].depth:
                continue  # a statement of a body that is over
            context: Context = "body"
            if self._simulate(after, "{"):
                if too_deep:
                    continue
                context = "header"
            elif self._simulate(after, ","):
                context = "section"
            elif self._tokens[first].depth == 0:
                context = "file"
            last = self._stop(first, context)
            if last is not None:
                return height, Place(self._tokens, first, self._index, last, context, self._accepts)
        return None

    def _give_up(self) -> tuple[int, Place] | None:
        """Everything from the declaration at hand to the end."""
        for height in range(min(len(self._values), 2), -1, -1):
            if self._tables.actions[self._states[height]].get(BROKEN, -1) >= 0:
                first = self._marks[height][3] if height < len(self._marks) else self._index
                end = len(self._tokens) - 1
                return height, Place(self._tokens, first, self._index, end, "file", self._accepts)
        return None

    def _stop(self, first: int, context: Context) -> int | None:
        """Where the statement ends that starts at token `first`; none if it is no header after all."""
        depth = self._tokens[first].depth
        separators = (NEWLINE, ";", ",") if context == "section" else (NEWLINE, ";")
        for index in range(self._index, len(self._tokens)):
            token = self._tokens[index]
            separates = token.depth == depth and token.kind in separators and not (token.kind == "," and token.repaired)
            if token.kind == END or token.depth < depth or separates:
                if context == "header":
                    return None
                block = token.kind == NEWLINE and self._tokens[index - 1].kind == ":"
                end = self._block_end(first, index) if block else index
                return max(end, min(first + 1, len(self._tokens) - 1))
            if context == "header" and token.depth == depth and token.kind == "{":
                return index
        return None

    def _block_end(self, first: int, index: int) -> int:
        """Where a block in Python's manner ends: its lines stand further right than the statement at token `first`."""

        def indent(at: int) -> int:
            return self._tokens[at].start - self._tokens[at - 1].end if at else 0

        edge = indent(first) if not first or self._tokens[first - 1].kind == NEWLINE else 0
        depth = self._tokens[index].depth
        while self._tokens[index].kind == NEWLINE and indent(index + 1) > edge:
            index += 1
            while self._tokens[index].depth > depth or self._tokens[index].kind not in (NEWLINE, END, "}"):
                index += 1
        return index

    def _cut(self, height: int) -> None:
        del self._states[height + 1 :]
        del self._values[height:], self._marks[height:]

    def _accepts(self, kind: str) -> bool:
        index, states = self._arrived
        return self._simulate(states if index == self._index else self._states, kind) is not None

    def _simulate(self, states: Sequence[int], kind: str) -> list[int] | None:
        """The states after a token of `kind`, if it fits."""
        stack = list(states)
        while True:
            code = self._tables.actions[stack[-1]].get(kind)
            if code is None:
                return stack if kind == END and stack[-1] == self._end else None
            if code >= 0:
                return [*stack, code]
            rule = self._tables.rules[~code]
            if rule.size:
                del stack[-rule.size :]
            stack.append(self._tables.gotos[stack[-1]][rule.origin])
