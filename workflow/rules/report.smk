# One self-contained page a study.


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
