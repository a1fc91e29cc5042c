"""Makes 8-bit models that compute the same bits on every processor; for `scripts/quantise_text_models`."""
