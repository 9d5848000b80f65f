"""One file of weights: safetensors, with the config and the tokenizer in its header, read strictly.

Tensors are named by part: "dit.", "vae.", "text.". A training stage writes the parts it made, a finished
model holds all three. Nothing is ever unpickled; a file is replaced whole or not at all.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from longtake.errors import OutputError, WeightsError
from longtake.model.dit import DiT
from longtake.model.presets import ModelConfig
from longtake.model.tensorfile import misfit, unfilled
from longtake.model.text import TextEncoder, Tokenizer
from longtake.model.vae import VAE

PACKAGED = Path(__file__).parents[1] / "weights" / "pocket.safetensors"
FEW_STEPS = PACKAGED.with_name("pocket-fast.safetensors")
"""An adapter of the packaged model, for `FEW` steps without guidance."""
FEW = 4
FORMAT = "longtake"


@dataclass(frozen=True)
class Models:
    """Networks that belong together, in eval mode.

    A file of one training stage lacks some parts: asking for one of them raises WeightsError.
    """

    dit: DiT
    vae: VAE
    text: TextEncoder
    tokenizer: Tokenizer
    config: ModelConfig
    extra: Mapping[str, Any]
    """What the trainer noted: steps, scores."""
    name: str
    """Name of the file, without ending."""

    @property
    def parts(self) -> tuple[str, ...]:
        """Which of dit, vae, text and tokenizer are there."""
        return tuple(part for part in ("dit", "vae", "text", "tokenizer") if part in self.__dict__)

    def but(self, **values: Any) -> Models:
        """The same networks with other values, such as a name that says what was done to them."""
        changed = type(self).__new__(type(self))  # absent parts stay absent
        changed.__dict__.update(self.__dict__ | values)
        return changed

    @property
    def size_bytes(self) -> int:
        """Bytes of all parameters as they are held in memory."""
        modules = [self.__dict__[part] for part in self.parts if part != "tokenizer"]
        return sum(p.numel() * p.element_size() for module in modules for p in module.parameters())

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> NoReturn:
            """Reached only for what is not there."""
            if name not in type(self).__dataclass_fields__ or "name" not in self.__dict__:
                raise AttributeError(name)
            have = ", ".join(self.parts)
            raise WeightsError(f"{self.name} holds no {name}, only: {have}; choose a file with all parts")


def save(
    path: Path,
    modules: Mapping[str, nn.Module],
    config: ModelConfig,
    tokenizer_json: str | None = None,
    *,
    extra: Mapping[str, Any] | None = None,
    dtype: torch.dtype | None = None,
) -> None:
    """Write the parts given in `modules` ("dit", "vae", "text") to one file, in `dtype` if given.

    The file appears whole: written beside, synced, renamed. Raises OutputError when it cannot be written,
    ValueError for another part or one of another config.
    """
    for part, module in modules.items():
        if part not in ("dit", "vae", "text") or getattr(module, "config", None) != getattr(config, part):
            raise ValueError(
                f"{part!r} is not a part, or was built from another config than is saved with it"
            )
    tensors = {
        f"{part}.{key}": value.detach().to("cpu", dtype).contiguous()
        for part, module in modules.items()
        for key, value in module.state_dict().items()
    }
    header = {
        "format": FORMAT,
        "config": json.dumps(config.as_dict()),
        "extra": json.dumps(dict(extra or {})),
    }
    if tokenizer_json is not None:
        header["tokenizer"] = tokenizer_json
    data = safetensors.torch.save(tensors, header)
    temporary = ""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
            temporary = file.name
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except OSError as error:
        if temporary:
            Path(temporary).unlink(missing_ok=True)
        raise OutputError(
            f"cannot write {path}: {error.strerror or error}; choose another folder or free space"
        ) from error


def load(
    path: Path | None = None,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> Models:
    """Read a file of weights, the packaged ones by default; modules come frozen and in eval mode.

    Raises WeightsError, in one line with the fix, for a file that is missing, empty, cut short, of another
    kind or version, or whose tensors are not exactly those its config asks for.
    """
    path = PACKAGED if path is None else Path(path)
    tensors, header = _read(path)
    if header.get("format") != FORMAT:
        raise WeightsError(
            f"{path} holds no longtake model but other tensors; give a file that longtake wrote"
        )
    try:
        config = ModelConfig.from_dict(json.loads(header["config"]))
        extra = json.loads(header["extra"])
    except (KeyError, ValueError, AttributeError) as error:
        raise WeightsError(f"the header of {path} is damaged ({error}); copy or download it again") from error

    present = {key.split(".", 1)[0] for key in tensors}
    if not present or present - {"dit", "vae", "text"}:
        raise WeightsError(f"{path} holds unknown parts: {', '.join(sorted(present)) or 'none at all'}")
    with unfilled():
        built: dict[str, nn.Module] = {}
        if "dit" in present:
            built["dit"] = DiT(config.dit)
        if "text" in present:
            built["text"] = TextEncoder(config.text)
    if "vae" in present:
        built["vae"] = VAE(config.vae)  # not on meta: it holds the statistics of its config
    expected = {f"{p}.{k}": v.shape for p, module in built.items() for k, v in module.state_dict().items()}
    _match(path, expected, {key: tensor.shape for key, tensor in tensors.items()})
    for part, module in built.items():
        own = {k: tensors[f"{part}.{k}"].to(device, dtype) for k in module.state_dict()}
        module.load_state_dict(own, strict=True, assign=True)
        module.to(device, dtype).eval().requires_grad_(False)
    if "vae" in built:
        built["vae"].to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    values: dict[str, Any] = {**built, "config": config, "extra": extra, "name": path.stem}
    if "tokenizer" in header:
        values["tokenizer"] = Tokenizer(header["tokenizer"])
    models = Models.__new__(Models)  # absent parts stay absent
    models.__dict__.update(values)
    return models


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """All tensors and the header's metadata; WeightsError says in what way a file is not whole."""
    if not path.is_file():
        fix = (
            "train one (longtake train --help) or give the path of one"
            if path == PACKAGED
            else "check the path"
        )
        raise WeightsError(f"there are no weights at {path}; {fix}")
    size = path.stat().st_size
    if size == 0:
        raise WeightsError(f"{path} is empty (0 bytes); copy or download it again")
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            return {key: file.get_tensor(key) for key in file.keys()}, header  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        if (whole := _announced_size(path)) is not None and whole > size:
            raise WeightsError(
                f"{path} is cut short: {size} of {whole} bytes; copy or download it again"
            ) from error
        raise WeightsError(
            f"{path} is not a safetensors file ({error}); give a file that longtake wrote"
        ) from error


def _announced_size(path: Path) -> int | None:
    """Bytes that the header says the file should have; None where there is no readable header."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > 100_000_000:  # the format's own limit: these bytes are no length
            return None
        text = file.read(length)
    if text[:1] != b"{":
        return None
    if len(text) < length:
        return 8 + length
    try:
        entries = json.loads(text)
        return (
            8
            + length
            + max((e["data_offsets"][1] for k, e in entries.items() if k != "__metadata__"), default=0)
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def _match(path: Path, expected: Mapping[str, torch.Size], found: Mapping[str, torch.Size]) -> None:
    """Exactly the same names and shapes, or WeightsError that names the first few that differ."""
    if wrong := misfit(expected, found):
        raise WeightsError(f"{path} does not fit its own config: {wrong}; copy or download it again")
