"""ConfounderGAN: the key, the networks, and the noise."""
