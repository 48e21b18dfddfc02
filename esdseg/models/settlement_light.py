"""The last layer that knows how the four classes are made: settlement or not, times light or not."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class SettlementLightHead(nn.Module):
    """Two yes-or-no answers a cell, whose log-probabilities add up to those of the four classes.

    The rare electrified settlements so share what is learned of settlements with the many dark ones, and
    what is learned of light with the lit cells where nobody lives.

    Args:
        width: Channels of the features.
        n_light: Numbers of night light a cell, which the answer on light sees directly; 0 without.
    """

    def __init__(self, width: int, n_light: int) -> None:
        super().__init__()
        self.settlement = nn.Conv2d(width, 1, 1)
        self.light = nn.Conv2d(width + n_light, 1, 1)

    def forward(self, features: Tensor, night_light: Tensor | None) -> Tensor:
        """Map features (N, width, k, k) and night light (N, n_light, k, k) to log-probabilities (N, 4, k, k).

        They are in the order of :data:`esdseg.sensors.classes.CLASSES` and add up to 1 once exponentiated.
        """
        settled = self.settlement(features).float()
        seen = features if night_light is None else torch.cat([features, night_light], dim=1)
        lit = self.light(seen).float()
        yes, no = F.logsigmoid(settled), F.logsigmoid(-settled)
        light, dark = F.logsigmoid(lit), F.logsigmoid(-lit)
        return torch.cat([yes + dark, no + dark, yes + light, no + light], dim=1)
