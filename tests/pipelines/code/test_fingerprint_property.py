"""Random projects: an edit changes the fingerprint exactly when a plain walk over the drawn graph reaches it."""

from __future__ import annotations

import ast
import tempfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from tests.pipelines.projects import Sources

MODULES = ("steps", "m1", "pkg.m2", "pkg.sub.m3")
STYLES = ("from", "module", "alias", "local", "hint", "default", "base")
Node = tuple[int, str]


@st.composite
def graphs(draw: st.DrawFn) -> tuple[list[Node], dict[int, list[tuple[int, str]]]]:
    """Nodes (module, kind) and for each the later nodes that it uses, with the way it writes them."""
    size = draw(st.integers(2, 9))
    nodes = [(0, "function")]
    kinds = st.sampled_from(["function", "constant", "class"])
    nodes += [(draw(st.integers(0, len(MODULES) - 1)), draw(kinds)) for _ in range(size)]
    uses: dict[int, list[tuple[int, str]]] = {}
    for place in range(len(nodes)):
        later = st.tuples(st.integers(min(place + 1, size), size), st.sampled_from(STYLES))
        uses[place] = draw(st.lists(later, max_size=3)) if place < size else []
    return nodes, uses


def written(nodes: list[Node], uses: dict[int, list[tuple[int, str]]], edited: int | None) -> dict[str, str]:
    """The modules' source texts; later nodes come first, as Python needs it."""
    texts = {module: [f"X{n} = {n}" for n in range(2)] for module in MODULES}
    imports: dict[str, list[str]] = {module: [] for module in MODULES}
    for place in reversed(range(len(nodes))):
        module, kind = MODULES[nodes[place][0]], nodes[place][1]
        value = 1000 + place if place == edited else place
        words: list[str] = []
        inner: list[str] = []
        for target, style in uses[place]:
            home = MODULES[nodes[target][0]]
            name = f"n{target}"
            if home == module:
                words.append(name)
            elif style in {"from", "hint", "default", "base"}:
                imports[module].append(f"from {home} import {name}")
                words.append(name)
            elif style == "module":
                imports[module].append(f"import {home}")
                words.append(f"{home}.{name}")
            elif style == "alias" or kind != "function":
                imports[module].append(f"import {home} as alias{target}")
                words.append(f"alias{target}.{name}")
            else:
                inner.append(f"from {home} import {name} as other{target}")
                words.append(f"other{target}")
        listed = ", ".join(words)
        if kind == "constant":
            texts[module].append(f"n{place} = ({value}, lambda: ({listed},))" if listed else f"n{place} = {value}")
        elif kind == "class":
            texts[module].append(f"class n{place}:\n    size = {value}\n    def use(self): return [{listed}]")
        else:
            body = "".join(f"    {line}\n" for line in inner)
            texts[module].append(f"def n{place}(x=1):\n{body}    return [{value}, {listed}]")
    joined = {module: "\n".join([*imports[module], *texts[module]]) + "\n" for module in MODULES}
    return {module.replace(".", "__"): text for module, text in joined.items()}


def reached(uses: dict[int, list[tuple[int, str]]]) -> set[int]:
    found = {0}
    while True:
        more = found | {target for place in found for target, _ in uses[place]}
        if more == found:
            return found
        found = more


@given(graphs(), st.data())
def test_exactly_the_edits_of_reached_definitions_change_the_fingerprint(
    graph: tuple[list[Node], dict[int, list[tuple[int, str]]]], data: st.DataObject
) -> None:
    nodes, uses = graph
    edited = data.draw(st.integers(0, len(nodes) - 1))
    with tempfile.TemporaryDirectory() as folder:
        project = Sources(Path(folder), **written(nodes, uses, None))
        old = project.of("steps", "n0")
        project.write(**written(nodes, uses, edited))
        assert (project.of("steps", "n0") != old) == (edited in reached(uses))


@given(graphs())
def test_layout_comments_and_place_never_count(graph: tuple[list[Node], dict[int, list[tuple[int, str]]]]) -> None:
    files = written(*graph, None)
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as two:
        other = {name: "# note\n" + ast.unparse(ast.parse(text)) + "\n# end" for name, text in files.items()}
        assert Sources(Path(one), **files).of("steps", "n0") == Sources(Path(two), **other).of("steps", "n0")
