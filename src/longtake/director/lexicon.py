"""The words of film makers in English and Chinese: scales, angles, camera moves, supports, transitions.

Each table is in order of precedence: the first pattern that is found wins ("extreme close-up" before "close-up").
Patterns are case-insensitive regular expressions over both languages at once; an English word has its bounds.
"""

from __future__ import annotations

import re
from functools import lru_cache

SCALES: dict[str, str] = {
    "extreme_wide": r"\b(?:extreme(?:ly)? (?:wide|long)|very wide|vast(?:, distant)?(?: wide)?) (?:shot|view)\b"
    r"|\baerial(?: shot| view)?\b|\bdrone shot\b|大远景|极远景|超远景|航拍",
    "medium_close_up": r"\bmedium[- ]close[- ]?up\b|\bchest[- ]up\b|\bover[- ]the[- ]shoulder\b|中近景|近景|过肩",
    "extreme_close_up": r"\bextreme(?:ly)? close[- ]?up\b|\bmacro(?: shot| close-?up)?\b|\bvery tight close[- ]?up\b"
    r"|大特写|极近特写|微距",
    "insert": r"\binsert(?: shot)?(?= of|:|,|\.|$)|\bdetail shot\b|\bcutaway\b|插入镜头|细节镜头|细节特写|空镜",
    "close_up": r"\bclose[- ]?ups?\b|\b(?:close|tight) shot\b|\bup close\b|特写|近距离看",
    "medium_wide": r"\bmedium[- ](?:wide|long)(?: shot)?\b|\bcowboy shot\b|中全景|中远景",
    "full": r"\bfull(?:[- ]length|[- ]body|[- ]frame)?[- ](?:shot|view)\b|全景|全身镜头|全貌镜头",
    "medium": r"\b(?:medium|mid|mid-range)[- ]?(?:shot|view)\b|\btwo[- ]shot\b|\bwaist[- ]up\b|中景|中等景别|双人镜头",
    "wide": r"\b(?:wide|long|distant|establishing)(?:[- ]angle)?[- ](?:shot|view)\b|\bestablishing:|远景|远镜头|远远看去",
}
ANGLES: dict[str, str] = {
    "overhead": r"\boverhead\b|\btop[- ]down\b|\bbird'?s[- ]eye\b|\bgod'?s[- ]eye\b|顶拍|正俯|鸟瞰|上帝视角",
    "low": r"\blow[- ]angle\b|\bseen from below\b|\bworm'?s[- ]eye\b|\bcamera low to the ground\b|仰拍|仰视|低角度|低机位",
    "high": r"\bhigh[- ]angle\b|\bseen from above\b|\belevated view\b|俯拍|俯视|高角度",
    "dutch": r"\bdutch(?: angle| tilt)?\b|\bcanted\b|荷兰角|斜角镜头|倾斜构图",
    "eye_level": r"\beye[- ]level\b|\bstraight-on view\b|平视|平拍",
}
_CAM = r"(?:camera|view|shot|lens|we)"
MOVES: dict[str, str] = {
    "static": r"\bstatic(?: camera| shot)?\b|\blocked[- ]off\b|\bfixed camera\b|\bcamera (?:stays still|holds(?: steady)?"
    r"|does not move|is still)\b|固定镜头|固定机位|静止镜头|镜头(?:固定|静止|保持静止)|机位不变|摄像机固定",
    "orbit_left": r"\borbit(?:s|ing)?(?: to the)? left\b|\b(?:circles|arcs|circling|arcing)(?: to the)? left\b|向左环绕|左环绕",
    "orbit_right": r"\borbit(?:s|ing)?(?: shot| around| to the right| right)?\b|\bcamera (?:circles|arcs)\b|\barc shot\b"
    r"|环绕镜头|镜头(?:向右)?环绕|绕拍|环绕拍摄|镜头围绕",
    "dolly_out": r"\b(?:dolly|dollies|dollying|pull|pulls|pulling) (?:out|back|away)\b|\bcamera (?:(?:slowly )?moves away"
    r"|(?:slowly )?backs away|retreats|glides backwards?|moving backward)\b|拉镜头|镜头(?:缓缓|慢慢|逐渐)?(?:向后)?(?:拉远|拉开|后退|远离)"
    r"|向后拉|镜头拉",
    "dolly_in": r"\b(?:dolly|dollies|dollying|push|pushes|pushing) ?in(?:to)?\b|\bdolly shot\b|\bcamera (?:slowly )?(?:moves"
    r"|glides|moving|creeps|pushes) (?:in|closer|forward|towards?)\b|推镜头|镜头(?:缓缓|慢慢|逐渐)?(?:向前)?(?:推进|推近|靠近|推向)|向前推",
    "zoom_out": r"\bzoom(?:s|ing)? out\b|变焦拉远|镜头变焦拉|缩小画面",
    "zoom_in": r"\bzoom(?:s|ing)?(?: in(?:to)?)?\b|\bcrash zoom\b|变焦|镜头放大",
    "pan_left": r"\bpan(?:s|ning)?(?: slowly)?(?: to the)? left\b|\bleftward pan\b|\b(?:turns|sweeps)(?: slowly)?(?: to the)? left\b"
    r"|左摇|向左(?:缓缓)?摇",
    "pan_right": r"\bpan(?:s|ning)?(?: slowly)?(?: (?:across|over|to the right|right|along|shot))?\b|\brightward pan\b"
    r"|\b(?:view|camera) (?:turns|sweeps)(?: slowly)?(?: to the)? right\b|右摇|向右(?:缓缓)?摇|摇镜头|横摇",
    "tilt_down": r"\btilt(?:s|ing)? down(?:wards?)?\b|\bdownward tilt\b|下摇|向下(?:缓缓)?摇",
    "tilt_up": r"\btilt(?:s|ing)? up(?:wards?)?\b|\bupward tilt\b|\bcamera tilts\b|上摇|向上(?:缓缓)?摇",
    "roll_left": r"\bcamera rolls(?: to the)? left\b|镜头向左旋转",
    "roll_right": r"\bcamera rolls\b|\bbarrel roll shot\b|镜头(?:向右)?旋转",
    "truck_left": r"\btruck(?:s|ing)?(?: to the)? left\b|\b(?:camera|lateral) (?:slides|glides|moves sideways|sliding|tracks)"
    r"(?: to the)? left\b|左移镜头|镜头(?:缓缓)?左移|向左平移|向左移镜头",
    "truck_right": r"\btruck(?:s|ing)(?: to the)? right\b|\btruck right\b|\bcamera (?:slides|glides|moves sideways|sliding)"
    r"(?: to the)? right\b|\btracking sideways\b|右移镜头|镜头(?:缓缓)?右移|向右平移|向右移镜头|横移",
    "pedestal_down": r"\bpedestal down\b",
    "pedestal_up": r"\bpedestal up\b",
    "crane_down": r"\bcrane(?:s|ing)? down\b|\bcamera (?:descends|descending|lowers|sinks)\b|降镜头|镜头(?:缓缓)?(?:下降|降下)|摇臂下降",
    "crane_up": r"\bcrane(?:s|ing)?(?: up| shot)?\b|\bcamera (?:(?:slowly )?rises|rising|lifts)\b|升镜头|镜头(?:缓缓)?(?:上升|升起)|摇臂",
    "follow": r"\b(?:camera|shot) follow(?:s|ing)?\b|\bfollow(?:ing)? shot\b|\bfollow cam\b|\btracking shot\b"
    r"|\bcamera track(?:s|ing)?\b|跟拍|跟随拍摄|镜头(?:一路)?跟(?:随|着|踪)|跟镜头",
}
SUPPORTS: dict[str, str] = {
    "handheld": r"\bhand-?held\b|\bshaky\b|手持|晃动镜头",
    "gimbal": r"\bgimbal\b|\bsteadicam\b|稳定器|斯坦尼康",
    "drone": r"\bdrone (?:shot|footage|view|camera)\b|\baerial\b|航拍",
    "tripod": r"\btripod\b|三脚架",
}
FAST = r"\bquick(?:ly)?\b|\bfast\b|\brapid(?:ly)?\b|\bwhip\b|\bcrash zoom\b|快速|迅速|急速|甩"
TRANSITIONS: dict[str, str] = {
    "match_cut": r"\bmatch[- ]cut(?: to)?\b|匹配剪辑|相似剪辑",
    "dissolve": r"\b(?:cross[- ]?)?dissolves?(?: in)?(?: to| into)?\b|\bcross[- ]?fades?(?: to| into)?\b|叠化(?:到|为)?|溶解到|溶入",
    "wipe": r"\bwipes?(?: to| across to)\b|划像(?:到)?|擦除(?:到)",
    "fade": r"\bfades?(?:[- ](?:in|to|out|from|into))+(?: black| to black)?(?: and fades? in)?(?: to| on)?\b|淡入|淡出|渐隐|渐显",
    "cut": r"\b(?:then |and then |hard |smash |jump )?cuts?(?: back)? to\b|\bthe scene cuts to\b|\bsmash cut(?: to)?\b"
    r"|\b(?:next|another) shot\b[:,]?|\bback to the (?=[a-z -]*(?:shot|close-up|view))|\bcut:|\bwe return to\b"
    r"|(?:画面|镜头|场景)?切换?(?:回|到|至)|下一个?镜头|镜头(?:回到|转到|转向)|画面(?:回到|转到)|镜头一转|转场",
}
OFF_SCREEN = r"\b(?:narrator|narration|voice[- ]?over|v\.?o\.?)\b|旁白|画外音|解说"
ONE_TAKE = (
    r"\bone[- ](?:single[- ])?(?:continuous[- ])?(?:take|shot)\b|\bsingle[- ](?:continuous |unbroken )?(?:take|shot)\b"
    r"|\b(?:a )?continuous (?:take|shot)\b|\bunbroken (?:take|shot)\b|\boner\b|\blong take\b|\bno cuts?\b|\bwithout (?:a )?cuts?\b"
    r"|一镜到底|长镜头|一个镜头拍完|不剪辑|无剪辑"
)
STYLES = (
    r"\b(?:3d|cgi|2d|anime|cartoon|watercolou?r|claymation|stop[- ]motion|film noir|black[- ]and[- ]white|photoreal\w*"
    r"|pixar|cinematic|flat (?:illustration|vector|design)|vector|painterly|oil painting|pixel art|sketch)\b"
    r"(?: (?:style|render(?:ing)?|animation|illustration|look|film|cartoon|design))*"
    r"|(?:3D|三维|二维|扁平|水彩|动漫|卡通|黑白|定格|写实|电影感|像素|油画|水墨)(?:渲染|动画|插画|卡通|风格|画风|质感)*"
)
"""Words that say how everything looks rather than what is seen."""
TIMES: dict[str, str] = {
    "dawn": r"\b(?:dawn|daybreak|sunrise|first light)\b|黎明|破晓|日出|拂晓|天刚亮",
    "sunset": r"\b(?:sunset|dusk|evening|twilight|golden hour|sundown)\b|日落|夕阳|黄昏|傍晚|晚霞",
    "night": r"\b(?:night|midnight|moonlight|moonlit|after dark|starry|under the (?:stars|moon))\b|夜|月光|星空|星光|天黑",
    "morning": r"\bmorning\b|早晨|清晨|早上|晨光|一大早",
    "noon": r"\b(?:noon|midday|daytime|daylight|afternoon|sunny|sunlight|sunlit|bright day)\b|中午|正午|白天|下午|阳光|晌午",
}
WEATHERS: dict[str, str] = {
    "snow": r"\b(?:snowing|snowfall|snowstorm|blizzard|snowflakes?|falling snow|snow (?:is )?fall(?:s|ing)?)\b|下雪|飘雪|雪花|大雪|暴雪|雪夜",
    "rain": r"\b(?:rain(?:y|ing|s|fall|drops?|storm)?|drizzl\w+|storm|thunderstorm|downpour)\b|雨",
    "fog": r"\b(?:fog(?:gy)?|mist(?:y)?|haz[ey])\b|雾",
    "wind": r"\b(?:wind(?:y)?|gusts?|breeze|gale)\b|风(?!格|景)",
    "clear": r"\b(?:clear (?:sky|day|night)|sunny|fine weather)\b|晴",
}


@lru_cache(maxsize=512)
def pattern(text: str) -> re.Pattern[str]:
    return re.compile(text, re.IGNORECASE)


def first(table: dict[str, str], text: str) -> str:
    """The key whose pattern is found in `text`, in the table's order of precedence; "" when none is."""
    return next((key for key, words in table.items() if pattern(words).search(text)), "")


def spans(table: dict[str, str], text: str) -> list[tuple[int, int, str]]:
    """(start, end, key) of everything a table finds; where two meet, the earlier key of the table wins."""
    taken = [False] * len(text)
    found = []
    for key, words in table.items():
        for match in pattern(words).finditer(text):
            if match.end() > match.start() and not any(taken[match.start() : match.end()]):
                taken[match.start() : match.end()] = [True] * (match.end() - match.start())
                found.append((match.start(), match.end(), key))
    return sorted(found)
