"""Words -> Storyboard: rules that are always there, or any OpenAI-compatible LLM; lint, repair, captions."""

from longtake.director.captions import compile, identity
from longtake.director.direction import Direction, direct, propose
from longtake.director.lint import Finding, lint, repair
from longtake.director.vocabulary import Understanding, language_of, likeness, subject_names, understand

__all__ = [
    "Direction",
    "Finding",
    "Understanding",
    "compile",
    "direct",
    "identity",
    "language_of",
    "likeness",
    "lint",
    "propose",
    "repair",
    "subject_names",
    "understand",
]
