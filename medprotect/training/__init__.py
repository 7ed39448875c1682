"""How a pipeline is trained: the assigner, the generator, and what they learn from."""
