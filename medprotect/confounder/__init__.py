"""ConfounderGAN: the key, the networks, their training, and the noise."""
