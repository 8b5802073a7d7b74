"""What stands behind the question mark: a name that an operation does not know is refused, before anything is done. A
mistyped filter would look like a result."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from django.http import HttpRequest
from ninja import Router
from ninja.operation import Operation

from labeler.api.problems import FieldError, Problem

MOST_NAMED, LONGEST = 10, 60
Known = Mapping[str, tuple[str, ...]]  # names by method, of one address


def known_parameters(routers: Iterable[Router]) -> dict[str, Known]:
    """By the name of each operation: its address answers to several methods."""
    found: dict[str, Known] = {}
    for router in routers:
        for address in router.path_operations.values():
            known = {method: _names(each) for each in address.operations for method in each.methods}
            found |= {each.url_name: known for each in address.operations if each.url_name}
    return found


def refuse_unknown(request: HttpRequest, known: Known) -> None:
    """Raises Problem, which names what is wrong and what there is."""
    if (names := known.get(request.method or "")) is None:
        return
    there = f"It takes {_listed(names)}." if names else "It takes none."
    errors = [
        FieldError(name[:LONGEST], f"There is no such parameter here. {there}")
        for name in request.GET
        if name not in names
    ]
    errors += [
        FieldError(name, "It stands there more than once: which is meant?")
        for name in names
        if len(request.GET.getlist(name)) > 1
    ]
    if errors:
        first = errors[0]
        raise Problem(422, f"“{first.field}”: {first.detail}", errors=errors[:MOST_NAMED])


def _names(operation: Operation) -> tuple[str, ...]:
    queries = [model for model in operation.models if model.__ninja_param_source__ == "query"]
    return tuple(name for model in queries for name in model.__ninja_flatten_map__)


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"“{name}”" for name in names)
