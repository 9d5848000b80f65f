"""LoRA files of every spelling -> patches named after the modules of our transformer, and back to peft's layout.

| spelling | example |
|---|---|
| peft, diffusers | `transformer.blocks.0.attn1.to_q.lora_A.weight`, `base_model.model....lora_B.default.weight` |
| kohya, musubi | `lora_unet_blocks_0_self_attn_q.lora_down.weight`, `....alpha` |
| original | `diffusion_model.blocks.0.self_attn.q.lora_A.weight`, `....diff_b` |

A key that belongs to no module of the network is an error that names it: an adapter that silently does nothing is
worse than one that does not load. Sources: Hu et al. 2021 (arXiv:2106.09685); peft `tuners/lora/config.py`;
diffusers `loaders/lora_conversion_utils.py`; kohya-ss/musubi-tuner `convert_lora.py`.
Axes: down r i, up o r.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from longtake.errors import WeightsError

ORIGINAL = {
    "attn1": "self_attn",
    "attn2": "cross_attn",
    "to_q": "q",
    "to_k": "k",
    "to_v": "v",
    "to_out.0": "o",
    "add_k_proj": "k_img",
    "add_v_proj": "v_img",
    "norm_added_k": "norm_k_img",
    "ffn.net.0.proj": "ffn.0",
    "ffn.net.2": "ffn.2",
    "norm2": "norm3",  # the affine norm before cross-attention
    "proj_out": "head.head",
    "condition_embedder.time_embedder.linear_1": "time_embedding.0",
    "condition_embedder.time_embedder.linear_2": "time_embedding.2",
    "condition_embedder.time_proj": "time_projection.1",
    "condition_embedder.text_embedder.linear_1": "text_embedding.0",
    "condition_embedder.text_embedder.linear_2": "text_embedding.2",
}
"""Our (diffusers') module names in Wan's own words; longer ones are replaced first."""

PREFIXES = (
    "base_model.model.",
    "model.diffusion_model.",
    "diffusion_model.",
    "transformer.",
    "unet.",
    "model.",
    "lora_transformer_",
    "lora_unet_",
)
_SUFFIX = re.compile(
    r"^(?P<module>.+?)\.(?:"
    r"(?P<down>lora_A|lora_down|lora\.down)(?:\.(?!weight$)\w+)?\.weight"
    r"|(?P<up>lora_B|lora_up|lora\.up)(?:\.(?!weight$|bias$)\w+)?\.weight"
    r"|(?P<up_bias>lora_B|lora_up)(?:\.(?!weight$|bias$)\w+)?\.bias"
    r"|(?P<alpha>(?:lora\.)?alpha)"
    r"|(?P<weight>diff)"
    r"|(?P<bias>diff_b))$"
)
_OTHER_KINDS = {
    "hada_": "LoHa",
    "lokr_": "LoKr",
    "dora_scale": "DoRA",
    "lora_magnitude_vector": "DoRA",
    "oft_": "OFT",
}


@dataclass
class Patch:
    """What one file changes about one module; `alpha` absent means alpha = rank."""

    down: Tensor | None = None
    up: Tensor | None = None
    up_bias: Tensor | None = None
    alpha: float | None = None
    weight: Tensor | None = None
    bias: Tensor | None = None


def read_lora(path: Path, network: nn.Module, part: str = "transformer") -> dict[str, Patch]:
    """The patches of a file (or of peft's folder with `adapter_model.safetensors`) by module name of `network`.

    `part` names which of two experts is asked for: keys of "transformer_2." belong to the second one, keys of
    neither belong to both. Raises WeightsError for a file that is missing, not safetensors, of another kind or
    for another model; the message names the first key that does not fit.
    """
    tensors, alphas = _read(Path(path), part)
    names = module_names(network)
    patches: dict[str, Patch] = {}
    unmatched: list[str] = []
    for key, tensor in tensors.items():
        match = _SUFFIX.match(key)
        module = names.get(_stripped(match["module"])) if match else None
        if match is None or module is None:
            unmatched.append(key)
            continue
        patch = patches.setdefault(module, Patch())
        field = next(name for name, value in match.groupdict().items() if value and name != "module")
        if field == "alpha":
            patch.alpha = float(tensor)
        else:
            setattr(patch, field, tensor)
    if unmatched or not patches:
        raise WeightsError(_misfit(path, unmatched))
    for module, patch in patches.items():
        if (patch.down is None) != (patch.up is None):
            raise WeightsError(
                f"{path} is not whole: {module} has only one of its two matrices; copy it again"
            )
        if patch.alpha is None:
            patch.alpha = alphas(module, 0 if patch.down is None else len(patch.down))
        _check_shapes(path, module, patch, network.get_submodule(module))
    return patches


def write_lora(path: Path, layers: Mapping[str, tuple[Tensor, Tensor]], alpha: float, note: str = "") -> None:
    """Write (down, up) of each module in diffusers' peft layout; alpha travels in the header as diffusers puts it.

    Raises OutputError when the file cannot be written.
    """
    from longtake.model.tensorfile import write_safetensors

    tensors: dict[str, Tensor] = {}
    for module, (down, up) in layers.items():
        tensors[f"transformer.{module}.lora_A.weight"] = down
        tensors[f"transformer.{module}.lora_B.weight"] = up
    rank = len(next(iter(layers.values()))[0])
    config = {
        "transformer.r": rank,
        "transformer.lora_alpha": alpha,
        "transformer.target_modules": list(layers),
    }
    write_safetensors(
        path, tensors, {"format": "pt", "lora_adapter_metadata": json.dumps(config), "note": note}
    )


def module_names(network: nn.Module) -> dict[str, str]:
    """Every way in which a file may spell a module with a weight -> its name in `network`."""
    names: dict[str, str] = {}
    for name, module in network.named_modules():
        if not name or not isinstance(getattr(module, "weight", None), Tensor):
            continue
        original = name
        for ours in sorted(ORIGINAL, key=len, reverse=True):
            original = re.sub(rf"(^|\.){re.escape(ours)}(?=\.|$)", rf"\g<1>{ORIGINAL[ours]}", original)
        for spelling in (name, original):
            names[spelling] = names[spelling.replace(".", "_")] = name
    return names


def _stripped(module: str) -> str:
    """Without the prefixes that trainers put before a module's name, also several of them."""
    while prefix := next((p for p in PREFIXES if module.startswith(p)), None):
        module = module[len(prefix) :].lstrip("_")
    return module


def _read(path: Path, part: str) -> tuple[dict[str, Tensor], Any]:
    """The tensors that belong to `part`, and a function (module, rank) -> alpha or None."""
    folder_config: dict[str, Any] = {}
    config = path / "adapter_config.json"
    if config.is_file():
        folder_config = json.loads(config.read_text("utf-8"))
    path = adapter_file(path)
    if path.suffix in (".bin", ".pt", ".pth", ".ckpt"):
        raise WeightsError(f"{path} is a pickle, which can run code; ask for the adapter as .safetensors")
    try:
        with safe_open(path, "pt") as file:
            header = dict(file.metadata() or {})
            keys = [key for key in file.keys() if _belongs(key, part)]  # noqa: SIM118
            tensors = {key.replace("transformer_2.", "transformer.", 1): file.get_tensor(key) for key in keys}
    except (OSError, SafetensorError) as error:
        raise WeightsError(
            f"{path} is not a whole safetensors file ({error}); copy or download it again"
        ) from error
    prefix = f"{part}."
    said = json.loads(header.get("lora_adapter_metadata", "{}"))
    found = {k.removeprefix(prefix): v for k, v in said.items() if k.startswith(prefix)} or folder_config
    return tensors, _alphas(found)


def adapter_file(path: Path) -> Path:
    """The file itself, also where peft's folder around it was named. Raises WeightsError when there is none."""
    found = next((path / name for name in _FILES if (path / name).is_file()), path)
    if not found.is_file():
        raise WeightsError(f"there is no LoRA at {path}; check the path")
    return found


_FILES = ("adapter_model.safetensors", "pytorch_lora_weights.safetensors")


def _belongs(key: str, part: str) -> bool:
    other = {"transformer": "transformer_2.", "transformer_2": "transformer."}[part]
    return not key.startswith(other)


def _alphas(config: Mapping[str, Any]) -> Any:
    """peft's rule: `alpha_pattern` by the end of a module's name, else `lora_alpha`; rslora divides by sqrt(r)."""

    def alpha(module: str, rank: int) -> float | None:
        value = config.get("lora_alpha")
        for pattern, own in (config.get("alpha_pattern") or {}).items():
            if re.match(rf"(.*\.)?({pattern})$", module):
                value = own
        if value is None:
            return None
        return float(value) * (math.sqrt(rank) if config.get("use_rslora") else 1.0)

    return alpha


def _misfit(path: Path, unmatched: Iterable[str]) -> str:
    keys = list(unmatched)
    if not keys:
        return f"{path} holds no adapter for this network; check the path"
    for word, kind in _OTHER_KINDS.items():
        if any(word in key for key in keys):
            return f"{path} is a {kind} adapter, and only LoRA is read; convert it to LoRA"
    if keys[0].startswith(("lora_te", "text_encoder")):
        return f"{path} also changes a text encoder ({keys[0]}); only LoRA of the transformer are read"
    more = f" and {len(keys) - 1} more keys" if len(keys) > 1 else ""
    return f"{path} was made for another model: nothing here is called {keys[0]}{more}; choose one for this model"


def _check_shapes(path: Path, name: str, patch: Patch, module: nn.Module) -> None:
    """The product of the matrices must have the shape of the module's weight."""
    weight = module.weight
    assert isinstance(weight, Tensor)
    misfit = patch.weight is not None and patch.weight.shape != weight.shape
    found: Any = None if patch.weight is None else list(patch.weight.shape)
    if patch.down is not None and patch.up is not None:
        made = (patch.up.shape[0], *patch.down.shape[1:])
        found = list(made)
        misfit = made != tuple(weight.shape) or patch.up.shape[1] != patch.down.shape[0]
    if misfit:
        raise WeightsError(
            f"{path} was made for another model: at {name} it changes {found}, this model has "
            f"{list(weight.shape)}; choose a LoRA for this model"
        )
    for bias in (patch.up_bias, patch.bias):
        if bias is not None and bias.shape != weight.shape[:1]:
            raise WeightsError(
                f"{path} was made for another model: at {name} its bias has {len(bias)} values, this model "
                f"{weight.shape[0]}; choose a LoRA for this model"
            )
