"""Below a table of faces stands what its numbers rest on, and only where there is something to say."""

import pytest

from mcvae.findings.columns import columns, judged_by, with_decimals
from mcvae.findings.faces import face_notes

METRICS = {
    "parameters": 742_308,
    "test.n": 1000,
    "test.ll_pareto_k_high": 1.0,
    "test.ll_ess": 1.1,
    "test.bits_per_dim_gain": 0.0089,
    "test.bits_per_dim_elbo_se": 0.01225,
    "test.attribute_auroc_se": 0.00404,
    "test.attribute_auroc_gain_se": 0.00239,
    "test.mse_pca": 0.0076,
    "test.verification_auroc_se": 0.0143,
    "test.verification_auroc_male": 0.7404,
    "test.verification_genuine": 448,
    "test.verification_impostors": 499_052,
    "test.verification_matched": 255_779,
    "samples.attribute_frechet_data": 9.02,
    "samples.attribute_frechet_data_sd": None,
    "samples.attribute_frechet_data_n": 1000,
    "samples.n": 1000,
}


def record(latent, likelihood="gaussian", status="finished", **changed):
    config = {"dataset": "celeba", "latent": latent, "model": {"kind": "vae", "likelihood": likelihood}}
    metrics = METRICS | {name.replace("__", "."): value for name, value in changed.items()}
    return {"run": latent, "config": config, "status": status, "cause": None, "metrics": metrics}


def notes(*records):
    return " ".join(face_notes(records, columns("celeba")))


def test_a_bound_that_did_not_converge_is_called_so_and_with_it_the_spaces_that_it_is_of():
    every = notes(record("e64"), record("h64", test__ll_ess=1.3, test__bits_per_dim_gain=0.0101))
    assert "LL and bits/dim (LL): a lower bound, not converged" in every
    assert "1.2 effective samples" in every and "0.0089 to 0.0101 bits" in every
    assert "100% of the records" in every
    one = notes(record("e64", test__ll_pareto_k_high=0.2), record("h64"))
    assert "bits/dim (LL) of h64: a lower bound, not converged" in one
    none = notes(record("e64", test__ll_pareto_k_high=0.5), record("h64", status="diverged"))
    assert "not converged" not in none


@pytest.mark.parametrize(
    ("likelihood", "words"),
    [
        ("gaussian", "one learned scale for all pixels"),
        ("pixel-gaussian", "a learned scale for every pixel"),
        ("logistic", "discretised logistics"),
    ],
)
def test_bits_are_set_beside_no_flows(likelihood, words):
    text = notes(record("e64", likelihood))
    assert words in text and "no dequantisation noise, with 0.7 million parameters" in text
    assert "not with those of flows" in text
    assert ("log-probabilities of 256 levels" in text) == (likelihood == "logistic")


def test_standard_errors_are_the_largest_of_the_runs():
    text = notes(record("e64"), record("h64", test__bits_per_dim_elbo_se=0.02, test__attribute_auroc_gain_se=0.001))
    assert "bits per dimension of the ELBO 0.02," in text and "attribute AUROC 0.004," in text
    assert "verification AUROC 0.014" in text and "attribute AUROC less that of PCA 0.0024" in text


def test_references_say_how_many_they_are_of_and_are_no_floors():
    text = notes(record("e64"))
    assert "448 pairs of one person against 499,052 of two" in text and "AUROC of 0.740" in text
    assert "255,779 pairs of two persons who agree" in text
    assert "For reference, no floor: that of 1,000 validation images" in text and "is 9.0;" in text
    spread = notes(record("e64", samples__attribute_frechet_data_sd=0.31, samples__attribute_classifier_auroc=0.8714))
    assert "is 9.0 ± 0.3 over disjoint draws" in spread
    assert "classifier (mean AUROC of the attributes on the validation split: 0.871)" in spread


def test_nothing_is_said_of_what_was_not_measured():
    bare = {name: None for name in METRICS}
    text = " ".join(face_notes([record("e64") | {"metrics": bare}], columns("celeba")))
    assert "Verification" not in text and "Fréchet" not in text and "Standard errors" not in text
    assert "million" not in text and "PCA" not in text


def test_a_column_has_the_decimals_that_its_error_carries():
    bits = judged_by("celeba")
    assert (bits.metric, bits.better, bits.compared) == ("test.bits_per_dim_elbo", -1, True)
    decimals = [with_decimals(bits, [6.5], errors).decimals for errors in ([0.0123], [0.0024, 0.004], [0.2], [])]
    assert decimals == [3, 3, 1, bits.decimals]


def test_faces_are_judged_by_the_bound_and_other_data_by_the_likelihood():
    assert judged_by("mnist").metric == judged_by("qm9").metric == "test.ll"
    known = {column.metric: column for column in columns("celeba")}
    assert not known["test.ll"].compared and known["test.ll"].shown
