"""Schemas as values: hashed, pickled and written by hand."""

import pickle
import subprocess
import sys

import pytest

from driftline.core.errors import InvalidSchema
from driftline.core.schema import Dtype, Feature, Kind, Schema, layout

SCHEMA = Schema((Feature("x", Kind.NUMERIC), Feature("c", Kind.CATEGORICAL)))


def test_kinds_and_dtypes_may_be_plain_text():
    feature = Feature("x", "numeric", "float64")
    assert feature == Feature("x", Kind.NUMERIC, Dtype.FLOAT64)
    assert "x" in layout(Schema((feature,))).float64


def test_an_unknown_kind_names_the_feature():
    with pytest.raises(InvalidSchema, match="kind of feature 'x' is 'number'; use numeric"):
        Feature("x", "number")


def test_a_schema_from_another_process_has_the_same_hash():
    code = (
        "import pickle, sys; from driftline.core.schema import *;"
        "sys.stdout.buffer.write(pickle.dumps("
        "Schema((Feature('x', Kind.NUMERIC), Feature('c', Kind.CATEGORICAL)))))"
    )
    written = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout
    other = pickle.loads(written)
    assert other == SCHEMA
    assert {other: 1}[SCHEMA] == 1
