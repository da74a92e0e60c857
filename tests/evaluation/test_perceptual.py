"""FID, KID and LPIPS: the code that reads the real weights, with weights drawn at random in files of the same form."""

import hashlib
import io
import json
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import scipy.linalg
import torch

from mcvae import data
from mcvae.errors import UserError
from mcvae.evaluation import evaluate, frechet, perceptual
from mcvae.files import write_json
from mcvae.options import Evaluation
from mcvae.training import load_run

OPTIONS = Evaluation(importance_samples=4, knn_labels=20, samples=64)


@pytest.fixture
def noise():
    return torch.Generator().manual_seed(4)


def write_sums(folder):
    sums = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.glob("*.pth"))}
    (folder / "SHA256SUMS").write_text("".join(f"{value}  {name}\n" for name, value in sums.items()))
    return folder


@pytest.fixture(scope="session")
def inception_folder(tmp_path_factory):
    """Inception with weights that keep the size of what passes through, as fetch_weights leaves them."""
    fidelity = pytest.importorskip("torch_fidelity")

    class Untrained(fidelity.FeatureExtractorInceptionV3):
        def load_state_dict(self, state):
            assert state == {}

    empty, generator = io.BytesIO(), torch.Generator().manual_seed(5)
    torch.save({}, empty)
    empty.seek(0)
    network = Untrained("untrained", ["2048"], feature_extractor_weights_path=empty)
    for parameter in network.parameters():
        if parameter.dim() == 4:
            torch.nn.init.kaiming_normal_(parameter, generator=generator)
    folder = tmp_path_factory.mktemp("inception")
    # The files of 2020 are in torch's old format.
    torch.save(
        network.state_dict(), folder / "weights-inception-2015-12-05-6726825d.pth", _use_new_zipfile_serialization=False
    )
    return write_sums(folder)


@pytest.fixture(scope="session")
def lpips_folder(tmp_path_factory):
    from torchvision.models import alexnet

    folder, generator = tmp_path_factory.mktemp("lpips"), torch.Generator().manual_seed(6)
    with torch.random.fork_rng():
        torch.manual_seed(6)
        state = {f"features.{name}": tensor for name, tensor in alexnet().features.state_dict().items()}
    torch.save(state | {"classifier.6.bias": torch.zeros(1000)}, folder / "alexnet-owt-7be5be79.pth")
    widths = (64, 192, 384, 256, 256)
    lines = {
        f"lin{i}.model.1.weight": torch.rand(1, width, 1, 1, generator=generator) for i, width in enumerate(widths)
    }
    torch.save(lines, folder / "alex.pth")
    return write_sums(folder)


@pytest.fixture
def narrow(monkeypatch):
    """Inception for pictures of 75 pixels: a sixteenth of the work."""
    fidelity = pytest.importorskip("torch_fidelity")
    monkeypatch.setattr(fidelity.FeatureExtractorInceptionV3, "INPUT_IMAGE_SIZE", 75)


@pytest.mark.parametrize("sizes", [(30, 40), (9, 40), (9, 7)])
def test_the_frechet_distance_of_features_is_that_of_the_matrix_root(sizes, noise):
    first, second = (torch.randn(n, 12, generator=noise) * (1 + i) + i for i, n in enumerate(sizes))
    (m1, c1), (m2, c2) = ((x.double().mean(0).numpy(), np.cov(x.double().numpy().T)) for x in (first, second))
    root = np.sqrt(scipy.linalg.eigvals(c1 @ c2).real.clip(0)).sum()  # sqrtm is no use where features are few
    expected = ((m1 - m2) ** 2).sum() + np.trace(c1 + c2) - 2 * root
    found = frechet.frechet_distance_of(first, second)
    assert found == pytest.approx(expected, rel=1e-6)
    assert found == pytest.approx(frechet.frechet_distance(*(frechet.moments([x]) for x in (first, second))), rel=1e-6)
    assert frechet.frechet_distance_of(first, first) == pytest.approx(0, abs=1e-9)


def test_the_kernel_distance_is_unbiased_and_the_same_every_time(noise):
    first, second = torch.randn(200, 3, generator=noise), torch.randn(150, 3, generator=noise)
    found = frechet.kernel_distances(first, second, 40, 60)
    assert found.shape == (60,) and torch.equal(found, frechet.kernel_distances(first, second, 40, 60))
    assert abs(found.mean()) < 4 * found.std() / 60**0.5 + abs(frechet.kernel_distance(first, second))
    assert (found < 0).any() and frechet.kernel_distances(first, second + 1, 40, 60).min() > 0


def test_fid_and_kid_are_those_of_torch_fidelity(inception_folder, narrow, monkeypatch, noise):
    fidelity = pytest.importorskip("torch_fidelity")
    from mcvae.evaluation import inception

    monkeypatch.setattr(inception, "LAYER", "64")  # of 2,048 features its eigenvalues alone take half a minute
    sets = [torch.randint(0, 256, (n, 3, 16, 16), generator=noise).byte() // (i + 1) for i, n in enumerate((36, 24))]
    network = inception.load_inception(inception_folder)
    first, second = (inception.inception_features(network, [pictures]) for pictures in sets)
    expected = fidelity.calculate_metrics(
        input1=Pictures(sets[0]),
        input2=Pictures(sets[1]),
        feature_extractor_weights_path=str(inception_folder / inception.FILE),
        feature_layer_fid="64",
        feature_layer_kid="64",
        kid_subset_size=24,
        kid_subsets=2000,
        **dict.fromkeys(("fid", "kid", "save_cpu_ram"), True),
        **dict.fromkeys(("cuda", "cache", "verbose"), False),
    )
    distance, kernel, deviation = inception.distances(first, second)
    assert distance == pytest.approx(expected["frechet_inception_distance"], rel=1e-4)
    whole = frechet.kernel_distances(first, second, 24, 2000)  # all of the second, two thirds of the first
    error = expected["kernel_inception_distance_std"] / 2000**0.5
    assert whole.mean().item() == pytest.approx(expected["kernel_inception_distance_mean"], abs=6 * error)
    assert whole.std().item() == pytest.approx(expected["kernel_inception_distance_std"], rel=0.15)
    assert deviation > whole.std() and kernel > 0  # of subsets of twelve


class Pictures(torch.utils.data.Dataset):
    """uint8 pictures one by one."""

    def __init__(self, pictures):
        self.pictures = pictures

    def __len__(self):
        return len(self.pictures)

    def __getitem__(self, index):
        return self.pictures[index]


def test_features_do_not_depend_on_the_blocks_and_leave_the_stream_alone(inception_folder, narrow, noise):
    from mcvae.evaluation import inception

    torch.manual_seed(7)
    network = inception.load_inception(inception_folder)
    pictures = torch.randint(0, 256, (40, 3, 8, 8), generator=noise).byte()
    found = inception.inception_features(network, [pictures])
    assert found.shape == (40, 2048) and not network.training
    torch.testing.assert_close(inception.inception_features(network, pictures.split(7)), found, rtol=1e-4, atol=1e-4)
    with pytest.raises(ValueError, match="uint8"):
        inception.inception_features(network, [pictures.float()])


def test_levels_are_the_nearest():
    from mcvae.evaluation.inception import levels

    values = torch.tensor([-0.1, 0.0, 0.4 / 255, 0.6 / 255, 254.4 / 255, 1.0, 1.2])
    assert levels(values).tolist() == [0, 0, 0, 1, 254, 255, 255] and levels(values).dtype == torch.uint8
    exact = torch.arange(256, dtype=torch.uint8)
    assert torch.equal(levels(exact.float() / 255), exact)


def test_pictures_are_nearer_to_their_kind_than_samples_are(trained, inception_folder, narrow):
    from mcvae.evaluation import inception

    prepared, folder = trained("celeba", "e4")
    dataset = data.load(prepared)
    model = load_run(folder, dataset.stats)[0].eval()
    network = inception.load_inception(inception_folder)
    shared = inception.reference(dataset, network, 64)
    metrics = inception.inception_metrics(model, network, shared, 64)
    assert tuple(metrics) and set(metrics) == set(inception.INCEPTION_KEYS)
    assert 0 < metrics["samples.fid_data"] < metrics["samples.fid"]
    assert metrics["samples.kid_data"] < metrics["samples.kid"] and metrics["samples.kid_sd"] > 0
    assert metrics["samples.fid_n"] == 64 and metrics["samples.kid_n"] == 20  # half of the 40 of the test split
    model.kind = "autoencoder"
    assert set(inception.inception_metrics(model, network, shared, 64).values()) == {None}


def test_a_run_with_networks_says_all_of_it_and_the_same_twice(
    trained, inception_folder, lpips_folder, narrow, tmp_path
):
    from mcvae.evaluation import inception

    prepared, folder = trained("celeba", "e4")
    folder = shutil.copytree(folder, tmp_path / "run")
    options = OPTIONS.model_copy(update={"fid": True, "lpips": True})
    weights = {"inception": inception_folder, "lpips": lpips_folder}
    inception.write_reference(prepared, inception_folder, tmp_path / "f.safetensors", 64)
    plain = evaluate(folder, prepared, OPTIONS)
    metrics = evaluate(folder, prepared, options, weights=weights, features=tmp_path / "f.safetensors")
    assert set(metrics) - set(plain) == {*inception.INCEPTION_KEYS, "test.lpips"}
    assert {name: metrics[name] for name in plain} == plain
    assert {name for name in inception.INCEPTION_KEYS if metrics[name] is None} == set()
    assert metrics["test.lpips"] is None  # of pictures of 8 pixels
    first = (folder / "metrics.json").read_bytes()
    evaluate(folder, prepared, options, weights=weights)  # computes the reference itself
    assert (folder / "metrics.json").read_bytes() == first
    write_json(folder / "training.json", json.loads((folder / "training.json").read_text()) | {"status": "diverged"})
    assert set(evaluate(folder, prepared, options, weights=weights)) == set(metrics)


def test_without_their_weights_networks_are_not_asked(trained, lpips_folder):
    prepared, folder = trained("celeba", "e4")
    options = OPTIONS.model_copy(update={"fid": True, "lpips": True})
    with pytest.raises(UserError, match="needs the weights of inception; give their folders"):
        evaluate(folder, prepared, options, weights={"lpips": lpips_folder})


def test_features_of_others_are_refused(trained, inception_folder, lpips_folder, narrow, tmp_path):
    from mcvae.evaluation import inception

    prepared, _ = trained("celeba", "e4")
    dataset, path = data.load(prepared), tmp_path / "f.safetensors"
    inception.write_reference(prepared, inception_folder, path, 8)
    assert inception.read_reference(path, dataset, inception_folder, 8).test.shape == (40, 2048)
    for weights, samples in ((inception_folder, 9), (lpips_folder, 8)):
        with pytest.raises(UserError, match="are not the Inception features of the data"):
            inception.read_reference(path, dataset, weights, samples)
    path.write_bytes(b"<html>")
    with pytest.raises(UserError, match="no Inception features"):
        inception.read_reference(path, dataset, inception_folder, 8)


def test_weights_of_another_network_are_one_sentence(inception_folder, lpips_folder, tmp_path):
    from mcvae.evaluation import inception

    shutil.copy(lpips_folder / "alex.pth", tmp_path / inception.FILE)
    with pytest.raises(UserError, match="no weights of Inception"):
        inception.load_inception(write_sums(tmp_path))
    shutil.copy(lpips_folder / "alex.pth", tmp_path / perceptual.NETWORK)
    shutil.copy(lpips_folder / "alex.pth", tmp_path / perceptual.CHANNELS)
    with pytest.raises(UserError, match="no weights of LPIPS"):
        perceptual.load_lpips(write_sums(tmp_path))


@pytest.mark.parametrize("side", [31, 64])
def test_lpips_is_that_of_its_authors(lpips_folder, noise, side, recwarn):
    authors = pytest.importorskip("lpips")
    expected = authors.LPIPS(net="alex", pretrained=False, pnet_rand=True, verbose=False)
    known = torch.load(lpips_folder / perceptual.NETWORK, weights_only=True)
    for part in range(1, 6):
        for index, layer in getattr(expected.net, f"slice{part}").named_children():
            for name, parameter in layer.named_parameters():
                parameter.data.copy_(known[f"features.{index}.{name}"])
    lines = torch.load(lpips_folder / perceptual.CHANNELS, weights_only=True)
    assert not expected.load_state_dict(lines, strict=False).unexpected_keys
    x, y = torch.rand(2, 5, 3, side, side, generator=noise)
    with torch.no_grad():
        truth = expected.eval()(x, y, normalize=True).flatten()
    torch.testing.assert_close(perceptual.load_lpips(lpips_folder)(x, y), truth, rtol=1e-4, atol=1e-7)


def test_lpips_is_the_papers_formula(lpips_folder, noise):
    network = perceptual.load_lpips(lpips_folder)
    x, y = torch.rand(2, 1, 3, 40, 40, generator=noise)
    total, both = 0.0, [x, y]
    mean, deviation = torch.tensor([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]]).view(2, 3, 1, 1)
    both = [(each - mean) / deviation for each in both]  # of ImageNet, exactly
    for index, part in enumerate(network.parts):
        both = [part(each.clone()) for each in both]
        units = [each[0].double().numpy() / np.linalg.norm(each[0].double().numpy(), axis=0) for each in both]
        weight = getattr(network, f"weight{index}").double().numpy()[0]
        total += (weight * (units[0] - units[1]) ** 2).sum(0).mean()
    assert network(x, y).item() == pytest.approx(total, rel=1e-3)


def test_lpips_of_equal_pictures_is_zero_and_grows_with_noise(lpips_folder, noise):
    network = perceptual.load_lpips(lpips_folder)
    x, error = torch.rand(2, 4, 3, 64, 64, generator=noise)
    values = [network(x, (x + size * (error - 0.5)).clamp(0, 1)) for size in (0.0, 0.05, 0.2)]
    assert values[0].abs().max() == 0 and (values[1] > 0).all() and (values[2] > values[1]).all()
    torch.testing.assert_close(network(error, x), network(x, error))


class Halving(torch.nn.Module):
    """Its reconstruction is half the picture."""

    def __init__(self):
        super().__init__()
        self.anchor = torch.nn.Parameter(torch.zeros(()))

    def prepare(self, batch, train=False):
        return SimpleNamespace(observed=batch["images"].float() / 255)

    def posterior(self, inputs):
        return SimpleNamespace(loc=inputs.observed)

    def decode(self, z):
        return z

    def mean(self, output):
        return output / 2


def test_the_metric_is_the_mean_over_all_test_pictures(lpips_folder, noise):
    images = torch.randint(0, 256, (130, 3, 32, 32), generator=noise).byte()  # more than one block
    network = perceptual.load_lpips(lpips_folder)
    found = perceptual.perceptual_metrics(Halving(), network, {"images": images})["test.lpips"]
    x = images.float() / 255
    assert found == pytest.approx(network(x, x / 2).mean().item(), rel=1e-4)
