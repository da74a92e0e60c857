"""The language of latent spaces parses, prints canonically, and says what is wrong."""

import itertools

import pytest

from mcvae.errors import UserError
from mcvae.signature import FAMILIES, LEGAL_FAMILIES, LETTERS, parse

OPTIONS = [[], ["iso"], ["k"], ["learn"], ["iso", "k"], ["k", "learn"], ["iso", "k", "learn"]]


def every_component():
    for letter, count, dim, family, options in itertools.product(
        LETTERS, ("", "3"), (1, 2, 7), [None, *FAMILIES], OPTIONS
    ):
        if family and letter not in LEGAL_FAMILIES[family]:
            continue
        if (letter == "e" and set(options) & {"k", "learn"}) or (family not in (None, "wn") and "iso" in options):
            continue
        k = {"s": "k=0.5", "d": "k=2", "h": "k=-0.5", "p": "k=-2.0"}.get(letter, "k=-1e-3")
        texts = [k if option == "k" else option for option in options] + ([family] if family else [])
        yield ":".join([f"{count}{letter}{dim}", *texts])


@pytest.mark.parametrize("text", [*every_component(), "h2,s2,e2", "2h2,h2,e1,e3", "e2:iso,e2:iso", "h2,s2,h2"])
def test_printing_and_parsing_are_inverse(text):
    signature = parse(text)
    assert parse(str(signature)) == signature
    assert str(parse(str(signature))) == str(signature)


@pytest.mark.parametrize(
    "left, right",
    [
        ("h2,h2", "2h2"),
        ("e2,e2", "e4"),
        ("2e3", "e6"),
        ("h2:k=-1", "h2"),
        ("h2:wn:k=-1.0", "h2"),
        ("s2:k=2:learn", "s2:learn:k=2.0"),
        ("u2:k=-0.0", "u2"),
        ("e1:iso", "e1"),
        ("h1:iso", "h1"),
        (" h2 , s2 ", "h2,s2"),
        ("2e2:iso", "e2:iso,e2:iso"),
    ],
)
def test_equal_spaces_have_equal_texts(left, right):
    assert str(parse(left)) == str(parse(right))


@pytest.mark.parametrize(
    "left, right", [("2e2:iso", "e4:iso"), ("h2,s2", "s2,h2"), ("h2", "h2:learn"), ("s2", "s2:vmf")]
)
def test_different_spaces_have_different_texts(left, right):
    assert str(parse(left)) != str(parse(right))


def test_dimensions_count_the_manifold_and_its_embedding():
    signature = parse("2h2,s3:vmf,e4,p5")
    assert (signature.dim, signature.ambient_dim) == (4 + 3 + 4 + 5, 6 + 4 + 4 + 5)


def test_slugs_are_file_names_and_tell_spaces_apart():
    texts = ["h2:k=-0.5", "h2,s2", "2h2", "s2:vmf:k=2", "u3:learn"]
    slugs = [parse(text).slug for text in texts]
    assert len(set(slugs)) == len(texts)
    assert all(set(slug) <= set("abcdefghijklmnopqrstuvwxyz0123456789.-_") for slug in slugs)


@pytest.mark.parametrize(
    "text, words",
    [
        ("q2", ["'q2'", "unknown geometry 'q'", "e, s, d, h, p, u"]),
        ("h0", ["at least one dimension"]),
        ("0h2", ["at least once"]),
        ("s2:vmf:ps", ["given twice"]),
        ("h2:vmf", ["'vmf'", "'h'", "wn, rn"]),
        ("e2:k=1", ["flat"]),
        ("e2:learn", ["no curvature to learn"]),
        ("h2:k=1", ["k < 0"]),
        ("s2:k=0", ["k > 0"]),
        ("s2:k=inf", ["finite"]),
        ("s2:vmf:iso", ["one scale already"]),
        ("h2:soft", ["unknown option 'soft'", "wn, rn, iso"]),
        ("h2:", ["empty"]),
        ("h2,,s2", ["component ''"]),
        ("", ["such as"]),
        ("2", ["[count] letter dim"]),
    ],
)
def test_an_error_says_what_was_given_and_what_is_allowed(text, words):
    with pytest.raises(UserError) as caught:
        parse(text)
    assert all(word in str(caught.value) for word in words), str(caught.value)
    assert "\n" not in str(caught.value)
