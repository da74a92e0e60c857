"""Validation knows exactly which spaces can be built."""

import pytest

from mcvae import latent
from mcvae.errors import UserError
from mcvae.grid import check_built
from mcvae.signature import FAMILIES, LEGAL_FAMILIES, LETTERS, parse

SPACES = ["e2", *(f"{letter}2:{f}" for f in FAMILIES for letter in LETTERS if letter in LEGAL_FAMILIES[f])]


@pytest.mark.parametrize("text", SPACES)
def test_a_space_passes_validation_if_and_only_if_it_can_be_built(text):
    def builds(function, argument):
        try:
            function(argument)
        except UserError as error:
            assert "not built yet" in str(error)
            return False
        return True

    assert builds(check_built, parse(text)) == builds(latent.build, text)
