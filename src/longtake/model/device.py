"""What a device can do: the one place that decides about bfloat16."""

from __future__ import annotations

import torch


def autocast_dtype(device: torch.device) -> torch.dtype | None:
    """bfloat16 where the device multiplies it in hardware, else None: stay in float32."""
    if device.type == "cpu":
        features = torch.cpu.get_capabilities()
        return torch.bfloat16 if features.get("amx_bf16") or features.get("avx512_bf16") else None
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else None
    return None


def autocast(device: torch.device) -> torch.autocast:
    """bfloat16 arithmetic where the device has it in hardware, plain float32 elsewhere."""
    dtype = autocast_dtype(device)
    return torch.autocast(device.type, dtype=dtype or torch.bfloat16, enabled=dtype is not None)
