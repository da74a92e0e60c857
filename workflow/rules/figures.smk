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


rule plot_comparison:
    input:
        runs=compared_runs,
    output:
        svg=report(
            "results/figures/{experiment}/comparison.svg",
            caption="../report/plot_comparison.rst",
            category="Figures",
            subcategory="{experiment}",
            labels={"figure": "autoencoder and VAEs"},
        ),
        png="results/figures/{experiment}/comparison.png",
    log:
        "logs/plot_comparison/{experiment}.log",
    resources:
        mem_mb=1000,
    params:
        note=data_note,
        version=version_of("figures"),
    script:
        "../scripts/plot_comparison.py"


rule plot_differences:
    input:
        runs=experiment_metrics,
    output:
        svg=report(
            "results/figures/{experiment}/differences.svg",
            caption="../report/plot_differences.rst",
            category="Figures",
            subcategory="{experiment}",
            labels={"figure": "paired differences"},
        ),
        png="results/figures/{experiment}/differences.png",
    log:
        "logs/plot_differences/{experiment}.log",
    resources:
        mem_mb=1000,
    params:
        note=data_note,
        references=experiment_references,
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


rule plot_dimensions:
    input:
        runs=experiment_metrics,
    output:
        svg=report(
            "results/figures/{experiment}/dimensions.svg",
            caption="../report/plot_dimensions.rst",
            category="Figures",
            subcategory="{experiment}",
            labels={"figure": "against the dimension"},
        ),
        png="results/figures/{experiment}/dimensions.png",
    log:
        "logs/plot_dimensions/{experiment}.log",
    resources:
        mem_mb=1000,
    params:
        note=data_note,
        version=version_of("figures"),
    script:
        "../scripts/plot_dimensions.py"


rule plot_label_budgets:
    input:
        runs=experiment_metrics,
    output:
        svg=report(
            "results/figures/{experiment}/label_budgets.svg",
            caption="../report/plot_label_budgets.rst",
            category="Figures",
            subcategory="{experiment}",
            labels={"figure": "accuracy against labels"},
        ),
        png="results/figures/{experiment}/label_budgets.png",
    log:
        "logs/plot_label_budgets/{experiment}.log",
    resources:
        mem_mb=1000,
    params:
        note=data_note,
        version=version_of("figures"),
    script:
        "../scripts/plot_label_budgets.py"


rule plot_component_kl:
    input:
        runs=experiment_metrics,
    output:
        svg=report(
            "results/figures/{experiment}/component_kl.svg",
            caption="../report/plot_component_kl.rst",
            category="Figures",
            subcategory="{experiment}",
            labels={"figure": "KL of each component"},
        ),
        png="results/figures/{experiment}/component_kl.png",
    log:
        "logs/plot_component_kl/{experiment}.log",
    resources:
        mem_mb=1000,
    params:
        note=data_note,
        version=version_of("figures"),
    script:
        "../scripts/plot_component_kl.py"


rule plot_pareto:
    input:
        runs=experiment_costs,
    output:
        svg=report(
            "results/figures/{experiment}/pareto.svg",
            caption="../report/plot_pareto.rst",
            category="Figures",
            subcategory="{experiment}",
            labels={"figure": "likelihood against cost"},
        ),
        png="results/figures/{experiment}/pareto.png",
    log:
        "logs/plot_pareto/{experiment}.log",
    resources:
        mem_mb=1000,
    params:
        note=data_note,
        version=version_of("figures"),
    script:
        "../scripts/plot_pareto.py"


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


rule plot_atlas:
    input:
        run=plotted_run,
    output:
        svg=report(
            "results/figures/{experiment}/{run}.atlas.svg",
            caption="../report/plot_atlas.rst",
            category="Figures",
            subcategory="{experiment}",
            labels={"figure": "atlas and uncertainty", "run": "{run}"},
        ),
        png="results/figures/{experiment}/{run}.atlas.png",
    log:
        "logs/plot_atlas/{experiment}/{run}.log",
    resources:
        mem_mb=1000,
    params:
        note=data_note,
        version=version_of("figures"),
    script:
        "../scripts/plot_atlas.py"


rule plot_density:
    input:
        run=plotted_run,
    output:
        svg=report(
            "results/figures/{experiment}/{run}.density.svg",
            caption="../report/plot_density.rst",
            category="Figures",
            subcategory="{experiment}",
            labels={"figure": "aggregate posterior and prior", "run": "{run}"},
        ),
        png="results/figures/{experiment}/{run}.density.png",
    log:
        "logs/plot_density/{experiment}/{run}.log",
    resources:
        mem_mb=1000,
    params:
        note=data_note,
        version=version_of("figures"),
    script:
        "../scripts/plot_density.py"


rule write_globe:
    input:
        run=plotted_run,
    output:
        html=report(
            "results/figures/{experiment}/{run}.globe.html",
            caption="../report/write_globe.rst",
            category="Figures",
            subcategory="{experiment}",
            labels={"figure": "interactive globe", "run": "{run}"},
        ),
    log:
        "logs/write_globe/{experiment}/{run}.log",
    resources:
        mem_mb=1000,
    params:
        note=data_note,
        version=version_of("figures"),
    script:
        "../scripts/write_globe.py"


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
        weights=plotted_weights,
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


rule plot_interpolations:
    input:
        run=plotted_run,
        weights=plotted_weights,
    output:
        svg=report(
            "results/figures/{experiment}/{run}.interpolations.svg",
            caption="../report/plot_interpolations.rst",
            category="Figures",
            subcategory="{experiment}",
            labels={"figure": "geodesics", "run": "{run}"},
        ),
        png="results/figures/{experiment}/{run}.interpolations.png",
    log:
        "logs/plot_interpolations/{experiment}/{run}.log",
    resources:
        mem_mb=1000,
    params:
        note=data_note,
        version=version_of("figures"),
    script:
        "../scripts/plot_interpolations.py"


rule plot_attribute_directions:
    input:
        run=plotted_run,
    output:
        svg=report(
            "results/figures/{experiment}/{run}.attribute_directions.svg",
            caption="../report/plot_attribute_directions.rst",
            category="Figures",
            subcategory="{experiment}",
            labels={"figure": "directions of attributes", "run": "{run}"},
        ),
        png="results/figures/{experiment}/{run}.attribute_directions.png",
    log:
        "logs/plot_attribute_directions/{experiment}/{run}.log",
    resources:
        mem_mb=1000,
    params:
        note=data_note,
        version=version_of("figures"),
    script:
        "../scripts/plot_attribute_directions.py"


rule plot_traversals:
    input:
        run=plotted_run,
        weights=plotted_weights,
    output:
        svg=report(
            "results/figures/{experiment}/{run}.traversals.svg",
            caption="../report/plot_traversals.rst",
            category="Figures",
            subcategory="{experiment}",
            labels={"figure": "axes of the components", "run": "{run}"},
        ),
        png="results/figures/{experiment}/{run}.traversals.png",
    log:
        "logs/plot_traversals/{experiment}/{run}.log",
    resources:
        mem_mb=1000,
    params:
        note=data_note,
        version=version_of("figures"),
    script:
        "../scripts/plot_traversals.py"


rule plot_properties:
    input:
        run=plotted_run,
    output:
        svg=report(
            "results/figures/{experiment}/{run}.properties.svg",
            caption="../report/plot_properties.rst",
            category="Figures",
            subcategory="{experiment}",
            labels={"figure": "properties", "run": "{run}"},
        ),
        png="results/figures/{experiment}/{run}.properties.png",
    log:
        "logs/plot_properties/{experiment}/{run}.log",
    resources:
        mem_mb=1000,
    params:
        note=data_note,
        version=version_of("figures"),
    script:
        "../scripts/plot_properties.py"


rule plot_molecule_paths:
    input:
        run=plotted_run,
    output:
        svg=report(
            "results/figures/{experiment}/{run}.molecule_paths.svg",
            caption="../report/plot_molecule_paths.rst",
            category="Figures",
            subcategory="{experiment}",
            labels={"figure": "between molecules", "run": "{run}"},
        ),
        png="results/figures/{experiment}/{run}.molecule_paths.png",
    log:
        "logs/plot_molecule_paths/{experiment}/{run}.log",
    resources:
        mem_mb=1000,
    params:
        note=data_note,
        version=version_of("figures"),
    script:
        "../scripts/plot_molecule_paths.py"


rule plot_optimised:
    input:
        run=plotted_run,
    output:
        svg=report(
            "results/figures/{experiment}/{run}.optimised.svg",
            caption="../report/plot_optimised.rst",
            category="Figures",
            subcategory="{experiment}",
            labels={"figure": "towards a wanted gap", "run": "{run}"},
        ),
        png="results/figures/{experiment}/{run}.optimised.png",
    log:
        "logs/plot_optimised/{experiment}/{run}.log",
    resources:
        mem_mb=1000,
    params:
        note=data_note,
        version=version_of("figures"),
    script:
        "../scripts/plot_optimised.py"
