"""Make the examples: the boards of examples/ as animatics and, with --films, as films of the model, and their page.

python scripts/examples.py [--boards] [--films] [--weights FILE] [NAME ...]

--boards writes the boards anew from the prompts below. Pictures go to docs/media/examples, the page is
docs/examples.md; it shows the film of an example wherever one has been made.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from longtake import pipeline, sheet
from longtake.director import direct
from longtake.model import checkpoint
from longtake.request import Film, build_request
from longtake.storyboard import load_storyboard, save_storyboard

ROOT = Path(__file__).parent.parent
BOARDS, MEDIA, PAGE = ROOT / "examples", ROOT / "docs" / "media" / "examples", ROOT / "docs" / "examples.md"

PROMPTS: dict[str, tuple[str, float, str]] = {
    "1-neon-walk": (
        "A stylish woman walks along a rainy neon Tokyo street at night, wet reflections. Then a close-up of her face.", 10,
        "夜晚，一个时髦的女人走在雨中的东京霓虹街头。然后切到特写：她的脸。",
    ),
    "2-puppy-in-snow": (
        "A golden puppy plays in the snow. Suddenly it pops out of the snow. Close-up: snow on its nose.", 9,
        "一只金毛小狗在雪地里玩耍。突然它从雪里钻出来。特写：小狗的鼻子上沾着雪。",
    ),
    "3-cat-wakes-woman": (
        "In a bedroom in the morning a woman sleeps in bed. Then a cat wakes up the woman.", 8,
        "早晨，卧室里，一个女人在床上睡觉。然后一只猫叫醒了女人。",
    ),
    "4-cookie": (
        "A girl eats a cookie in the living room. Close-up of the cookie.", 7,
        "客厅里，一个女孩在吃一块饼干。特写：饼干。",
    ),
    "5-box-in-the-wind": (
        "An empty cardboard box is blown away by the wind in a green meadow. Then a heavy barrel rests in the meadow, it does not move.", 8,
        "大风里，绿草地上一个空纸箱被风吹走了。然后，一个沉重的木桶放在草地上，一动不动。",
    ),
    "6-egg": (
        "In a living room a raw egg falls on the head of a dog and cracks. Then close-up of the dog.", 7,
        "客厅里，一个生鸡蛋掉到一只狗的头上，裂开了。然后特写：狗。",
    ),
    "7-left-and-right": (
        "A cat, a dog and a penguin stand in a green meadow. Then the cat passes behind a bus.", 8,
        "绿草地上，一只猫、一只狗和一只企鹅站在一起。然后，猫从一辆公交车后面走过。",
    ),
    "8-penguin": (
        "A penguin stands in a snowy field at night, walks in a green meadow at noon, and jumps in a green meadow at sunset.", 15,
        "夜晚，雪地里，一只企鹅站着。然后，中午，绿草地上，企鹅走着。然后，日落时分，草地上，企鹅跳了起来。",
    ),
    "9-one-take": (
        "One continuous take: a penguin walks in a green meadow at noon.", 60,
        "一镜到底：中午，绿草地上，一只企鹅走着。",
    ),
    "minute": (
        "Narrator: One morning a small robot woke up. In the morning a robot wakes up in a warehouse. The robot walks into a garden. "
        "It sees a butterfly. The butterfly flies away. Then the robot follows the butterfly across a meadow. "
        "Suddenly it rains in the meadow. A dog runs to the robot. \"Are you lost?\" asks the dog. "
        "The robot and the dog walk through a pine forest. At sunset they reach a beach. A ship sails on the sea. "
        "Finally, at night, the robot and the dog sit on the beach. Narrator: And it was never alone again.", 60,
        "旁白：一天早晨，一个小机器人醒来了。早晨，一个机器人在仓库里醒来。机器人走进花园。它看见一只蝴蝶。蝴蝶飞走了。"
        "然后机器人跟着蝴蝶穿过草地。突然，草地上下起了雨。一只狗跑向机器人。狗说：“你迷路了吗？”机器人和狗走过松林。"
        "傍晚，它们来到海边。一艘船在海上航行。最后，夜里，机器人和狗坐在沙滩上。旁白：从此它不再孤单。",
    ),
}  # fmt: skip


def write_boards() -> None:
    BOARDS.mkdir(exist_ok=True)
    vocabulary = checkpoint.load().extra["vocabulary"]
    for number, (name, (english, seconds, chinese)) in enumerate(PROMPTS.items()):
        for language, prompt in (("en", english), ("zh", chinese)):
            board = direct(
                prompt, seconds=seconds, size="1280x720", fps=24, seed=7 + number, vocabulary=vocabulary
            )
            save_storyboard(
                board.model_copy(update={"title": prompt[:80]}), BOARDS / f"{name}.{language}.json"
            )


def picture(board: Path, weights: str | None) -> None:
    """The contact sheet of a board's animatic, or of the film a model makes of it."""
    small = load_storyboard(board).revised(size="320x192", fps=12)
    kind = "animatic" if weights is None else "film"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "film.mp4"
        if weights is None:
            events = pipeline.animatic(small, path)
        else:
            events = pipeline.generate(build_request(storyboard=small, model=weights), path)
        *_, film = events
        assert isinstance(film, Film)
        MEDIA.mkdir(parents=True, exist_ok=True)
        many = sheet.sheet(path, MEDIA / f"{board.stem}.{kind}.webp", columns=4, width=240)
    print(f"{board.stem}: {kind}, {film.seconds:g} s, {many} frames")


def write_page() -> None:
    lines = [
        "# Examples",
        "",
        "Storyboards in `examples/`, each in English and Chinese, acted out on the paper theatre and filmed by the pocket model;",
        "the middle frame of every shot. `make examples` makes the animatics, `make examples FILMS=1` the films too.",
        "",
        "```sh",
        "longtake animatic examples/2-puppy-in-snow.en.json -o preview.mp4",
        "longtake generate --storyboard examples/2-puppy-in-snow.en.json -o film.mp4",
        "```",
    ]
    for board in sorted(BOARDS.glob("*.json")):
        found = load_storyboard(board)
        prompt = PROMPTS[board.stem.split(".")[0]][0 if board.stem.endswith("en") else 2]
        lines += [
            "",
            f"## {board.stem}",
            "",
            f"> {prompt}",
            "",
            f"{len(found.shots)} shots, {found.seconds:g} seconds.",
        ]
        for kind in ("animatic", "film"):
            if (MEDIA / f"{board.stem}.{kind}.webp").exists():
                lines += ["", f"The {kind}:", "", f"![{kind}](media/examples/{board.stem}.{kind}.webp)"]
    PAGE.write_text("\n".join(lines) + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--boards", action="store_true")
    parser.add_argument("--films", action="store_true")
    parser.add_argument("--weights", default="pocket")
    parser.add_argument("names", nargs="*")
    options = parser.parse_args()
    if options.boards:
        write_boards()
    for board in sorted(BOARDS.glob("*.json")):
        if not options.names or any(name in board.stem for name in options.names):
            picture(board, None)
            if options.films:
                picture(board, options.weights)
    write_page()


if __name__ == "__main__":
    main()
