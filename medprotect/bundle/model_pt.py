"""``model.pt``: the weights in the form that MONAI's own commands ask for.

medprotect itself reads the safetensors file beside it and never this one.
"""

from io import BytesIO

import torch
from torch import Tensor

from medprotect.confounder.card import Card
from medprotect.confounder.noise import fill, make_network
from medprotect.errors import PipelineError

MODEL = "models/model.pt"


def make_model_pt(card: Card) -> bytes:
    """Return the state dict of a card's networks, float32, as MONAI's ``load`` reads it.

    Raises
    ------
    HashMismatchError, PipelineError
        The weights are not those of the card.
    """
    network = make_network(card)
    fill(network, card)
    expected = {name: tensor.contiguous() for name, tensor in network.state_dict().items()}
    stream = BytesIO()
    torch.save(expected, stream)
    _check(stream.getvalue(), expected)
    return stream.getvalue()


def _check(data: bytes, expected: dict[str, Tensor]) -> None:
    # The one torch.load of the project: of bytes made above, and with tensors as all it may hold.
    read = torch.load(BytesIO(data), map_location="cpu", weights_only=True)
    same = read.keys() == expected.keys() and all(
        torch.equal(read[name], tensor) for name, tensor in expected.items()
    )
    if not same:
        raise PipelineError("model.pt does not read as it was written; check torch's version.")
