"""Graphs of what splits texts into words answer as their models, whatever locales a machine has."""

from __future__ import annotations

import pandas as pd
import pytest
from onnx import TensorProto, helper
from sklearn.compose import make_column_transformer
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from mainspring.artifacts.onnx import OnnxModel
from mainspring.errors import CodecError
from mainspring.models import Output, Predictor, Signature
from mainspring.models.onnx_conversion import attempts
from mainspring.models.onnx_export import _converted
from mainspring.models.parity import Parity
from mainspring.models.probes import probes
from tests.models.onnx_rows import records_of
from tests.models.test_onnx import graph_of, port

pytestmark = pytest.mark.one_backend("no graph is stored")
TEXTS = ["A Good Film", "bad film", "good, SCHÖN good", "terrible Bad thing", "so-so", "schön and ÜBER nice"]
FRESH = ["GOOD schÖn", "über NICE Film", "BAD-thing", "never seen", "", "ÜBER ÜBER a"]


@pytest.mark.parametrize(
    "words", [TfidfVectorizer(), CountVectorizer(ngram_range=(1, 2)), TfidfVectorizer(lowercase=False)]
)
def test_words_of_texts_are_the_models(words: TfidfVectorizer) -> None:
    given = pd.DataFrame({"text": TEXTS, "stars": [4.0, 1.0, 5.0, 1.0, 3.0, 5.0]})
    columns = make_column_transformer((words, "text"), ("passthrough", ["stars"]))
    model = make_pipeline(columns, LogisticRegression()).fit(given, [1, 0, 1, 0, 0, 1])
    native = Predictor(model, Signature.infer(given, output=Output("probability", (0, 1))), "pandas")
    rows = records_of(given) + [{"text": text, "stars": 2.0} for text in FRESH]
    _, kind, _, error = _converted(model, native, Parity(rows, native(rows), len(rows), 1e-5, 1e-6))
    assert kind == "columns"
    assert error < 1e-6


def test_a_graph_that_leaves_no_stop_words_out_of_pairs_is_refused_and_would_be_found() -> None:
    """What is made up mixes the words of real texts, so that it shows what no real row does."""
    given = pd.DataFrame({"text": ["good film", "bad film", "the good", "a film", "the bad", "good"]})
    words = make_column_transformer((CountVectorizer(ngram_range=(1, 2), stop_words=["the", "a"]), "text"))
    model = make_pipeline(words, LogisticRegression()).fit(given, [1, 0, 1, 0, 0, 1])
    native = Predictor(model, Signature.infer(given, output=Output("probability", (0, 1))), "pandas")
    real = records_of(given)
    made, said = probes(model, native, real)
    compared = Parity([*real, *made], [*native(real), *said], len(real), 1e-5, 1e-6)
    with pytest.raises(CodecError, match=r"can't leave out stop words .* `ngram_range=\(1, 1\)`"):
        _converted(model, native, compared)
    model[0].named_transformers_["countvectorizer"].stop_words = None
    graph = next(attempts(model, native.signature, "columns"))[2]()
    assert compared.off(Predictor(graph, native.signature, "columns")(compared.rows))[1] is not None


def test_a_graph_that_wants_a_locale_that_isnt_here_says_so() -> None:
    node = helper.make_node("StringNormalizer", ["x"], ["y"], case_change_action="LOWER", locale="xx_YY.UTF-8")
    texts = [port(name, TensorProto.STRING, (None,)) for name in "xy"]
    with pytest.raises(CodecError, match=r"locale `xx_YY.UTF-8`, which isn't installed here.*C\.UTF-8"):
        _ = OnnxModel(graph_of([node], texts[:1], texts[1:])).inputs
