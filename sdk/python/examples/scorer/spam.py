"""A naive Bayes filter: how often words were in spam, and how often in other texts."""

import math
import re

#: The most words that a filter knows. It ignores further ones.
MOST_WORDS = 20_000
#: The most words of a text that count.
MOST_OF_A_TEXT = 200
#: The words that decide: those which tell most.
TELLING = 15

WORD = re.compile(r"[^\W\d_]{2,30}")
#: What a text has besides words counts as a word too, so that the filter learns what it means.
SIGNS = {
    "a link": re.compile(r"https?://|www\.", re.IGNORECASE),
    "several links": re.compile(r"https?://\S+.*https?://", re.IGNORECASE | re.DOTALL),
    "capital letters": re.compile(r"\b[A-Z]{4,}\b"),
    "exclamation marks": re.compile(r"!!|!.*!", re.DOTALL),
    "money": re.compile(r"[$€£]\s?\d|\d\s?[$€£]"),
    "a percentage": re.compile(r"\d\s?%"),
    "a repeated character": re.compile(r"(\S)\1{4,}"),
}


def words_of(text: str) -> set[str]:
    words = WORD.findall(text.lower())[:MOST_OF_A_TEXT]
    return {*words, *(sign for sign, pattern in SIGNS.items() if pattern.search(text))}


class Filter:
    def __init__(self) -> None:
        #: The texts that were learned: spam, and others.
        self.texts = [0, 0]
        #: The number of texts with a word: spam, and others.
        self.words: dict[str, list[int]] = {}

    def learn(self, text: str, is_spam: bool) -> None:
        column = 0 if is_spam else 1
        self.texts[column] += 1
        for word in words_of(text):
            counts = self.words.get(word)
            if counts is None:
                if len(self.words) >= MOST_WORDS:
                    continue
                counts = self.words[word] = [0, 0]
            counts[column] += 1

    def score(self, text: str) -> tuple[float, list[str]]:
        """Returns how likely a text is spam, from 0 to 1, and what speaks for it most."""
        weights = {word: self._weight(word) for word in words_of(text) if word in self.words}
        telling = sorted(weights, key=lambda word: (-abs(weights[word]), word))[:TELLING]
        likely = 1 / (1 + math.exp(-sum(weights[word] for word in telling)))
        return likely, [word for word in telling if weights[word] > 0][:5]

    def _weight(self, word: str) -> float:
        """The logarithm of how much more often a word is in spam than in other texts."""
        spam, other = self.words[word]
        return math.log((spam + 0.5) / (self.texts[0] + 1)) - math.log((other + 0.5) / (self.texts[1] + 1))
