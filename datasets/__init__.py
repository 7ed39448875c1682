"""Cards of the data sets that pipelines were made with: declarations, nothing to import."""
