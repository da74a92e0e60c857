# One page of tables an experiment: mean and standard deviation over seeds, paired differences, published figures,
# curvatures, how well likelihoods are known, use of the latent space, properties of molecules, samples of them,
# wanted ones.


rule write_table:
    input:
        metrics=experiment_metrics,
    output:
        csv=report(
            "results/tables/{experiment}.csv",
            caption="../report/write_table.rst",
            category="Tables",
            labels={"experiment": "{experiment}", "format": "CSV"},
        ),
        md="results/tables/{experiment}.md",
        tex="results/tables/{experiment}.tex",
        differences="results/tables/{experiment}.differences.csv",
        published="results/tables/{experiment}.published.csv",
        curvatures="results/tables/{experiment}.curvatures.csv",
        curvature_grid="results/tables/{experiment}.curvature_grid.csv",
        likelihood="results/tables/{experiment}.likelihood.csv",
        importance="results/tables/{experiment}.importance.csv",
        diagnostics="results/tables/{experiment}.diagnostics.csv",
        components="results/tables/{experiment}.components.csv",
        targets="results/tables/{experiment}.targets.csv",
        generation="results/tables/{experiment}.generation.csv",
        optimised="results/tables/{experiment}.optimised.csv",
    log:
        "logs/write_table/{experiment}.log",
    resources:
        mem_mb=1000,
    params:
        spec=experiment_spec,
        version=version_of("tables"),
    script:
        "../scripts/write_table.py"
