"""The parameters file: parameters to send, for each plan and action.

The file is a JSON object, or YAML if PyYAML is installed::

    {
      "hello-db/large": {"provision": [{"size": 3}, {"size": 4}], "bind": {"role": "reader"}},
      "hello-db": {"provision": {"size": 1}},
      "*": {"update": {"size": 2}}
    }

A key names a plan, an offering, or with ``*`` all plans. For each action the most specific key wins. The
first object of a list is sent. The others must be valid and different: tests of conflicts need two.

Parameters may be secret, so a fault is reported with its location and never with a value.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from itertools import product
from pathlib import Path
from typing import Any

import msgspec

from .._internal.json_decode import MAX_DEPTH
from .._internal.text import plural, truncate

ACTIONS = ("provision", "update", "bind")
"""The actions that take parameters."""

ParameterSets = tuple[dict[str, Any], ...]
"""The parameters of an action: the object to send, then valid alternatives."""


class ParametersError(ValueError):
    """An invalid parameters file. :attr:`faults` lists each fault with its location."""

    def __init__(self, path: str | Path, *faults: str) -> None:
        self.faults = faults
        super().__init__("\n  ".join([f"{path} has {plural(len(faults), 'fault')}:", *faults]))


def read_parameters(path: str | Path) -> Mapping[str, Mapping[str, ParameterSets]]:
    """Read a parameters file.

    Args:
        path: The file. It is YAML if its name ends in ``.yml`` or ``.yaml``, else JSON.

    Returns:
        The parameters by key and action.

    Raises:
        OSError: The file cannot be read.
        ModuleNotFoundError: The file is YAML and PyYAML is not installed.
        ParametersError: The file is invalid.
    """
    content = Path(path).read_bytes()
    try:
        document = _read_yaml(content) if Path(path).suffix in (".yml", ".yaml") else _read_json(content)
    except ValueError as error:
        raise ParametersError(path, str(error)) from None
    try:
        return parameter_sets(document)
    except ParametersError as error:
        raise ParametersError(path, *error.faults) from None


def parameter_sets(document: object) -> Mapping[str, Mapping[str, ParameterSets]]:
    """Validate the document of a parameters file and return the parameters by key and action.

    Raises:
        ParametersError: The document is invalid.
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
    """Find the parameters for an action on a plan.

    Args:
        parameters: The result of :func:`read_parameters`.
        offering_name: The name of the service offering.
        offering_id: Its id.
        plan_name: The name of the service plan.
        plan_id: Its id.
        action: One of :data:`ACTIONS`.

    Returns:
        The parameters; None if the file has none for the action.
    """
    for key in keys(offering_name, offering_id, plan_name, plan_id):
        if action in (actions := parameters.get(key, {})):
            return actions[action]
    return None


def unused_keys(
    parameters: Mapping[str, Mapping[str, ParameterSets]], plans: Iterable[tuple[str, str, str, str]]
) -> list[str]:
    """List the keys that match nothing in a catalog. They are mistakes.

    Args:
        parameters: The result of :func:`read_parameters`.
        plans: For each plan of the catalog, the offering's name and id and the plan's name and id.
    """
    valid = {"*", *(key for names in plans for key in keys(*names))}
    return [key for key in parameters if key not in valid]


def keys(offering_name: str, offering_id: str, plan_name: str, plan_id: str) -> tuple[str, ...]:
    """Return the keys that match a plan, the most specific first."""
    offering = (offering_name, offering_id)
    plans = ("/".join(pair) for pair in product(offering, (plan_name, plan_id)))
    return (*plans, *offering, "*")


# Reading


def _read_json(content: bytes) -> Any:
    try:
        return msgspec.json.decode(content)
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None
    except ValueError as error:
        raise ValueError(f"invalid JSON: {error}") from None


def _read_yaml(content: bytes) -> Any:
    try:
        import yaml
    except ModuleNotFoundError:
        raise ModuleNotFoundError(
            "a parameters file in YAML needs PyYAML: pip install pyyaml", name="yaml"
        ) from None
    try:
        return yaml.safe_load(content)
    except yaml.YAMLError as error:  # its message quotes the content
        mark = getattr(error, "problem_mark", None)
        place = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise ValueError(f"invalid YAML{place}") from None
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None


# Faults

_TOO_DEEP = f"nested deeper than {MAX_DEPTH} levels"


def _faults(document: object) -> Iterator[str]:
    if not isinstance(document, dict):
        yield f"expected an object with a key for each plan, got {_kind(document)}"
        return
    for key, actions in document.items():
        place = _quoted(key)
        if not isinstance(key, str):
            yield f"{place}: the key is not a string; quote it"
        elif not isinstance(actions, dict):
            yield f"{place}: expected an object with {_action_names()}, got {_kind(actions)}"
        else:
            for action, given in actions.items():
                yield from _faults_of_action(f"{place}.{_bare(action)}", action, given)


def _faults_of_action(place: str, action: object, given: object) -> Iterator[str]:
    if action not in ACTIONS:
        yield f"{place}: unknown action; use {_action_names()}"
        return
    if given in ([], ()):
        yield f"{place}: the list is empty; add an object, or use {{}} for no parameters"
    for location, parameters in (
        [(f"{place}[{number}]", item) for number, item in enumerate(given)]
        if isinstance(given, list | tuple)
        else [(place, given)]
    ):
        if isinstance(parameters, dict):
            yield from _json_faults(location, parameters, MAX_DEPTH)
        else:
            yield f"{location}: expected an object of parameters, got {_kind(parameters)}"


def _json_faults(place: str, value: object, levels: int) -> Iterator[str]:
    """Yield the parts of a value that JSON cannot represent. YAML has dates, sets, other keys and cycles."""
    match value:
        case dict() | list() if not levels:
            yield f"{place}: {_TOO_DEEP}"
        case dict():
            for name, inner in value.items():
                if isinstance(name, str):
                    yield from _json_faults(f"{place}.{_bare(name)}", inner, levels - 1)
                else:
                    yield f"{place}: a key is {_kind(name)}; quote it"
        case list():
            for number, inner in enumerate(value):
                yield from _json_faults(f"{place}[{number}]", inner, levels - 1)
        case float() if not math.isfinite(value):
            yield f"{place}: the number is not finite; JSON cannot represent it"
        case None | str() | int() | float():
            pass
        case _:
            yield f"{place}: JSON cannot represent {_kind(value)}; quote it"


def _action_names() -> str:
    return f"{', '.join(ACTIONS[:-1])} or {ACTIONS[-1]}"


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
    return truncate(f'"{key}"')


def _bare(name: object) -> str:
    return truncate(str(name))
