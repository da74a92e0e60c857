"""Small made-up data sets, as their stats.json and raw batches, and run configurations for them."""

import pytest
import torch

from mcvae.config import Model, RunConfig, Training

VOCABULARY = ["[pad]", "[start]", "[end]", "[C]", "[N]", "[O]"]
HIDDEN = {"mnist": (16, 8), "celeba": (8, 16), "qm9": (8, 24)}
PROTOCOL = {"mnist": "dynamic", "celeba": "standard", "qm9": "standard"}
LIKELIHOOD = {"mnist": "bernoulli", "celeba": "gaussian", "qm9": "categorical"}


def molecules(generator, records, length=7):
    tokens = torch.zeros(records, length, dtype=torch.uint8)
    for row in tokens:
        symbols = int(torch.randint(2, length - 1, (), generator=generator))
        row[0], row[symbols] = 1, 2
        row[1:symbols] = torch.randint(3, len(VOCABULARY), (symbols - 1,), generator=generator).byte()
    properties = torch.stack([(tokens == 3 + i % 3).sum(-1) * (i + 1.0) for i in range(12)], -1)
    return {"tokens": tokens, "properties": properties}


@pytest.fixture
def raw_batch():
    """(dataset, records) -> a batch of raw prepared tensors."""

    def make(dataset, records=6):
        generator = torch.Generator().manual_seed(0)
        if dataset == "qm9":
            return molecules(generator, records)
        if dataset == "mnist":
            return {"images": 20 + 210 * torch.randint(0, 2, (records, 8, 8), dtype=torch.uint8, generator=generator)}
        return {"images": torch.randint(0, 256, (records, 3, 8, 8), dtype=torch.uint8, generator=generator)}

    return make


@pytest.fixture
def stats(raw_batch):
    """dataset -> what models read of stats.json."""

    def make(dataset):
        batch = raw_batch(dataset, 200)
        value = {"dataset": dataset, "tensors": {k: {"shape": list(v.shape)} for k, v in batch.items()}}
        if dataset == "qm9":
            moments = zip(batch["properties"].mean(0).tolist(), batch["properties"].std(0).tolist(), strict=True)
            value["targets"] = [{"name": f"t{i}", "unit": "1", "mean": m, "std": s} for i, (m, s) in enumerate(moments)]
            value["vocabulary"] = VOCABULARY
        return value

    return make


@pytest.fixture
def run_config():
    """(dataset, latent, ...) -> RunConfig."""

    def make(dataset="mnist", latent="e2", kind="vae", protocol=None, hidden=None, **training):
        model = Model(
            kind=kind,
            hidden=hidden or HIDDEN[dataset],
            likelihood=LIKELIHOOD[dataset],
            property_weight=10.0 if dataset == "qm9" else None,
        )
        return RunConfig(
            dataset=dataset,
            data="00000000",
            protocol=protocol or PROTOCOL[dataset],
            latent=latent,
            model=model,
            training=Training(**training),
            seed=0,
        )

    return make
