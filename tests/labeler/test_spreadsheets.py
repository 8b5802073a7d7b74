"""No spreadsheet, whatever its list separator, finds a formula in our CSV files; an import gets back what there was."""

from __future__ import annotations

import csv
import io
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labeler.client.__main__ import _no_formula
from labeler.spreadsheets import exact, safe

HOSTILE = st.text(alphabet="=+-@＝\t\r\n;,'\" ab1", max_size=12)


def cells(line: str, separator: str) -> list[str]:
    """As a spreadsheet cuts it: at each separator and return that does not stand in a cell which begins with a
    quotation mark; and as a simpler one does, at each."""
    cut = re.split(f"[{separator}\r\n]", line)
    return [cell for row in csv.reader(io.StringIO(line, newline=""), delimiter=separator) for cell in row] + cut


@settings(max_examples=500, deadline=None)
@given(HOSTILE, HOSTILE)
def test_no_piece_of_a_line_is_a_formula(one, other):
    out = io.StringIO(newline="")
    csv.writer(out).writerow(["1", safe(one), safe(other)])
    for cell in cells(out.getvalue(), ";") + cells(out.getvalue(), "\t"):
        assert cell.lstrip('" ')[:1] not in tuple("=+-@＝"), (cell, out.getvalue())


@settings(max_examples=500, deadline=None)
@given(HOSTILE)
def test_an_import_reads_what_there_was(text):
    assert exact(safe(text)) == text


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("=1+1", "'=1+1"),
        ("a;=cmd|'/C calc'!A0", "a;'=cmd|'/C calc'!A0"),
        ('a;"=1', "a;\"'=1"),
        ("'=1", "''=1"),
        ("two\n- points", "two\n'- points"),
        ("plain; text", "plain; text"),
        ("it's; fine", "it's; fine"),
    ],
)
def test_what_is_written(text, written):
    assert safe(text) == written == _no_formula(text)
    assert exact(written) == text
