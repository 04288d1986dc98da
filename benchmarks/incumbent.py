"""SAEBench's own code, asked about the model, the SAE, the texts and the words that saebench has loaded.

The package is told nothing else: a `HookedTransformer` of the same weights, the SAE object of sae-lens, and, in place of
what its data loaders would fetch from a hub, the same documents, words and labelled texts. All of its numbers are its
defaults, but for sizes, which are those of what it is given.
"""

import random
import shutil
import statistics
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import jaxtyping
import torch
from sae_bench.evals.absorption import (
    common,
    feature_absorption,
    feature_absorption_calculator,
    k_sparse_probing,
    probing,
)
from sae_bench.evals.absorption import main as absorption_main
from sae_bench.evals.absorption.eval_config import AbsorptionEvalConfig
from sae_bench.evals.core import main as core_main
from sae_bench.evals.core.eval_config import CoreEvalConfig
from sae_bench.evals.sparse_probing import main as probing_main
from sae_bench.evals.sparse_probing.eval_config import SparseProbingEvalConfig
from sae_bench.sae_bench_utils import dataset_info, dataset_utils, general_utils
from transformer_lens import HookedTransformer
from transformer_lens.config.hooked_transformer_config import HookedTransformerConfig
from transformer_lens.pretrained.weight_conversions import convert_gpt2_weights, convert_llama_weights

jaxtyping.config.update("jaxtyping_disable", True)
"""Its annotations contradict each other, which the beartype of today sees: a probe's texts are twice those of a class."""
Numbers = dict[str, float]
PROMPTS = 16
"""Documents of a batch, and further below of one of language model and SAE, as its command line has them by default."""
SEED = 42
NAME = "the-sae"


@dataclass(frozen=True)
class Asking:
    """How first letters are asked for: its template, how far back the word is, and what follows each example."""

    template: str
    position: int
    separator: str


@dataclass
class Incumbent:
    """Its three evals of one SAE. What it keeps on disk between SAEs lies below `folder`."""

    model: HookedTransformer
    sae: Any
    folder: Path
    documents: torch.Tensor
    """(document, position) token ids, BOS first."""
    words: list[str]
    """With their leading space."""
    asking: Asking
    classes: dict[str, dict[str, tuple[list[str], list[str]]]]
    """Of each labelled set and class, texts to learn from and texts to be tested on."""
    precalculated: bool = False
    """Whether it encodes words once for all of its k-sparse probes, which it recommends for small SAEs; not its default."""
    letters: str = field(init=False)

    def __post_init__(self) -> None:
        _, self.sae, _ = general_utils.load_and_format_sae(NAME, self.sae, "cpu")
        self.sae.requires_grad_(False)
        self.letters = "".join(sorted({word.strip()[0] for word in self.words}))

    def forget(self) -> None:
        """As if no SAE of this hook had been asked about."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def core(self) -> Numbers:
        batches = len(self.documents) // PROMPTS
        config = CoreEvalConfig(
            batch_size_prompts=PROMPTS, n_eval_reconstruction_batches=batches, n_eval_sparsity_variance_batches=batches,
            context_size=self.documents.shape[1], compute_kl=True, compute_ce_loss=True, compute_l2_norms=True,
            compute_sparsity_metrics=True, compute_variance_metrics=True, compute_featurewise_density_statistics=True,
            compute_featurewise_weight_based_metrics=True, exclude_special_tokens_from_reconstruction=True,
        )  # fmt: skip
        tokenizer = self.model.tokenizer
        special = {tokenizer.pad_token_id, tokenizer.eos_token_id, tokenizer.bos_token_id}
        found, features = core_main.run_evals(
            self.sae, Documents(self.documents), self.model, eval_config=config, ignore_tokens=special
        )
        misc = core_main.calculate_misc_metrics(features)
        return {name: float(value) for part in (*found.values(), misc) for name, value in part.items()}

    def absorption(self) -> Numbers:
        torch.set_grad_enabled(True)
        random.seed(SEED)
        torch.manual_seed(SEED)
        config, asking, layer = AbsorptionEvalConfig(), self.asking, self.sae.cfg.hook_layer
        told = {
            "model": self.model, "sae": self.sae, "layer": layer, "sae_name": NAME, "force": True, "device": "cpu",
            "max_k_value": config.max_k_value, "prompt_template": asking.template, "prompt_token_pos": asking.position,
            "probes_dir": self.folder / "probes",
        }  # fmt: skip
        sparse = self.folder / "sparse"
        with self._words():
            letters = k_sparse_probing.run_k_sparse_probing_experiment(
                **told, experiment_dir=sparse, f1_jump_threshold=config.f1_jump_threshold, verbose=False,
                precalc_k_sparse_probe_sae_acts=self.precalculated,
            )  # fmt: skip
            rows = feature_absorption.run_feature_absortion_experiment(
                **told, experiment_dir=self.folder / "absorption", sparse_probing_experiment_dir=sparse,
                feature_split_f1_jump_threshold=config.f1_jump_threshold, batch_size=config.llm_batch_size,
            )  # fmt: skip
        found = absorption_main._aggregate_results_df(rows).merge(letters[["letter", "f1_probe"]])
        found = found[found["f1_probe"] > config.min_GT_probe_f1]
        kept = {"fraction": "mean_absorption_fraction", "full": "full_absorption_rate", "split": "num_split_feats"}
        means = {name: statistics.mean(found[column]) for name, column in kept.items()}
        return {**means, "probe_f1": float(letters["f1_probe"].mean()), "letters": float(len(found))}

    def sparse_probing(self) -> Numbers:
        config = SparseProbingEvalConfig(
            dataset_names=list(self.classes), llm_batch_size=PROMPTS, llm_dtype="float32", model_name=NAME
        )
        chosen = {name: list(classes) for name, classes in self.classes.items()}
        with (
            patch.object(dataset_utils, "get_multi_label_train_test_data", self._labelled),
            patch.object(dataset_info, "chosen_classes_per_dataset", chosen),
        ):
            found, _ = probing_main.run_eval_single_sae(
                config, self.sae, self.model, "cpu", str(self.folder / "labelled"), save_activations=True
            )
        return {name: float(value) for name, value in found.items() if not isinstance(value, dict)}

    def _labelled(self, name: str, *_: int) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
        """In place of its loader."""
        train, test = ({own: texts[part] for own, texts in self.classes[name].items()} for part in (0, 1))
        return train, test

    @contextmanager
    def _words(self) -> Iterator[None]:
        """Its words are those that it is given, and their letters all that there are; what it prints between examples too."""
        vocabulary: Callable[..., list[str]] = lambda *_, **__: list(self.words)  # noqa: E731
        train = partial(_with_classes, probing.train_linear_probe_for_task, len(self.letters))
        example = partial(probing.create_icl_prompt, example_separator=self.asking.separator)
        calculator = partial(
            feature_absorption_calculator.FeatureAbsorptionCalculator, example_separator=self.asking.separator
        )
        with ExitStack() as patched:
            for module in (common, feature_absorption):
                patched.enter_context(patch.object(module, "get_alpha_tokens", vocabulary))
            for module in (k_sparse_probing, feature_absorption, probing):
                patched.enter_context(patch.object(module, "LETTERS", self.letters))
            patched.enter_context(patch.object(common, "train_linear_probe_for_task", train))
            patched.enter_context(patch.object(probing, "create_icl_prompt", example))
            patched.enter_context(patch.object(feature_absorption, "FeatureAbsorptionCalculator", calculator))
            yield


def _with_classes(train: Callable[..., Any], count: int, **given: Any) -> Any:
    """A letter that no word begins with makes its loss infinite."""
    return train(**{**given, "num_classes": count})


@dataclass
class Documents:
    """In place of its store of activations: the same documents, in order, once for each of its two passes."""

    tokens: torch.Tensor
    at: int = 0

    @property
    def context_size(self) -> int:
        return self.tokens.shape[1]

    def get_batch_tokens(self, count: int) -> torch.Tensor:
        self.at += count
        return self.tokens[self.at - count : self.at]

    def reset_input_dataset(self) -> None:
        self.at = 0


def hooked(model: Any, tokenizer: Any, positions: int) -> HookedTransformer:
    """A `HookedTransformer` of the weights of a model of Hugging Face's transformers, GPT-2's or Llama's."""
    told, convert = ARCHITECTURES[model.config.architectures[0]]
    config = HookedTransformerConfig(
        **told(model.config), n_ctx=positions, model_name=NAME, original_architecture=model.config.architectures[0], device="cpu",
        dtype=torch.float32, d_vocab=model.get_input_embeddings().weight.shape[0],
    )  # fmt: skip
    found = HookedTransformer(config)
    # Not by its method, which would fetch the tokenizer anew from where its name points to.
    found.tokenizer, found.cfg.tokenizer_prepends_bos = tokenizer, len(tokenizer.encode("")) > 0
    with torch.no_grad():
        found.load_and_process_state_dict(convert(model, config), **dict.fromkeys(PROCESSING, False))
    return found.eval()


PROCESSING = ("fold_ln", "center_writing_weights", "center_unembed", "fold_value_biases")


def _of_gpt2(told: Any) -> dict[str, Any]:
    return {
        "d_model": told.n_embd, "d_head": told.n_embd // told.n_head, "n_heads": told.n_head, "n_layers": told.n_layer,
        "d_mlp": told.n_inner or 4 * told.n_embd, "eps": told.layer_norm_epsilon, "act_fn": told.activation_function,
        "normalization_type": "LN", "attention_dir": "causal", "scale_attn_by_inverse_layer_idx": False,
    }  # fmt: skip


def _of_llama(told: Any) -> dict[str, Any]:
    return {
        "d_model": told.hidden_size, "d_head": told.head_dim, "n_heads": told.num_attention_heads,
        "n_layers": told.num_hidden_layers, "d_mlp": told.intermediate_size, "eps": told.rms_norm_eps,
        "n_key_value_heads": told.num_key_value_heads, "act_fn": told.hidden_act, "normalization_type": "RMS",
        "positional_embedding_type": "rotary", "rotary_adjacent_pairs": False, "rotary_dim": told.head_dim,
        "rotary_base": told.rope_parameters["rope_theta"], "final_rms": True, "gated_mlp": True,
    }  # fmt: skip


ARCHITECTURES: dict[str, tuple[Callable[..., dict[str, Any]], Callable[..., Any]]] = {
    "GPT2LMHeadModel": (_of_gpt2, convert_gpt2_weights), "LlamaForCausalLM": (_of_llama, convert_llama_weights),
}  # fmt: skip
