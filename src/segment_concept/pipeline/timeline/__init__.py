"""explain.html: a timeline of cuts, concept queries, scores and keyframes beside the video."""
