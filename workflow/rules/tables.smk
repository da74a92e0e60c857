# One table an experiment: mean and standard deviation over seeds.


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
    log:
        "logs/write_table/{experiment}.log",
    resources:
        mem_mb=1000,
    params:
        spec=experiment_spec,
        version=version_of("tables"),
    script:
        "../scripts/write_table.py"
