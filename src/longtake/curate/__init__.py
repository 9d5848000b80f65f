"""What may be trained on: videos looked at for the marks of made films, and a signed ledger of the decisions."""
