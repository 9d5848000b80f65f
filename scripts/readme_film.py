"""Make the README's moving picture: six films of the shipped model, tiled.

python scripts/readme_film.py [WEIGHTS]
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

import longtake
from longtake.video import read_frames

PROMPTS = (
    ("a cat passes behind a penguin in a green meadow at noon, full shot", 2),
    ("a penguin and a bus in a snowy field at noon, the camera pans right", 1),
    ("日落时分，草原上，一只企鹅站在一只乌龟左边", 2),
    ("a red car drives to the right along a neon street at night, medium shot", 1),
    ("the camera slowly pushes in on an elephant in the desert at sunset", 2),
    ("two penguins stand in a snowy field at night", 1),
)
OUT = Path(__file__).parent.parent / "docs" / "media" / "film.webp"


def main(model: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        films = []
        for i, (prompt, seed) in enumerate(PROMPTS):
            path = Path(folder) / f"{i}.mp4"
            longtake.make(prompt, path, seconds=4, size="320x192", fps=12, seed=seed, model=model)
            films.append(np.stack(list(read_frames(path))))
    top, bottom = np.concatenate(films[:3], 2), np.concatenate(films[3:], 2)
    frames = [Image.fromarray(frame) for frame in np.concatenate([top, bottom], 1)]
    OUT.parent.mkdir(parents=True, exist_ok=True)
    frames[0].save(
        OUT, save_all=True, append_images=frames[1:], duration=1000 // 12, loop=0, quality=60, method=4
    )


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "pocket")
