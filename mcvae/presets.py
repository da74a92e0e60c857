"""The protocols of published studies, as values of an experiment: ``preset: davidson2018`` fills in what is not said.

Nothing hides behind a preset's name: the values go into the configuration of every run. What differs from the papers:
the model is the one of the best epoch of a validation split of 10,000 training images, which no weight has seen, and
never of the test set (Skopek et al. select on it, and train on all 60,000). Values with a star were not read again.
"""

from typing import Any

PRESETS: dict[str, dict[str, Any]] = {
    # Davidson et al. 2018 (arXiv 1804.00891), section 5.2: one layer of 256 and one of 128, ReLU, Adam 1e-3, batch 64*,
    # pixels drawn anew, KL warmed up for 100 epochs, look-ahead of 50 epochs (500 at most: our cap), 500 importance
    # samples; table 2: kNN, 5 geodesic neighbours of 100, 600 and 1000 labels, 20 draws.
    "davidson2018": {
        "dataset": "mnist",
        "protocol": "dynamic",
        "hidden": [[256, 128]],
        "training": {"epochs": 500, "batch_size": 64, "learning_rate": 1e-3, "kl_warmup": 100, "patience": 50},
        "evaluation": {
            "importance_samples": 500,
            "knn_neighbours": 5,
            "label_budgets": [100, 600, 1000],
            "label_draws": 20,
        },
    },
    # Skopek et al. 2020 (arXiv 1911.08411), and what their code does (github.com/oskopek/mvae): one layer of 400, ReLU,
    # Adam 1e-3, batch 100, 500 epochs, of which the first 100 never stop, look-ahead 50, pixels drawn anew in training
    # and cut at 0.5 in the test, points decoded in ambient coordinates, on spheres the density of the shortest preimage
    # alone, 500 importance samples. Curvatures move after 10 epochs, at 1e-4 of a gradient clipped to a norm of 1: here
    # at Adam's 1e-4, which are equal steps where the gradient is that long. Their code trains on all 60,000 images and
    # looks ahead on the training bound.
    "skopek2020": {
        "dataset": "mnist",
        "protocol": "mixed",
        "hidden": [[400]],
        "model": {"decoder_input": "ambient", "principal": True},
        "training": {
            "epochs": 500,
            "batch_size": 100,
            "learning_rate": 1e-3,
            "patience": 50,
            "curvature_learning_rate": 1e-4,
            "curvature_start": 10,
        },
        "evaluation": {"importance_samples": 500},
    },
    # Nagano et al. 2019 (arXiv 1902.02992), section 5: pixels cut at 0.5, layers of 600 (three of them, with tanh;
    # here ReLU), Adam 1e-3*, batch 128*, the decoder in tangent coordinates*, 500 importance samples*;
    # 150 epochs and the look-ahead of 30 are ours.
    "nagano2019": {
        "dataset": "mnist",
        "protocol": "threshold",
        "hidden": [[600, 600, 600]],
        "model": {"decoder_input": "tangent"},
        "training": {"epochs": 150, "batch_size": 128, "learning_rate": 1e-3, "patience": 30},
        "evaluation": {"importance_samples": 500},
    },
    # Mathieu et al. 2019 (arXiv 1901.06033), section 5: grey pixels with the Bernoulli cross-entropy, one layer of 600,
    # gyroplanes as the decoder's first layer, Adam 5e-4*, batch 128*, 80 epochs*, 5000 importance samples.
    "mathieu2019": {
        "dataset": "mnist",
        "protocol": "grey",
        "hidden": [[600]],
        "model": {"decoder_input": "gyroplane"},
        "training": {"epochs": 80, "batch_size": 128, "learning_rate": 5e-4},
        "evaluation": {"importance_samples": 5000},
    },
}


def with_preset(experiment: dict[str, Any], preset: str) -> dict[str, Any]:
    """The keys of an experiment over those of its preset; mappings are merged key by key.

    Raises:
        ValueError: an unknown preset.
    """
    if preset not in PRESETS:
        raise ValueError(f"preset: {preset!r} is unknown; choose one of {', '.join(PRESETS)}")
    merged = dict(experiment)
    for key, value in PRESETS[preset].items():
        given = experiment.get(key)
        if isinstance(value, dict) and (given is None or isinstance(given, dict)):
            merged[key] = value | (given or {})
        elif given is None:
            merged[key] = value
    return merged
