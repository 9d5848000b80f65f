"""What a film shows, read from its pixels alone: it chooses between takes, and it grades a model."""
