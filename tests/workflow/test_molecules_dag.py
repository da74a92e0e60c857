"""Jobs of a study of molecules: the figures that molecules have, and no others."""

from workspace import Workspace

MOLECULES = {
    "study": "molecules",
    "experiments": {
        "drawn": {
            "dataset": "qm9",
            "latents": ["e4", "h2,e2"],
            "hidden": [[8, 16]],
            "training": {"epochs": 1, "batch_size": 50},
            "evaluation": {"importance_samples": 2, "images": 20, "samples": 64},
        }
    },
}


def test_every_run_has_the_figures_of_molecules(tmp_path):
    jobs = Workspace(tmp_path, MOLECULES).jobs()
    assert jobs["train_run"] == jobs["evaluate_run"] == 2
    figures = ("plot_properties", "plot_molecule_paths", "plot_optimised")
    assert {jobs[name] for name in figures} == {2}
    assert jobs["fit_baseline"] == 1
    assert "plot_interpolations" not in jobs and "train_attribute_classifier" not in jobs
