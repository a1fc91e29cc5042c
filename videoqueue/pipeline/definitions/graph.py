"""Checks the graph of a pipeline: existing names, no cycle, every node between an entry and an output.

These functions know names only. A pair (source, target) is an edge.
"""

from __future__ import annotations

import graphlib
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
    """Checks a graph. A check is skipped where it would only repeat another fault.

    Args:
        where: The file, for the faults.
        nodes: The ids of the nodes. In all lists, None means that the list could not be read, and an empty
            text means that a name could not.
        pairs: The edges.
        entries: The names in `entry_nodes`.
        outputs: The names in `output_nodes`.

    Returns:
        Every fault.
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
    yield from _cycle_faults(where, known, edges)
    if is_connected(nodes, pairs):
        if entries is not None:
            yield from _wrong_entries(where, known, edges, entries)
        if outputs is not None:
            yield from _wrong_outputs(where, known, edges, outputs)


def is_connected(nodes: Sequence[str] | None, pairs: Pairs | None) -> bool:
    """Returns whether all nodes and edges could be read and each edge joins two existing nodes."""
    if nodes is None or pairs is None or not all(nodes):
        return False
    return all(source in nodes and target in nodes for source, target in pairs)


def _unknown_names(where: str, nodes: Collection[str], used: Iterable[str], field: str) -> Iterator[Fault]:
    """Reports names in `field` that no node has."""
    for name in dict.fromkeys(used):
        if name not in nodes:
            yield Fault(
                where,
                f"{field} names the node {shown(name)}, which is not in nodes. Known nodes: {listed(nodes)}.",
            )


def _repeated_names(where: str, names: Iterable[str], what: str) -> Iterator[Fault]:
    for name in repeated(names):
        yield Fault(where, f"{what} {name!r} appears more than once. Keep one.")


def _cycle_faults(where: str, nodes: Sequence[str], pairs: Pairs) -> Iterator[Fault]:
    """Reports cycles that share no node, in the order of `nodes`."""
    rank = {name: number for number, name in enumerate(nodes)}
    cycles: list[list[str]] = []
    rest = list(pairs)
    while cycle := _find_cycle(nodes, rest):
        first = min(range(len(cycle)), key=lambda place: rank.get(cycle[place], len(rank)))
        cycles.append(cycle[first:] + cycle[:first])
        rest = [pair for pair in rest if not set(cycle) & set(pair)]
    for cycle in sorted(cycles, key=lambda names: rank.get(names[0], len(rank))):
        path = " -> ".join([*cycle, cycle[0]])
        yield Fault(where, f"its nodes form a cycle: {path}. Remove one of these edges.")


def _find_cycle(nodes: Sequence[str], pairs: Pairs) -> list[str]:
    """Returns the names along one cycle, each once; empty if there is none."""
    sorter: graphlib.TopologicalSorter[str] = graphlib.TopologicalSorter(dict.fromkeys(nodes, ()))
    for source, target in pairs:
        sorter.add(target, source)
    try:
        sorter.prepare()
    except graphlib.CycleError as error:
        names: list[str] = error.args[1]
        return names[1:]
    return []


def _wrong_entries(
    where: str, nodes: Sequence[str], pairs: Pairs, entries: Collection[str]
) -> Iterator[Fault]:
    """Checks that the entry nodes are those without an incoming edge and lead to every node."""
    targets = {target for _, target in pairs}
    first = [name for name in nodes if name not in targets]
    if not first and not entries:
        return  # Every node is behind a cycle, which is reported; without it there are entries to list.
    if not entries:
        yield Fault(where, f"entry_nodes is empty. List the nodes without an incoming edge: {listed(first)}.")
    for name in first:
        if entries and name not in entries:
            yield Fault(
                at_node(where, name),
                "it has no incoming edge and is no entry node, so it cannot be reached: "
                "list it in entry_nodes, or add an edge to it.",
            )
    for name in entries:
        if name in targets and name in nodes and name not in _behind([name], pairs):
            yield Fault(at_node(where, name), "it has an incoming edge: remove it from entry_nodes.")
    reached = _behind([*first, *entries], pairs) | {*first, *entries}
    for name in nodes:
        if name not in reached:
            yield Fault(at_node(where, name), "no entry node leads to it. Add an edge to it, or remove it.")


def _wrong_outputs(
    where: str, nodes: Sequence[str], pairs: Pairs, outputs: Collection[str]
) -> Iterator[Fault]:
    """Checks that every node is an output node or leads to one."""
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
    """Returns every node that can be reached from one of the names along at least one edge."""
    found: set[str] = set()
    waiting = deque(names)
    while waiting:
        name = waiting.popleft()
        for source, target in pairs:
            if source == name and target not in found:
                found.add(target)
                waiting.append(target)
    return found
