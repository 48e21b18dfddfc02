"""From raw rasters to the processed store: conversions a sensor at a time, recipes, and the parallel run."""
