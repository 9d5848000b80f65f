"""Prompts and what a director must make of them: seconds, shots, and facts of the board.

Each row: prompt, seconds (None: the script's own), one take, then facts by name.
"""

from __future__ import annotations

from typing import Any

Row = tuple[str, float | None, bool, dict[str, Any]]

ENGLISH: list[Row] = [
    # terse
    ("dog", 4, False, {"shots": 1, "cast": ["dog"]}),
    ("golden puppy, snow", 4, False, {"shots": 1, "cast": ["puppy"]}),
    ("a golden puppy plays in the snow", 4, False, {"shots": 1, "look": "a golden puppy", "place": "snow"}),
    ("neon street at night", 4, False, {"shots": 1, "cast": [], "time": "night"}),
    ("two cats on a rooftop", 5, False, {"shots": 1, "look": "two cats"}),
    ("close-up of a cookie", 3, False, {"shots": 1, "scales": ["close_up"]}),
    ("a penguin walks to the left", 4, False, {"facing": "left"}),
    ("a red car drives along a street, tracking shot", 4, False, {"moves": ["follow"]}),
    ("low-angle shot of a robot in a warehouse", 4, False, {"angles": ["low"]}),
    ("an old fisherman mends his net at the edge of a pier at dawn", 6, False, {"look": "an old fisherman", "time": "dawn"}),
    # stretched: one sentence, many shots
    ("a golden puppy plays in the snow", 60, False, {"shots": 12, "first_scale": "wide"}),
    ("a stylish woman walks along a rainy neon Tokyo street at night", 20, False, {"shots": 4, "look": "a stylish woman"}),
    ("a dragon flies over a castle", 16, False, {"shots": 3}),
    # stories
    ("A cat sleeps on a sofa. Suddenly a dog runs in. The cat jumps away.", 12, False, {"shots": 3, "cast": ["cat", "dog"]}),
    ("A robot wakes up in a warehouse, then walks into a desert, then watches the sunset.", 15, False, {"shots": 3, "places": 2}),
    ("A penguin walks across a snowy field at night, meets a cat in a pine forest, and they jump on a sunny beach", 15, False,
     {"shots": 3, "places": 3, "shot_cast": {1: ["penguin", "cat"], 2: ["penguin", "cat"]}}),
    ("A cat walks in a meadow at noon and jumps in a meadow at sunset", 10, False, {"shots": 2, "places": 1}),
    ("a dog runs through a meadow and jumps on the beach", 10, False, {"shots": 2, "places": 2, "shot_cast": {1: ["dog"]}}),
    ("A woman sleeps in a bedroom. A cat wakes her. She turns over.", 12, False, {"shots": 3, "shot_cast": {2: ["woman"]}}),
    ("A boy kicks a ball in a park. The ball rolls away. The boy runs after it.", 12, False, {"shots": 3, "cast": ["boy", "ball"]}),
    ("A black cat meets a white cat in a garden. The black cat runs away.", 8, False, {"shots": 2}),
    ("An egg falls on a dog's head and cracks. The dog looks up.", 8, False, {"shots": 2, "cast": ["egg", "dog"]}),
    ("Mia, a girl in a yellow raincoat, walks in the rain. She finds a frog. They dance together.", 12, False,
     {"shots": 3, "look": "a girl", "wardrobe": "yellow raincoat", "shot_cast": {2: ["Mia", "frog"]}}),
    # explicit
    ("Shot 1: wide shot of a snowy field at dawn. Shot 2: a fox runs to the right, the camera follows. Shot 3: close-up of the fox.",
     12, False, {"shots": 3, "scales": ["wide", "full", "close_up"], "moves_at": {1: "follow"}}),
    ("Scene 1: A horse gallops in a meadow. Scene 2: The horse stops.", 8, False, {"shots": 2, "cast": ["horse"]}),
    ("1. A car drives through the desert.\n2. The car stops.\n3. A woman walks away.", 12, False, {"shots": 3}),
    ("a cat walks in a garden, cut to the cat sleeping on a sofa, dissolve to the moon at night", 12, False,
     {"shots": 3, "transitions": ["cut", "cut", "dissolve"]}),
    ("A ship sails at sunset. Fade to a lighthouse at night. Wipe to a beach in the morning.", 12, False,
     {"transitions": ["cut", "fade", "wipe"]}),
    # time codes
    ("[0-4s] A cat sleeps in a bedroom. [4-8s] A dog enters. [8-10s] Close-up: the cat stares.", None, False,
     {"durations": [4, 4, 2], "scales_at": {2: "close_up"}}),
    ("0:00-0:05 wide shot of the desert 0:05-0:12 a camel walks by", None, False, {"durations": [5, 7]}),
    ("Shot 1 (3s): a bird sings. Shot 2 (5s): the bird flies away.", None, False, {"durations": [3, 5]}),
    # one take
    ("one continuous take: a drone flies over a castle at sunset", 20, False, {"continues": True}),
    ("a woman walks through a market", 30, True, {"continues": True, "shots": 4}),
    # speech
    ('A boy meets a robot in a park. "Who are you?" asks the boy. The robot says, "I am your friend."', 12, False,
     {"lines": [("boy", "Who are you?"), ("robot", "I am your friend.")]}),
    ("A lion walks in the desert. Narrator: He had walked for three days.", 8, False, {"narration": "He had walked for three days."}),
    ('Tokyo, night. A detective waits under a sign that reads "OPEN".', 6, False, {"lines": [], "time": "night"}),
    # long
    ("In the style of a 3D render, a curious astronaut in a white spacesuit walks across the dusty surface on the moon, leaving footprints "
     "behind. The camera slowly dollies in as she kneels and picks up a glowing stone. The stone lights up her face. Far above, the earth rises.",
     20, False, {"look": "a curious astronaut", "style": "3D render"}),
]  # fmt: skip

CHINESE: list[Row] = [
    ("小狗", 4, False, {"shots": 1, "cast": ["小狗"]}),
    ("一只金毛小狗在雪地里玩耍", 4, False, {"shots": 1, "look": "一只金毛小狗", "place": "雪地"}),
    ("霓虹街头，夜晚", 4, False, {"shots": 1, "cast": [], "time": "夜"}),
    ("特写：一块饼干", 3, False, {"scales": ["close_up"]}),
    ("两只猫在屋顶上", 4, False, {"look": "两只猫"}),
    ("一只企鹅在雪地里走，在松林里遇见一只猫，它们在海滩上跳", 15, False, {"shots": 3, "places": 3, "shot_cast": {1: ["企鹅", "猫"]}}),
    ("一只企鹅向左走", 4, False, {"facing": "left"}),
    ("仰拍，一个机器人站在仓库里", 4, False, {"angles": ["low"]}),
    ("一辆红色汽车在街道上行驶，跟拍", 4, False, {"moves": ["follow"]}),
    ("镜头缓缓推近，一只猫坐在沙发上", 4, False, {"moves": ["dolly_in"]}),
    ("中午，一头大象在沙漠里走", 5, False, {"time": "中午", "cast": ["大象"]}),
    ("一只金毛小狗在雪地里玩耍", 60, False, {"shots": 12, "first_scale": "wide"}),
    ("一个时髦的女人走在雨夜的东京街头", 20, False, {"shots": 4, "look": "一个时髦的女人"}),
    ("一条龙飞过城堡", 15, False, {"shots": 3, "cast": ["龙"]}),
    ("早晨，一只猫走进卧室，然后叫醒了睡觉的女人，最后她翻了个身。", 12, False, {"shots": 3, "shot_cast": {2: ["女人"]}}),
    ("一只猫追着一只老鼠跑过厨房。老鼠躲到箱子后面。", 8, False, {"shots": 2, "shot_cast": {0: ["猫", "老鼠"]}}),
    ("男孩在公园里踢足球。突然下起了雨。男孩跑回家。", 12, False, {"cast": ["男孩"]}),
    ("一个机器人在仓库里醒来，然后走进沙漠，最后看着日落。", 15, False, {"shots": 3, "places": 2}),
    ("一只狗在海边奔跑。随后，一只海鸥飞过。", 8, False, {"shots": 2}),
    ("一个鸡蛋掉到狗的头上，裂开了。", 4, False, {"shots": 1, "cast": ["鸡蛋", "狗"]}),
    ("一只黑猫遇见一只白猫", 4, False, {"shots": 1}),
    ("镜头一：远景，雪地，一只小狗跑过来。镜头二：特写，小狗的鼻子上沾着雪。镜头三：小狗从雪里钻出来。", 12, False,
     {"shots": 3, "scales_at": {0: "wide", 1: "close_up"}, "cast": ["小狗"]}),
    ("镜头1：全景，草地上一匹马在奔跑。镜头2：马停下来。", 8, False, {"shots": 2, "scales_at": {0: "full"}}),
    ("分镜一：一只企鹅站在雪地里。分镜二：企鹅滑倒了。", 8, False, {"shots": 2, "cast": ["企鹅"]}),
    ("夜晚，东京街头下着雨，切到一个女人的特写，叠化到海边的日出", 12, False, {"shots": 3, "transitions": ["cut", "cut", "dissolve"]}),
    ("一只猫在花园里散步。画面切到：猫在沙发上睡觉。", 8, False, {"shots": 2, "places": 2}),
    ("[0-3秒] 一只猫睡在卧室里。[3-8秒] 一只狗走进来。", None, False, {"durations": [3, 5]}),
    ("第1秒到第3秒：一只企鹅站在雪地里。第3秒到第6秒：企鹅滑倒了。", None, False, {"durations": [2, 3]}),
    ("镜头一（3秒）：一只鸟在唱歌。镜头二（5秒）：鸟飞走了。", None, False, {"durations": [3, 5]}),
    ("一镜到底：一个女人穿过集市", 30, False, {"continues": True}),
    ("一只狐狸在森林里奔跑", 24, True, {"continues": True, "shots": 3}),
    ("女孩在公园里遇见一个机器人。女孩说：“你是谁？”机器人说：“我是你的朋友。”", 12, False,
     {"lines": [("女孩", "你是谁？"), ("机器人", "我是你的朋友。")]}),
    ("沙漠里，一头狮子慢慢走着。旁白：它已经走了三天。", 8, False, {"narration": "它已经走了三天。"}),
    ("3D动画风格，一位宇航员在月球上行走，身后留下一串脚印。随后她捡起一块发光的石头。石头照亮了她的脸。最后，镜头缓缓升起，地球出现在远方。", 20, False,
     {"look": "一位宇航员", "style": "3D动画"}),
]  # fmt: skip
