"""What each kind of figure shows, and what to look for in it: the words of the report."""

# Of an experiment as a whole: heading, caption. In the order of the report: the answers, then how they came about.
OVERALL = {
    "differences": (
        "Against the Euclidean space",
        "Each space less the Euclidean one of equal dimension, runs paired by seed: mean difference and 95% interval. "
        "Look for intervals that keep clear of zero in colour; grey establishes nothing, because there are fewer than "
        "five seeds or too many comparisons for what was found.",
    ),
    "curvature_grid": (
        "Against curvature",
        "Test log-likelihood and accuracy of one space at each sectional curvature: mean over seeds, with a band of "
        "one standard deviation. A star is a curvature that was learned, the dashed level the Euclidean space of equal "
        "dimension. Look for a peak away from zero, for a star that finds it, and for seeds that disagree.",
    ),
    "curvature_trajectories": (
        "Learned curvatures",
        "The sectional curvature of each learned component over the epochs, one line a seed; dots are the weights that "
        "are kept. Look for lines that settle, that agree on the sign over seeds, or that still move at the end.",
    ),
    "likelihood_curve": (
        "Importance samples",
        "The estimated log-likelihood against the number of importance samples. It rises to the true one, not equally "
        "fast in every space. Look for lines that still rise at the number that the table uses: their spaces are "
        "better than they look there.",
    ),
    "curves": (
        "Learning curves",
        "Validation ELBO, reconstruction and KL over the epochs: the mean over seeds, with a band of one standard "
        "deviation. Look for lines that still rise (train longer), bands that do not overlap, and crosses where a run "
        "diverged.",
    ),
}

# Of one run: heading, caption, open at once.
FIGURES = {
    "latent": (
        "Latent spaces",
        "Every test record at its posterior location, each space in its own projection. Look for classes that keep to "
        "themselves, for classes that always overlap, and for regions that no record uses. A colour is the same class "
        "in every figure.",
        True,
    ),
    "reconstructions": (
        "Reconstructions",
        "Test records above what the model makes of them. Look for what is lost: thin strokes, glasses, single atoms.",
        False,
    ),
    "samples": (
        "Samples from the prior",
        "Decoded draws from the prior, unselected. Look for examples that could be real, for kinds that never appear, "
        "and for parts of the prior that decode to nothing.",
        False,
    ),
    "decoder_grid": (
        "The decoder over the latent space",
        "What each place of a two-dimensional latent space decodes to, laid out in the space's own projection. Look "
        "for smooth passages from kind to kind, and for regions that decode to nothing.",
        False,
    ),
}
