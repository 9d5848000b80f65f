"""What verify says of each mark and of a file that was changed, in English and in Chinese."""

from __future__ import annotations

from longtake.wording import Lines, say

_LINES: Lines = {
    # the visible label and the mark in the pixels
    "label": ("in {share:.0%} of {frames} frames looked at, best correlation {best:.2f}",
              "在查看的 {frames} 帧中有 {share:.0%} 可见，最高相关系数 {best:.2f}"),
    "no_keys": ("not looked for: there are no keys on this machine", "未查找：本机没有密钥"),
    "pixel_id": ("id {ident}, key {version}, sync {sigma:.1f} sigma",
                 "编号 {ident}，密钥 {version}，同步 {sigma:.1f} σ"),
    "pixel": ("sync {sigma:.1f} sigma, {needed:g} needed", "同步 {sigma:.1f} σ，需要 {needed:g}"),
    # the metadata
    "no_aigc": ("no AIGC key", "没有 AIGC 字段"),
    "aigc": ("producer {producer}, id {ident}", "生成者 {producer}，编号 {ident}"),
    "aigc_possibly": ("producer {producer}, id {ident}, possibly generated",
                      "生成者 {producer}，编号 {ident}，可能为生成内容"),
    "aigc_suspected": ("producer {producer}, id {ident}, suspected", "生成者 {producer}，编号 {ident}，疑似生成内容"),
    "unnamed": ("unknown", "未知"),
    # the signature
    "no_c2pa_kind": ("no C2PA for this kind of file", "这类文件没有 C2PA"),
    "no_c2pa": ("no C2PA manifest", "没有 C2PA 清单"),
    "unreadable_c2pa": ("no readable C2PA manifest ({reason})", "C2PA 清单无法读取（{reason}）"),
    "trusted": ("signed by this installation", "由本机签名"),
    "valid": ("unchanged since signed by {signer}, whom nothing here vouches for",
              "自 {signer} 签名后未改动，但本机不为其担保"),
    "invalid": ("present, but the file was changed after signing or the signature is wrong",
                "有签名，但签名后文件被改动过，或签名有误"),
    "claims_camera": ("; it claims a camera, which is not proof", "；自称由相机拍摄，但这不是证明"),
    "claims_generated": ("; it says AI-generated", "；声明为 AI 生成"),
    # what shows that a file is not as it was made
    "changed": ("the file was changed after it was signed", "签名后文件被改动过"),
    "damaged": ("the pixel mark is damaged: found, but its id cannot be read", "像素水印已损坏：能检出，但读不出编号"),
    "no_metadata": ("the metadata was removed", "元数据已被去除"),
    "no_signature": ("the signature was removed", "签名已被去除"),
    "no_label": ("the visible label is gone", "可见标签不见了"),
    "no_mark": ("the pixel mark is gone", "像素水印不见了"),
    "other_metadata": ("the pixel mark belongs to another file than the metadata", "像素水印与元数据不属于同一个文件"),
    "other_signature": ("the pixel mark belongs to another file than the signature", "像素水印与签名不属于同一个文件"),
    "only_label": ("only the visible label is left", "只剩可见标签"),
}  # fmt: skip


def finding(key: str, language: str, **values: object) -> str:
    """A line for the user. Raises KeyError for a key or a value that is not there."""
    return say(_LINES, key, language, **values)
