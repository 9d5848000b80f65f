"""A storyboard becomes frames: plan what each shot needs, make its latents, keep them, show them in order."""
