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
