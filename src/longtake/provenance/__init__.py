"""Marks on everything that leaves: the visible label and the metadata; and the reader that finds them again."""
