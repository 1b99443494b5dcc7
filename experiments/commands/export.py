"""``domaingap export``: a trained network for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from domaingap.errors import UserError


def export(run: Path, format: str, out: Path | None) -> int:
    """Write a run's network, or a checkpoint's, as ONNX or for ``torch.export``; print what is in the file."""
    if run.suffix.lower() in (".onnx", ".pt2") and run.is_file():
        raise UserError(f"{run}: exported already; give the run's folder or a .ckpt")
    if out is not None and out.is_dir():
        raise UserError(f"{out}: a folder; give a file's name for --out")
    from domaingap.inference.export import SUFFIX, export_network, need_onnx
    from domaingap.inference.model import open_files
    from domaingap.inference.onnx_model import exported_path
    from domaingap.inference.torch_model import notice_of
    from domaingap.progress import amount
    from domaingap.study.tables import terminal

    form: Any = format
    if form == "onnx":
        need_onnx()  # before anything is read
    files = open_files(run)
    suffix = SUFFIX[form]
    beside = exported_path(files.checkpoint, suffix) if files.record is not None else files.checkpoint.with_suffix(suffix)
    target = out if out is not None else beside
    worst = export_network(files, form, target)
    crop, say = files.crop, terminal().print
    channels = "" if crop.channels == "gray" else " x 3"
    adapter = f", label adapter ({files.adapter.kind})" if files.adapter is not None else ""
    say(f"{target}: {amount(target.stat().st_size)}", markup=False)
    say(f"in: crops, uint8 [batch x {crop.size} x {crop.size}{channels}], {crop.channels}", markup=False)
    say(f"out: points [batch x 68 x 2] in pixels of the crop{', sigma [batch x 68]' * files.has_sigma}", markup=False)
    say(f"inside: normalisation, mean shape{adapter}; metadata under 'domaingap': how to crop", markup=False)
    say(f"checked: at most {worst:.1g} px from PyTorch on 12 crops of noise, in batches of 1, 3 and 8", markup=False)
    say(notice_of(files), markup=False)
    return 0
