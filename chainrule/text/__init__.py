"""Text for networks: tokens, vocabularies, batches of sequences of unequal length, word vectors trained here or read.

>>> import chainrule as cr
>>> vocabulary = cr.text.WordVocabulary.fit(["a good film", "a bad film"])
>>> vocabulary.encode("a film nobody saw").tolist()
[2, 3, 1, 1]
"""

from .batches import BucketSampler, PadSequences
from .tokens import read_lines, read_text, tokenize_words
from .vectors import WordVectors
from .vocabulary import CharacterVocabulary, Vocabulary, WordVocabulary
from .word2vec import SkipGram, negative_sampling_loss, train_skip_gram
