"""Mutants: from the source of a module to every small change that a test should notice. Pure; runs nothing.

What is changed, one thing at a time:

* comparisons (`<` `<=`, `>` `>=`, `==` `!=`, `in` `not in`, `is` `is not`), `and` `or`, `not x` to x, arithmetic and
  bit operators (also `+=` and its like), signs, `any` `all`, `min` `max`;
* numbers by one up and one down, texts and bytes by a prefix, True and False;
* the condition of `if`, of `x if c else y`, of a comprehension and of a `case` to True and to False, that of `while` to
  False;
* `return x` to `return None`; `raise` and a call that is a statement, taken away; `break` and `continue`; a bound of a
  slice, taken away.

What is left alone, since it decides nothing: annotations and type aliases, names for the type checker, imports,
decorators, docstrings, `__all__`, `__slots__`, `__repr__`, `field(repr=)`, `zip(strict=)`, the types that isinstance is
given, `super().__init__()` (an exception keeps its arguments without it). And prose: a text within a `raise` that holds
a space is for people, and no test asserts it; a code (`wrong_length`) is not prose.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Final, TypeAlias

Path: TypeAlias = tuple[tuple[str, int | None], ...]
"""From a module's tree down to a node: field, and the place in it where it is a list."""


@dataclass(frozen=True, slots=True)
class Mutant:
    """One change of one module."""

    module: str  # path of the file, from the root of the project
    where: str  # outermost function, with its class; "" for what runs when the module is imported
    first_line: int  # of that function, with its decorators
    line: int
    span: tuple[int, int]  # first and last line of the statement: a test that runs none of them cannot notice
    text: str  # the line, stripped
    change: str
    path: Path
    new: ast.AST | None

    @property
    def key(self) -> tuple[str, str, str, str]:
        """What names it, whatever happens to the lines around it."""
        return (self.module, self.where, self.text, self.change)


_SWAPS: Final[dict[type[ast.AST], type[ast.AST]]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.And: ast.Or,
    ast.Or: ast.And,
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.FloorDiv: ast.Mult,
    ast.Div: ast.Mult,
    ast.Mod: ast.Mult,
    ast.Pow: ast.Mult,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.BitXor: ast.BitAnd,
    ast.Break: ast.Continue,
    ast.Continue: ast.Break,
}
_SIGNS: Final = {
    "Lt": "<", "LtE": "<=", "Gt": ">", "GtE": ">=", "Eq": "==", "NotEq": "!=", "In": "in", "NotIn": "not in",
    "Is": "is", "IsNot": "is not", "And": "and", "Or": "or", "Add": "+", "Sub": "-", "Mult": "*", "FloorDiv": "//",
    "Div": "/", "Mod": "%", "Pow": "**", "LShift": "<<", "RShift": ">>", "BitAnd": "&", "BitOr": "|", "BitXor": "^",
}  # fmt: skip
_NAME_SWAPS: Final = {"any": "all", "all": "any", "min": "max", "max": "min"}
_TYPING_CALLS: Final = {"TypeVar", "NewType", "ParamSpec"}
_SILENT_NAMES: Final = {"__all__", "__slots__"}
_BUILTIN_TYPES: Final = {"int", "str", "bytes", "bool", "list", "tuple", "dict", "set", "frozenset", "float"}
_Change: TypeAlias = tuple[str, Path, ast.AST | None]


@dataclass(frozen=True, slots=True)
class _Place:
    """Where the walk is."""

    names: tuple[str, ...] = ()  # of the classes around, and of the outermost function
    function: ast.FunctionDef | ast.AsyncFunctionDef | None = None
    span: tuple[int, int] = (0, 0)
    raising: bool = False


def find_mutants(source: str, module: str) -> list[Mutant]:
    """Every mutant of a module, in the order of its text."""
    lines = source.splitlines()
    found = []
    for place, node, (change, path, new) in _walk(ast.parse(source), (), _Place()):
        line = getattr(node, "lineno", place.span[0])
        function = place.function
        first = 0 if function is None else min(one.lineno for one in (function, *function.decorator_list))
        where = "" if function is None else ".".join(place.names)
        found.append(Mutant(module, where, first, line, place.span, lines[line - 1].strip(), change, path, new))
    found.sort(key=lambda mutant: mutant.line)  # stable: within a line, as the walk came by
    seen: Counter[tuple[str, str, str, str]] = Counter()
    for number, mutant in enumerate(found):
        seen[mutant.key] += 1
        if seen[mutant.key] > 1:
            found[number] = replace(mutant, change=f"{mutant.change} ({seen[mutant.key]})")
    return found


def mutated(source: str, mutant: Mutant) -> ast.Module:
    """The module's tree with the change made."""
    tree = ast.parse(source)
    node: Any = tree
    for field, place in mutant.path[:-1]:
        node = getattr(node, field) if place is None else getattr(node, field)[place]
    field, place = mutant.path[-1]
    old = getattr(node, field) if place is None else getattr(node, field)[place]
    new = mutant.new
    if new is not None and hasattr(old, "lineno"):
        new = ast.copy_location(new, old)
    if place is None:
        setattr(node, field, new)
    else:
        getattr(node, field)[place] = new
    return ast.fix_missing_locations(tree)


# --- the walk ---------------------------------------------------------------------------------------------------------


def _walk(node: ast.AST, path: Path, place: _Place) -> Iterator[tuple[_Place, ast.AST, _Change]]:
    if _is_left_alone(node):
        return
    place = _entered(node, place)
    for change in _changes(node, path, place):
        yield place, node, change
    for field, value in ast.iter_fields(node):
        if field in _skipped_fields(node):
            continue
        inner = place
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and field == "body" and place.function is None:
            inner = replace(place, function=node)
        if isinstance(value, list):
            for number, item in enumerate(value):
                if isinstance(item, ast.AST):
                    yield from _walk(item, (*path, (field, number)), inner)
        elif isinstance(value, ast.AST):
            yield from _walk(value, (*path, (field, None)), inner)


def _entered(node: ast.AST, place: _Place) -> _Place:
    if isinstance(node, ast.stmt):
        body = getattr(node, "body", None) or getattr(node, "cases", None)
        first = body[0] if body else None
        last = getattr(first, "lineno", None) or getattr(getattr(first, "pattern", None), "lineno", None)
        end = node.end_lineno or node.lineno
        place = replace(place, span=(node.lineno, end if last is None else max(node.lineno, last - 1)))
    if place.function is None and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        place = replace(place, names=(*place.names, node.name))
    if isinstance(node, ast.Raise):
        place = replace(place, raising=True)
    return place


def _is_left_alone(node: ast.AST) -> bool:
    match node:
        case ast.Import() | ast.ImportFrom() | ast.arg() | ast.Pass():
            return True
        case ast.Expr(value=ast.Constant()) | ast.FunctionDef(name="__repr__"):
            return True
        case ast.Assign(targets=[ast.Name(id=name)]) if name in _SILENT_NAMES:
            return True
        case ast.AnnAssign(annotation=ast.Name(id="TypeAlias")):
            return True
        case ast.Call(func=ast.Name(id=name)) if name in _TYPING_CALLS:
            return True
        case ast.keyword(arg="strict" | "repr"):
            return True
        case ast.If(test=ast.Name(id="TYPE_CHECKING")):
            return True
        case ast.BinOp(op=ast.BitOr(), right=right):
            return _is_type(right)
        case _:
            return False


def _is_type(node: ast.expr) -> bool:
    match node:
        case ast.Constant(value=None):
            return True
        case ast.Subscript(value=value):
            return _is_type(value)
        case ast.Name(id=name) | ast.Attribute(attr=name):
            bare = name.lstrip("_")
            return bare in _BUILTIN_TYPES or (bare[:1].isupper() and not bare.isupper())
        case _:
            return False


def _skipped_fields(node: ast.AST) -> tuple[str, ...]:
    match node:
        case ast.FunctionDef() | ast.AsyncFunctionDef():
            return ("decorator_list", "returns")
        case ast.ClassDef():
            return ("decorator_list", "bases", "keywords")
        case ast.AnnAssign():
            return ("annotation", "target")
        case ast.ExceptHandler():
            return ("type",)
        case ast.FormattedValue():
            return ("format_spec",)
        case ast.Call(func=ast.Name(id="cast")):
            return ("args",)
        case _:
            return ()


# --- the changes ------------------------------------------------------------------------------------------------------


def _changes(node: ast.AST, path: Path, place: _Place) -> Iterator[_Change]:
    match node:
        case ast.Compare():
            for number, op in enumerate(node.ops):
                yield _swap(op, (*path, ("ops", number)))
        case ast.BoolOp() | ast.BinOp() | ast.AugAssign():
            yield _swap(node.op, (*path, ("op", None)))
        case ast.UnaryOp(op=ast.Not()):
            yield "not removed", path, node.operand
        case ast.UnaryOp(op=ast.USub()):
            yield "- removed", path, node.operand
        case ast.Constant():
            yield from _constants(node, path, place)
        case ast.Name(id=name) if name in _NAME_SWAPS:
            yield f"{name} -> {_NAME_SWAPS[name]}", path, ast.Name(_NAME_SWAPS[name], ast.Load())
        case ast.Slice():
            for bound in ("lower", "upper"):
                if getattr(node, bound) is not None:
                    yield f"{bound} bound removed", (*path, (bound, None)), None
        case ast.stmt() | ast.IfExp() | ast.comprehension() | ast.match_case():
            yield from _flow(node, path)
        case _:
            pass


def _flow(node: ast.AST, path: Path) -> Iterator[_Change]:
    match node:
        case ast.If() | ast.IfExp():
            yield from _conditions((*path, ("test", None)))
        case ast.While(test=test) if not isinstance(test, ast.Constant):
            yield "condition -> False", (*path, ("test", None)), ast.Constant(False)
        case ast.comprehension():
            for number in range(len(node.ifs)):
                yield from _conditions((*path, ("ifs", number)))
        case ast.match_case() if node.guard is not None:
            yield from _conditions((*path, ("guard", None)))
        case ast.Return(value=value) if value is not None and not _is_none(value):
            yield "return None", path, ast.Return(ast.Constant(None))
        case ast.Raise():
            yield "raise removed", path, ast.Pass()
        case ast.Expr(value=ast.Call(func=func)) if not _is_super_init(func):
            yield "call removed", path, ast.Pass()
        case ast.Break() | ast.Continue():
            new = _SWAPS[type(node)]()
            yield f"{type(node).__name__.lower()} -> {type(new).__name__.lower()}", path, new
        case _:
            pass


def _conditions(path: Path) -> Iterator[_Change]:
    for value in (True, False):
        yield f"condition -> {value}", path, ast.Constant(value)


def _swap(op: ast.AST, path: Path) -> _Change:
    new = _SWAPS[type(op)]()
    return f"{_SIGNS[type(op).__name__]} -> {_SIGNS[type(new).__name__]}", path, new


def _constants(node: ast.Constant, path: Path, place: _Place) -> Iterator[_Change]:
    value = node.value
    changed: list[bool | int | bytes | str] = []
    if isinstance(value, bool):
        changed = [not value]
    elif isinstance(value, int):
        changed = [value + 1, value - 1] if value else [1]
    elif isinstance(value, bytes):
        changed = [b"XX" + value]
    elif isinstance(value, str) and not (place.raising and " " in value):
        changed = ["XX" + value]
    for new in changed:
        yield f"{_short(value)} -> {_short(new)}", path, ast.Constant(new)


def _is_super_init(func: ast.expr) -> bool:
    match func:
        case ast.Attribute(attr="__init__", value=ast.Call(func=ast.Name(id="super"))):
            return True
        case _:
            return False


def _is_none(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 24 else f"{text[:23]}…"
