import unittest

from fanfare import CallError
from fanfare.testing import TestHost

import spam
from spam import Filter

SPAM = "WIN free money now!!! Click http://win.example"
HAM = "Thanks, see you at the meeting tomorrow"
# Words that no example has.
NEWS = "zorblax quuxify frobnicate"


class Scorer(unittest.TestCase):
    def setUp(self):
        self.host = TestHost("scorer.py", workers=2)

    def score(self, text, worker=0):
        return self.host.request("score", text, worker=worker, inside=True).json["spam"]

    def learn(self, text, is_spam):
        return self.host.request("learn", {"text": text, "spam": is_spam}, inside=True).json

    def test_spam_scores_high_and_other_texts_low(self):
        self.assertGreater(self.score(SPAM), 0.95)
        self.assertLess(self.score(HAM), 0.2)
        for text in ("", "?!", NEWS):
            self.assertEqual(self.score(text), 0.5, text)

    def test_the_reply_names_what_speaks_for_spam(self):
        answer = self.host.request("score", SPAM, inside=True).json
        self.assertIn("a link", answer["because"])

    def test_every_worker_learns_and_keeps_it_over_a_swap_and_a_crash(self):
        for _ in range(3):
            self.assertEqual(self.learn(NEWS, True), {"workers": 2})
        learned = self.score(NEWS)
        self.assertGreater(learned, 0.9)
        self.assertEqual(self.score(NEWS, worker=1), learned)
        self.host.swap()
        self.assertEqual(self.score(NEWS), learned)
        self.host.restart(0)
        self.assertEqual(self.score(NEWS), learned)

    def test_a_wrong_body_teaches_nothing(self):
        for body in ({}, [], {"text": 7, "spam": True}, {"text": "hi", "spam": "yes"}):
            with self.assertRaises(CallError) as refused:
                self.host.request("learn", body, inside=True)
            self.assertEqual(refused.exception.failure.name, "invalid")
        self.assertEqual(self.host.emitted, [])

    def test_clients_reach_no_route(self):
        for route in ("score", "learn", "inner/learned"):
            with self.assertRaises(CallError) as refused:
                self.host.call(route, "hello")
            self.assertEqual(refused.exception.kind, "forbidden")


class Words(unittest.TestCase):
    def test_a_filter_learns_a_bounded_number_of_words(self):
        known, most = Filter(), spam.MOST_WORDS
        spam.MOST_WORDS = 3
        try:
            for text in ("one two", "three four", "one five"):
                known.learn(text, True)
        finally:
            spam.MOST_WORDS = most
        self.assertEqual(len(known.words), 3)
        self.assertEqual(known.words["one"], [2, 0])

    def test_signs_count_as_words(self):
        text = "HURRY now!!! $5, 90% off at www.x.example: zzzzz http://a.example http://b.example"
        self.assertLessEqual(set(spam.SIGNS), spam.words_of(text))
        self.assertEqual(spam.words_of("hurry now! 5 off"), {"hurry", "now", "off"})


if __name__ == "__main__":
    unittest.main()
