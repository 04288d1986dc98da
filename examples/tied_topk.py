"""A TopK SAE that is tied: a latent reads along the direction that it writes. Is that as good, with half the weights?

pytest --pyargs saebench.suites --sae-arch examples.tied_topk:TiedTopK
"""

from typing import Any

import torch
from sae_lens import TopKTrainingSAE
from torch.nn.functional import normalize


class TiedTopK(TopKTrainingSAE):
    """sae-lens's TopK with one matrix; the W_enc that it has as well is not used in training."""

    def encode_with_hidden_pre(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Activations (token, d_in) to latents (token, d_sae), and to what they are before the largest are taken."""
        hidden_pre = self.hook_sae_acts_pre(self.process_sae_in(x) @ normalize(self.W_dec, dim=1).T)
        return self.hook_sae_acts_post(self.activation_fn(hidden_pre)), hidden_pre

    def process_state_dict_for_saving_inference(self, state_dict: dict[str, Any]) -> None:
        """Save the weights of a plain TopK SAE that does the same: anything that reads sae-lens's files can read it."""
        directions = normalize(self.W_dec.detach(), dim=1)
        state_dict |= {"W_dec": directions, "W_enc": directions.T.contiguous()}
        self.process_state_dict_for_saving(state_dict)
