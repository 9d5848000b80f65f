"""Finding the parts of a Wan checkpoint in a file or folder: headers are read, tensors stay mapped on the disk.

Whatever the files are called, a part is known by its keys. Names decide only what keys cannot: which of two experts
is for high noise. Pickled files are never opened.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from longtake.errors import WeightsError
from longtake.model.tensorfile import NAMED, misfit
from longtake.model.wan_keys import Part, layouts, parts, to_diffusers

Number = TypeVar("Number", int, float)
PICKLED = (".pth", ".pt", ".bin", ".ckpt", ".pkl")


@dataclass
class Found:
    """One part of a model: where each tensor lies, under its name in diffusers' terms."""

    part: Part
    place: Path
    tensors: dict[str, tuple[Path, str, tuple[int, ...]]] = field(default_factory=dict)
    """Name -> (file, name in the file, shape)."""

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        return {name: shape for name, (_, _, shape) in self.tensors.items()}

    @property
    def config_path(self) -> Path:
        """Where its config.json is, if it has one."""
        return self.place.parent / "config.json"

    @property
    def config(self) -> dict[str, Any]:
        """What a config.json beside it says, or nothing. Raises WeightsError when it is damaged."""
        return read_json(self.config_path) if self.config_path.is_file() else {}

    def stated(self, key: str, default: Number) -> Number:
        """A number of its config.json, see `stated`."""
        return stated(self.config, key, default, self.config_path)

    def fill(self, module: nn.Module, dtype: torch.dtype | None = None) -> None:
        """Give the module these tensors, mapped from the disk unless another dtype is asked for.

        Raises WeightsError that names the first keys that are missing, left over or of another shape.
        """
        expected = {key: tuple(value.shape) for key, value in module.state_dict().items()}
        if wrong := misfit(expected, self.shapes):
            raise WeightsError(
                f"{self.place}: {wrong}; get the checkpoint again, or give one of the Wan family"
            )
        module.load_state_dict(dict(self._read(dtype)), strict=True, assign=True)

    def _read(self, dtype: torch.dtype | None) -> Iterator[tuple[str, Tensor]]:
        for path in dict.fromkeys(path for path, _, _ in self.tensors.values()):
            with _opened(path) as file:
                for name, (where, key, _) in self.tensors.items():
                    if where == path:
                        try:
                            tensor = file.get_tensor(key)
                        except SafetensorError as error:  # it was whole when its header was read
                            raise WeightsError(
                                f"{path} changed while it was being loaded ({error}); try again when it is whole"
                            ) from error
                        yield name, tensor if dtype is None else tensor.to(dtype)


def find(path: Path) -> list[Found]:
    """All parts in a folder, or in a file and, for what it lacks, its folder. Raises WeightsError."""
    if path.is_file():
        own = list(_grouped([path]))
        beside = [p for p in _candidates(path.parent) if p != path]
        have = {found.part for found in own}
        return own + [found for found in _grouped(beside, strict=False) if found.part not in have]
    return list(_grouped(_candidates(path)))


def is_wan(path: Path) -> bool:
    """Whether the file or folder is to be read by this module: not a file that longtake wrote."""
    if path.suffix.lower() in PICKLED or path.is_dir():
        return True
    if path.suffix != ".safetensors" or not path.is_file():
        return False
    try:
        with safe_open(path, "pt") as file:
            return (file.metadata() or {}).get("format") != "longtake"
    except (SafetensorError, OSError):
        return False


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object. Raises WeightsError when it is none."""
    try:
        values = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise WeightsError(f"cannot read {path} ({error}); copy or download it again") from error
    if not isinstance(values, dict):
        raise WeightsError(f"{path} is not a JSON object; copy or download it again")
    return values


def stated(values: Mapping[str, Any], key: str, default: Number, path: Path) -> Number:
    """The positive number under this key of what was read from `path`, or the default where it says nothing.

    Raises WeightsError when it is something else: whole where the default is.
    """
    value = values.get(key)
    if value is None:
        return default
    whole = isinstance(default, int)
    of_kind = isinstance(value, int if whole else (int, float)) and not isinstance(value, bool)
    if not of_kind or not 0 < value < math.inf:
        kind = "a positive whole number" if whole else "a positive number"
        raise WeightsError(f"{path}: {key!r} must be {kind}, not {value!r}; copy or download it again")
    return type(default)(value)


def _candidates(folder: Path) -> list[Path]:
    """Safetensors files up to two levels down."""
    files = sorted({*folder.glob("*"), *folder.glob("*/*"), *folder.glob("*/*/*")})
    found = [p for p in files if p.suffix == ".safetensors"]
    if not found and (pickled := [p for p in files if p.suffix.lower() in PICKLED]):
        refuse_pickle(pickled[0])
    if unfinished := [p for p in files if p.suffix in (".incomplete", ".part", ".aria2")]:
        raise WeightsError(f"{unfinished[0]} is an interrupted download; download it again")
    return found


def refuse_pickle(path: Path) -> None:
    raise WeightsError(
        f"{path} is a pickled file, which may run any program when it is opened, and is never loaded; "
        f"give the model's .safetensors (its -Diffusers folder has all parts)"
    )


def _grouped(files: Sequence[Path], strict: bool = True) -> Iterator[Found]:
    """Parts out of files; shards in one folder belong together."""
    shards: dict[Path, Path] = {}
    for folder in dict.fromkeys(path.parent for path in files):
        for index in folder.glob("*.safetensors.index.json"):
            names = read_json(index).get("weight_map", {})
            if not isinstance(names, dict) or not all(isinstance(name, str) for name in names.values()):
                raise WeightsError(f"{index} names no files under 'weight_map'; copy or download it again")
            for name in sorted(set(names.values())):
                if not (folder / name).is_file():
                    raise WeightsError(
                        f"{folder / name} is missing, {index.name} names it; download it again"
                    )
                shards[folder / name] = index
    groups: dict[Path, list[Path]] = {}
    for path in files:
        groups.setdefault(shards.get(path, path), []).append(path)
    for place, members in groups.items():
        shapes = {key: (path, shape) for path in members for key, shape in _header(path).items()}
        present = parts(list(shapes))
        if not present and strict:
            raise WeightsError(
                f"{place} holds no part of a Wan model (it begins with {next(iter(shapes), 'nothing')!r}); "
                f"remove it, or give a checkpoint of the Wan family (an adapter goes to --lora)"
            )
        left = dict(shapes)
        for part, prefix in present.items():
            found = Found(part, place)
            own = [k for k in shapes if k.startswith(prefix) and (prefix or _own(k, present))]
            known = layouts(part, own)
            if len(known) > 1:
                raise WeightsError(f"{place} mixes two layouts, {' and '.join(sorted(known))}; get it again")
            for key in own:
                bare = key[len(prefix) :]
                name = bare if known == {"diffusers"} else to_diffusers(part, bare)
                found.tensors[name] = (shapes[key][0], key, shapes[key][1])
                left.pop(key, None)
            yield found
        if present and left:
            raise WeightsError(
                f"{place}: {len(left)} tensors belong to no part: {', '.join(list(left)[:NAMED])}"
            )


def _own(key: str, present: Mapping[Part, str]) -> bool:
    """A key without prefix that is not of another part."""
    return not any(prefix and key.startswith(prefix) for prefix in present.values())


def _header(path: Path) -> dict[str, tuple[int, ...]]:
    with _opened(path) as file:
        return {key: tuple(file.get_slice(key).get_shape()) for key in file.keys()}  # noqa: SIM118


def _opened(path: Path) -> Any:
    try:
        return safe_open(path, framework="pt")
    except (SafetensorError, OSError) as error:
        raise WeightsError(
            f"{path} is not a whole safetensors file ({error}); copy or download it again"
        ) from error
