"""Architectures and weights, and nothing else: no noise process, no sampling, no training.

`presets` says what there is in numbers, `dit` `vae` `text` are the three networks, `checkpoint` reads and
writes all of them as one file.
"""
