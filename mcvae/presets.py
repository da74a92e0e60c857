"""The protocols of published studies, as values of an experiment: ``preset: davidson2018`` fills in what is not said.

Nothing hides behind a preset's name: the values go into the configuration of every run. Nothing is ever selected on the
test set. Values with a star were not read again; what differs from the source is said at each.
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
    # Adam 1e-3, batch 100, all 60,000 images, pixels drawn anew in training and cut at 0.5 in the test, points decoded
    # in ambient coordinates, on spheres the density of the shortest preimage alone, 500 importance samples. The runs
    # that their repository logs trained for 500 epochs at K = -1, 0, 1 and are scored with the last weights, as here;
    # the paper's looked ahead on the training bound after 100 epochs. In the code of the paper ten epochs of burn-in
    # leave |K| at 1/4, from where radii move (of u: curvatures), by SGD at 1e-4: here curvatures do, by Adam at 1e-4.
    "skopek2020": {
        "dataset": "mnist",
        "protocol": "mixed",
        "hidden": [[400]],
        "model": {"decoder_input": "ambient", "principal": True},
        "training": {
            "epochs": 500,
            "batch_size": 100,
            "learning_rate": 1e-3,
            "records": "all",
            "selection": "last",
            "curvature_learning_rate": 1e-4,
            "curvature_start": 10,
        },
        "evaluation": {"importance_samples": 500},
    },
    # Nagano et al. 2019 (arXiv 1902.02992), section 5, as their code has it (github.com/pfnet-research/
    # hyperbolic_wrapped_distribution, recipes/mlp_default.yml): pixels cut at 0.5, one layer of 500, tanh, points
    # decoded in ambient coordinates, Adam 1e-3, batch 100, 50,000 images, the last of 150,000 steps (300 epochs), 500
    # importance samples. The paper has three layers of 600*; which of the two its figures are of is not known. Their
    # layers begin with Glorot's weights, here with PyTorch's.
    "nagano2019": {
        "dataset": "mnist",
        "protocol": "threshold",
        "hidden": [[500]],
        "model": {"decoder_input": "ambient", "activation": "tanh"},
        "training": {"epochs": 300, "batch_size": 100, "learning_rate": 1e-3, "selection": "last"},
        "evaluation": {"importance_samples": 500},
    },
    # Mathieu et al. 2019 (arXiv 1901.06033), section 5, and their code (github.com/emilemathieu/pvae): grey pixels with
    # the Bernoulli cross-entropy, one layer of 600, gyroplanes as the decoder's first layer, Adam 5e-4, batch 128, all
    # 60,000 images, the last of 80 epochs, 5000 importance samples. Theirs is AMSGrad, and the bias of the output
    # begins at the pixels' log-odds; here neither.
    "mathieu2019": {
        "dataset": "mnist",
        "protocol": "grey",
        "hidden": [[600]],
        "model": {"decoder_input": "gyroplane"},
        "training": {
            "epochs": 80,
            "batch_size": 128,
            "learning_rate": 5e-4,
            "records": "all",
            "selection": "last",
        },
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
