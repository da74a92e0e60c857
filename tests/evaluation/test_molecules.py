"""Numbers of molecules follow their definitions, against scikit-learn, closed forms and RDKit's own."""

import csv
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from rdkit.Chem import Descriptors, MolFromSmiles
from scipy.stats import wasserstein_distance
from sklearn.linear_model import Ridge
from sklearn.metrics import mean_absolute_error, r2_score

from mcvae import data
from mcvae.config import Model, RunConfig, Training
from mcvae.data.graphs import encode, to_smiles
from mcvae.evaluation.blocks import DRAWS, POSTERIOR, noise, predicted_properties
from mcvae.evaluation.chemistry import describe_samples, molecules_of
from mcvae.evaluation.descriptors import DESCRIPTORS, descriptors, sample_distances
from mcvae.evaluation.fingerprints import STRENGTHS, fingerprints, morgan_ridge
from mcvae.evaluation.judged_molecules import read_again
from mcvae.evaluation.molecules import PREDICTORS, molecule_keys, molecule_metrics, property_errors, property_metrics
from mcvae.evaluation.property_probes import PROBES, Known, coordinates, property_probes
from mcvae.evaluation.property_probes import ridge as ridge_probe
from mcvae.latent import build
from mcvae.models import build as build_model
from mcvae.models.graph import TENSORS, codes, pack
from mcvae.trained import TrainedRun
from mcvae.training import fit

SMILES = "C CC CCO C#N C1CC1 c1ccccc1 CC(C)(C)O C1CCC1 OCC1CO1 CC(=O)NC FC(F)F Cc1ccco1 CN(C)C=O C1COCCN1".split()


def known(latent, function, number, seed):
    """Records at random points whose properties are functions of what the probes read of them."""
    torch.manual_seed(seed)
    loc = latent.manifold.random(number)
    return Known.of(latent, loc, function(coordinates(latent, loc).double()))


def splits(latent, function):
    return [known(latent, function, number, seed) for seed, number in enumerate((400, 100, 150))]


@pytest.mark.parametrize(
    "signature", ["h2,s2,e2", *(pytest.param(x, marks=pytest.mark.full) for x in ("e3", "s3:vmf"))]
)
def test_every_probe_knows_a_smooth_property_and_none_knows_noise(signature):
    latent = build(signature)
    noise = torch.Generator().manual_seed(9)

    def properties(u):
        return torch.stack([u[:, 0] + 0.5 * u[:, 1], torch.randn(len(u), generator=noise).double()], -1)

    train, validation, test = splits(latent, properties)
    probed = property_probes(latent, train, validation, test)
    assert set(probed.predicted) == set(PROBES)
    for name, predicted in probed.predicted.items():
        error = (predicted - test.values).abs().mean(0) / test.values.abs().mean(0)
        assert error[0] < {"knn": 0.6}.get(name, 0.15), name
        assert error[1] > 0.85, name


def test_the_ridge_probe_is_scikit_learns_at_the_strength_that_validation_chooses():
    latent = build("e4")
    train, validation, test = splits(latent, lambda u: u @ torch.ones(4, 2).double() + torch.randn(len(u), 2).double())
    found = ridge_probe(train, validation, test)
    for target in range(2):
        fits = [Ridge(10.0**p).fit(train.coordinates, train.values[:, target]) for p in range(-3, 5)]
        errors = [np.abs(f.predict(validation.coordinates) - validation.values[:, target].numpy()).mean() for f in fits]
        expected = fits[int(np.argmin(errors))].predict(test.coordinates)
        np.testing.assert_allclose(found[:, target], expected, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("signature", ["s2:vmf", "2s2:vmf:k=0.25,h2,e1"])
def test_a_property_that_is_linear_around_a_sphere_is_found_by_ridge(signature):
    """Height over another axis than the origin's: tangent coordinates at the origin tear at its antipode."""
    latent = build(signature)
    torch.manual_seed(1)
    axis = torch.randn(3, 1).double()
    parts = []
    for number in (400, 100, 150):
        z = latent.prior().rsample((number,)).detach()
        parts.append(Known.of(latent, z, z[:, :3].double() @ axis))
    assert (ridge_probe(*parts) - parts[2].values).abs().mean() < 1e-3 * parts[2].values.abs().mean()
    torn = [part._replace(coordinates=latent.logmap0(part.loc).double()) for part in parts]
    assert (ridge_probe(*torn) - parts[2].values).abs().mean() > 0.2 * parts[2].values.abs().mean()


@pytest.mark.parametrize("decoder_input", ["default", "ambient", "tangent", "scaled"])
def test_probes_read_the_same_whatever_the_decoder_sees(decoder_input):
    latent = build("s2:vmf:k=4,h2,d3,e1", decoder_input=decoder_input)
    torch.manual_seed(2)
    z = latent.manifold.random(20)
    h_and_d = latent.logmap0(z)[:, 2:7]
    assert torch.equal(coordinates(latent, z), torch.cat([z[:, :3], h_and_d, z[:, -1:]], -1))


def test_neighbours_are_geodesic_and_their_number_is_chosen_on_validation():
    latent = build("s2:vmf")
    train, validation, test = splits(latent, lambda u: u)
    probed = property_probes(latent, train, validation, test)
    angles = torch.arccos((test.loc @ train.loc.T).clamp(-1, 1))
    nearest = angles.topk(probed.neighbours, largest=False).indices
    torch.testing.assert_close(probed.predicted["knn"], train.values[nearest].mean(1))
    assert 1 < probed.neighbours < 50
    noisy = validation._replace(values=torch.randn(100, 3, generator=torch.Generator().manual_seed(1)).double())
    assert property_probes(latent, train, noisy, test).neighbours > probed.neighbours


def test_equal_probes_have_equal_bits_and_leave_torch_alone():
    latent = build("h2")
    parts = splits(latent, lambda u: u)
    with torch.inference_mode():
        torch.manual_seed(3)
        state = torch.get_rng_state()
        first, second = (property_probes(latent, *parts).predicted for _ in range(2))
        assert torch.equal(torch.get_rng_state(), state) and not torch.is_grad_enabled()
    assert all(torch.equal(first[name], second[name]) for name in PROBES)


def test_errors_are_those_of_scikit_learn_in_the_targets_units():
    rng = np.random.default_rng(0)
    truth, predicted = rng.normal(size=(50, 2)), rng.normal(size=(50, 2))
    std, mean = np.array([2.0, 0.3]), np.array([5.0, -1.0])
    found = property_errors({"_x": torch.tensor(predicted)}, torch.tensor(truth), torch.tensor(std), ["a", "b"])
    for index, name in enumerate("ab"):
        y, z = truth[:, index] * std[index] + mean[index], predicted[:, index] * std[index] + mean[index]
        assert found[f"test.mae_x.{name}"] == pytest.approx(mean_absolute_error(y, z))
        assert found[f"test.r2_x.{name}"] == pytest.approx(r2_score(y, z))
        assert found[f"test.standardised_mae_x.{name}"] == pytest.approx(mean_absolute_error(y, z) / std[index])
    assert found["test.standardised_mae_x"] == pytest.approx(np.abs(truth - predicted).mean())
    constant = property_errors({"": torch.ones(3, 1)}, torch.zeros(3, 1), torch.ones(1), ["a"])
    assert constant["test.r2.a"] is None


def test_the_fingerprint_baseline_is_scikit_learns_ridge():
    rng = np.random.default_rng(0)
    parts = [SMILES[:8], SMILES[8:11], SMILES[11:]]
    known, checked = rng.normal(size=(8, 2)), rng.normal(size=(3, 2))
    found = morgan_ridge(parts[0], known, parts[1], checked, parts[2])
    x, asked, queries = (fingerprints(part).toarray() for part in parts)
    for target in range(2):
        fits = [Ridge(strength).fit(x, known[:, target]) for strength in STRENGTHS]
        errors = [np.abs(fit.predict(asked) - checked[:, target]).mean() for fit in fits]
        expected = fits[int(np.argmin(errors))].predict(queries)
        np.testing.assert_allclose(found[:, target], expected, rtol=1e-6, atol=1e-7)


def test_fingerprints_count_atoms_and_do_not_depend_on_how_a_molecule_is_written():
    counts = fingerprints(["CCO", "OCC", "CCCCO"]).toarray()
    assert (counts[0] == counts[1]).all() and (counts[0] != counts[2]).any()
    assert counts[0].sum() == 6  # three atoms, three neighbourhoods of radius one; none of radius two is new


def test_descriptors_are_rdkits_of_each_molecule():
    values = descriptors(["CCO", "c1ccccc1", "CCO"])
    names = list(DESCRIPTORS)
    assert (values[0] == values[2]).all() and values.shape == (3, len(names))
    assert values[0, names.index("weight")] == pytest.approx(46.069, abs=1e-3)
    assert values[1, names.index("rings")] == values[1, names.index("aromatic")] == 1
    assert values[1, names.index("tetrahedral")] == 0 and values[0, names.index("donors")] == 1


def test_equal_samples_are_at_no_distance_and_others_at_that_of_their_distributions():
    same = sample_distances(SMILES, SMILES[::-1], SMILES[:2])
    assert same["samples.property_frechet"] == pytest.approx(0, abs=1e-6)
    assert all(same[f"samples.wasserstein.{name}"] == pytest.approx(0, abs=1e-9) for name in ("logp", "weight"))
    other = sample_distances(["CC", "CC", "CCO"], SMILES, SMILES)
    weights = [[Descriptors.MolWt(MolFromSmiles(text)) for text in part] for part in (["CC", "CC", "CCO"], SMILES)]
    assert other["samples.wasserstein.weight"] == pytest.approx(wasserstein_distance(*weights))
    assert other["samples.property_frechet"] > 1 > other["samples.property_frechet_data"]
    assert sample_distances(["CC"], SMILES, SMILES)["samples.property_frechet"] is None


def test_the_frechet_distance_of_shifted_sets_is_the_square_of_the_shift(monkeypatch):
    table = {text: float(index) for index, text in enumerate(SMILES)} | {f"x{t}": i + 2.0 for i, t in enumerate(SMILES)}
    monkeypatch.setattr(
        "mcvae.evaluation.descriptors.descriptors", lambda texts: np.array([[table[t]] * 10 for t in texts])
    )
    found = sample_distances([f"x{text}" for text in SMILES], SMILES, SMILES)
    expected = 10 * 4 / np.arange(len(SMILES)).var()
    assert found["samples.property_frechet"] == pytest.approx(expected, rel=1e-6)
    assert found["samples.wasserstein.logp"] == pytest.approx(2.0)


def test_lenient_validity_takes_fragments_and_its_novelty_counts_repeats():
    found = describe_samples(["C.C", "CC", "CC", "CCO", "C1CC", None], ["CC"])
    assert found["samples.validity"] == pytest.approx(3 / 6)
    assert found["samples.lenient_validity"] == pytest.approx(4 / 6)
    assert found["samples.lenient_uniqueness"] == pytest.approx(3 / 4)
    assert found["samples.lenient_novelty"] == pytest.approx(2 / 4)
    assert found["samples.novelty"] == pytest.approx(1 / 2)


def coded(smiles):
    encoded = encode(smiles)
    return codes(pack({name: torch.from_numpy(encoded[name]) for name in TENSORS})).numpy()


def test_a_graph_of_two_fragments_is_a_lenient_molecule_and_no_strict_one():
    row = coded(["CCO"])[0].copy()
    row[27:] = np.where(row[27:] > 0, 0, row[27:])  # no bond between the three atoms
    assert to_smiles(row[None]) == [None]
    assert molecules_of(row[None], [], graphs=True) == ["C.C.O"]
    assert molecules_of(coded(SMILES), [], graphs=True) == to_smiles(coded(SMILES))
    assert molecules_of(np.zeros_like(row)[None], [], graphs=True) == [None]


@pytest.fixture(scope="module")
def make_molecular(prepared):
    """(latent, options) -> an untrained model of the molecules, and their data."""

    def make(latent="h2,e2", **options):
        model = Model(hidden=(8, 16), likelihood="categorical", property_weight=1.0, **options)
        config = RunConfig(
            dataset="qm9", data="0" * 8, protocol="standard", latent=latent, model=model, training=Training(), seed=0
        )
        dataset = data.load(prepared["qm9"])
        torch.manual_seed(0)
        return build_model(config, dataset.stats).eval(), dataset, config

    return make


@pytest.mark.parametrize("decoder", ["sequence", "graph"])
def test_every_decoder_is_measured_by_the_same_keys(make_molecular, decoder):
    model, dataset, config = make_molecular(encoder="graph", decoder=decoder)
    test = dataset.split("test")
    with torch.inference_mode():
        loc = model.posterior(model.prepare(test)).loc
        metrics, arrays = molecule_metrics(model, dataset, loc, labels=50, samples=64)
    targets = [target["name"] for target in dataset.stats["targets"]]
    assert list(metrics) == list(dict.fromkeys(metrics)) and set(metrics) == set(
        molecule_keys(targets, autoencoder=False)
    )
    assert all(value is None or np.isfinite(value) for value in metrics.values())
    assert all(metrics[f"test.mae{end}.gap"] > 0 for end in PREDICTORS) and metrics["test.probe_labels"] == 50
    assert metrics["samples.validity"] <= metrics["samples.lenient_validity"]
    assert 0 <= metrics["test.token_accuracy"] < 1 and metrics["test.reconstruction_n"] == 40
    np.testing.assert_allclose(
        np.abs(arrays["predicted"] - test["properties"].numpy()).mean(0),
        [metrics[f"test.mae.{name}"] for name in targets],
        rtol=1e-4,
    )
    assert arrays["neighbours"].shape == (6, 6) and arrays["molecule_paths"].shape == (6, 9)
    run = TrainedRun(dataset.folder, config, dataset.stats, model)
    assert run.decode(loc)[:16] == arrays["reconstructions"].tolist()


class SquareNorm(torch.nn.Module):
    """A head that knows how far out a point lies, which its location cannot tell: E|z|² = |loc|² + Σ scale²."""

    def forward(self, code):
        return code.square().sum(-1, keepdim=True).expand(*code.shape[:-1], 12)


def property_numbers(model, dataset):
    with torch.inference_mode():
        loc = model.posterior(model.prepare(dataset.split("test"))).loc
        return property_metrics(model, dataset, loc, 20, np.zeros((40, 12)))


def test_what_is_predicted_is_the_heads_expectation_under_the_posterior(make_molecular):
    model, dataset, _ = make_molecular("e8")
    model.head = SquareNorm()
    test = dataset.split("test")
    with torch.inference_mode():
        (normal,) = model.posterior(model.prepare(test)).parts
    centre, variance = (x.reshape(40, 8).double().square() for x in (normal.loc, normal.scale))
    expected = (centre + variance).sum(-1)
    spread = (4 * centre * variance + 2 * variance.square()).sum(-1).sqrt()
    found = predicted_properties(model, test)[:, 0]
    assert ((found - expected).abs() < 5 * spread / DRAWS**0.5).all()
    assert (found - expected).abs().mean() < 0.1 * variance.sum(-1).mean()
    metrics, arrays = property_numbers(model, dataset)
    stats = next(target for target in dataset.stats["targets"] if target["name"] == "gap")
    column = [target["name"] for target in dataset.stats["targets"]].index("gap")
    np.testing.assert_allclose(arrays["predicted"][:, column], found * stats["std"] + stats["mean"], rtol=1e-5)
    truth = (test["properties"][:, column].double() - stats["mean"]) / stats["std"]
    for end, values in (("", found), ("_location", centre.sum(-1))):
        error = (values - truth).abs().mean().item()
        assert metrics[f"test.standardised_mae{end}.gap"] == pytest.approx(error, rel=1e-5)
        assert metrics[f"test.mae{end}.gap"] == pytest.approx(error * stats["std"], rel=1e-5)
    assert metrics["test.mae.gap"] > 1.5 * metrics["test.mae_location.gap"]


@pytest.mark.parametrize("latent", ["h8", "2s2:vmf,e3"])
def test_predictions_are_means_over_draws_with_noise_of_their_own_for_each_block(make_molecular, latent):
    model, dataset, _ = make_molecular(latent)
    split = {name: torch.cat([tensor] * 2) for name, tensor in dataset.split("train").items()}
    split = {name: torch.cat([tensor, tensor])[:150] for name, tensor in split.items()}
    draws = []
    with torch.inference_mode():
        for index, rows in enumerate((slice(0, 128), slice(128, 150))):
            part = {name: tensor[rows] for name, tensor in split.items()}
            posterior = model.posterior(model.prepare(part))
            with noise(POSTERIOR, index, torch.device("cpu")):
                points = posterior.rsample((DRAWS,))
            draws.append(torch.stack([model.properties(z).double() for z in points]))
    draws = torch.cat(draws, 1)
    state = torch.get_rng_state()
    found = predicted_properties(model, split)
    assert torch.equal(torch.get_rng_state(), state)
    torch.testing.assert_close(found, draws.mean(0), rtol=1e-5, atol=1e-6)
    truth = torch.randn(150, 12, generator=torch.Generator().manual_seed(0)).double()
    single = (draws - truth).abs().mean((1, 2))
    assert (found - truth).abs().mean() < single.mean() and draws.std(0).mean() > 1e-3


def test_a_split_molecules_read_again_and_a_users_records_are_predicted_alike(make_molecular):
    model, dataset, config = make_molecular("h8")
    _, arrays = property_numbers(model, dataset)
    test, smiles = dataset.split("test"), dataset.smiles[80:]
    again = read_again(model, [*smiles, None, "C.C", *smiles[:3]], dataset.stats)
    np.testing.assert_allclose(again[:40], arrays["predicted"], rtol=1e-5)
    assert np.isnan(again[40:42]).all() and (again[42:] == again[:3]).all()
    run = TrainedRun(dataset.folder, config, dataset.stats, model)
    for records in (test, smiles):
        predicted = torch.stack(list(run.predict(records).values()), -1)
        np.testing.assert_allclose(predicted, arrays["predicted"], rtol=1e-5)
    at_location = torch.stack(list(run.properties(run.encode(test)).values()), -1)
    assert not np.allclose(at_location, arrays["predicted"], rtol=1e-3)


def test_an_autoencoder_predicts_at_its_codes(make_molecular):
    model, dataset, _ = make_molecular("e3", kind="autoencoder")
    metrics, _ = property_numbers(model, dataset)
    assert all(metrics[f"test.mae.{t['name']}"] == pytest.approx(metrics[f"test.mae_location.{t['name']}"], rel=1e-6)
               for t in dataset.stats["targets"])  # fmt: skip


def test_a_perfect_one_shot_decoder_reconstructs_everything(make_molecular):
    """A model whose points are the numbers of records, and whose decoder knows the records by heart."""
    from mcvae.evaluation.molecules import reconstructions

    _, dataset, _ = make_molecular()
    truth = codes(pack(dataset.split("test")))
    model = SimpleNamespace(protocol=SimpleNamespace(makes_graphs=True), generate=lambda z: truth[z[:, 0].long()])
    metrics, arrays = reconstructions(model, dataset, torch.arange(40.0).unsqueeze(-1))
    assert metrics["test.exact_reconstruction"] == metrics["test.token_accuracy"] == 1
    assert arrays["inputs"].tolist() == dataset.smiles[80:96]
    metrics, _ = reconstructions(model, dataset, torch.arange(40.0).flip(0).unsqueeze(-1))
    assert metrics["test.exact_reconstruction"] < 0.2 and metrics["test.token_accuracy"] < 1


def test_the_history_is_of_the_objective_with_the_models_own_weight_of_the_kl(prepared, tmp_path):
    def history(folder, **options):
        model = Model(hidden=(8, 16), likelihood="categorical", property_weight=2.0, **options)
        training = Training(epochs=2, batch_size=16, kl_warmup=2)
        config = RunConfig(
            dataset="qm9", data="0" * 8, protocol="standard", latent="h2,e2", model=model, training=training, seed=0
        )
        assert fit(config, prepared["qm9"], folder) == "finished"
        with open(folder / "history.csv", newline="") as file:
            return [{name: float(text) for name, text in row.items()} for row in csv.DictReader(file)]

    for row, beta in zip(history(tmp_path / "light", kl_weight=0.25), (0.0, 0.125), strict=True):
        assert row["beta"] == beta
        for split, weight in (("train", beta), ("validation", 0.25)):
            parts = -row[f"{split}.reconstruction"] + weight * row[f"{split}.kl"] + 2 * row[f"{split}.property_mae"]
            assert row[f"{split}.loss"] == pytest.approx(parts)
            assert row[f"{split}.elbo"] == pytest.approx(row[f"{split}.reconstruction"] - row[f"{split}.kl"])
    whole = history(tmp_path / "whole")[1]
    assert whole["validation.loss"] == pytest.approx(-whole["validation.elbo"] + 2 * whole["validation.property_mae"])
