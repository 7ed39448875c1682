"""Cards of the data sets that pipelines were made with or measured on; nothing to import."""
