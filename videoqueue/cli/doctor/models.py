"""Checks the files of the built-in models, and models of the operator's own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from videoqueue.cli.doctor.findings import Examination, Finding, failed, ok
from videoqueue.cli.wording import counted
from videoqueue.errors import SettingsError

_PAGE: Final = "docs/plugins.md"
#: The SHA-256 of each file of a built-in model, by its path below the plugins.
BUILT_IN: Final[Mapping[str, str]] = {
    "ocr/weights/PP-OCRv6_det_small_int8.bin": (
        "5b4ccf0ab46c9a965b023ad51989b772c9b6b33db85d21d32bd29f9af2a25767"
    ),
    "ocr/weights/PP-OCRv6_det_small_int8.xml": (
        "92ec7ed7ef0ea313405b22ea01dc39e720721d05f4898882193d5571c430dc4b"
    ),
    "ocr/weights/PP-OCRv6_rec_small_int8.bin": (
        "271ddb1a5710d873a2336ae7d0d13b344fedf349f0e051c0de12a05f1cb481f6"
    ),
    "ocr/weights/PP-OCRv6_rec_small_int8.xml": (
        "949069321e24c5d5fcb515313f0b83f7a23e00da49d758647d76fd5815efbdc8"
    ),
    "ocr/weights/charset.txt": "f7aa897ca828a4c7c9e2739c30f9161a33306d532f020bcdb91dcfb664a5507e",
    "yolo/coco.txt": "bd17f1ee35d5f3c862a4894605855abbb9dda4b0621fdb0ac4c2c8c7bb7e730a",
    "yolo/weights/nanodet-g_int8.bin": "efdb2d05cfecd5bb3575d5c7b9d54b59604f133b0e3f891b7369f3888190a641",
    "yolo/weights/nanodet-g_int8.xml": "f0b8c0dadd255a556e699ad8c511d4a55917bc02ebdf3a5e26bdb4b785394868",
}


def check_models(examination: Examination) -> Iterator[Finding]:
    """Yields each built-in model that is missing or changed, and each own model that cannot be loaded."""
    from videoqueue.pipeline import plugins
    from videoqueue.pipeline.plugin import PluginOptions
    from videoqueue.pipeline.version.contents import Contents
    from videoqueue.worker.model_check import check_models as load_own_models

    files = {name: Path(plugins.__path__[0], name) for name in BUILT_IN}
    wrong = [name for name, digest in Contents.of(files).digests.items() if digest != BUILT_IN[name]]
    for name in wrong:
        what = "is not the file of this release" if files[name].is_file() else "is missing"
        yield failed("models", f"The model's file {name} {what}.", "Install videoqueue again.", _PAGE)
    options = examination.settings.pipeline_options
    try:
        load_own_models(
            PluginOptions(options.inference_threads, options.plugin_values, options.setting_names)
        )
    except SettingsError as error:
        for line in str(error).splitlines():
            yield failed("models", line, "Correct the file or the setting.", _PAGE)
        return
    if not wrong:
        own = sum(1 for model in examination.settings.own_models if model)
        more = f" {counted(own, 'model')} of your own can be loaded." if own else ""
        yield ok("models", f"All files of the built-in models are those of this release.{more}")
