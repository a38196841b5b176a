"""Quantities: the table of Kubernetes' own grammar, its canonical form, and that no text does harm."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.quantity import MAX, SMALLEST, Format, Quantity, parse


@pytest.mark.parametrize(
    ("text", "value", "canonical"),
    [
        ("0", "0", "0"),
        ("-0", "0", "0"),
        ("0Ki", "0", "0"),
        ("0e5", "0", "0"),
        ("1", "1", "1"),
        ("+1", "1", "1"),
        ("0001", "1", "1"),
        ("1.", "1", "1"),
        (".5", "0.5", "500m"),
        ("0.5", "0.5", "500m"),
        ("500m", "0.5", "500m"),
        ("1500m", "1.5", "1500m"),
        ("2000m", "2", "2"),
        ("100n", "1e-7", "100n"),
        ("7u", "7e-6", "7u"),
        ("1k", "1000", "1k"),
        ("1000k", "1000000", "1M"),
        ("1.5G", "1500000000", "1500M"),
        ("100", "100", "100"),
        ("3T", "3e12", "3T"),
        ("3P", "3e15", "3P"),
        ("3E", "3e18", "3E"),
        ("1Ki", "1024", "1Ki"),
        ("1024Mi", "1073741824", "1Gi"),
        ("1.5Gi", "1610612736", "1536Mi"),
        ("0.5Ki", "512", "512"),
        ("0.3Ki", "307.2", "307200m"),
        ("1.0001Ki", "1024.1024", "1025"),
        ("1Ti", "1099511627776", "1Ti"),
        ("1Pi", "1125899906842624", "1Pi"),
        ("7Ei", "8070450532247928832", "7Ei"),
        ("1e3", "1000", "1e3"),
        ("1E3", "1000", "1e3"),
        ("12e2", "1200", "1200"),
        ("1e-3", "0.001", "1e-3"),
        ("1e+21", str(MAX), "9223372036854775807"),
        ("-1Gi", "-1073741824", "-1Gi"),
        ("-500m", "-0.5", "-500m"),
    ],
)
def test_a_quantity_means_and_is_shown_as_in_kubernetes(text: str, value: str, canonical: str) -> None:
    quantity = parse(text)
    assert quantity.value == Decimal(value)
    assert str(quantity) == canonical
    assert parse(canonical).value in (quantity.value, quantity.to_int())  # a binary form is whole


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "1 ",
        " 1",
        "+",
        "-",
        ".",
        "Ki",
        "m",
        "1.1.M",
        "1+1.0M",
        "0.1am",
        "aoeu",
        "--1",
        "1,5",
        "1GI",
        "0x10",
        "١",
        "1Gi\n",
    ],
)
def test_what_is_no_quantity_is_refused_in_the_api_servers_words(text: str) -> None:
    with pytest.raises(ValueError, match=r"^quantities must match the regular expression "):
        parse(text)


@pytest.mark.parametrize(
    "text", ["1i", ".5i", "0.1mi", "-3.01i", "-3.01e-", "1K", "1ki", "1e", "1KiMi", "1M1", "1e" + "9" * 30]
)
def test_a_suffix_that_is_none_is_refused_in_the_api_servers_words(text: str) -> None:
    with pytest.raises(ValueError, match=r"^unable to parse quantity's suffix$"):
        parse(text)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e999999999", MAX),
        ("-1e999999999", -MAX),
        ("9" * 100_000, MAX),
        ("9" * 100_000 + "Ki", MAX),
        ("1000E", MAX),
        ("16Ei", MAX),
        ("1e-999999999", SMALLEST),
        ("0." + "0" * 100_000 + "1", SMALLEST),
        ("0." + "0" * 100_000 + "1Ki", SMALLEST),
        ("1.0000000001", 1 + SMALLEST),
        ("-1.0000000001", -1 - SMALLEST),
        ("9" * 100_000 + "e-99999", Decimal(10)),
        ("0" * 100_000 + "7", Decimal(7)),
    ],
)
def test_what_is_too_large_or_too_fine_is_bounded_and_soon(text: str, value: Decimal) -> None:
    assert parse(text).value == value


@pytest.mark.parametrize(
    ("text", "scale", "number"),
    [
        ("1500m", 0, 2),
        ("-1500m", 0, -2),
        ("1500m", -3, 1500),
        ("100u", -3, 1),
        ("1n", 0, 1),
        ("0", -3, 0),
        ("1Gi", 0, 1 << 30),
        ("1e21", -9, int(MAX) * 10**9),
        ("1001", 3, 2),
    ],
)
def test_as_an_integer_it_is_rounded_up(text: str, scale: int, number: int) -> None:
    assert parse(text).to_int(scale) == number


def test_quantities_compare_by_value_however_they_are_written() -> None:
    assert parse("1Gi") == parse("1024Mi") == parse("1073741824") == Quantity(Decimal(2**30))
    assert hash(parse("1Gi")) == hash(parse("1073741824"))
    assert parse("999M") < parse("1Gi") < parse("1.1Gi")
    assert [parse(text).format for text in ("1Gi", "1G", "1e9")] == [Format.BINARY, Format.DECIMAL, Format.EXPONENT]


@given(st.integers(-(2**63) + 1, 2**63 - 1))
def test_every_64_bit_integer_is_exact(number: int) -> None:
    assert parse(str(number)).to_int() == number
    assert parse(str(parse(str(number)))).to_int() == number


@given(st.from_regex(r"\A[+-]?[0-9.]{1,12}[eEinumkKMGTP]{0,2}[-+]?[0-9]{0,3}\Z"))
def test_whatever_matches_the_expression_is_a_quantity_or_refused(text: str) -> None:
    try:
        quantity = parse(text)
    except ValueError:
        return
    assert abs(quantity.value) <= MAX
    again = parse(str(quantity))
    assert str(again) == str(quantity)


@given(st.text(max_size=20))
def test_no_text_does_harm(text: str) -> None:
    try:
        parse(text)
    except ValueError as error:
        assert "\n" not in str(error)
