import subprocess
import sys

import pytest


def test_torchvision_imports_and_its_models_run():
    pytest.importorskip("torch")
    program = (
        "from learner.vision import torchvision\n"
        "import torch\n"
        "vision = torchvision()\n"
        "from torchvision import datasets, transforms\n"
        "model = vision.models.mobilenet_v3_small(weights=None).eval()\n"
        "assert model(torch.zeros(1, 3, 64, 64)).shape == (1, 1000)\n"
        "assert torchvision() is vision\n"
    )
    done = subprocess.run([sys.executable, "-c", program], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
