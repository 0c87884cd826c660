"""The golden network basicsr-x4 as PyTorch's own export writes it.  Status 77 without PyTorch."""
import sys

try:
    import torch
except ImportError:
    sys.exit(77)
from compare_torch import Modules, weights

state = weights("basicsr-x4")
blocks = 1 + max(int(k.split(".")[1]) for k in state if k.startswith("body."))
net = Modules(state["conv_first.weight"].shape[0], state["body.0.rdb1.conv1.weight"].shape[0], blocks)
net.load_state_dict(state)
torch.onnx.export(net.eval(), torch.rand(1, 3, 8, 8), sys.argv[1], opset_version=13, input_names=["x"],
                  output_names=["output"], dynamic_axes={"x": {2: "height", 3: "width"}})
