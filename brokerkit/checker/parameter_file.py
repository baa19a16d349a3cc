"""Parameters to order with, from a file.

The file is a JSON object (or YAML, if PyYAML is there)::

    {
      "hello-db/large": {"provision": [{"size": 3}, {"size": 4}], "bind": {"role": "reader"}},
      "hello-db": {"provision": {"size": 1}},
      "*": {"update": {"size": 2}}
    }

A key names a plan, an offering, or with ``*`` all; of each action the most specific key wins. What is ordered
is the first of a list of objects; the others are valid too, and other: the check needs two for conflicts.

Parameters may be secret. So faults are told with their place, and never with a value.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from itertools import product
from pathlib import Path
from typing import Any

import msgspec

from .._internal.json_decode import MAX_DEPTH

ACTIONS = ("provision", "update", "bind")
"""What parameters can be given for."""

ParameterSets = tuple[dict[str, Any], ...]
"""The parameters of an action: those to order with, and others that are valid too."""


class ParametersError(ValueError):
    """A parameters file that cannot be used; :attr:`faults` has each fault, with its place."""

    def __init__(self, path: str | Path, *faults: str) -> None:
        self.faults = faults
        some = f"{len(faults)} faults" if len(faults) > 1 else "a fault"
        super().__init__("\n  ".join([f"{path} has {some}:", *faults]))


def read_parameters(path: str | Path) -> Mapping[str, Mapping[str, ParameterSets]]:
    """Read a parameters file: what it has for each of its keys and each action.

    Args:
        path: The file; JSON, unless its name ends in ``.yml`` or ``.yaml``.

    Raises:
        OSError: It cannot be read.
        ModuleNotFoundError: It is YAML, and there is no PyYAML.
        ParametersError: It has faults.
    """
    content = Path(path).read_bytes()
    try:
        document = _read_yaml(content) if Path(path).suffix in (".yml", ".yaml") else _read_json(content)
    except ValueError as error:
        raise ParametersError(path, str(error)) from None
    try:
        return sets_of(document)
    except ParametersError as error:
        raise ParametersError(path, *error.faults) from None


def sets_of(document: object) -> Mapping[str, Mapping[str, ParameterSets]]:
    """What a parameters file has for each of its keys and each action, from what was read of it.

    Raises:
        ParametersError: It has faults.
    """
    faults = list(_faults(document))
    if faults or not isinstance(document, dict):
        raise ParametersError("parameters", *faults)
    return {
        key: {
            action: tuple(given) if isinstance(given, list | tuple) else (given,)
            for action, given in actions.items()
        }
        for key, actions in document.items()
    }


def find_value(
    parameters: Mapping[str, Mapping[str, ParameterSets]],
    offering_name: str,
    offering_id: str,
    plan_name: str,
    plan_id: str,
    action: str,
) -> ParameterSets | None:
    """What to order with; None if nothing is told.

    Args:
        parameters: What :func:`read_parameters` gave.
        offering_name: The name of the service offering.
        offering_id: Its id.
        plan_name: The name of the service plan.
        plan_id: Its id.
        action: One of :data:`ACTIONS`.
    """
    for key in keys(offering_name, offering_id, plan_name, plan_id):
        if action in (found := parameters.get(key, {})):
            return found[action]
    return None


def unused_keys(
    parameters: Mapping[str, Mapping[str, ParameterSets]], plans: Iterable[tuple[str, str, str, str]]
) -> list[str]:
    """The keys that name nothing in a catalog, and so are mistakes.

    Args:
        parameters: What :func:`read_parameters` gave.
        plans: The offering's name and id, and the plan's name and id, of each plan of the catalog.
    """
    known = {"*", *(key for names in plans for key in keys(*names))}
    return [key for key in parameters if key not in known]


def keys(offering_name: str, offering_id: str, plan_name: str, plan_id: str) -> tuple[str, ...]:
    """The keys that a plan goes by, the most specific first."""
    offering = (offering_name, offering_id)
    plans = (f"{of}/{plan}" for of, plan in product(offering, (plan_name, plan_id)))
    return (*plans, *offering, "*")


# Reading


def _read_json(content: bytes) -> Any:
    try:
        return msgspec.json.decode(content)
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None
    except ValueError as error:
        raise ValueError(f"is no JSON: {error}") from None


def _read_yaml(content: bytes) -> Any:
    try:
        import yaml
    except ModuleNotFoundError:
        raise ModuleNotFoundError("parameters in YAML need PyYAML: pip install pyyaml", name="yaml") from None
    try:
        return yaml.safe_load(content)
    except yaml.YAMLError as error:  # its words repeat what stands there
        mark = getattr(error, "problem_mark", None)
        place = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise ValueError(f"is no YAML{place}") from None
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None


# Faults

_TOO_DEEP = f"is nested deeper than {MAX_DEPTH} levels"


def _faults(document: object) -> Iterator[str]:
    if not isinstance(document, dict):
        yield f"must be an object with a key for each plan, and is {_kind(document)}"
        return
    for key, actions in document.items():
        place = _quoted(key)
        if not isinstance(key, str):
            yield f"{place}: a key must be a string; write it in quotes"
        elif not isinstance(actions, dict):
            yield f"{place}: must be an object with some of {_known()}, and is {_kind(actions)}"
        else:
            for action, given in actions.items():
                yield from _faults_of_action(f"{place}.{_bare(action)}", action, given)


def _faults_of_action(place: str, action: object, given: object) -> Iterator[str]:
    if action not in ACTIONS:
        yield f"{place}: is none of {_known()}"
        return
    if given in ([], ()):
        yield f"{place}: is an empty list; write at least one object into it, or {{}} for no parameters"
    for at, each in (
        [(f"{place}[{number}]", each) for number, each in enumerate(given)]
        if isinstance(given, list | tuple)
        else [(place, given)]
    ):
        if isinstance(each, dict):
            yield from _not_json(at, each, MAX_DEPTH)
        else:
            yield f"{at}: must be an object of parameters, and is {_kind(each)}"


def _not_json(place: str, value: object, levels: int) -> Iterator[str]:
    """What of a value there is not in JSON. YAML has more: dates, sets, keys of any kind, and loops."""
    match value:
        case dict() | list() if not levels:
            yield f"{place}: {_TOO_DEEP}"
        case dict():
            for name, inner in value.items():
                if isinstance(name, str):
                    yield from _not_json(f"{place}.{_bare(name)}", inner, levels - 1)
                else:
                    yield f"{place}: has a key that is {_kind(name)}; write it in quotes"
        case list():
            for number, inner in enumerate(value):
                yield from _not_json(f"{place}[{number}]", inner, levels - 1)
        case float() if not math.isfinite(value):
            yield f"{place}: is a number that JSON does not have"
        case None | str() | int() | float():
            pass
        case _:
            yield f"{place}: is {_kind(value)}, which JSON does not have; write it in quotes"


def _known() -> str:
    return f"{', '.join(ACTIONS[:-1])} and {ACTIONS[-1]}"


def _kind(value: object) -> str:
    return _KINDS.get(type(value)) or f"a {type(value).__name__}"


_KINDS = {
    type(None): "null",
    bool: "true or false",
    int: "a number",
    float: "a number",
    str: "a string",
    dict: "an object",
    list: "a list",
}


def _quoted(key: object) -> str:
    return _short(f'"{key}"')


def _bare(name: object) -> str:
    return _short(str(name))


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


_LONGEST = 100
"""How many characters of a key are told."""
