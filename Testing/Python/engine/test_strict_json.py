"""The one reader of JSON from outside: it refuses what a later step could not hold, compute with or write again."""

import math

import pytest

from NNMambaLib.strict_json import MAX_CHARACTERS, parse_json


def test_json_is_read_as_it_is():
    text = '{"a": [1, -2.5, 1e300, true, null, "\\ud83d\\ude00 \\u001b", {"b": {}}], "ä": 12345678901234567890}'
    expected = {"a": [1, -2.5, 1e300, True, None, "\U0001f600 \x1b", {"b": {}}], "ä": 12345678901234567890}
    assert parse_json(text) == expected


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "Expecting value"),
        ("{", "Expecting property name"),
        ("[" * 100_000 + "]" * 100_000, "it is nested deeper than 64 levels"),
        ('{"a":' * 70 + "1" + "}" * 70, "it is nested deeper than 64 levels"),
        ('["\\ud800"]', "which is not valid Unicode"),
        ('{"\\udc80": 1}', "which is not valid Unicode"),
        ("[1e400]", "1e400, which is too large"),
        ("-1" + "0" * 400, "of 402 digits, which is too large"),
        ("9" * 5000, "of 5000 digits, which is too large"),
        ("[NaN]", "it holds NaN, which is not a number in JSON"),
        ("[-Infinity]", "it holds -Infinity"),
        ('{"a": 1, "a": 2}', "it names 'a' twice in one object"),
        ('"' + "x" * MAX_CHARACTERS + '"', "characters, more than"),
    ],
    ids=lambda value: value[:20],
)
def test_what_is_not_strict_json_is_refused_with_its_reason(text, reason):
    with pytest.raises(ValueError, match=r"^[^\n]*$") as error:
        parse_json(text)
    assert reason in str(error.value)


def test_nan_is_taken_where_it_is_allowed():
    nan, infinity = parse_json("[NaN, Infinity]", allow_nan=True)
    assert math.isnan(nan)
    assert infinity == math.inf


def test_a_key_that_is_there_twice_is_found_among_many_in_no_time():
    text = "{" + ",".join(f'"{number}":0' for number in range(300_000)) + ',"299999":1}'
    with pytest.raises(ValueError, match="it names '299999' twice in one object"):
        parse_json(text)
