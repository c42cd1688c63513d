"""TRL's SFTTrainer with a loss on held-out solutions that leaves the training as it is."""

from typing import Any

import torch
from trl import SFTTrainer

from xcoder_train.sft.data import IGNORED


class HeldOutSftTrainer(SFTTrainer):
    """SFTTrainer whose evaluations change no random number of the training, and weigh every supervised token alike."""

    eval_dataset: Any
    mean_supervised_tokens: float

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        """As TRL; torch draws a number for each pass over data, which the training would miss."""
        counts = [sum(label != IGNORED for label in labels) for labels in self.eval_dataset["labels"]]
        self.mean_supervised_tokens = sum(counts) / len(counts)
        with torch.random.fork_rng(devices=[]):
            return super().evaluate(*args, **kwargs)

    def prediction_step(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> tuple[Any, Any, Any]:
        """The loss of one solution, weighed by its tokens: the Trainer averages over solutions."""
        loss, logits, labels = super().prediction_step(model, inputs, *args, **kwargs)
        weight = (inputs["labels"] != IGNORED).sum() / self.mean_supervised_tokens
        return loss * weight, logits, labels
