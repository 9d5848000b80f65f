"""Training: paper-theatre scenes in, weights out. Runs flow.py's noise process, never the sampler.

Order of a whole run: render groups and films (render) -> pretrain the text encoder (text) -> train the VAE on
groups (vae) -> encode the films (render) -> train the transformer (dit). Every stage can be interrupted and
gone on with: it keeps its state in its folder.
"""
