# Figures, each as SVG and PNG, drawn from the files of the runs alone.


rule plot_curves:
    input:
        runs=experiment_histories,
    output:
        svg=report(
            "results/figures/{experiment}/curves.svg",
            caption="../report/plot_curves.rst",
            category="Figures",
            subcategory="{experiment}",
            labels={"figure": "training curves"},
        ),
        png="results/figures/{experiment}/curves.png",
    log:
        "logs/plot_curves/{experiment}.log",
    resources:
        mem_mb=1000,
    params:
        note=data_note,
        version=version_of("figures"),
    script:
        "../scripts/plot_curves.py"


rule plot_differences:
    input:
        runs=experiment_metrics,
    output:
        svg=report(
            "results/figures/{experiment}/differences.svg",
            caption="../report/plot_differences.rst",
            category="Figures",
            subcategory="{experiment}",
            labels={"figure": "differences from the Euclidean space"},
        ),
        png="results/figures/{experiment}/differences.png",
    log:
        "logs/plot_differences/{experiment}.log",
    resources:
        mem_mb=1000,
    params:
        note=data_note,
        version=version_of("figures"),
    script:
        "../scripts/plot_differences.py"


rule plot_curvature_grid:
    input:
        runs=experiment_metrics,
    output:
        svg=report(
            "results/figures/{experiment}/curvature_grid.svg",
            caption="../report/plot_curvature_grid.rst",
            category="Figures",
            subcategory="{experiment}",
            labels={"figure": "metrics against curvature"},
        ),
        png="results/figures/{experiment}/curvature_grid.png",
    log:
        "logs/plot_curvature_grid/{experiment}.log",
    resources:
        mem_mb=1000,
    params:
        note=data_note,
        version=version_of("figures"),
    script:
        "../scripts/plot_curvature_grid.py"


rule plot_curvature_trajectories:
    input:
        runs=experiment_histories,
    output:
        svg=report(
            "results/figures/{experiment}/curvature_trajectories.svg",
            caption="../report/plot_curvature_trajectories.rst",
            category="Figures",
            subcategory="{experiment}",
            labels={"figure": "learned curvatures"},
        ),
        png="results/figures/{experiment}/curvature_trajectories.png",
    log:
        "logs/plot_curvature_trajectories/{experiment}.log",
    resources:
        mem_mb=1000,
    params:
        note=data_note,
        version=version_of("figures"),
    script:
        "../scripts/plot_curvature_trajectories.py"


rule plot_likelihood_curve:
    input:
        runs=experiment_metrics,
    output:
        svg=report(
            "results/figures/{experiment}/likelihood_curve.svg",
            caption="../report/plot_likelihood_curve.rst",
            category="Figures",
            subcategory="{experiment}",
            labels={"figure": "log-likelihood against importance samples"},
        ),
        png="results/figures/{experiment}/likelihood_curve.png",
    log:
        "logs/plot_likelihood_curve/{experiment}.log",
    resources:
        mem_mb=1000,
    params:
        note=data_note,
        version=version_of("figures"),
    script:
        "../scripts/plot_likelihood_curve.py"


rule plot_latent:
    input:
        run=plotted_run,
    output:
        svg=report(
            "results/figures/{experiment}/{run}.latent.svg",
            caption="../report/plot_latent.rst",
            category="Figures",
            subcategory="{experiment}",
            labels={"figure": "latent space", "run": "{run}"},
        ),
        png="results/figures/{experiment}/{run}.latent.png",
    log:
        "logs/plot_latent/{experiment}/{run}.log",
    resources:
        mem_mb=1000,
    params:
        note=data_note,
        version=version_of("figures"),
    script:
        "../scripts/plot_latent.py"


rule plot_reconstructions:
    input:
        run=plotted_run,
    output:
        svg=report(
            "results/figures/{experiment}/{run}.reconstructions.svg",
            caption="../report/plot_reconstructions.rst",
            category="Figures",
            subcategory="{experiment}",
            labels={"figure": "reconstructions", "run": "{run}"},
        ),
        png="results/figures/{experiment}/{run}.reconstructions.png",
    log:
        "logs/plot_reconstructions/{experiment}/{run}.log",
    resources:
        mem_mb=1000,
    params:
        note=data_note,
        version=version_of("figures"),
    script:
        "../scripts/plot_reconstructions.py"


rule plot_samples:
    input:
        run=plotted_run,
    output:
        svg=report(
            "results/figures/{experiment}/{run}.samples.svg",
            caption="../report/plot_samples.rst",
            category="Figures",
            subcategory="{experiment}",
            labels={"figure": "prior samples", "run": "{run}"},
        ),
        png="results/figures/{experiment}/{run}.samples.png",
    log:
        "logs/plot_samples/{experiment}/{run}.log",
    resources:
        mem_mb=1000,
    params:
        note=data_note,
        version=version_of("figures"),
    script:
        "../scripts/plot_samples.py"


rule plot_decoder_grid:
    input:
        run=plotted_run,
    output:
        svg=report(
            "results/figures/{experiment}/{run}.decoder_grid.svg",
            caption="../report/plot_decoder_grid.rst",
            category="Figures",
            subcategory="{experiment}",
            labels={"figure": "decoder over the latent space", "run": "{run}"},
        ),
        png="results/figures/{experiment}/{run}.decoder_grid.png",
    log:
        "logs/plot_decoder_grid/{experiment}/{run}.log",
    resources:
        mem_mb=1000,
    params:
        note=data_note,
        version=version_of("figures"),
    script:
        "../scripts/plot_decoder_grid.py"
