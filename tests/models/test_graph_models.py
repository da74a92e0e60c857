"""Models of molecular graphs: what the encoder is told, the one-shot decoder's density, and any latent space."""

import itertools

import numpy as np
import pytest
import torch
from rdkit import Chem

from mcvae.config import Model, RunConfig, Training, validate_study
from mcvae.data.graphs import encode, to_smiles
from mcvae.data.qm9 import tokenize
from mcvae.errors import UserError
from mcvae.models import build
from mcvae.models.graph import BONDS, TENSORS, codes, pack, relations, return_probabilities
from mcvae.models.graph_decoder import GraphCategorical, GraphDecoder, hidden
from mcvae.options import MOLECULAR
from mcvae.training.adam import Adam

SMILES = (
    "C CC CCO C#N C1CC1 c1ccccc1 CC(C)(C)O C1CCC1 OCC1CO1 C[NH2+]CC([O-])=O c1cc[nH]c1 CC(=O)NC C1CC2CC2C1 FC(F)F "
    "N#CC#CC CCCCCCCCC C1C2CC1C2 O=CC=O Cc1ccco1 CN(C)C=O CC1CCC1O C1COCCN1 C12C3C4C1C5C2C3C45 OC(=O)C(F)F"
).split()
LATENTS = ("e4", "s3:vmf", "h3", "h2,s2,e2", "2h2,s2")
MODELS = list(itertools.product(("sequence", "graph"), ("sequence", "draft", "graph")))


@pytest.fixture(scope="module")
def molecules():
    """A batch of raw prepared tensors, and what models read of its stats.json."""
    encoded = encode(SMILES)
    assert set(encoded["reason"].tolist()) == {""}
    tokens, vocabulary = tokenize(encoded["selfies"].tolist())
    properties = np.random.default_rng(0).normal(3.0, 2.0, (len(SMILES), 12))
    arrays = {name: encoded[name] for name in TENSORS} | {"tokens": tokens, "properties": properties}
    batch = {name: torch.from_numpy(array) for name, array in arrays.items()}
    stats = {
        "dataset": "qm9",
        "tensors": {k: {"shape": list(v.shape)} for k, v in batch.items()},
        "vocabulary": vocabulary,
    }
    return batch, stats | {"targets": [{"name": f"t{i}", "unit": "1", "mean": 3.0, "std": 2.0} for i in range(12)]}


@pytest.fixture
def model(molecules):
    def make(latent="e4", kind="vae", hidden=(16, 24), seed=0, **options):
        options = {"encoder": "graph", "decoder": "draft"} | options
        config = RunConfig(
            dataset="qm9", data="00000000", protocol="standard", latent=latent, training=Training(), seed=0,
            model=Model(kind=kind, hidden=hidden, likelihood="categorical", property_weight=10.0, **options),
        )  # fmt: skip
        torch.manual_seed(seed)
        return build(config, molecules[1])

    return make


def distances(smiles):
    return torch.from_numpy(Chem.GetDistanceMatrix(Chem.MolFromSmiles(smiles)))


def test_relations_are_bonds_by_type_and_distances():
    """Against RDKit's own matrix of distances, atoms being numbered as in the canonical SMILES."""
    smiles = [Chem.CanonSmiles(text) for text in SMILES]
    related = relations(torch.from_numpy(encode(smiles)["bonds"]).long())
    for text, found in zip(smiles, related, strict=True):
        molecule = Chem.MolFromSmiles(text)
        order = [a.GetIdx() for a in molecule.GetAtoms()]
        Chem.MolToSmiles(molecule)
        written = [int(i) for i in molecule.GetProp("_smilesAtomOutputOrder").strip("[],").split(",")]
        apart = distances(text)[written][:, written]
        size = len(order)
        for index, lies in enumerate((apart == 2, apart == 3, apart >= 4)):
            assert torch.equal(found[BONDS - 1 + index, :size, :size].bool(), lies), text
        assert torch.equal(found[: BONDS - 1, :size, :size].sum(0).bool(), apart == 1)
        assert not found[:, size:].any() and not found[:, :, size:].any()


def test_return_probabilities_tell_rings_apart_that_messages_do_not():
    """Cyclooctane and two cyclobutanes: every atom has two neighbours like itself."""
    bonds = [np.zeros((9, 9)), np.zeros((9, 9))]
    for i in range(8):
        bonds[0][i, (i + 1) % 8] = bonds[0][(i + 1) % 8, i] = 1
        j = i // 4 * 4 + (i + 1) % 4
        bonds[1][i, j] = bonds[1][j, i] = 1
    one, two = return_probabilities(torch.tensor(np.stack(bonds), dtype=torch.float32))
    torch.testing.assert_close(one[0, :3], torch.tensor([0.5, 0.0, 3 / 8]))  # binomials: C(2,1)/4, C(4,2)/16
    assert two[0, 2] > one[0, 2] and not one[8].any()


def test_the_sum_over_atoms_does_not_depend_on_their_order(model, molecules):
    """With the path that reads the matrix in order shut, so is the posterior's."""
    m = model()
    for p in m.encoder.matrix.parameters():
        torch.nn.init.zeros_(p)
    packed = pack(molecules[0])
    order = torch.randperm(9, generator=torch.Generator().manual_seed(0))
    mixed = torch.cat([packed[:, order, :3], packed[:, order, 3:][:, :, order]], -1)
    torch.testing.assert_close(m.encoder(mixed), m.encoder(packed), atol=1e-5, rtol=1e-4)


def test_the_encoder_tells_every_molecule_from_every_other(model, molecules):
    loc = model().encoder(pack(molecules[0]))
    apart = torch.cdist(loc, loc) + torch.eye(len(loc))
    assert apart.min() > 1e-3


@pytest.mark.parametrize(("encoder", "decoder"), MODELS)
@pytest.mark.parametrize("latent", LATENTS)
def test_every_pair_of_encoder_and_decoder_has_an_elbo_over_every_latent_space(
    encoder, decoder, latent, model, molecules
):
    m = model(latent, encoder=encoder, decoder=decoder)
    inputs = m.prepare({name: molecules[0][name] for name in m.protocol.reads}, train=True)
    terms = m.terms(inputs)
    torch.testing.assert_close(terms.elbo, terms.reconstruction - terms.kl.sum(-1))
    torch.testing.assert_close(terms.loss, -terms.elbo.mean() + 10.0 * terms.property_error.mean())
    terms.loss.backward()
    idle = [name for name, p in m.named_parameters() if p.grad is None or not p.grad.isfinite().all()]
    assert not idle
    z = m.posterior(inputs).rsample((2,))
    assert m.decode(z, inputs).shape[:2] == (2, len(SMILES)) and m.generate(z).shape[:2] == (2, len(SMILES))
    assert m.log_likelihood(m.decode(z, inputs), inputs).shape == (2, len(SMILES))


@pytest.mark.parametrize("decoder", ["draft", "graph"])
def test_a_record_does_not_depend_on_its_batch(decoder, model, molecules):
    m = model(decoder=decoder)
    whole = m.prepare(molecules[0])
    one = m.prepare({name: tensor[2:3] for name, tensor in molecules[0].items()})
    z = m.posterior(whole).loc
    torch.testing.assert_close(z[2:3], m.posterior(one).loc)
    torch.testing.assert_close(m.decode(z, whole)[2:3], m.decode(z[2:3], one))


@pytest.mark.parametrize(
    ("decoder", "kind"),
    [
        ("draft", "vae"),
        ("graph", "vae"),
        *(pytest.param(d, "autoencoder", marks=pytest.mark.full) for d in ("draft", "graph")),
    ],
)
def test_a_few_molecules_can_be_learned_by_heart(decoder, kind, model, molecules):
    """Greedy decoding at the posterior location gives them back, and their random properties are fitted."""
    batch, _ = molecules
    m = model("e16", kind=kind, decoder=decoder, hidden=(32, 64), kl_weight=1e-3, word_dropout=0.0)
    optimizer, inputs = Adam(m.parameters()), m.prepare(batch, train=True)
    for step in range(150):
        optimizer.zero_grad()
        m.terms(inputs).loss.backward()
        optimizer.step(4e-3 * (1 - step / 150), largest_norm=10.0)
    with torch.no_grad():
        back = m.generate(m.posterior(inputs).loc)
        error = m.property_error(m.posterior(inputs).loc, inputs).mean()
    assert (back == inputs.observed).all(-1).float().mean() > 0.9 and error < 0.2
    if decoder == "graph":
        right = [a == Chem.CanonSmiles(b) for a, b in zip(to_smiles(back.numpy()), SMILES, strict=True)]
        assert np.mean(right) > 0.9


@pytest.mark.full
@pytest.mark.parametrize("latent", ["e56", "28s2:vmf", "h56:k=-0.1", "e28,14h2", "e20,9h2,9s2:vmf"])
def test_the_spaces_of_the_study_learn_without_an_infinity(latent, model, molecules):
    m = model(latent, kl_weight=0.03, hidden=(32, 64), networks="bfloat16")
    optimizer, losses = Adam(m.parameters()), []
    for _ in range(60):
        terms = m.terms(m.prepare(molecules[0], train=True))
        optimizer.zero_grad()
        terms.loss.backward()
        optimizer.step(3e-3, largest_norm=20.0)
        losses.append(terms.loss.item())
    assert np.isfinite(losses).all() and losses[-1] < 0.6 * losses[0]
    assert all(p.isfinite().all() for p in m.parameters())
    with torch.no_grad():
        drawn = m.latent.prior().rsample((50,))
        assert drawn.isfinite().all() and m.properties(drawn).isfinite().all() and m.generate(drawn).shape[0] == 50


def test_generation_follows_the_teacher_forced_draft_decoder(model, molecules):
    m = model("h3", seed=4)
    inputs = m.prepare(molecules[0])
    z = m.posterior(inputs).loc
    tokens = m.generate(z)
    prompt = torch.cat([torch.ones_like(tokens[:, :1]), tokens[:, :-1]], -1)
    logits = m.decode(z, inputs._replace(prompt=prompt))
    logits[..., :2] = -torch.inf
    real = tokens != 0
    assert torch.equal(logits.argmax(-1)[real], tokens[real])


def test_a_draft_decoder_without_a_prompt_says_what_to_do(model):
    with pytest.raises(ValueError, match="generate"):
        model().decode(torch.zeros(1, 4))


def test_the_likelihood_of_graphs_sums_to_one():
    """Over every graph of at most two atoms of two kinds, with two codes each for hydrogens, charges and bonds."""
    torch.manual_seed(0)
    logits = torch.randn(7, 2, dtype=torch.float64)
    seen = {tuple(hidden(torch.tensor(code), 2).tolist()) for code in itertools.product(range(2), repeat=7)}
    likelihood = GraphCategorical()
    total = sum(likelihood(logits[None], torch.tensor([code])).exp().item() for code in seen)
    assert len(seen) == 1 + 2 * 4 + 32 and total == pytest.approx(1.0, abs=1e-12)


def test_what_follows_from_an_absent_atom_is_not_said(molecules):
    packed = pack(molecules[0])
    said = codes(packed)
    assert torch.equal(hidden(said, 9), said)
    assert ((said[:, :9] == 0).sum() > 0) and (said[:, :9] >= 0).all()
    real = (packed[..., 0] > 0).sum(1)
    assert torch.equal((said >= 0).sum(1), 9 + 2 * real + real * (real - 1) // 2)


def test_impossible_charges_have_no_probability():
    torch.manual_seed(0)
    logits = GraphDecoder(3, 8, 8, 9)(torch.randn(4, 3))
    assert logits.shape == (4, 63, 5) and (logits[:, 18:27, 3:] == -torch.inf).all()
    assert logits[:, :18].isfinite().all() and logits[:, 27:].isfinite().all()


@pytest.mark.parametrize("decoder", ["draft", "graph"])
def test_bfloat16_networks_compute_what_float32_ones_do(decoder, model, molecules):
    exact, rough = model("s2,e3", decoder=decoder), model("s2,e3", decoder=decoder, networks="bfloat16")
    inputs = exact.prepare(molecules[0])
    found = []
    for m in (exact, rough):
        z = m.posterior(inputs).loc
        assert z.dtype == torch.float32
        found.append((z, m.log_likelihood(m.decode(found[0][0] if found else z, inputs), inputs)))
    torch.testing.assert_close(found[1][0], found[0][0], atol=0.03, rtol=0)
    torch.testing.assert_close(found[1][1], found[0][1], atol=0.0, rtol=0.03)


def test_the_kl_weighs_what_is_said_and_the_elbo_is_whole(model, molecules):
    whole, less = model("h2,e2"), model("h2,e2", kl_weight=0.25)
    inputs = whole.prepare(molecules[0])
    terms = []
    for m in (whole, less):
        torch.manual_seed(1)
        terms.append(m.terms(inputs, beta=0.5))
    torch.testing.assert_close(terms[0].elbo, terms[1].elbo)
    kl = terms[0].kl.sum(-1).mean()
    torch.testing.assert_close(terms[0].loss - terms[1].loss, 0.5 * 0.75 * kl)


def test_free_bits_cost_nothing_and_pull_at_nothing(model, molecules):
    m = model("h2,e2", free_bits=0.05)
    kl = torch.tensor([[0.01, 3.0], [0.03, 1.0]], requires_grad=True)
    costly = m.costly(kl)
    torch.testing.assert_close(costly, torch.tensor([3.05, 1.05]))
    costly.sum().backward()
    torch.testing.assert_close(kl.grad, torch.tensor([[0.0, 1.0], [0.0, 1.0]]))


def test_word_dropout_is_the_share_that_it_says(molecules):
    from mcvae.models.inputs import PAD, START, Molecules

    batch = {name: tensor.repeat(200, *[1] * (tensor.dim() - 1)) for name, tensor in molecules[0].items()}
    torch.manual_seed(0)
    for share in (0.0, 0.3):
        inputs = Molecules(molecules[1], "graph", "draft", share)(batch, True)
        words = batch["tokens"][:, :-1] > START
        assert ((inputs.prompt == PAD)[words]).double().mean() == pytest.approx(share, abs=0.01)


@pytest.mark.parametrize("key", MOLECULAR)
def test_options_of_molecules_are_refused_elsewhere_and_rename_no_run(key):
    field = Model.model_fields[key]
    assert field.json_schema_extra == {"neutral": field.default}
    value = {"encoder": "graph", "decoder": "draft", "networks": "bfloat16"}.get(key, 0.5)
    experiment = {"dataset": "mnist", "latents": ["e2"], "model": {key: value}}
    with pytest.raises(UserError, match=f"model.{key}: is an option of qm9 alone, not of mnist"):
        validate_study({"experiments": {"x": experiment}})
    assert validate_study({"experiments": {"x": experiment | {"dataset": "qm9"}}})
