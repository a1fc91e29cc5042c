"""Checks the shape of a pipeline: names that exist, no circle, every node between an entry and an output.

Everything here works on names alone; a pair (source, target) is an edge.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Iterator, Sequence

from videoqueue.pipeline.definitions.faults import Fault, listed, shown
from videoqueue.pipeline.definitions.fields import at_node, repeated

Pairs = Sequence[tuple[str, str]]


def graph_faults(
    where: str,
    nodes: Sequence[str] | None,
    pairs: Pairs | None,
    entries: Sequence[str] | None,
    outputs: Sequence[str] | None,
) -> Iterator[Fault]:
    """Every fault of a graph. None stands for a list that could not be read, an empty text for a name.

    A check is left out where it would only repeat that something else is wrong.
    """
    if nodes is not None and not nodes:
        yield Fault(where, "it has no nodes. Add at least one.")
        return
    known = list(dict.fromkeys(name for name in nodes or () if name))
    edges = [pair for pair in pairs or () if all(pair)]
    yield from _repeated_names(where, filter(None, nodes or ()), "the node")
    yield from _repeated_names(where, (f"{source} -> {target}" for source, target in edges), "the edge")
    for field, names in (("entry_nodes", entries), ("output_nodes", outputs)):
        yield from _repeated_names(where, names or (), f"in {field},")
    if nodes is not None and all(nodes):
        yield from _unknown_names(where, known, [end for edge in edges for end in edge], "edges")
        yield from _unknown_names(where, known, entries or (), "entry_nodes")
        yield from _unknown_names(where, known, outputs or (), "output_nodes")
    yield from _circles(where, known, edges)
    if is_connected(nodes, pairs):
        if entries is not None:
            yield from _wrong_entries(where, known, edges, entries)
        if outputs is not None:
            yield from _wrong_outputs(where, known, edges, outputs)


def is_connected(nodes: Sequence[str] | None, pairs: Pairs | None) -> bool:
    """Whether all nodes and edges could be read, and each edge has its two nodes."""
    if nodes is None or pairs is None or not all(nodes):
        return False
    return all(source in nodes and target in nodes for source, target in pairs)


def _unknown_names(where: str, nodes: Collection[str], used: Iterable[str], field: str) -> Iterator[Fault]:
    """Names in `field` that are no node's."""
    for name in dict.fromkeys(used):
        if name not in nodes:
            yield Fault(
                where,
                f"{field} names the node {shown(name)}, which is not in nodes. Known nodes: {listed(nodes)}.",
            )


def _repeated_names(where: str, names: Iterable[str], what: str) -> Iterator[Fault]:
    for name in repeated(names):
        yield Fault(where, f"{what} {name!r} appears more than once. Keep one.")


def _circles(where: str, nodes: Sequence[str], pairs: Pairs) -> Iterator[Fault]:
    """One fault for each group of nodes that lead to one another."""
    told: set[str] = set()
    for name in nodes:
        path = _way_back(name, pairs)
        if path and name not in told:
            told |= {other for other in _behind([name], pairs) if name in _behind([other], pairs)}
            yield Fault(where, f"its nodes run in a circle: {' -> '.join(path)}. Remove one of these edges.")


def _wrong_entries(
    where: str, nodes: Sequence[str], pairs: Pairs, entries: Collection[str]
) -> Iterator[Fault]:
    """Entry nodes are those without an incoming edge, and from them every node is reached."""
    targets = {target for _, target in pairs}
    first = [name for name in nodes if name not in targets]
    if not first and not entries:
        return  # All of it runs in circles; without them it has entries to list.
    if not entries:
        yield Fault(where, f"entry_nodes is empty. List the nodes without an incoming edge: {listed(first)}.")
    for name in first:
        if entries and name not in entries:
            yield Fault(
                at_node(where, name),
                "it has no incoming edge and is no entry node, so that nothing reaches it: "
                "list it in entry_nodes, or lead an edge to it.",
            )
    for name in entries:
        if name in targets and name in nodes and not _way_back(name, pairs):
            yield Fault(at_node(where, name), "it has an incoming edge: take it out of entry_nodes.")
    reached = _behind([*first, *entries], pairs) | {*first, *entries}
    for name in nodes:
        if name not in reached:
            yield Fault(at_node(where, name), "no entry node leads to it. Lead an edge to it, or remove it.")


def _wrong_outputs(
    where: str, nodes: Sequence[str], pairs: Pairs, outputs: Collection[str]
) -> Iterator[Fault]:
    """Output nodes make the result, so every node is one or leads to one."""
    if not outputs:
        yield Fault(where, "output_nodes is empty. List the nodes whose outputs are the result.")
        return
    backwards = [(target, source) for source, target in pairs]
    used = _behind(outputs, backwards) | set(outputs)
    for name in nodes:
        if name not in used:
            yield Fault(
                at_node(where, name), "it leads to no output node. List it in output_nodes, or remove it."
            )


def _behind(names: Iterable[str], pairs: Pairs) -> set[str]:
    """Every node that an edge from one of the names leads to, however long the way."""
    found: set[str] = set()
    waiting = deque(names)
    while waiting:
        name = waiting.popleft()
        for source, target in pairs:
            if source == name and target not in found:
                found.add(target)
                waiting.append(target)
    return found


def _way_back(start: str, pairs: Pairs) -> list[str]:
    """The shortest way from a node to itself; empty if there is none."""
    came_from: dict[str, str] = {}
    waiting = deque([start])
    while waiting:
        name = waiting.popleft()
        for source, target in pairs:
            if source != name or target in came_from:
                continue
            came_from[target] = name
            if target == start:
                return _trace(start, came_from)
            waiting.append(target)
    return []


def _trace(start: str, came_from: dict[str, str]) -> list[str]:
    path = [start]
    while (previous := came_from[path[0]]) != start:
        path.insert(0, previous)
    return [start, *path]
