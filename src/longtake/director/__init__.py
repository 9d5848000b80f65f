"""Words -> Storyboard: rules that are always there, or any OpenAI-compatible LLM; lint, repair, captions."""

from longtake.director.vocabulary import Understanding, language_of, likeness, subject_names, understand

__all__ = ["Understanding", "language_of", "likeness", "subject_names", "understand"]
