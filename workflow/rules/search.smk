# Searches: which candidates of a rung go on, and how all of them rank. A decision makes the plan grow, and jobs plan
# too: it is made when everything else of this plan is there, and the next call of Snakemake follows it.


rule choose_rung:
    input:
        training=rung_trainings,
        tracked=ancient(f"results/.tracked/{PLAN.name}"),
    output:
        decision="results/searches/{experiment}/rung-{rung}-{digest}.json",
    log:
        "logs/choose_rung/{experiment}/rung-{rung}-{digest}.log",
    resources:
        mem_mb=1000,
    params:
        rung=rung_text,
        version=version_of("search"),
    script:
        "../scripts/choose_rung.py"


rule rank_signatures:
    input:
        metrics=search_metrics,
    output:
        csv=report(
            "results/tables/{experiment}.ranking.csv",
            caption="../report/rank_signatures.rst",
            category="Tables",
            labels={"experiment": "{experiment}", "format": "CSV, ranking"},
        ),
        md="results/tables/{experiment}.ranking.md",
    log:
        "logs/rank_signatures/{experiment}.log",
    resources:
        mem_mb=1000,
    params:
        spec=experiment_spec,
        version=version_of("search"),
    script:
        "../scripts/rank_signatures.py"
