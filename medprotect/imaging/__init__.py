"""Reading images in stored values, and writing them back exactly; one module per format."""
