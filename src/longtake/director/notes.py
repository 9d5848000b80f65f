"""What the director tells its user, in the language of the prompt: notes, what lint finds, what repair did."""

from __future__ import annotations

from longtake.wording import Lines, say

_LINES: Lines = {
    # the length of a script
    "stretched": ("the script's {own:g} seconds were stretched to {seconds:g}", "脚本共 {own:g} 秒，已拉长到 {seconds:g} 秒"),
    "shortened": ("the script's {own:g} seconds were shortened to {seconds:g}", "脚本共 {own:g} 秒，已缩短到 {seconds:g} 秒"),
    # an endpoint
    "written_by": ("storyboard written by {model}", "分镜由 {model} 编写"),
    "left_out": ("left out {field}, which no storyboard has", "已略去 {field}：分镜中没有这一项"),
    "rules_instead": ("{error}; the rules directed instead", "{error}；改由内置规则导演"),
    # words without a picture
    "substituted": ("no picture of {said!r}: used {used!r} instead", "画不出“{said}”：改用“{used}”"),
    "unknown": ("not known to the model: {words}", "模型不认识：{words}"),
    "no_thing": ("the prompt names no thing known here; try {names}", "提示词里没有这里认识的事物；可以试试：{names}"),
    "no_stage": ("no stage for {said!r}: used {used!r} instead", "没有“{said}”的场景：改用“{used}”"),
    "no_drawing": ("no drawing of {said!r}: used {used!r} instead", "没有“{said}”的图样：改用“{used}”"),
    # what lint finds
    "length": ("the shots add up to {sum:g} seconds, not {seconds:g}", "各镜头合计 {sum:g} 秒，而不是 {seconds:g} 秒"),
    "duration": ("lasts {seconds:g} seconds; {shortest:g} to {longest:g} is what a viewer reads well",
                 "时长 {seconds:g} 秒；{shortest:g} 到 {longest:g} 秒最便于观看"),
    "speech": ("{needed:.1f} seconds of speech do not fit into {seconds:g}", "{needed:.1f} 秒的台词放不进 {seconds:g} 秒的镜头"),
    "moves": ("one camera move a shot: it has {move}, its action names {named}", "一个镜头只用一种运镜：已有{move}，动作中又写了{named}"),
    "empty": ("nothing to be seen: it has no action, character or place", "没有可拍的内容：缺少动作、角色或地点"),
    "repeat": ("the same set-up as {before} ({scale}, {angle}) across a cut", "切换后机位与 {before} 相同（{scale}，{angle}）"),
    "axis": ("{who} change sides from {before}: the camera crosses the 180-degree line", "{who} 与 {before} 中左右互换：越过了 180 度轴线"),
    "facing": ("{who} faces {now} after facing {was} in {before}", "{who} 朝{now}，而在 {before} 中朝{was}"),
    "place": ("continues {before}, but in another place ({here}, not {there})", "接续 {before}，地点却不同（{here}，而不是 {there}）"),
    # what repair did
    "other_scale": ("scale {now} instead of {was}, which repeated the shot before", "景别由{was}改为{now}，以免与上一镜头重复"),
    "same_sides": ("people keep the sides they had in the shot before", "人物保持上一镜头中的左右位置"),
    "same_way": ("faces {now}, as in the shot before", "与上一镜头一样朝{now}"),
    "one_move": ("one camera move, {move}; the action no longer names another", "只用一种运镜：{move}；动作中不再提其他运镜"),
    "something": ("shows what the shot before shows, because it showed nothing", "原本没有内容，改为延续上一镜头的内容"),
    "begins_with_cut": ("begins with a cut, because it is in another place than the shot it continued",
                        "改为以硬切开始，因为地点与所接续的镜头不同"),
    "durations": ("durations in seconds: {changes}", "时长（秒）：{changes}"),
}  # fmt: skip
_CHINESE = {
    "extreme_wide": "大远景", "wide": "远景", "full": "全景", "medium_wide": "中全景", "medium": "中景", "medium_close_up": "中近景",
    "close_up": "近景", "extreme_close_up": "特写", "insert": "插入镜头",
    "eye_level": "平视", "low": "仰视", "high": "俯视", "overhead": "顶视", "dutch": "倾斜",
    "static": "固定", "pan_left": "左摇", "pan_right": "右摇", "tilt_up": "上摇", "tilt_down": "下摇", "roll_left": "左滚转",
    "roll_right": "右滚转", "dolly_in": "推", "dolly_out": "拉", "truck_left": "左移", "truck_right": "右移", "pedestal_up": "升",
    "pedestal_down": "降", "crane_up": "摇臂升", "crane_down": "摇臂降", "orbit_left": "左环绕", "orbit_right": "右环绕", "follow": "跟",
    "zoom_in": "变焦推", "zoom_out": "变焦拉", "left": "左", "right": "右", "camera": "镜头", "away": "背对镜头",
}  # fmt: skip
"""Scales, angles, moves and ways to face, as the studio calls them."""


def note(key: str, language: str, **values: object) -> str:
    """A line for the user. Raises KeyError for a key or a value that is not there."""
    return say(_LINES, key, language, **values)


def term(value: str, language: str) -> str:
    """A value of the board as it is called in a note: close_up, 近景."""
    return _CHINESE.get(value, value) if language.startswith("zh") else value


def listed(words: list[str], language: str) -> str:
    """a, b, c"""
    return ("、" if language.startswith("zh") else ", ").join(words)
