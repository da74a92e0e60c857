# One self-contained page a study.


def report_metrics(wildcards):
    return run_files(PLAN.runs.values(), "metrics.json", "provenance.json")


def report_tables(wildcards):
    return [f"results/tables/{name}.{suffix}" for name in PLAN.experiments for suffix in ("csv", "md", "tex")]


def report_figures(wildcards):
    return [path for experiment in PLAN.experiments.values() for path in experiment_figures(experiment)]


def study_text(wildcards):
    return PLAN.study.model_dump_json(exclude={"data"})


rule write_report:
    input:
        metrics=report_metrics,
        tables=report_tables,
        figures=report_figures,
    output:
        html=report(
            "results/reports/{study}.html",
            caption="../report/write_report.rst",
            category="Report",
            labels={"study": "{study}"},
        ),
    log:
        "logs/write_report/{study}.log",
    resources:
        mem_mb=1000,
    params:
        study=study_text,
        configfile=ORIGIN,
        version=version_of("report"),
    script:
        "../scripts/write_report.py"
