"""Training: paper-theatre scenes in, weights out. Runs flow.py's noise process, never the sampler.

Order of a whole run: render groups (data) -> text pretraining (text) -> VAE (vae) -> render and encode clips
(data) -> diffusion transformer (dit). Each stage is a folder that can be interrupted and gone on with.
"""
