"""The one noise process (`flow`), the one sampler (`sample`) and what a film asks of it (`film`)."""
