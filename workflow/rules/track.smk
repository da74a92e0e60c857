# MLflow is a window on the files: neither input nor output. The stamp says that all of the study can be seen there.


rule track_study:
    input:
        report="results/reports/{study}.html",
    output:
        stamp="results/.tracked/{study}",
    log:
        "logs/track_study/{study}.log",
    resources:
        mem_mb=1000,
    params:
        version=version_of("track"),
    script:
        "../scripts/track_study.py"
