# The door: `snakemake` in the root of a clone runs the workflow of workflow/Snakefile.
include: "workflow/Snakefile"


workflow.default_target = "all"
