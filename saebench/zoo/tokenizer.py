"""A byte-level BPE tokenizer in which every word of the lexicon is one token after a space."""

import re
from pathlib import Path
from typing import TYPE_CHECKING

from saebench.organism.lexicon import Lexicon
from saebench.organism.world import HELD_OUT_GENRE, TRAINING, Mixture, World

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

BOS = "<|bos|>"
VOCABULARY = 4736
SAMPLE_DOCUMENTS = 3000
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def single_tokens(lexicon: Lexicon) -> list[str]:
    """Everything that must be one token after a space: words, people, places, languages, letters."""
    places = {p for city in lexicon.cities for p in (city.name, city.country, city.continent, city.language)}
    groups = {name for word in lexicon.words for name in (word.category, word.subcategory) if "_" not in name}
    names = [person.name for person in lexicon.people]
    return [*(w.text for w in lexicon.words), *names, *sorted(places), *sorted(groups), *LETTERS]


def train_tokenizer(world: World, folder: Path) -> None:
    """Train on the distinct words of a sample of documents and save as a Hugging Face tokenizer.

    Raises ValueError if a word that must be one token is not.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    splitter = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = splitter
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY, special_tokens=[BOS], initial_alphabet=splitter.alphabet(), show_progress=False
    )
    tokenizer.train_from_iterator(_training_words(world), trainer)
    tokenizer.decoder = decoders.ByteLevel()
    bos = tokenizer.token_to_id(BOS)
    tokenizer.post_processor = processors.TemplateProcessing(single=f"{BOS} $A", special_tokens=[(BOS, bos)])
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token=BOS, eos_token=BOS, pad_token=BOS, model_max_length=256
    )
    split = [
        word for word in single_tokens(world.lexicon) if len(fast.encode(" " + word, add_special_tokens=False)) > 1
    ]
    if split:
        raise ValueError(f"{len(split)} words are more than one token, such as {split[:5]}: enlarge VOCABULARY")
    fast.save_pretrained(folder)


def _training_words(world: World) -> list[str]:
    """Distinct words once each, so that rare words get their token before common ones get longer phrases."""
    mixture = Mixture({**TRAINING.genres, HELD_OUT_GENRE: 10})
    documents = (world.document(f"tokenizer/{i}", mixture).text for i in range(SAMPLE_DOCUMENTS))
    words = {word for text in documents for word in re.findall(r" ?\w+", text)}
    must = [" " + word for word in single_tokens(world.lexicon)]
    return must + 3 * sorted(words - set(must))


def load_tokenizer(folder: Path) -> "PreTrainedTokenizerFast":
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast.from_pretrained(folder)
