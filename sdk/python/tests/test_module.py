"""The SDK, through a module in `TestHost`."""

from __future__ import annotations

import unittest
from pathlib import Path

from fanfare import CallError, Failure, passed, reply
from fanfare.nodes import Node
from fanfare.testing import TestHost

SHOP = Path(__file__).parent / "modules/shop/shop.py"


class Case(unittest.TestCase):
    def setUp(self) -> None:
        self.host = TestHost(SHOP)

    def refused(self, route: str, body: object = None) -> Failure:
        with self.assertRaises(CallError) as caught:
            self.host.call(route, body)
        assert caught.exception.failure is not None, caught.exception
        return caught.exception.failure


class Results(Case):
    def test_text_and_bytes_have_no_content_type(self) -> None:
        text = self.host.call("GET greet/Ada%20L.")
        self.assertEqual((text.status, text.text, text.headers), (200, "Hello, Ada L.", []))
        self.assertEqual(self.host.call("named").payload, b"bytes")

    def test_a_literal_segment_wins_over_a_parameter(self) -> None:
        self.assertEqual(self.host.call("GET greet/nobody").json, ["start"])

    def test_a_dataclass_is_json(self) -> None:
        made = self.host.call("hat", {"name": "bowler"})
        self.assertEqual(made.json, {"name": "bowler", "price": 1.5})
        self.assertEqual(made.header("Content-Type"), "application/json")

    def test_a_reply_has_a_status_and_headers(self) -> None:
        made = self.host.call("made")
        self.assertEqual((made.status, made.header("x-color")), (201, "red"))
        with self.assertRaises(ValueError):
            reply(status=99)

    def test_nothing_is_no_content(self) -> None:
        self.assertEqual(self.host.call("sends").status, 204)

    def test_a_result_that_cannot_be_sent_is_a_failure(self) -> None:
        for route in ("circle", "surrogate", "nan"):
            failure = self.refused(route)
            self.assertEqual((failure.name, failure.status), ("invalid-result", 500), route)


class Requests(Case):
    def test_a_call_has_the_parts_of_the_request(self) -> None:
        reply = self.host.call("GET shown?tag=a&tag=b%20c&x", headers={"X-User": "ada"})
        expected = {
            "method": "GET",
            "query": {"tag": "a", "x": ""},
            "all": ["a", "b c"],
            "raw": "tag=a&tag=b%20c&x",
            "text": "",
            "bytes": 0,
            "trigger": "http",
            "origin": "client",
            "user": "ada",
            "extra": {},
            "path": "/api/shop/shown",
        }
        self.assertEqual(reply.json, expected)
        self.assertEqual(self.host.request("shown", "grüße", inside=True).json["bytes"], 7)

    def test_a_body_that_is_not_json_refuses_the_caller(self) -> None:
        for body in ("{", None, b"\xff", "[" * 100_000):
            failure = self.refused("hat", body)
            self.assertEqual((failure.name, failure.status), ("invalid-body", 400), body)
        self.assertEqual(self.refused("shown", b"\xff").name, "invalid-body")

    def test_middlewares_pass_facts_and_payloads(self) -> None:
        self.assertEqual(self.refused("gated").status, 401)
        shown = self.host.call("gated", "hi", headers={"x-user": "ada"}).json
        self.assertEqual((shown["text"], shown["extra"]), ("HI", {"shop.user": "ada"}))

    def test_the_middleware_of_another_module_is_answered_by_the_test(self) -> None:
        with self.assertRaises(CallError):
            self.host.call("limited")
        self.host.answer("limiter/check", lambda call: passed(extra={"left": "3"}))
        self.assertEqual(self.host.call("limited").json["extra"], {"limiter.left": "3"})
        self.host.answer("limiter/check", lambda call: reply("full", status=429))
        self.assertEqual(self.host.call("limited").status, 429)

    def test_an_inner_route_is_closed_to_clients(self) -> None:
        with self.assertRaises(CallError) as caught:
            self.host.call("inner/told")
        self.assertEqual(caught.exception.kind, "forbidden")
        with self.assertRaises(CallError) as caught:
            self.host.call("nothing")
        self.assertEqual(caught.exception.kind, "not-found")


class Failures(Case):
    def test_a_failure_keeps_its_parts(self) -> None:
        failure = self.refused("refuse")
        self.assertEqual((failure.name, failure.message, failure.status), ("no-hat", "there is no hat", 404))
        self.assertEqual(self.host.logs, [])

    def test_a_failure_with_status_500_has_a_line_in_the_log(self) -> None:
        self.assertEqual(self.refused("fault").name, "no-stock")
        (line,) = self.host.logs
        self.assertEqual(line.level, "error")
        self.assertRegex(
            line.message, r"^handler fault failed: Failure: no-stock: the shelf is empty at .*shop.py:\d+ in fault$"
        )

    def test_any_exception_is_a_failure_with_a_line_in_the_log(self) -> None:
        failure = self.refused("key-error")
        self.assertEqual(
            (failure.name, failure.status, failure.message), ("error", 500, "KeyError: 'missing'")
        )
        line = self.host.logs[0]
        self.assertEqual(line.level, "error")
        self.assertRegex(
            line.message, r"^handler key_error failed: KeyError: 'missing' at .*shop.py:\d+ in key_error$"
        )

    def test_exit_is_a_failure(self) -> None:
        self.assertEqual(self.refused("leave").message, "SystemExit: 3")

    def test_the_failure_of_a_route_passes_through(self) -> None:
        self.assertEqual(self.refused("refused").name, "no-hat")
        self.assertEqual(self.host.logs, [])


class Workers(unittest.TestCase):
    def setUp(self) -> None:
        self.host = TestHost(SHOP, workers=2, config={"word": "hi"})

    def test_each_worker_has_a_memory_that_a_swap_keeps_and_a_restart_loses(self) -> None:
        for expected in (1, 2):
            self.assertEqual(self.host.call("count").json, expected)
        self.assertEqual(self.host.request("count", worker=1).json, 1)
        self.host.swap()
        self.assertEqual(self.host.call("count").json, 3)
        self.host.restart()
        self.assertEqual(self.host.call("count").json, 1)
        self.assertEqual(self.host.call("reasons").json, ["restart"])
        self.assertEqual(self.host.request("reasons", worker=1).json, ["swap"])

    def test_a_broadcast_runs_in_every_worker(self) -> None:
        told = self.host.call("tell", {"a": 1}).json
        self.assertEqual([entry["mine"] for entry in told], [True, False])
        self.assertTrue(all(entry["id"] == entry["current"] and entry["body"] == {"a": 1} for entry in told))
        self.assertEqual(self.host.emitted[0].json, {"a": 1})
        entries = self.host.broadcast("told", {"b": 2})
        self.assertEqual([entry.isolate for entry in entries], ["worker-0", "worker-1"])
        self.assertFalse(entries[0].result().json["mine"])

    def test_a_schedule_has_its_data(self) -> None:
        ran = self.host.run_schedule("tick").json
        self.assertEqual(ran, {"kind": "schedule", "name": "tick", "data": {"every": "hour"}})
        self.assertEqual(self.host.run_schedule("tick", {"every": "day"}).json["data"], {"every": "day"})

    def test_events_reach_subscriptions(self) -> None:
        self.host.emit_event("shop/sold", {"hat": 7})
        self.host.emit_event("other/sold", 1)
        self.assertEqual([line.fields["topic"] for line in self.host.logs], ["shop/sold"] * 2)
        self.assertTrue(all(entry.ok for entry in self.host.receive("heard", "shop/x", {"a": 1})))
        self.assertFalse(self.host.receive("heard", "shop/x", "{")[0].ok)
        self.assertTrue(self.host.receive("bids", "bids.a", "1")[0].ok)
        self.assertEqual(self.host.logs[-1].fields["source"], "nats")

    def test_what_a_module_sends_is_recorded(self) -> None:
        self.host.call("sends")
        event = self.host.published[0]
        self.assertEqual((event.key, event.event.event, event.event.id), ("shop", "tick", "7"))
        self.assertEqual((event.event.retry_ms, event.json), (2000, {"n": 1}))
        self.assertEqual((self.host.published[1].key, self.host.published[1].text), (None, "all"))
        self.assertEqual((self.host.events[0].type, self.host.events[0].value), ("shop/sold", {"hat": 7}))
        sent = [(message.connection, message.topic, message.payload) for message in self.host.messages]
        self.assertEqual(sent, [("redis", "news", "text"), ("channel", "shop/room", b"bytes")])
        self.assertEqual(self.host.emitted[0].name, "told")

    def test_config_and_options_are_parsed(self) -> None:
        self.assertEqual(self.host.call("settings").json, {"word": "hi", "none": 7, "env": "test"})
        self.host.config["word"] = "bye"
        self.assertEqual(self.host.call("settings").json["word"], "bye")

    def test_the_nodes_are_this_one_and_those_of_the_test(self) -> None:
        self.assertEqual(self.host.call("cluster?id=chat-1").json, {"ids": ["test"], "chat": []})
        others = [Node("z-1", "z"), Node("chat-1", "chat", True, 2, {"weight": 3})]
        host = TestHost(SHOP, nodes=others)
        expected = {"ids": ["chat-1", "test", "z-1"], "chat": ["chat-1"], "settings": {"weight": 3}, "frontend": True}
        self.assertEqual(host.call("cluster?id=chat-1").json, expected)
        self.assertFalse("settings" in host.call("cluster?id=chat-2").json)

    def test_another_module_is_answered_by_the_test(self) -> None:
        self.host.answer("bank/rates", lambda call: [call.text, 1.5])
        self.assertEqual(self.host.call("prices").json, [["EUR", 1.5], "Hello, Ada"])

    def test_another_server_is_answered_by_the_test(self) -> None:
        self.host.respond("https://api.test/", lambda request: reply({"got": request.json}, status=202))
        got = self.host.call("fetch").json
        self.assertEqual(got, {"status": 202, "json": {"got": {"a": 1}}, "type": "application/json"})
        self.assertEqual(self.host.requests[0].headers["content-type"], "application/json")

    def test_interleaved_calls_keep_their_own_ids(self) -> None:
        self.assertEqual(self.host.call("many").json, 64)


class Manifests(unittest.TestCase):
    def test_a_manifest_with_an_unknown_handler_is_rejected(self) -> None:
        with self.assertRaisesRegex(ValueError, "the handler `nobody`"):
            TestHost(SHOP, manifest={"routes": [{"path": "x", "handler": "nobody"}]})

    def test_without_routes_every_handler_is_one(self) -> None:
        self.assertEqual(TestHost(SHOP, manifest={}).call("kebab-name").payload, b"bytes")


if __name__ == "__main__":
    unittest.main()
