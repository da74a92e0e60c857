"""Jobs of a study of faces: one attribute classifier a data set, and the figures that faces have."""

import copy

from workspace import Workspace

FACES = {
    "study": "faces",
    "experiments": {
        "drawn": {
            "dataset": "celeba",
            "latents": ["e4", "s2,h2"],
            "kinds": ["vae", "autoencoder"],
            "hidden": [[4, 8]],
            "model": {"network": "residual", "likelihood": "logistic"},
            "training": {"epochs": 1, "batch_size": 50},
            "evaluation": {"importance_samples": 2, "images": 20, "samples": 64},
        }
    },
}


def test_a_classifier_serves_all_runs_of_its_data(tmp_path):
    jobs = Workspace(tmp_path, FACES).jobs()
    assert jobs["train_attribute_classifier"] == 1 and "fit_baseline" not in jobs
    assert jobs["train_run"] == jobs["evaluate_run"] == 3
    figures = ("plot_interpolations", "plot_attribute_directions", "plot_traversals", "plot_comparison")
    assert [jobs[name] for name in figures] == [3, 3, 2, 1]


def test_networks_of_others_are_fetched_where_they_are_asked_for(tmp_path):
    assert not {"fetch_weights", "extract_features"} & set(Workspace(tmp_path / "without", FACES).jobs())
    study = copy.deepcopy(FACES)
    study["experiments"]["drawn"]["evaluation"] |= {"fid": True, "lpips": True}
    jobs = Workspace(tmp_path / "with", study).jobs()
    assert jobs["fetch_weights"] == 2 and jobs["extract_features"] == 1 and jobs["evaluate_run"] == 3
    del study["experiments"]["drawn"]["evaluation"]["fid"]
    jobs = Workspace(tmp_path / "one", study).jobs()
    assert jobs["fetch_weights"] == 1 and "extract_features" not in jobs
