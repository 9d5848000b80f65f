"""What somebody does: words for every action and interaction of the theatre, in English and Chinese.

English patterns match a word's forms; Chinese ones match inside running text. Interactions need somebody or
something to be done to; they are looked for first.
"""

from __future__ import annotations


def _forms(*stems: str) -> str:
    """The forms of regular verbs: walk, walks, walked, walking; a stem with a | lists its own forms."""
    words = []
    for stem in stems:
        if "|" in stem:
            words.append(stem)
        elif stem.endswith("e"):
            words.append(rf"{stem[:-1]}(?:e|es|ed|ing)")
        elif stem.endswith("y"):
            words.append(rf"{stem[:-1]}(?:y|ys|ies|ied|ying|yed)")
        else:
            words.append(rf"{stem}(?:s|es|ed|ing|{stem[-1]}ing|{stem[-1]}ed)?")
    return rf"\b(?:{'|'.join(words)})\b"


INTERACTIONS: dict[str, str] = {
    "run_away_from": r"\b(?:runs?|ran|running|flees?|fleeing|fled|escapes?|escaping) (?:away )?from\b|逃离|逃走|吓得跑|躲开",
    "chase": _forms("chase")
    + r"|\b(?:runs?|running|ran|races?|racing) after\b|\bpursu\w+|追(?!上落)(?:着|赶|逐|上|来)|追",
    "jump_over": r"\b(?:jump|leap|hop|vault)(?:s|ed|ing)? (?:right )?over\b|跳过|跃过|跨过",
    "pop_out_of": r"\b(?:pop|jump|leap|burst|climb|peek|crawl)(?:s|ped|ed|ping|ing)? (?:up )?out of (?=(?:a|an|the|its|his|her) "
    r"(?:\w+ )?(?:box|bag|basket|suitcase|chest|pot|bucket|gift))|从.{0,6}(?:箱|盒|篮|桶|包)子?里(?:面)?(?:蹦|跳|钻|冒|探|爬)出",
    "crack_on_head": r"\b(?:crack|break|smash|land|fall|drop)(?:s|es|ed|ing)?\b.{0,24}\b(?:on|onto)\b.{0,24}\bhead\b"
    r"|(?:砸|掉|落|磕).{0,8}头(?:上|顶)",
    "wake_up": _forms("wake|wakes|woke|waking", "awaken")
    + r"(?: up)? (?=(?:the|a|an|her|him|his|its)\b)|叫醒|吵醒|唤醒|弄醒",
    "bump_into": r"\b(?:bump|crash|bang|collide|run)(?:s|es|ed|d|ing)? (?:into|with)\b|撞上|撞到|撞在",
    "play_with": r"\bplay(?:s|ed|ing)? (?:\w+ )?with\b|\bjuggl\w+|(?:跟|和|与).{1,8}(?:一起)?玩|玩(?:着|弄)?(?=球|玩具|毛线|皮球)|逗",
    "hide_behind": r"\b(?:hid(?:es?|ing)?|ducks?|ducking) behind\b|(?:躲|藏)(?:在|到).{1,8}(?:后面|背后|后)",
    "pass_behind": r"\b(?:pass(?:es|ing)?|walk(?:s|ing)?|disappear(?:s|ing)?|go(?:es)?) behind\b|从.{1,8}后面(?:走|经)过|消失在.{1,8}后面",
    "pass_in_front": r"\b(?:pass(?:es|ing)?|walk(?:s|ing)?|go(?:es)?|moves?) in front of\b|从.{1,8}前面(?:走|经|跑)过",
    "circle_around": r"\b(?:circl(?:es?|ing)|go(?:es)? round)(?: around)?\b(?! the camera)|绕着|围着",
    "look_at": r"\b(?:look|stare|gaze|peer|point)(?:s|d|ed|ing)?(?: up| down| back)? (?:at|into)\b|\bwatch(?:es|ed|ing)?\b"
    r"|\bnotic\w+|看着|盯着|望着|注视|看见|看到|发现",
    "follow": _forms("follow", "trail") + r"|跟着|跟在|跟随",
    "meet": r"\b(?:meets?|met|meeting|greets?|greeting|hugs?|hugging|face to face with)\b|遇见|遇到|相遇|碰面|拥抱|见面",
    "kick": _forms("kick") + r"|踢",
    "push": _forms("push", "shove") + r"(?! in\b)|推着|推开|(?<!镜头)推(?=箱|球|车|雪)",
    "eat": _forms("eat|eats|ate|eating", "munch", "nibble", "devour", "chew", "gobble", "lick")
    + r"|\b(?:takes?|taking) a bite\b|\bbit(?:es?|ing)\b|吃|咬|啃|舔",
    "drink": _forms("drink|drinks|drank|drinking", "sip") + r"|喝|饮",
    "land_on": r"\b(?:land|settle|perch)(?:s|es|ed|ing)? (?:on|upon|onto)\b|落在|停在|降落到",
    "fall_on": r"\b(?:fall|drop)(?:s|ped|ping|ing)? (?:on|onto) (?:a|an|the) (?!ground|floor|snow|grass|sand|street|road)\b|砸在|掉到",
    "swap": r"\b(?:swap|trade|change)(?:s|d|ing)? (?:places|positions)\b|互换位置|交换位置",
    "move_past": r"\b(?:walk|run|drive|move|go|pass)(?:s|es|ing)? (?:right )?(?:past|by)\b|擦身而过|从.{1,8}旁边经过",
}
ACTIONS: dict[str, str] = {
    "pop_out": r"\b(?:pop|burst|spring|emerge|peek)(?:s|es|ped|d|ed|ping|ing)? (?:up|out|through|from)\b|(?:冒|钻|蹦|探|跳)(?:了)?出",
    "blown_away": r"\bblow(?:n|s|ing)? (?:\w+ )?(?:away|off|across)\b|\bcarrie[sd] (?:away|off) by the wind\b|吹走|吹跑|刮走",
    "enter": _forms("enter", "arrive", "approach|approaches|approaching")
    + r"|\b(?:comes?|coming|steps?|walks? in)(?: into view| in\b| into)\b|\bappears?\b|走进|进入|来到|出现|走来|入画",
    "exit": _forms("leave|leaves|left the|leaving", "exit", "vanish", "depart")
    + r"|\b(?:disappears?|walks? (?:off|away|out)|runs? (?:off|away)|goes away|drives? (?:off|away))\b"
    r"|离开|离去|走远|远去|消失|走出|跑远|出画",
    "run": _forms("run|runs|ran|running", "dash", "race", "sprint", "gallop", "rush", "scamper", "bolt", "charge")
    + r"|奔跑|飞奔|狂奔|奔驰|跑|冲(?:向|过|出|进)",
    "walk": _forms("walk", "stroll", "wander", "pace", "march", "trot", "tiptoe", "step", "hike", "stride|strides|striding",
                   "amble", "limp", "explore", "climb", "cross|crosses|crossing")
    + r"|散步|漫步|走(?:着|在|过|到|向|路|来走去)|步行|行走|爬(?:上|山)|踱步|走",
    "hop": _forms("hop", "frolic|frolics|frolicking", "skip", "romp", "prance")
    + r"|蹦蹦跳跳|蹦|\bplay(?:s|ed|ing)?\b|玩耍|嬉戏|打滚|撒欢",
    "jump": _forms("jump", "leap") + r"|跳(?!舞)|跃",
    "roll": _forms("roll") + r"|滚",
    "bounce": _forms("bounce") + r"|弹(?!琴|吉他)",
    "tumble": _forms("tumble", "topple") + r"|翻滚|翻跟头",
    "spin": _forms("spin|spins|spinning|spun", "twirl", "rotate", "whirl") + r"|旋转|转圈|打转",
    "slide": _forms("slide|slides|sliding|slid", "glide", "skid", "skate|skates|skating", "ski|skis|skiing") + r"|滑",
    "rise": _forms("rise|rises|rose|rising", "ascend", "launch")
    + r"|\b(?:lifts?|lifting|takes?|taking|blasts?) off\b|升(?:起|空|上)|起飞|发射|腾空",
    "fly": _forms("fly|flies|flew|flying", "soar", "flutter", "swoop") + r"|飞(?!奔|快|驰)|翱翔",
    "float": _forms("float", "drift", "hover", "levitate") + r"|飘|漂浮|悬浮",
    "swim": _forms("swim|swims|swam|swimming", "dive", "paddle") + r"|游(?:泳|动|过|来游去)|潜",
    "sail": _forms("sail") + r"|航行|驶过|扬帆",
    "drive": _forms("drive|drives|drove|driving", "speed|speeds|speeding", "cruise|cruises|cruising")
    + r"|行驶|开(?:车|过|在|着)|疾驰|驶",
    "ride": _forms("ride|rides|rode|riding", "cycle", "pedal") + r"|骑",
    "crawl": _forms("crawl", "creep|creeps|crept|creeping", "sneak") + r"|爬|匍匐|蹑手蹑脚",
    "slither": _forms("slither") + r"|蜿蜒",
    "fall": _forms("fall|falls|fell|falling", "drop", "collapse|collapses", "slip") + r"|掉|落下|跌|坠|摔",
    "wake": r"\b(?:wakes?|woke|waking)(?: up)?\b|\bawakens?\b|醒(?:来|了|过来)|睡醒",
    "sleep": _forms("sleep|sleeps|slept|sleeping", "nap", "doze", "snooze") + r"|\basleep\b|睡|打盹|打瞌睡",
    "dance": _forms("dance", "boogie") + r"|跳舞|起舞|舞动",
    "sway": _forms("sway", "swing|swings|swinging") + r"|摇摆|摇晃|摆动",
    "wave": _forms("wave") + r"(?= (?:at|to|good|her|his|its)|\.|,|$)|挥手|招手",
    "turn": r"\bturn(?:s|ed|ing)? (?:around|over|back|round|to look|towards?|her|his|its)\b|\blooks? (?:back|around|up|over)\b"
    r"|转身|转过身|回头|翻(?:了个)?身|转过头|抬头",
    "grow": _forms("grow|grows|grew|growing", "bloom") + r"|长大|变大|生长|绽放",
    "shrink": _forms("shrink|shrinks|shrank|shrinking") + r"|变小|缩小",
    "stop": _forms("stop", "halt", "pause", "brake") + r"|停(?:下|住|了)",
    "lie": r"\b(?:lies|lying|lays|laying)\b|躺|趴",
    "rest": _forms("sit|sits|sat|sitting", "rest") + r"|坐|蹲|放着|摆着|纹丝不动",
    "stand": _forms("stand|stands|stood|standing", "wait", "smile", "stare", "talk", "speak", "sing|sings|sang|singing",
                    "cry", "laugh", "think", "listen", "shout", "say|says|said", "whisper", "breathe", "shiver", "gaze", "look",
                    "cook|cooks|cooking", "read|reads|reading", "write|writes|writing", "paint", "fish", "knead", "open", "close",
                    "pick", "hold|holds|holding", "find|finds|found", "see|sees|saw")
    + r"|站|等|微笑|笑|看|望|说|唱|哭|想|听|喊|叹|思考|钓|举|拿|打开|关上|读|写|画|弹(?:琴|吉他)",
}  # fmt: skip
CHANGES = (
    _forms("crack", "break|breaks|broke|breaking", "shatter", "melt", "bite", "burst", "open", "bloom", "glow", "spill",
           "drip", "freeze", "smile", "cry", "blink", "tear|tears|tearing", "notice", "realise", "realize", "sparkle", "shine")
    + r"|\b(?:snow|tears?|blood|mud|dust|light|paint) on (?:its|her|his|the) (?:nose|face|hand|paw|cheek)s?\b|\blights? up\b"
    r"|碎|裂|融化|咬|绽放|流下|滴|睁开|眨|微笑|流泪|发光|闪烁|沾(?:着|满)|亮(?:了|起)|破"
)  # fmt: skip
"""Changes of state, and faces: what a film shows in close-up."""
DETAILS = (
    r"\b(?:eyes?|face|hands?|fingers?|paws?|nose|lips?|feet|foot|shoes?|tears?|ring|watch|letter|note|photo(?:graph)?"
    r"|screen|door handle|key|clock|detail|raindrops?|snowflakes?|footprints?)\b|眼睛|眼神|脸|手(?!机|持)|爪|鼻|嘴|脚印|信|照片|钥匙|泪|雨滴|雪花"
)
"""Small things a close-up or an insert is made for."""
