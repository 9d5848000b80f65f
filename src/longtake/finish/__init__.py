"""Native frames -> the film that is asked for: size, frame rate, sound, subtitles.

Reading order: finisher (the stream of pictures), interpolate, upscale, size; then cues, sound and score.
Nothing is imported here: sound needs no torch, and pictures no voice.
"""
