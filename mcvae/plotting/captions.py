"""What each kind of figure shows, and what to look for in it: the words of the report."""

# Of an experiment as a whole: heading, caption. In the order of the report: the answers, then how they came about.
OVERALL = {
    "comparison": (
        "Side by side",
        "The autoencoder and the VAEs of one dimension, a column a model: every test record in the latent space, "
        "reconstructions of the same images, draws from the prior, and the table's numbers. Look for gaps in the "
        "autoencoder's map that the VAEs close, for draws that could be real, and for what a prior costs in "
        "reconstruction.",
    ),
    "differences": (
        "Paired differences",
        "Each space less the one that it is compared with, the Euclidean one of equal dimension unless the experiment "
        "names another, runs paired by seed: mean difference and 95% interval. "
        "Look for intervals that keep clear of zero in colour; grey establishes nothing, because there are fewer than "
        "five seeds or too many comparisons for what was found.",
    ),
    "curvature_grid": (
        "Against curvature",
        "Test log-likelihood (of faces: bits of the ELBO) and accuracy of one space at each sectional curvature: "
        "mean over seeds, with a band of one standard deviation. A star is a curvature that was "
        "learned, the dashed level the Euclidean space of equal "
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
    "dimensions": (
        "Dimensions",
        "Test log-likelihood (of faces: bits of the ELBO) and accuracy against the dimension of spaces of "
        "one component: mean over seeds, with a band of one standard deviation. Look for the dimension at which a line "
        "stops to rise, and for "
        "geometries that fall behind there.",
    ),
    "label_budgets": (
        "Label budgets",
        "Accuracy against the number of labelled training records, of nearest neighbours by geodesic distance and "
        "of a logistic probe. Look for spaces that need few labels, and for a gap between the two: classes apart, "
        "but not by a straight line.",
    ),
    "component_kl": (
        "Shares of the components",
        "KL of the posterior from the prior of each component of a product, mean over seeds with one standard "
        "deviation; equal components are ordered by size. Look for components that carry nothing, and for geometries "
        "that always carry most.",
    ),
    "pareto": (
        "Costs",
        "Test log-likelihood (of faces: bits of the ELBO) against learned parameters and training time; the "
        "grey steps are the front that no other run beats. Look for spaces above the steps of others at "
        "equal cost, and for gains that cost more "
        "than they bring.",
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
        "Every test record at its posterior location, each space in its own projection; what has more than two "
        "dimensions also as a whole, laid out by geodesic distances. Look for classes that keep to themselves, for "
        "classes that always overlap, and for regions that no record uses. A colour is the same class "
        "in every figure.",
        True,
    ),
    "atlas": (
        "Atlas and uncertainty",
        "Each surface once more in the projection that keeps angles, Mercator map or upper half plane with geodesics, "
        "beside its usual chart with the posteriors of single records outlined: exp of the ellipse of one standard "
        "deviation, or the circle that holds as much, 39%. Look for outlines that are as wide as a class, and for "
        "classes that the other map tears apart.",
        False,
    ),
    "density": (
        "Aggregate posterior and prior",
        "The mean of the posteriors of test records beside the prior, as densities against the area of the surface. "
        "Look for holes, where samples from the prior show what no record is, and for records where the prior expects "
        "none.",
        False,
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
    "interpolations": (
        "Geodesics",
        "The decoder at equal steps of geodesics between test images of different classes, which stand at both ends; "
        "above the frames the distance travelled, in the metric of the space. Look for changes as even as the steps, "
        "for frames between the classes that could be images, and for what changes first.",
        False,
    ),
    "attribute_directions": (
        "Directions of attributes",
        "One test record moved along the direction of each attribute, carried to it by parallel transport. Look for "
        "rows in which that attribute changes and the person stays.",
        False,
    ),
    "traversals": (
        "Axes of the components",
        "The mean of the posterior locations moved within one component at a time, along its axes of largest variance "
        "there: three standard deviations to each side, or once around where the locations lie all over a sphere. Look "
        "for components that change nothing, and for what each geometry has come to hold.",
        False,
    ),
    "properties": (
        "Properties",
        "Predicted against true properties of the test molecules, and each predictor's error in multiples of "
        "chemical accuracy. Look for the distance of the joint head to the dashed line, and of the probes to the "
        "joint head.",
        False,
    ),
    "molecule_paths": (
        "Between molecules",
        "Molecules decoded along geodesics between test molecules, and the nearest training molecules of others. "
        "Look for steps that change one part at a time, and for neighbours that share a skeleton.",
        False,
    ),
    "optimised": (
        "Towards a wanted gap",
        "Molecules decoded along Riemannian gradient descent of the predicted gap, judged by the model that reads them "
        "anew and, where the data have them, by their true gap. Look for points between the dashed lines, which came "
        "nearer to the wanted gap, of molecules that were not trained on, and for true gaps that follow the "
        "predicted ones.",
        False,
    ),
    "decoder_grid": (
        "The decoder over the latent space",
        "What each place of a two-dimensional latent space decodes to: the plane as a grid, the sphere as a Hammer map "
        "and a globe, the hyperbolic plane as Poincaré disc and half plane. Look for smooth passages from kind to "
        "kind, and for regions that decode to nothing.",
        False,
    ),
}

# Interactive pages of one run, files of their own that the report links to: heading, caption.
PAGES = {
    "globe": (
        "Interactive globes",
        "Spheres and hyperboloids to turn and to zoom, with a picture of the record under the pointer. Look for what "
        "lies between two classes, and for records that lie among others. Each is one file that loads nothing.",
    ),
}
