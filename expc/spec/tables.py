"""The parse tables of `grammar.lark`, made by Lark and kept as plain data beside it in `tables.json`.

Building them takes Lark 0.15 s, and importing Lark another 0.06 s; reading them back takes 2 ms and needs no cache
folder that could be read-only, stale or tampered with. Whoever edits the grammar runs `python -m expc.spec.tables` to
renew the file (a test compares both); until then the tables are made anew in memory each time.
"""

import json
from collections.abc import Mapping
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from expc.frozen import dataclass

STARTS = ("file", "chain", "targets")
"""The rules that a text may be read as: a whole file, one value, the left side of a binding."""

END = "$END"
"""The kind of the token after the last one."""

NEWLINE = "NEWLINE"
BROKEN = "BROKEN"


@dataclass(frozen=True)
class Rule:
    """One alternative of a rule: replace `size` symbols by `origin`, and call the action `name`.

    `shape` says what the action is given: the positions of the symbols kept, none for an optional part that is absent;
    the symbols in `spliced` are lists that are joined in. `passes`: a lone child stands for itself, and with `unit`
    there never is another.
    """

    origin: str
    name: str
    size: int
    shape: tuple[int | None, ...]
    spliced: frozenset[int]
    passes: bool

    @cached_property
    def hidden(self) -> bool:
        """Whether the rule makes no node: its parts become parts of what it stands in."""
        return self.origin.startswith("_")

    @cached_property
    def unit(self) -> bool:
        """Whether the rule only gives another name to its one symbol."""
        return self.passes and self.shape == (0,) and not self.spliced


@dataclass(frozen=True)
class Tables:
    """An LALR(1) automaton. Terminals are called by their text (`->`, `let`), those that vary by name (`NAME`).

    `actions[state][terminal]` is a state to go to, or `~rule` for a reduction; `gotos[state][origin]` is a state.
    """

    patterns: Mapping[str, str]
    literals: frozenset[str]
    starts: Mapping[str, int]
    ends: Mapping[str, int]
    rules: tuple[Rule, ...]
    actions: tuple[Mapping[str, int], ...]
    gotos: tuple[Mapping[str, int], ...]

    @cached_property
    def _renamings(self) -> dict[tuple[int, str, str], int]:
        return {}

    def renamed(self, below: int, origin: str, kind: str) -> int:
        """The state above state `below` after a symbol has become `origin`, and whatever unit rules make of it next.

        A name is an atom, an item, a power, a term, a sum and so on before it is an operand, each by a unit rule. Which
        of them `kind` of token lets through is worked out once.
        """
        key = (below, origin, kind)
        state = self._renamings.get(key)
        if state is None:
            state = self.gotos[below][origin]
            code = self.actions[state].get(kind)
            if code is not None and code < 0 and self.rules[~code].unit:
                state = self.renamed(below, self.rules[~code].origin, kind)
            self._renamings[key] = state
        return state

    @property
    def words(self) -> frozenset[str]:
        """The literals that look like names: `let`, `repeat`, `where`."""
        return frozenset(literal for literal in self.literals if literal.isidentifier())


@cache
def tables() -> Tables:
    """The tables of the grammar as it is in this installation."""
    folder = Path(__file__).parent
    grammar = (folder / "grammar.lark").read_text("utf-8")
    kept = folder / "tables.json"
    data = json.loads(kept.read_text("utf-8")) if kept.exists() else {}
    if data.get("grammar") != grammar:
        data = generate(grammar)
    return Tables(
        patterns=data["patterns"],
        literals=frozenset(data["literals"]),
        starts=data["starts"],
        ends=data["ends"],
        rules=tuple(
            Rule(origin, name, size, tuple(shape), frozenset(spliced), passes)
            for origin, name, size, shape, spliced, passes in data["rules"]
        ),
        actions=tuple(data["actions"]),
        gotos=tuple(data["gotos"]),
    )


def generate(grammar: str) -> dict[str, Any]:
    """Plain data from which `tables` is read: the same for the same grammar on every run."""
    from lark import Lark
    from lark.lexer import PatternStr
    from lark.parsers.lalr_analysis import Shift

    lark = Lark(grammar, parser="lalr", lexer="contextual", start=list(STARTS), maybe_placeholders=True)
    table = lark.parser.parser._parse_table  # noqa: SLF001 - Lark shows its tables no other way
    text = {
        t.name: t.pattern.value if isinstance(t.pattern, PatternStr) else t.name.lstrip("_") for t in lark.terminals
    }
    origins = {rule.origin.name for rule in lark.rules}
    # Lark numbers states and rules in an order that may change from run to run: number them as a walk meets them.
    states: dict[int, int] = {}
    rules: dict[Any, int] = {}
    waiting = [table.start_states[start] for start in STARTS]
    actions: list[dict[str, int]] = []
    gotos: list[dict[str, int]] = []
    for state in waiting:
        states.setdefault(state, len(states))
    while waiting:
        row = table.states[waiting.pop(0)]
        actions.append({})
        gotos.append({})
        for symbol in sorted(row):
            action, argument = row[symbol]
            if action is not Shift:
                actions[-1][text.get(symbol, symbol)] = ~rules.setdefault(argument, len(rules))
                continue
            if argument not in states:
                states[argument] = len(states)
                waiting.append(argument)
            target = gotos[-1] if symbol in origins else actions[-1]
            target[text.get(symbol, symbol)] = states[argument]
    return {
        "grammar": grammar,
        "patterns": {text[t.name]: t.pattern.value for t in lark.terminals if not isinstance(t.pattern, PatternStr)},
        "literals": sorted(t.pattern.value for t in lark.terminals if isinstance(t.pattern, PatternStr)),
        "starts": {start: states[table.start_states[start]] for start in STARTS},
        "ends": {start: states[table.end_states[start]] for start in STARTS},
        "rules": [_row(rule) for rule in rules],
        "actions": actions,
        "gotos": gotos,
    }


def _row(rule: Any) -> list[Any]:
    """The fields of a `Rule`, out of one of Lark's rules."""
    absent = "".join(str(int(missing)) for missing in rule.options.empty_indices) or "0" * len(rule.expansion)
    before = [len(ones) for ones in absent.split("0")]
    shape: list[int | None] = []
    spliced = []
    for position, symbol in enumerate(rule.expansion):
        shape += [None] * before[position]
        if rule.options.keep_all_tokens or not (symbol.is_term and symbol.filter_out):
            shape.append(position)
        if not symbol.is_term and symbol.name.startswith("_"):
            spliced.append(position)
    shape += [None] * before[-1]
    origin = str(rule.origin.name)
    return [
        origin,
        str(rule.alias or origin),
        len(rule.expansion),
        shape,
        spliced,
        bool(rule.options.expand1) and not rule.alias,
    ]


def main() -> None:
    """Write `tables.json` anew."""
    folder = Path(__file__).parent
    data = generate((folder / "grammar.lark").read_text("utf-8"))
    (folder / "tables.json").write_text(json.dumps(data, separators=(",", ":")) + "\n", "utf-8")


if __name__ == "__main__":
    main()
